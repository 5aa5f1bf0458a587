// @ts-check
// Clicks inside a part's outputs that set its controls:
//   data-set='{"chosen": 3}'   sets controls by id ("other.chosen": of another part of the stage,
//                              "decoder.facts.sequence": of another stage);
//                              as does the data-set of every enclosing element
//   data-numbers="step" data-first="0"   each child sets a control to its number
//   data-run="branch"          starts an experiment afterwards
//   data-open="decoder"        opens a tab, or several: "decoder decoder.attention"
//   data-token-of-answer="3"   selects a token of the answer that the decoder tab shows
//   data-forget="branch"       discards an experiment's finding
//   data-rerun='{"max_pixels": 4096}'   sets the input panel and runs the page again
//   data-file="/key/name"      a link to a file that the server made (made_files.py)
//   data-mask="painted"        a click on an image inside adds the tokens around the clicked one to
//                              this control, or removes them again; data-brush names the control
//                              with the brush size, data-mask-if one that turns it on and off
// So do the points of charts whose layout.meta.pick names a control for a field: {"block": "y"}.

import { imageTokensAround, selectAnswer } from "./pointer.js";
import { setValue } from "./run.js";
import { openTabs } from "./tabs.js";

const FIELDS = "[data-set], [data-run], [data-forget], [data-rerun]";

/**
 * @param {HTMLElement} root
 * @param {any} part - its spec
 * @param {{start: (name: string) => void, forget: (name: string) => void}} experiments
 * @param {(id: string) => any} valueNow - where a control of the part stands
 */
export function listenForClicks(root, part, { start, forget }, valueNow) {
  const full = (id) => [`${part.key}.`, `${part.stage}.`, ""][id.split(".").length - 1] + id;

  function act(event) {
    const element = /** @type {HTMLElement | null} */ (event.target.closest?.(FIELDS));
    if (!element || !root.contains(element)) return;
    const { run, forget: forgotten, rerun, open, tokenOfAnswer } = element.dataset;
    for (const [id, value] of Object.entries(settings(element))) setValue(full(id), value);
    if (run) start(run);
    if (forgotten) forget(forgotten);
    if (rerun) askToRun(JSON.parse(rerun));
    if (tokenOfAnswer) selectAnswer(Number(tokenOfAnswer));
    if (open) openTabs(open.split(" "));
  }

  /** The values that an element sets, with those of the enclosing elements. */
  function settings(element) {
    const outer = element === root ? {} : settings(element.parentElement);
    const { set } = element.dataset;
    return set ? { ...outer, ...JSON.parse(set) } : outer;
  }

  function toggleMask(event) {
    const area = event.target.closest?.("[data-mask]");
    if (!area || !event.target.closest(".pg-picture-frame[data-span]")) return;
    const { mask: id, brush, maskIf } = area.dataset;
    if (maskIf && !valueNow(maskIf)) return;
    const touched = imageTokensAround(event, brush ? valueNow(brush) : 0);
    if (!touched.length) return;
    const masked = new Set(valueNow(id));
    const isGone = masked.has(touched[0]);
    for (const index of touched) {
      if (isGone) masked.delete(index);
      else masked.add(index);
    }
    setValue(full(id), [...masked].sort((a, b) => a - b));
  }

  root.addEventListener("click", act);
  root.addEventListener("click", toggleMask);
  root.addEventListener("click", findFile);
  root.addEventListener("keydown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if ((event.key === "Enter" || event.key === " ") && target.matches(FIELDS) &&
        !target.matches("button, a, summary")) {
      event.preventDefault();
      target.click(); // which also selects the token or patch
    }
  });
  root.addEventListener("chart-click", (event) => {
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

/** Set the URL of a link to a made file, which a page behind a proxy knows only now. */
function findFile(event) {
  const link = event.target.closest?.("a[data-file]");
  if (link) link.href = new URL(`../../made-files${link.dataset.file}`, import.meta.url).href;
}

/** Let the children of a list set a control to their numbers. There can be thousands of tokens, so
 * their common attributes are added here. With data-numbers="" they are only focusable. */
export function numberChildren(root) {
  for (const list of root.querySelectorAll("[data-numbers]")) {
    const { numbers, first = "0" } = list.dataset;
    [...list.children].forEach((child, index) => {
      child.tabIndex = 0;
      if (!numbers) return;
      child.dataset.set = JSON.stringify({ [numbers]: Number(first) + index });
      child.setAttribute("role", "button");
    });
  }
}

/** Run the page with other values of the input panel (run.js passes them on to Gradio). */
const askToRun = (detail) => document.dispatchEvent(new CustomEvent("rerun", { detail }));
