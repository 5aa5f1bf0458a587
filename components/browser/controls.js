// @ts-check
// A part's controls as native form elements, so that keyboards and screen readers know them. What a
// control offers comes with the first drawing of a run; what the visitor has chosen stays.

import { buildRows } from "./rows.js";
import { currentPlace, onChange, setValue, valueOf } from "./run.js";

const PLAY_MS = 800; // how long a slider that plays stays at a value, at least

let count = 0; // for ids of labels

/** @returns {HTMLElement} */
export function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.textContent = text;
  return element;
}

/** Whether a value is one that a control offers now. */
export function fits(spec, value) {
  const offers = (each) => spec.options.some(([, option]) => option === each);
  switch (spec.kind) {
    case "slider": return typeof value === "number" && value >= spec.low && value <= spec.high;
    case "choice": return offers(value);
    case "choices": return Array.isArray(value) && value.every(offers);
    case "toggle": return typeof value === "boolean";
    case "rows": return Array.isArray(value) && value.length >= spec.low && value.length <= spec.high;
    default: return true;
  }
}

/**
 * Places for all controls of a part, by id, `show(specs)`, which fills them, and `value(id)`, where
 * one stands now.
 * @param {any} part - the part's spec
 * @param {(experiment: string) => void} start
 * @param {(file: File) => Promise<{path: string}>} upload - Gradio's
 */
export function buildControls(part, start, upload) {
  const full = (id) => (id.includes(".") ? `${part.stage}.${id}` : `${part.key}.${id}`);
  /** @type {Map<string, HTMLElement>} */
  const elements = new Map();
  const shown = new Map(); // by id: {text of the spec, set(value)}
  for (const id of part.controls) elements.set(id, make("div", "pg-control"));

  function show(specs) {
    const there = new Map(specs.map((spec) => [spec.id, spec]));
    for (const id of part.controls) {
      const [spec, box] = [there.get(id), elements.get(id)];
      box.hidden = !spec || spec.kind === "hidden";
      if (!spec) {
        shown.delete(id);
        continue;
      }
      if (valueOf(full(id)) !== undefined && !fits(spec, valueOf(full(id)))) {
        document.dispatchEvent(new CustomEvent("setting-left-out", { detail: full(id) }));
        setValue(full(id), undefined);
      }
      const text = JSON.stringify(spec);
      if (shown.get(id)?.text === text) continue;
      const build = BUILDERS[spec.kind];
      const change = (value) => {
        setValue(full(id), value);
        for (const [other, own] of Object.entries(spec.sets ?? {})) setValue(full(other), own);
      };
      const set = build ? build(box, spec, change, { full, start, upload }) : () => {};
      box.dataset.kind = spec.kind;
      box.dataset.control = id;
      shown.set(id, { text, set, spec, followed: followed(spec), seen: valueOf(full(id)) });
    }
    refresh();
  }

  /** What a control follows: the pointer, or other controls. */
  const followed = ({ follows }) => JSON.stringify(
    Array.isArray(follows) ? follows.map((id) => valueOf(full(id)) ?? null) : currentPlace());

  /** Give up what was chosen for something else, or go along with a field of the place; a link
   * sets both at a time. */
  function follow(id, control) {
    const { follows } = control.spec;
    const [now, value] = [followed(control.spec), valueOf(full(id))];
    const isMoved = control.followed !== now && control.seen === value;
    const field = typeof follows === "string" ? currentPlace()?.[follows] : undefined;
    if (field !== undefined && (isMoved || value === undefined)) setValue(full(id), field);
    else if (isMoved && typeof follows !== "string") setValue(full(id), undefined);
    Object.assign(control, { followed: now, seen: valueOf(full(id)) });
  }

  let defaults = {}; // that an output has told, by id

  /** Say where controls stand that have not been moved. */
  function standAt(values) {
    defaults = { ...defaults, ...values };
    refresh();
  }

  /** Show what has been set elsewhere: by a preset, a click or a link. */
  function refresh() {
    for (const [id, control] of shown) if (control.spec.follows) follow(id, control);
    for (const [id, { set, spec }] of shown) set(valueOf(full(id)) ?? defaults[id] ?? spec.value);
  }
  onChange(refresh);
  const value = (id) => valueOf(full(id)) ?? defaults[id] ?? shown.get(id)?.spec.value;
  return { elements, show, standAt, value };
}

/** A label, the line below it, and the ids that tie them to a field. */
function frame(box, spec, tag = "label") {
  const id = `pg-${(count += 1)}`;
  box.replaceChildren();
  const label = make(tag, "pg-label", spec.label);
  if (tag === "label") /** @type {HTMLLabelElement} */ (label).htmlFor = id;
  else label.id = `${id}-label`;
  box.append(label);
  if (spec.info) {
    const info = make("span", "pg-info", spec.info);
    info.id = `${id}-info`;
    box.append(info);
  }
  return id;
}

function describe(field, id, spec) {
  field.id = id;
  if (spec.info) field.setAttribute("aria-describedby", `${id}-info`);
}

