// @ts-check
// The page's state, which only the browser has: the run and its stages, the values of controls, the
// keys of findings, and the selection. Parts request their drawings for this state.

import { openTabs } from "./tabs.js";
import { pageTexts } from "./texts.js";

/**
 * @typedef {object} Run
 * @property {string | null} key - the secret key of the page's run; null before the first one
 * @property {string[]} stages - stages that have run
 * @property {string} running - the running stage; empty if nothing runs
 * @property {Record<string, string>} findings - keys of precomputed findings
 */

const OF_THE_PAGE = ["lang", "__theme"]; // parameters that are not part of a link

/** @type {Run} */
let run = { key: null, stages: [], running: "", findings: {} };

/** @type {Map<string, any>} raw values by full name; only of controls that were moved */
const values = new Map();

/** @type {Map<string, {run: string | null, key: string}>} by the experiment's full name; the run
 * is that of `shownRun` */
const findings = new Map();

/**
 * @typedef {object} ShownRun - which run a part shows; see part.py
 * @property {string} control
 * @property {any} own
 * @property {string} finding
 */

/** @type {Map<string, ShownRun | null>} by part; null for the page's run */
const shownRuns = new Map();

const page = crypto.getRandomValues(new Uint32Array(4)).join("-"); // an id of this visit
let questions = 0;
let selection = null; // the selection: {index} or {span, row, column}, and the image
const listeners = new Set();
const ofLink = new Set(); // settings from a link that the visitor has not changed
let leftOut = 0; // settings in the link that do not apply to its run

/** Call `listener` after any change; returns a function to unsubscribe. */
export function onChange(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

let scheduled = false;

function changed() {
  if (scheduled) return;
  scheduled = true;
  queueMicrotask(() => {
    scheduled = false;
    // Over a copy: a listener may add another.
    for (const listener of Array.from(listeners)) listener();
  });
}

/** Tells the server which request of this page is the latest. */
export const nextQuestion = () => ({ page, number: (questions += 1) });

export const currentRun = () => run;
export const currentSelection = () => selection;
export const hasRun = (stage) => run.key !== null && (stage === "" || run.stages.includes(stage));

/** @param {string} part @param {ShownRun | null} shown */
export const setShownRun = (part, shown) => shownRuns.set(part, shown);

/** An id of the run that a part shows; null if that run has not been made. */
export function shownRun(part) {
  const shown = shownRuns.get(part);
  if (!shown || (valueOf(shown.control) ?? shown.own) === shown.own) return run.key;
  const made = findingOf(shown.finding);
  return made ? `${run.key} ${made}` : null;
}

/** The part that a control or an experiment belongs to. */
const partOf = (name) => name.slice(0, name.lastIndexOf("."));

/** @param {Run} next */
export function setRun(next) {
  if (next.key !== run.key) findings.clear();
  run = next;
  for (const [name, key] of Object.entries(next.findings ?? {}))
    if (!findings.has(name)) findings.set(name, { run: next.key, key });
  changed();
}

export function setSelection(next) {
  if (JSON.stringify(next) === JSON.stringify(selection)) return;
  selection = next;
  changed();
}

/** The raw value of a control; undefined if the visitor has not moved it. */
export const valueOf = (name) => values.get(name);

/** Set a control; undefined resets it to its default. */
export function setValue(name, value) {
  ofLink.delete(name);
  if (JSON.stringify(values.get(name)) === JSON.stringify(value)) return;
  if (value === undefined) values.delete(name);
  else values.set(name, value);
  changed();
}

/** The values of all moved controls, for links and reports. */
export const allValues = () => Object.fromEntries(values);

/** The key of an experiment's finding in the run that its part shows; undefined if there is none. */
export function findingOf(name) {
  const found = findings.get(name);
  return found && found.run === shownRun(partOf(name)) ? found.key : undefined;
}

export function setFinding(name, key) {
  findings.set(name, { run: shownRun(partOf(name)), key });
  changed();
}

/** @type {Map<string, string[]>} by part: what it needs of other parts and is not there yet */
const awaited = new Map();

/** Run another part's automatic experiments for this part, too. */
export function awaitFindings(part, names) {
  if (JSON.stringify(awaited.get(part) ?? []) === JSON.stringify(names)) return;
  awaited.set(part, names);
  changed();
}

export const isAwaited = (name) => [...awaited.values()].some((names) => names.includes(name));

/** Discard an experiment's finding. */
export function forgetFinding(name) {
  if (findings.delete(name)) changed();
}

export const allFindings = () => Object.fromEntries(
  [...findings.keys()].map((name) => [name, findingOf(name)]).filter(([, key]) => key));

/** Apply the settings of a link before its run begins. */
function restore({ values: settings = {}, tabs = [], unknown = 0 }) {
  values.clear();
  ofLink.clear();
  for (const [name, value] of Object.entries(settings)) {
    values.set(name, value);
    ofLink.add(name);
  }
  leftOut = unknown;
  tellLeftOut();
  // Stages first, then the parts of the selected stage.
  openTabs(tabs);
}

/** Show how many settings in the link do not apply; known once their parts have been drawn. */
function tellLeftOut() {
  const notices = document.querySelector("#link-notice");
  notices?.querySelector("[data-left-out]")?.remove();
  if (!leftOut || !notices) return;
  const words = pageTexts();
  const note = document.createElement("div");
  note.className = "link-notice";
  note.dataset.leftOut = String(leftOut);
  note.setAttribute("role", "status");
  const line = document.createElement("p");
  line.textContent = words.leftOut(leftOut);
  note.append(line);
  notices.append(note);
}

document.addEventListener("setting-left-out", (event) => {
  if (!ofLink.has(event.detail)) return; // of an earlier run
  leftOut += 1;
  tellLeftOut();
});

/** The page's state, for links and reports. */
export function pageState() {
  const selected = document.querySelectorAll(
    "#stage-column [role=tab][aria-selected=true][data-tab-id]");
  const tabs = [...selected].map((tab) => /** @type {HTMLElement} */ (tab).dataset.tabId);
  return { run: run.key, selection, values: allValues(), findings: allFindings(), tabs };
}

// Gradio's events read it under this name, because their `js` is not a module.
Object.assign(window, { playgroundState: pageState });

/** Whether the URL has more parameters than language and theme. */
const mayBeLink = () =>
  [...new URLSearchParams(location.search).keys()].some((key) => !OF_THE_PAGE.includes(key));

/** The browser half of RunView (run_view.py). */
export function mount({ props, watch, trigger }) {
  document.addEventListener("rerun", ({ detail }) => trigger("rerun", detail));
  const update = () => {
    if (!props.value) return;
    const { restored, isDefault, ...next } = JSON.parse(props.value);
    if (isDefault && mayBeLink()) return; // the server sends the initial state
    if (restored) restore(restored);
    setRun(next);
  };
  watch("value", update);
  update();
}
