// @ts-check
// Helpers to build native elements: plain ones, and labels tied to their fields.

/** @typedef {(box: HTMLElement, spec: any, change: (value: any) => void, more?: any) =>
 *   (value: any) => void} Builder - fills a box; returns a function that shows a value */

let count = 0; // for ids of labels

/** A unique id for an element. */
export const nextId = () => `pg-${(count += 1)}`;

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 */
export function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.textContent = text;
  return element;
}

/**
 * A label, the info line below it, and the ids that tie them to a field; returns the field's id.
 * @param {HTMLElement} box
 * @param {any} spec
 * @param {"label" | "span"} tag
 */
export function frame(box, spec, tag = "label") {
  const id = nextId();
  box.replaceChildren();
  const label = make(tag, "pg-label", spec.label);
  if (tag === "label") label.setAttribute("for", id);
  else label.id = `${id}-label`;
  box.append(label);
  if (spec.info) {
    const info = make("span", "pg-info", spec.info);
    info.id = `${id}-info`;
    box.append(info);
  }
  return id;
}

/**
 * Tie a field to its label and its info line.
 * @param {HTMLElement} field
 */
export function describe(field, id, spec) {
  field.id = id;
  if (spec.info) field.setAttribute("aria-describedby", `${id}-info`);
}
