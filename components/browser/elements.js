// @ts-check
// What the page's scripts build native elements with: plain ones, and a field's label with its tie.

/** @typedef {(box: HTMLElement, spec: any, change: (value: any) => void, more?: any) =>
 *   (value: any) => void} Builder - fills a box; gives a function that shows a value */

let count = 0; // for ids of labels

/** An id that no other element of the page has. */
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
 * A label, the line below it, and the ids that tie them to a field; gives the field's.
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
 * Tie a field to its label and to the line below it.
 * @param {HTMLElement} field
 */
export function describe(field, id, spec) {
  field.id = id;
  if (spec.info) field.setAttribute("aria-describedby", `${id}-info`);
}
