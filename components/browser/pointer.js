// @ts-check
// The browser half of PointerView (view.py): one pointer for all tabs. It marks a token or patch in
// every view, and reports a click.

import { describe, locate, locatePatch, locateToken, tokensAround } from "./places.js";
import { setPlace } from "./run.js";

// ------------------------------------------------------------------------------------ the state

/** @type {RunLayout | null} */
let layout = null; // of the page's run
/** @type {Place | null} */
let fixed = null; // the selected place
/** @type {Place | null} */
let hovered = null;
/** @type {{element: HTMLElement} | null} */
let bar = null; // the arguments of `mount`
let scheduled = false;

/** The selected place, if it means the same in this run as in the run where it was selected. */
function currentPlace() {
  if (!fixed || !layout) return null;
  const { patch, span, index } = fixed;
  const again = patch ? locatePatch(layout, span, ...patch) : locateToken(layout, index);
  return JSON.stringify(again) === JSON.stringify(fixed) ? fixed : null;
}

/** @param {Place | null} place */
function hover(place) {
  if (place?.index === hovered?.index && `${place?.patch}` === `${hovered?.patch}`) return;
  hovered = place;
  schedule();
}

/**
 * @param {Place | null} place
 * @param {Element | null} from - what was clicked
 */
function fix(place, from = null) {
  fixed = place;
  hovered = null;
  setPlace(asked(fixed));
  markAll();
  if (place) showMarks(from);
}

/**
 * A place in the server's form, with its image.
 * @param {Place | null} place
 */
const asked = (place) => (!place ? null : place.patch
  ? { span: place.span, row: place.patch[0], column: place.patch[1], picture: place.span }
  : { index: place.index, picture: place.span });

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
  const places = { fixed: currentPlace(), hovered };
  markElements(places);
  for (const frame of document.querySelectorAll(".pg-picture-frame[data-span]"))
    markPicture(frame, places);
  document.dispatchEvent(new CustomEvent("pointer-change", { detail: places }));
  writeBar(places);
}

/** Chips, table rows, and patches that are elements. */
function markElements({ fixed: pinned, hovered: over }) {
  const holds = (element, place) => {
    if (!place) return false;
    const { start, end, span, row, column } = element.dataset;
    if (start !== undefined) return +start <= place.index && place.index < +end;
    const [top, left] = place.patch ?? [];
    return +span === place.span && (place.patch
      ? +row === top && +column === left
      : place.rows[0] <= +row && +row <= place.rows[1] &&
        place.columns[0] <= +column && +column <= place.columns[1]);
  };
  const targets = document.querySelectorAll("[data-pointer] [data-start], [data-span][data-row]");
  for (const element of targets) {
    element.classList.toggle("pg-fixed", holds(element, pinned));
    element.classList.toggle("pg-hovered", holds(element, over));
  }
}

const SVG = "http://www.w3.org/2000/svg";

/** The token's block of patches and, if one was selected, the patch, on an image. */
function markPicture(frame, places) {
  const span = layout?.spans[frame.dataset.span];
  if (!span) return;
  let overlay = frame.querySelector(".pg-point");
  if (!overlay) {
    overlay = document.createElementNS(SVG, "svg");
    overlay.setAttribute("class", "pg-point");
    overlay.setAttribute("preserveAspectRatio", "none");
    overlay.setAttribute("aria-hidden", "true");
    frame.append(overlay);
  }
  overlay.setAttribute("viewBox", `0 0 ${span.gridW} ${span.gridH}`);
  const rects = [];
  for (const name of ["hovered", "fixed"]) {
    const place = places[name];
    if (place?.span !== Number(frame.dataset.span)) continue;
    const [top, left, size] = [place.rows[0], place.columns[0], span.mergeSize];
    const rect = (kind, x, y, side) =>
      `<rect class="pg-point-${kind} pg-point-${name}" x="${x}" y="${y}" width="${side}" ` +
      `height="${side}"/>`;
    rects.push(rect("shade", left, top, size), rect("token", left, top, size));
    if (place.patch) rects.push(rect("patch", place.patch[1], place.patch[0], 1));
  }
  const drawn = rects.join("");
  if (overlay.dataset.drawn === drawn) return;
  overlay.dataset.drawn = drawn;
  overlay.innerHTML = drawn; // contains only our own numbers
}

/** Scroll marks into view inside their lists; the page itself does not scroll. */
function showMarks(from) {
  for (const element of document.querySelectorAll(".pg-fixed")) {
    const list = element.closest(".pg-table, .pg-strip, .pg-scroll");
    if (!list || list === from?.closest?.(".pg-table, .pg-strip, .pg-scroll")) continue;
    const [box, outer] = [element.getBoundingClientRect(), list.getBoundingClientRect()];
    if (box.height === 0) continue; // in a closed tab
    if (box.top < outer.top + 30 || box.bottom > outer.bottom)
      list.scrollTop += box.top - outer.top - outer.height / 2;
  }
}

function writeBar({ fixed: pinned, hovered: over }) {
  if (!bar) return;
  const box = /** @type {HTMLElement} */ (bar.element.querySelector(".pg-pointer"));
  const words = /** @type {HTMLElement} */ (box.querySelector(".pg-pointer-words"));
  const place = over ?? pinned;
  box.hidden = !place;
  box.classList.toggle("pg-pointer-pinned", Boolean(pinned));
  if (place && layout) words.textContent = describe(layout, place);
}

// ------------------------------------------------------------------------ what the reader points at

/** @param {Event} event */
const targetOf = ({ target }) => (target instanceof Element ? target : null);

/** The place under a mouse event, from the innermost view that has one. */
function placeAt(event) {
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
  const token = closest("[data-pointer] [data-start]");
  if (!token) return null;
  const [start, end] = [Number(token.dataset.start), Number(token.dataset.end)];
  const pinned = currentPlace();
  // One chip stands for all tokens of an image: keep the selected one among them.
  if (pinned && start <= pinned.index && pinned.index < end) return pinned;
  return locateToken(layout, start);
}

/** The image tokens around the one under a mouse event, that one first. */
export function paintedBy(event, around) {
  const place = placeAt(event);
  if (!layout || place?.span === undefined) return [];
  const others = tokensAround(layout, place, around).filter((index) => index !== place.index);
  return [place.index, ...others];
}

function chartPlace({ detail }) {
  return locate(layout, detail.wishes?.find(Boolean));
}

function step(by) {
  const pinned = currentPlace();
  const next = layout && pinned && locateToken(layout, pinned.index + by);
  if (next) fix(next);
}

function listen() {
  document.addEventListener("pointermove", (event) => {
    if (event.pointerType === "touch") return; // a finger selects by a tap
    if (targetOf(event)?.closest(".plotly-view")) return; // charts report their own events
    hover(placeAt(event));
  }, { passive: true });
  document.addEventListener("click", (event) => {
    const target = targetOf(event);
    if (target?.closest("a, button, summary, input, .plotly-view")) return;
    const place = placeAt(event);
    if (place && !getSelection()?.toString()) fix(place, target);
  });
  document.addEventListener("chart-hover", (event) => hover(chartPlace(event)));
  document.addEventListener("chart-unhover", () => hover(null));
  document.addEventListener("chart-click", (event) => {
    const place = chartPlace(event);
    if (place) fix(place, targetOf(event));
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
    layout = props.value ? JSON.parse(props.value) : null;
    hovered = null;
    const linked = locate(layout, layout?.place); // the link's selection, once its run exists
    if (linked) fix(linked);
    else {
      setPlace(asked(currentPlace()));
      markAll();
    }
  };
  watch("value", update);
  if (isFirst) listen();
  update();
}
