// @ts-check
// Clicks inside a part's outputs that set its controls:
//   data-set='{"chosen": 3}'   sets controls to values (by id; "other.chosen" of another part);
//                              so does the data-set of every element around it
//   data-run="branch"          starts an experiment afterwards
//   data-forget="branch"       forgets what an experiment has found
//   data-rerun='{"max_pixels": 4096}'   sets the input panel and runs the page anew
// and points of charts whose layout.meta.pick names a control for a field: {"block": "y"}.

import { setValue } from "./run.js";

const FIELDS = "[data-set], [data-run], [data-forget], [data-rerun]";

/**
 * @param {HTMLElement} root
 * @param {any} part
 * @param {{start: (name: string) => void, forget: (name: string) => void}} experiments
 */
export function listenForClicks(root, part, { start, forget }) {
  const full = (id) => (id.includes(".") ? `${part.stage}.${id}` : `${part.key}.${id}`);

  function act(event) {
    const element = /** @type {HTMLElement | null} */ (event.target.closest?.(FIELDS));
    if (!element || !root.contains(element)) return;
    if (event.type === "keydown") event.preventDefault();
    const { run, forget: forgotten, rerun } = element.dataset;
    for (const [id, value] of Object.entries(settings(element))) setValue(full(id), value);
    if (run) start(run);
    if (forgotten) forget(forgotten);
    if (rerun) askToRun(JSON.parse(rerun));
  }

  /** What an element sets, with what the elements around it set for all inside them. */
  function settings(element) {
    const outer = element === root ? {} : settings(element.parentElement);
    const { set } = element.dataset;
    return set ? { ...outer, ...JSON.parse(set) } : outer;
  }

  root.addEventListener("click", act);
  root.addEventListener("keydown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if ((event.key === "Enter" || event.key === " ") && target.matches(FIELDS) &&
        !target.matches("button, a, summary")) act(event);
  });
  root.addEventListener("chart-click", (/** @type {any} */ event) => {
    const { points, pick } = event.detail;
    if (!pick || !points.length) return;
    for (const [id, field] of Object.entries(pick)) {
      const value = points[0][field];
      if (value === null || value === undefined) continue;
      if (id.startsWith("rerun:")) askToRun({ [id.slice(6)]: value });
      else setValue(full(id), value);
    }
  });
}

/** Have the page run with other values of the input panel (run.js passes it on to Gradio). */
const askToRun = (detail) => document.dispatchEvent(new CustomEvent("rerun", { detail }));
