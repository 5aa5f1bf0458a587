// @ts-check
// Controls with options, one or several of which can be chosen: buttons, or a list if there are
// many.

import { describe, frame, make } from "./elements.js";
import { pageTexts } from "./texts.js";

/** @typedef {import("./elements.js").Builder} Builder */

/** @type {Builder} */
export function choice(box, spec, change) {
  return spec.compact ? list(box, spec, change) : radios(box, spec, change);
}

/** @type {Builder} */
function list(box, spec, change) {
  const id = frame(box, spec);
  const field = make("select", "pg-field");
  spec.options.forEach(([label], index) => field.append(new Option(label, String(index))));
  describe(field, id, spec);
  field.addEventListener("change", () => change(spec.options[field.selectedIndex][1]));
  box.append(field);
  return (value) =>
    (field.selectedIndex = spec.options.findIndex(([, option]) => option === value));
}

/** A group of native toggle buttons. */
function group(box, spec, type, listen) {
  const id = frame(box, spec, "span");
  const options = make("div", "pg-options");
  options.setAttribute("role", type === "radio" ? "radiogroup" : "group");
  options.setAttribute("aria-labelledby", `${id}-label`);
  const fields = spec.options.map(([words]) => {
    const label = make("label", "pg-option");
    const field = make("input");
    field.type = type;
    field.name = id;
    field.addEventListener("change", listen);
    label.append(field, make("span", "", words));
    options.append(label);
    return field;
  });
  box.append(options);
  return fields;
}

/** @type {Builder} */
function radios(box, spec, change) {
  const fields = group(box, spec, "radio",
    () => change(spec.options[fields.findIndex((field) => field.checked)][1]));
  return (value) => fields.forEach((field, index) => {
    field.checked = spec.options[index][1] === value;
  });
}

/** @type {Builder} */
export function choices(box, spec, change) {
  if (spec.compact) return tags(box, spec, change);
  const fields = group(box, spec, "checkbox", () =>
    change(spec.options.filter((_, index) => fields[index].checked).map(([, option]) => option)));
  return (value) => fields.forEach((field, index) => {
    field.checked = value.includes(spec.options[index][1]);
  });
}

/** Several options of a long list: a list to add from, and a button for each chosen one.
 * @type {Builder} */
function tags(box, spec, change) {
  const id = frame(box, spec);
  const field = make("select", "pg-field");
  describe(field, id, spec);
  const chosen = make("div", "pg-tags");
  let current = [];
  field.addEventListener("change", () => {
    change([...current, spec.options[Number(field.value)][1]]);
  });
  box.append(field, chosen);
  return (value) => {
    current = value;
    field.replaceChildren(new Option(pageTexts().add, ""));
    spec.options.forEach(([label, option], index) => {
      if (!value.includes(option)) field.append(new Option(label, String(index)));
    });
    chosen.replaceChildren(...value.map((item) => {
      const [label] = spec.options.find(([, option]) => option === item) ?? [String(item)];
      const button = make("button", "pg-tag", `${label} ✕`);
      button.type = "button";
      button.addEventListener("click", () => change(value.filter((other) => other !== item)));
      return button;
    }));
  };
}
