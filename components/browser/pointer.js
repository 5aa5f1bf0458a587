// @ts-check
// The browser half of PointerView (view.py): one pointer for all tabs. It marks a token or patch in
// every view, and reports a click.

import { addAnswer, describe, locate, locatePatch, locateToken, tokensAround } from "./locate.js";
import { answerStart, markElements, markImage, showMarks } from "./marks.js";
import { setSelection } from "./run.js";

// ------------------------------------------------------------------------------------ the state

/** @type {RunLayout | null} */
let ofRun = null; // the layout of the page's run
/** @type {RunLayout | null} */
let layout = null; // the same with the answer's tokens, if the page shows an answer
let answerText = ""; // what the page shows of an answer, see `readAnswer`
/** @type {Answer | null} */
let answer = null; // the same, read
/** @type {number | null} */
let wantedAnswer = null; // a token of an answer that is not there yet
/** @type {TokenSelection | null} */
let fixed = null; // the selected token or patch
/** @type {TokenSelection | null} */
let hovered = null;
/** @type {{element: HTMLElement} | null} */
let bar = null; // the arguments of `mount`
let scheduled = false;

/** The selection, if it means the same in this run as in the run where it was selected. */
function currentSelection() {
  if (!fixed || !layout) return null;
  const { patch, span, index } = fixed;
  const again = patch ? locatePatch(layout, span, ...patch) : locateToken(layout, index);
  return JSON.stringify(again) === JSON.stringify(fixed) ? fixed : null;
}

/** @param {TokenSelection | null} selection */
function hover(selection) {
  if (selection?.index === hovered?.index && `${selection?.patch}` === `${hovered?.patch}`) return;
  hovered = selection;
  schedule();
}

/**
 * @param {TokenSelection | null} selection
 * @param {Element | null} from - what was clicked
 */
function fix(selection, from = null) {
  fixed = selection;
  wantedAnswer = null;
  hovered = null;
  setSelection(asked(fixed));
  markAll();
  if (selection) showMarks(from);
}

/**
 * A selection in the server's form, with its image.
 * @param {TokenSelection | null} selection
 */
const asked = (selection) => (!selection || !ofRun ? null
  : selection.index >= ofRun.positions[0].length
    ? { answer: selection.index - ofRun.positions[0].length }
    : selection.patch ? {
    span: selection.span, row: selection.patch[0], column: selection.patch[1],
    image: selection.span,
  } : { index: selection.index, image: selection.span });

/** Add the tokens of the answer that the decoder tab shows (sequence.py) to the run's layout. */
function readAnswer() {
  const shown = /** @type {HTMLElement | null} */ (document.querySelector("[data-answer]"));
  const text = shown?.dataset.answer ?? "";
  if (text === answerText) return;
  answerText = text;
  answer = text ? JSON.parse(text) : null;
  layout = ofRun && answer ? addAnswer(ofRun, answer) : ofRun;
  if (!layout || !ofRun || wantedAnswer === null) return;
  const wanted = locateToken(layout, ofRun.positions[0].length + wantedAnswer);
  if (wanted) fix(wanted);
}

/** Select a token of the answer, as soon as the page shows it. */
export function selectAnswer(number) {
  wantedAnswer = number;
  answerText = "";
  schedule();
}

/** Mark before the next frame; calls in between are merged. */
function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    markAll();
  });
}

// ------------------------------------------------------------------------------------- the marks

function markAll() {
  readAnswer();
  const selections = { fixed: currentSelection(), hovered };
  markElements(selections, answer);
  for (const frame of document.querySelectorAll(".pg-picture-frame[data-span]"))
    markImage(frame, selections, layout);
  document.dispatchEvent(new CustomEvent("pointer-change", { detail: selections }));
  writeBar(selections);
}

function writeBar({ fixed: pinned, hovered: over }) {
  if (!bar) return;
  const box = /** @type {HTMLElement} */ (bar.element.querySelector(".pg-pointer"));
  const words = /** @type {HTMLElement} */ (box.querySelector(".pg-pointer-words"));
  const selection = over ?? pinned;
  box.hidden = !selection;
  box.classList.toggle("pg-pointer-pinned", Boolean(pinned));
  if (selection && layout) words.textContent = describe(layout, selection);
}

// ------------------------------------------------------------------------ what the reader points at

/** @param {Event} event */
const targetOf = ({ target }) => (target instanceof Element ? target : null);

