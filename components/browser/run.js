// @ts-check
// What the page shows, known to the browser alone: the run and how far it is, where controls were
// moved to, what experiments have found, and where the pointer is. Parts ask for drawings of it.

import { openTabs } from "./tabs.js";
import { TEXTS } from "./texts.js";

/**
 * @typedef {object} Run
 * @property {string | null} key - the secret key of the page's run; null before the first one
 * @property {string[]} stages - those that have run
 * @property {string} running - the stage that is being computed; empty while nothing runs
 * @property {Record<string, string>} findings - keys of experiments that were done beforehand
 */

const OF_THE_PAGE = ["lang", "__theme"]; // parameters that no link of ours has

/** @type {Run} */
let run = { key: null, stages: [], running: "", findings: {} };

/** @type {Map<string, any>} raw values by full name; only of controls that were moved */
const values = new Map();

/** @type {Map<string, {run: string | null, key: string}>} by the experiment's full name */
const findings = new Map();

const page = crypto.getRandomValues(new Uint32Array(4)).join("-"); // an id of this page's visit
let questions = 0;
let place = null; // {index} or {span, row, column}, and the picture; what a click has fixed
const listeners = new Set();
const ofLink = new Set(); // names of the settings that a link has set and nobody has moved since
let leftOut = 0; // settings of the link that do not fit its run

/** Call `listener` after any change; gives a function that ends it. */
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
    // Of those of this moment: a listener may add another.
    for (const listener of Array.from(listeners)) listener();
  });
}

/** What tells the server which of this page's questions is the latest. */
export const nextQuestion = () => ({ page, number: (questions += 1) });

export const currentRun = () => run;
export const currentPlace = () => place;
export const hasRun = (stage) => run.key !== null && (stage === "" || run.stages.includes(stage));

/** @param {Run} next */
export function setRun(next) {
  if (next.key !== run.key) findings.clear();
  run = next;
  for (const [name, key] of Object.entries(next.findings ?? {}))
    if (!findings.has(name)) findings.set(name, { run: next.key, key });
  changed();
}

export function setPlace(next) {
  if (JSON.stringify(next) === JSON.stringify(place)) return;
  place = next;
  changed();
}

/** The raw value of a control; undefined where the visitor has left it alone. */
export const valueOf = (name) => values.get(name);

/** Set a control, or leave it at its default again with undefined. */
export function setValue(name, value) {
  ofLink.delete(name);
  if (JSON.stringify(values.get(name)) === JSON.stringify(value)) return;
  if (value === undefined) values.delete(name);
  else values.set(name, value);
  changed();
}

/** Everything that was moved, for links and reports. */
export const allValues = () => Object.fromEntries(values);

/** The key of what an experiment has found in the page's run; undefined for nothing. */
export function findingOf(name) {
  const found = findings.get(name);
  return found && found.run === run.key ? found.key : undefined;
}

export function setFinding(name, runKey, key) {
  findings.set(name, { run: runKey, key });
  changed();
}

/** @type {Map<string, string[]>} by part: what it needs of other parts and is not there yet */
const awaited = new Map();

/** Have what runs by itself in another part run for this one, too. */
export function awaitFindings(part, names) {
  if (JSON.stringify(awaited.get(part) ?? []) === JSON.stringify(names)) return;
  awaited.set(part, names);
  changed();
}

export const isAwaited = (name) => [...awaited.values()].some((names) => names.includes(name));

/** Have an experiment not found anything yet. */
export function forgetFinding(name) {
  if (findings.delete(name)) changed();
}

export const allFindings = () => Object.fromEntries(
  [...findings].filter(([, found]) => found.run === run.key).map(([name, { key }]) => [name, key]));

/** Take what a link has restored, before its run begins. */
function restore({ values: settings = {}, tabs = [], unknown = 0 }) {
  values.clear();
  ofLink.clear();
  for (const [name, value] of Object.entries(settings)) {
    values.set(name, value);
    ofLink.add(name);
  }
  leftOut = unknown;
  tellLeftOut();
  // Stages first, then the parts inside the one that is selected.
  openTabs(tabs);
}

/** Say how many settings of the link do not fit; known once their parts have been drawn. */
function tellLeftOut() {
  const place = document.querySelector("#link-notice");
  place?.querySelector("[data-left-out]")?.remove();
  if (!leftOut || !place) return;
  const words = TEXTS[document.documentElement.lang.split("-")[0]] ?? TEXTS.en;
  const note = document.createElement("div");
  note.className = "link-notice";
  note.dataset.leftOut = String(leftOut);
  note.setAttribute("role", "status");
  const line = document.createElement("p");
  line.textContent = words.leftOut(leftOut);
  note.append(line);
  place.append(note);
}

document.addEventListener("setting-left-out", (event) => {
  if (!ofLink.has(event.detail)) return; // of an earlier run
  leftOut += 1;
  tellLeftOut();
});

/** What the page shows, for links and reports. */
export function pageState() {
  const selected = document.querySelectorAll(
    "#stage-column [role=tab][aria-selected=true][data-tab-id]");
  const tabs = [...selected].map((tab) => /** @type {HTMLElement} */ (tab).dataset.tabId);
  return { run: run.key, place, values: allValues(), findings: allFindings(), tabs };
}

// Gradio's own events read it by this name: their `js` is no module.
Object.assign(window, { playgroundState: pageState });

/** Does the address hold more than a language and a theme? */
const mayBeLink = () =>
  [...new URLSearchParams(location.search).keys()].some((key) => !OF_THE_PAGE.includes(key));

/** The browser half of RunView (run_view.py). */
export function mount({ props, watch, trigger }) {
  document.addEventListener("rerun", ({ detail }) => trigger("rerun", detail));
  const update = () => {
    if (!props.value) return;
    const { restored, isDefault, ...next } = JSON.parse(props.value);
    if (isDefault && mayBeLink()) return; // the server says what to begin with
    if (restored) restore(restored);
    setRun(next);
  };
  watch("value", update);
  update();
}
