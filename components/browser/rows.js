// @ts-check
// A list of rows or cards with the same fields, which can be added, duplicated and removed.

import { make } from "./elements.js";
import { buildField } from "./fields.js";

/** @type {import("./elements.js").Builder} */
export function buildRows(box, spec, change) {
  box.replaceChildren();
  if (spec.label) box.append(make("span", "pg-label", spec.label));
  const list = make("div", spec.cards ? "pg-cards" : "pg-rows");
  const foot = make("div", "pg-rows-foot");
  box.append(list, foot);
  let current = [];
  let built = []; // per row: {element, fields by id}

  const replace = (rows) => change(rows);
  const edit = (index, id, value) =>
    replace(current.map((row, number) => (number === index ? { ...row, [id]: value } : row)));

  if (spec.add) {
    const add = button(spec.add, () => {
      if (current.length < spec.high) replace([...current, nextRow(spec, current)]);
    });
    foot.append(add);
  }

  function buildRow(index) {
    const element = make("fieldset", spec.cards ? "pg-card" : "pg-row");
    const name = spec.names[index];
    if (name) element.append(make("legend", "", name));
    const fields = new Map();
    if (spec.presets.length) element.append(presetList(index));
    for (const field of spec.fields) {
      const { box, set } = buildField(field, (value) => edit(index, field.id, value));
      fields.set(field.id, set);
      element.append(box);
    }
    if (spec.add) element.append(rowButtons(index));
    return { element, fields };
  }

  function presetList(index) {
    const field = make("select", "pg-field pg-row-preset");
    field.setAttribute("aria-label", `${spec.names[index] ?? index + 1}: ${spec.words.preset}`);
    field.append(new Option(spec.words.preset, ""));
    spec.presets.forEach(([label], number) => field.append(new Option(label, String(number))));
    field.addEventListener("change", () => {
      const [, values] = spec.presets[Number(field.value)];
      replace(current.map((row, number) => (number === index ? { ...row, ...values } : row)));
      field.value = "";
    });
    return field;
  }

  function rowButtons(index) {
    const row = make("div", "pg-card-buttons");
    const name = spec.names[index] ?? String(index + 1);
    row.append(
      button(`${spec.words.copy} ${name}`, () => {
        if (current.length < spec.high) replace(current.toSpliced(index + 1, 0, { ...current[index] }));
      }),
      button(`${spec.words.remove} ${name}`, () => {
        if (current.length > spec.low) replace(current.toSpliced(index, 1));
      }),
    );
    return row;
  }

  const allow = (selector, allowed) => box.querySelectorAll(selector).forEach(
    (/** @type {HTMLButtonElement} */ button) => (button.disabled = !allowed));

  return (rows) => {
    current = rows;
    while (built.length > rows.length) built.pop().element.remove();
    while (built.length < rows.length) {
      const row = buildRow(built.length);
      built.push(row);
      list.append(row.element);
    }
    rows.forEach((row, index) => {
      for (const field of spec.fields) built[index].fields.get(field.id)(row[field.id] ?? field.value);
    });
    allow(".pg-rows-foot > button, .pg-card-buttons > :first-child", rows.length < spec.high);
    allow(".pg-card-buttons > :last-child", rows.length > spec.low);
  };
}

/** Initial values of an added row: those for its position, else the last row's. */
function nextRow(spec, rows) {
  return { ...(spec.starts?.[rows.length] ?? spec.value[rows.length] ?? rows.at(-1)) };
}

function button(label, act) {
  const element = make("button", "pg-button pg-small", label);
  element.type = "button";
  element.addEventListener("click", act);
  return element;
}
