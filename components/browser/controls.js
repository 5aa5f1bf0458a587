// @ts-check
// A part's controls as native form elements, which keyboards and screen readers support. A
// control's options come with the first drawing of a run; the visitor's choices are kept.

import { make } from "./elements.js";
import { BUILDERS } from "./fields.js";
import { currentSelection, onChange, setValue, valueOf } from "./run.js";

/** Whether a control offers this value now. */
export function fits(spec, value) {
  const offers = (choice) => spec.options.some(([, option]) => option === choice);
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
 * Boxes for all controls of a part, by id; `show(specs)`, which fills them; and `value(id)`, a
 * control's current value.
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
      const spec = there.get(id);
      const box = /** @type {HTMLElement} */ (elements.get(id));
      box.hidden = !spec || spec.kind === "hidden";
      box.classList.toggle("pg-problem", spec?.error !== undefined);
      if (!spec || spec.error !== undefined) {
        shown.delete(id); // what the visitor chose is kept
        box.textContent = spec?.error ?? "";
        box.dataset.control = id;
        continue;
      }
      if (valueOf(full(id)) !== undefined && !fits(spec, valueOf(full(id)))) {
        document.dispatchEvent(new CustomEvent("setting-left-out", { detail: full(id) }));
        setValue(full(id), undefined);
      }
      const text = JSON.stringify(spec);
      if (shown.get(id)?.text === text) continue;
      const build = BUILDERS[spec.kind];
      const change = (value) => setValue(full(id), value);
      const set = build ? build(box, spec, change, { full, start, upload }) : () => {};
      box.dataset.kind = spec.kind;
      box.dataset.control = id;
      shown.set(id, { text, set, spec, followed: followed(spec), seen: valueOf(full(id)) });
    }
    refresh();
  }

  /** What a control follows: the pointer, or other controls. */
  const followed = ({ follows }) => JSON.stringify(
    Array.isArray(follows) ? follows.map((id) => valueOf(full(id)) ?? null) : currentSelection());

  /** Reset a choice that belonged to another selection, or follow a field of it; a link sets
   * both at once. */
  function follow(id, control) {
    const { follows } = control.spec;
    const [now, value] = [followed(control.spec), valueOf(full(id))];
    const isMoved = control.followed !== now && control.seen === value;
    const field = typeof follows === "string" ? currentSelection()?.[follows] : undefined;
    if (field !== undefined && (isMoved || value === undefined)) setValue(full(id), field);
    else if (isMoved && typeof follows !== "string") setValue(full(id), undefined);
    Object.assign(control, { followed: now, seen: valueOf(full(id)) });
  }

  let defaults = {}; // from an output, by id

  /** Set the positions of controls that have not been moved. */
  function standAt(values) {
    defaults = { ...defaults, ...values };
    refresh();
  }

  /** Show a value that was set elsewhere: by a preset, a click or a link. */
  function refresh() {
    for (const [id, control] of shown) if (control.spec.follows) follow(id, control);
    for (const [id, { set, spec }] of shown) set(valueOf(full(id)) ?? defaults[id] ?? spec.value);
  }
  onChange(refresh);
  const value = (id) => valueOf(full(id)) ?? defaults[id] ?? shown.get(id)?.spec.value;
  return { elements, show, standAt, value };
}
