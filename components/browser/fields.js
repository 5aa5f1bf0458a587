// @ts-check
// One control as native form elements, by its kind.

import { choice, choices } from "./choices.js";
import { describe, frame, make, nextId } from "./elements.js";
import { buildRows } from "./rows.js";
import { setValue } from "./run.js";

/** @typedef {import("./elements.js").Builder} Builder */

const PLAY_MS = 800; // minimum time at each value of a playing slider

/** @type {Builder} */
function slider(box, spec, change) {
  const id = frame(box, spec);
  const row = make("div", "pg-slider");
  const range = make("input");
  const number = make("input");
  range.type = "range";
  number.type = "number";
  for (const field of [range, number]) {
    field.min = spec.low;
    field.max = spec.high;
    field.step = spec.step;
  }
  describe(range, id, spec);
  number.setAttribute("aria-label", spec.label);
  range.addEventListener("input", () => change(range.valueAsNumber));
  number.addEventListener("change", () => {
    const value = Math.min(Math.max(number.valueAsNumber, spec.low), spec.high);
    if (Number.isFinite(value)) change(spec.step === 1 ? Math.round(value) : value);
  });
  row.append(range, number);
  if (spec.play?.length) row.append(player(spec, () => range.valueAsNumber, change));
  box.append(row);
  return (value) => {
    if (range.valueAsNumber !== value) range.value = value;
    const ratio = (value - spec.low) / Math.max(spec.high - spec.low, 1e-9);
    range.style.setProperty("--share", `${100 * ratio}%`);
    if (document.activeElement !== number) number.value = value;
  };
}

/** A button that plays a slider to its end, as fast as its values are drawn. */
function player(spec, current, change) {
  const [play, stop] = spec.play;
  const button = make("button", "pg-button pg-small", play);
  button.type = "button";
  let timer = 0;
  const end = () => {
    clearInterval(timer);
    timer = 0;
    button.textContent = play;
  };
  const step = () => {
    if (button.closest("[data-asking]")) return; // the last value is still being drawn
    if (!button.isConnected || current() >= spec.high) return end();
    change(Math.min(current() + spec.step, spec.high));
    if (current() >= spec.high) end();
  };
  button.addEventListener("click", () => {
    if (timer) return end();
    if (current() >= spec.high) change(spec.low);
    timer = setInterval(step, PLAY_MS);
    button.textContent = stop;
  });
  return button;
}

/** @type {Builder} */
function number(box, spec, change) {
  const id = frame(box, spec);
  const field = make("input", "pg-field");
  field.type = "number";
  field.step = spec.step;
  field.min = spec.low ?? "";
  field.max = spec.high ?? "";
  describe(field, id, spec);
  // An empty field means no value for an optional number, never zero.
  field.addEventListener("input", () =>
    change(field.value === "" ? (field.validity.badInput ? undefined : "") : field.valueAsNumber));
  box.append(field);
  return (value) => {
    if (document.activeElement !== field) field.value = value ?? "";
  };
}

/** @type {Builder} */
function text(box, spec, change, { start }) {
  const id = frame(box, spec);
  const field = /** @type {any} */ (make(spec.lines > 1 ? "textarea" : "input", "pg-field"));
  if (spec.lines > 1) {
    field.rows = spec.lines;
    field.style.minHeight = `calc(${spec.lines}lh + 16px)`; // it grows with its text
  } else field.type = "text";
  field.maxLength = spec.maxChars;
  field.placeholder = spec.placeholder;
  field.setAttribute("dir", "auto");
  describe(field, id, spec);
  field.addEventListener(spec.lines > 1 ? "change" : "input", () => change(field.value));
  if (spec.then) field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.isComposing) start(spec.then);
  });
  box.append(field);
  return (value) => {
    // Text being typed into a multi-line field has not taken effect yet.
    if (field.value !== value && (spec.lines === 1 || document.activeElement !== field))
      field.value = value;
  };
}

/** @type {Builder} */
function toggle(box, spec, change) {
  const id = nextId();
  box.replaceChildren();
  const label = make("label", "pg-toggle");
  const field = make("input");
  field.type = "checkbox";
  describe(field, id, spec);
  label.append(field, make("span", "", spec.label));
  box.append(label);
  if (spec.info) {
    const info = make("span", "pg-info", spec.info);
    info.id = `${id}-info`;
    box.append(info);
  }
  field.addEventListener("change", () => change(field.checked));
  return (value) => (field.checked = value);
}

/** Buttons that set several controls at once.
 * @type {Builder} */
function presets(box, spec, _change, { full, start }) {
  box.replaceChildren();
  if (spec.label) box.append(make("span", "pg-label", spec.label));
  const row = make("div", "pg-presets");
  for (const [label, values] of spec.options) {
    const button = make("button", "pg-button pg-small", label);
    button.type = "button";
    button.addEventListener("click", () => {
      for (const [id, value] of Object.entries(values)) setValue(full(id), value ?? undefined);
      if (spec.then) start(spec.then);
    });
    row.append(button);
  }
  box.append(row);
  return () => {};
}

/** A file, uploaded when it is chosen.
 * @type {Builder} */
function upload(box, spec, change, { start, upload: send }) {
  const id = frame(box, spec);
  const field = make("input", "pg-field");
  const status = make("span", "pg-info");
  field.type = "file";
  field.accept = spec.endings.join(",");
  status.setAttribute("role", "status");
  describe(field, id, spec);
  field.addEventListener("change", async () => {
    const file = field.files?.[0];
    if (!file) return change(undefined);
    status.textContent = spec.words.sending;
    try {
      const { path } = await send(file);
      status.textContent = "";
      change(path);
      if (spec.then) start(spec.then);
    } catch (error) {
      console.warn("Upload:", error);
      status.textContent = spec.words.failed;
    }
  });
  box.append(field, status);
  return () => {};
}

/** @type {Record<string, Builder>} */
export const BUILDERS = { slider, number, text, toggle, choice, choices, presets, upload, rows: buildRows };

/** The field of one value in a row of fields. */
export function buildField(spec, change) {
  const box = make("div", "pg-control");
  box.dataset.kind = spec.kind;
  box.dataset.control = spec.id;
  const set = BUILDERS[spec.kind](box, spec, change, {});
  return { box, set };
}