/** The token or patch under a mouse event, from the innermost view that has one. */
function selectionAt(event) {
  const target = targetOf(event);
  if (!layout || !target) return null;
  /** @type {(selector: string) => HTMLElement | null} */
  const closest = (selector) => target.closest(selector);
  const patch = closest("[data-span][data-row]");
  if (patch) {
    const { span, row, column } = patch.dataset;
    return locatePatch(layout, Number(span), Number(row), Number(column));
  }
  const frame = closest(".pg-picture-frame[data-span]");
  if (frame) {
    const number = Number(frame.dataset.span);
    const span = layout.spans[number];
    const box = frame.getBoundingClientRect();
    if (!span || !box.width || !box.height) return null;
    const share = (value, size) => Math.min(Math.max(Math.floor(value * size), 0), size - 1);
    const row = share((event.clientY - box.top) / box.height, span.gridH);
    const column = share((event.clientX - box.left) / box.width, span.gridW);
    return locatePatch(layout, number, row, column);
  }
  const list = closest("[data-ids]");
  const number = list ? [...list.children].findIndex((chip) => chip.contains(target)) : -1;
  const first = answerStart(list, answer);
  if (number >= 0 && first !== null) return locateToken(layout, first + number);
  const token = closest("[data-pointer] [data-start]");
  if (!token) return null;
  const [start, end] = [Number(token.dataset.start), Number(token.dataset.end)];
  const pinned = currentSelection();
  // One chip stands for all tokens of an image: keep the selected one among them.
  if (pinned && start <= pinned.index && pinned.index < end) return pinned;
  return locateToken(layout, start);
}

/** The image tokens around the one under a mouse event, that one first. */
export function imageTokensAround(event, around) {
  const selection = selectionAt(event);
  if (!layout || selection?.span === undefined) return [];
  const { index: first } = selection;
  const others = tokensAround(layout, selection, around).filter((index) => index !== first);
  return [first, ...others];
}

function chartSelection({ detail }) {
  return locate(layout, detail.wishes?.find(Boolean));
}

function step(by) {
  const pinned = currentSelection();
  const next = layout && pinned && locateToken(layout, pinned.index + by);
  if (next) fix(next);
}

function listen() {
  document.addEventListener("pointermove", (event) => {
    if (event.pointerType === "touch") return; // a finger selects by a tap
    if (targetOf(event)?.closest(".plotly-view")) return; // charts report their own events
    hover(selectionAt(event));
  }, { passive: true });
  document.addEventListener("click", (event) => {
    const target = targetOf(event);
    if (target?.closest("a, button, summary, input, .plotly-view")) return;
    const selection = selectionAt(event);
    if (selection && !getSelection()?.toString()) fix(selection, target);
  });
  document.addEventListener("chart-hover", (event) => hover(chartSelection(event)));
  document.addEventListener("chart-unhover", () => hover(null));
  document.addEventListener("chart-click", (event) => {
    const selection = chartSelection(event);
    if (selection) fix(selection, targetOf(event));
  });
  document.addEventListener("keydown", (event) => {
    const typing = targetOf(event)?.closest("input, textarea, [contenteditable]");
    if (event.key === "Escape" && fixed && !typing) fix(null);
  });
  // Redrawn views lose their marks. Charts and the bar restore their own; changes made by marking
  // must not trigger more marking.
  const ours = ({ target }) => target.closest?.(".plotly-view, .pg-pointer-bar, .pg-point");
  const added = ({ addedNodes }) =>
    [...addedNodes].some((node) => !node.classList?.contains("pg-point"));
  new MutationObserver((records) => {
    if (records.some((record) => !ours(record) && added(record))) schedule();
  }).observe(document.querySelector("#stage-column") ?? document.body,
    { childList: true, subtree: true });
}

/** Mount the bar; `element`, `props`, `trigger`, `watch` are Gradio's. */
export function mount({ element, props, watch }) {
  const isFirst = !bar;
  bar = { element };
  const actions = { previous: () => step(-1), next: () => step(1), clear: () => fix(null) };
  for (const [name, act] of Object.entries(actions))
    element.querySelector(`.pg-pointer-${name}`).addEventListener("click", act);
  const update = () => {
    ofRun = layout = props.value ? JSON.parse(props.value) : null;
    answerText = "";
    readAnswer();
    hovered = null;
    const wish = layout?.selection; // the link's selection, once its run exists
    const linked = locate(layout, wish);
    if (linked) fix(linked);
    else if (ofRun && wish?.index !== undefined) selectAnswer(wish.index - ofRun.positions[0].length);
    else {
      setSelection(asked(currentSelection()));
      markAll();
    }
  };
  watch("value", update);
  if (isFirst) listen();
  update();
}