/** @typedef {(box: HTMLElement, spec: any, change: (value: any) => void, more: any) =>
 *   (value: any) => void} Builder - fills a box; gives a function that shows a value */

/** @type {Builder} */
function slider(box, spec, change) {
  const id = frame(box, spec);
  const row = make("div", "pg-slider");
  const range = /** @type {HTMLInputElement} */ (make("input"));
  const number = /** @type {HTMLInputElement} */ (make("input"));
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

/** A button that moves a slider on to its end, value by value, as fast as they are drawn. */
function player(spec, current, change) {
  const [play, stop] = spec.play;
  const button = /** @type {HTMLButtonElement} */ (make("button", "pg-button pg-small", play));
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
  const field = /** @type {HTMLInputElement} */ (make("input", "pg-field"));
  field.type = "number";
  field.step = spec.step;
  field.min = spec.low ?? "";
  field.max = spec.high ?? "";
  describe(field, id, spec);
  // An empty field is an optional number that is not given: never zero.
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
    field.style.minHeight = `calc(${spec.lines}lh + 16px)`; // it grows with what is written
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
    // What is being typed in several lines has not taken effect yet.
    if (field.value !== value && (spec.lines === 1 || document.activeElement !== field))
      field.value = value;
  };
}

/** @type {Builder} */
function toggle(box, spec, change) {
  const id = `pg-${(count += 1)}`;
  box.replaceChildren();
  const label = make("label", "pg-toggle");
  const field = /** @type {HTMLInputElement} */ (make("input"));
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

/** @type {Builder} */
function choice(box, spec, change) {
  return spec.compact ? list(box, spec, change) : radios(box, spec, change);
}

/** @type {Builder} */
function list(box, spec, change) {
  const id = frame(box, spec);
  const field = /** @type {HTMLSelectElement} */ (make("select", "pg-field"));
  spec.options.forEach(([label], index) => field.append(new Option(label, String(index))));
  describe(field, id, spec);
  field.addEventListener("change", () => change(spec.options[field.selectedIndex][1]));
  box.append(field);
  return (value) =>
    (field.selectedIndex = spec.options.findIndex(([, option]) => option === value));
}

/** A group of native buttons that are on or off. */
function group(box, spec, type, listen) {
  const id = frame(box, spec, "span");
  const options = make("div", "pg-options");
  options.setAttribute("role", type === "radio" ? "radiogroup" : "group");
  options.setAttribute("aria-labelledby", `${id}-label`);
  const fields = spec.options.map(([words]) => {
    const label = make("label", "pg-option");
    const field = /** @type {HTMLInputElement} */ (make("input"));
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
function choices(box, spec, change) {
  if (spec.compact) return tags(box, spec, change);
  const fields = group(box, spec, "checkbox", () =>
    change(spec.options.filter((_, index) => fields[index].checked).map(([, option]) => option)));
  return (value) => fields.forEach((field, index) => {
    field.checked = value.includes(spec.options[index][1]);
  });
}

/** Several of a long list: a list to add from, and a button for each that is chosen.
 * @type {Builder} */
function tags(box, spec, change) {
  const id = frame(box, spec);
  const field = /** @type {HTMLSelectElement} */ (make("select", "pg-field"));
  describe(field, id, spec);
  const chosen = make("div", "pg-tags");
  let current = [];
  field.addEventListener("change", () => {
    change([...current, spec.options[Number(field.value)][1]]);
  });
  box.append(field, chosen);
  return (value) => {
    current = value;
    field.replaceChildren(new Option("+", ""));
    spec.options.forEach(([label, option], index) => {
      if (!value.includes(option)) field.append(new Option(label, String(index)));
    });
    chosen.replaceChildren(...value.map((each) => {
      const [label] = spec.options.find(([, option]) => option === each) ?? [String(each)];
      const button = /** @type {HTMLButtonElement} */ (make("button", "pg-tag", `${label} ✕`));
      button.type = "button";
      button.addEventListener("click", () => change(value.filter((other) => other !== each)));
      return button;
    }));
  };
}

/** Buttons that set several controls at once.
 * @type {Builder} */
function presets(box, spec, _change, { full, start }) {
  box.replaceChildren();
  if (spec.label) box.append(make("span", "pg-label", spec.label));
  const row = make("div", "pg-presets");
  for (const [label, values] of spec.options) {
    const button = /** @type {HTMLButtonElement} */ (make("button", "pg-button pg-small", label));
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

/** A file, sent as soon as it is chosen.
 * @type {Builder} */
function upload(box, spec, change, { start, upload: send }) {
  const id = frame(box, spec);
  const field = /** @type {HTMLInputElement} */ (make("input", "pg-field"));
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
const BUILDERS = { slider, number, text, toggle, choice, choices, presets, upload, rows: buildRows };

/** The field of one value, for a row of several. */
export function buildField(spec, change) {
  const box = make("div", "pg-control");
  box.dataset.kind = spec.kind;
  box.dataset.control = spec.id;
  const set = BUILDERS[spec.kind](box, spec, change, {});
  return { box, set };
}
