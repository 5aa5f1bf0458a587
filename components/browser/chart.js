// @ts-check
// A chart: draws a Plotly figure, with a table of its numbers, the pointer's marks and buttons.

import { saveCsv, savePng } from "./chart_files.js";
import { loadPlotly } from "./chart_library.js";
import { CONFIG, chartTemplate, startingMargins, stepBack } from "./chart_look.js";
import { markChart, wishOf } from "./chart_pointer.js";
import { drawNoMore, drawSoon } from "./chart_queue.js";
import { fillTable, listRows, plain } from "./chart_table.js";
import { TEXTS } from "./chart_texts.js";
import { shareTouch } from "./chart_touch.js";
import { warmUpPlotly } from "./chart_warmup.js";
import { make } from "./elements.js";

// ---------------------------------------------------------------------------- once for the page

let warmedUp = false;

/** Load and warm up what charts need while the reader looks at the first tab, which has no
 * chart. */
export function warmUp(plotlyAddress) {
  if (warmedUp) return;
  warmedUp = true;
  const isNeeded = () => ![...views].some((view) => view.isDrawn());
  const load = () => loadPlotly(plotlyAddress, TEXTS.en)
    .then((plotly) => warmUpPlotly(plotly, isNeeded))
    .catch(() => {}); // the first chart reports a failure
  (window.requestIdleCallback ?? setTimeout)(load, { timeout: 5000 });
}

const views = new Set();

// Gradio does not notify a component of its removal, so check after each change of the page.
new MutationObserver(() => {
  for (const view of views) if (!view.element.isConnected) view.dispose();
}).observe(document.documentElement, { childList: true, subtree: true });

// Mark the page's selection (pointer.js) on every chart whose figure says what its points mean.
/** @type {Selections} */
let selections = {};
document.addEventListener("pointer-change", (event) => {
  selections = event.detail;
  views.forEach((view) => view.mark());
});

// Dark mode is a class on <body> (or <html>): repaint in place, without asking the server.
const modeObserver = new MutationObserver(() => views.forEach((view) => view.draw()));
for (const node of [document.documentElement, document.body])
  modeObserver.observe(node, { attributes: true, attributeFilter: ["class"] });

// -------------------------------------------------------------------------------- small helpers

/** A value as a JSON number, string or list, even if Plotly holds it in a typed array. */
function toPlain(value) {
  if (ArrayBuffer.isView(value) || Array.isArray(value))
    return Array.from(/** @type {ArrayLike<any>} */ (value), toPlain);
  return value ?? null;
}

/** The parts of a Plotly event that a handler needs. */
function describePoints(event) {
  return (event.points ?? []).map((point) => ({
    curve: point.curveNumber,
    trace_name: point.data?.name ?? null,
    point_index: toPlain(point.pointNumber ?? point.pointIndex),
    x: toPlain(point.x),
    y: toPlain(point.y),
    z: toPlain(point.z),
    label: point.data?.labels ? toPlain(point.label) : null,
    customdata: toPlain(point.customdata),
  }));
}

// ------------------------------------------------------------------------------------ one chart

const ICONS = {
  reset: "M4 10a6 6 0 1 0 2-4.5M6 2v4h4",
  png: "M3 4h14v12H3zM3 13l4-4 4 4 2-2 4 4M13 7.5h.01",
  csv: "M3 4h14v12H3zM3 8h14M3 12h14M8 4v12",
};

function iconButton(name, words) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = `chart-${name}`;
  button.title = words;
  button.setAttribute("aria-label", words);
  button.innerHTML = `<svg viewBox="0 0 20 20" aria-hidden="true"><path d="${ICONS[name]}"/></svg>`;
  return button;
}

/**
 * Make a chart at the end of an element.
 * @param {HTMLElement} parent
 * @param {{label: string, empty: string, words: Record<string, any>, plotly: string,
 *   language: string}} options - `label` and `empty` are shown while there is nothing to draw;
 *   `plotly` is the library's URL
 */
export function createChart(parent, { label, empty, words, plotly, language }) {
  const box = make("figure", "chart-box");
  box.dataset.state = "empty";
  box.dataset.language = language;
  const head = make("figcaption", "chart-head");
  head.append(make("span", "chart-title"), iconButton("reset", words.reset),
    iconButton("png", words.png), iconButton("csv", words.csv));
  const error = make("div", "chart-error");
  error.setAttribute("role", "alert");
  const drawing = make("div", "chart-plot");
  drawing.setAttribute("role", "img");
  drawing.setAttribute("aria-label", label || words.chart);
  const details = make("details", "chart-table");
  const rows = make("div", "chart-rows");
  rows.setAttribute("role", "region");
  rows.tabIndex = 0;
  details.append(make("summary", "", words.table), rows);
  const nothing = [label, empty || words.nothing].filter(Boolean).join(" — ");
  box.append(make("div", "chart-empty", nothing), error, head, drawing, details);
  parent.append(box);
  return bringToLife(parent, { plotlyAddress: plotly, label });
}

/** Set up a chart's elements; returns `show(figure)`, which takes null for no figure. */
function bringToLife(element, { plotlyAddress, label }) {
  const part = (name) => element.querySelector(`.chart-${name}`);
  const [box, plot, details] = [part("box"), part("plot"), part("table")];
  const texts = TEXTS[box.dataset.language] ?? TEXTS.en;
  /** @type {Figure | null} */
  let figure = null; // the parsed value
  /** @type {PlotlyLibrary | null} */
  let plotly = null;
  let drawn = false;
  let drawnWidth = 0;
  let resets = 0;
  let touched = false; // by the reader, since the chart was created or reset
  const marks = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  marks.setAttribute("class", "chart-marks");
  marks.setAttribute("aria-hidden", "true");
  box.append(marks);

  function showError(error) {
    console.warn("Chart:", error);
    box.dataset.state = "error";
    part("error").textContent = texts.failed + (error?.message ?? error);
  }

  /** Discard the drawing; this frees its WebGL context at once instead of at garbage collection. */
  function purge() {
    for (const canvas of plot.querySelectorAll("canvas"))
      canvas.getContext("webgl")?.getExtension("WEBGL_lose_context")?.loseContext();
    if (drawn) plotly?.purge(plot);
    drawn = false;
    drawnWidth = 0;
  }

  async function react() {
    plotly = await loadPlotly(plotlyAddress, texts);
    const width = Math.floor(plot.clientWidth);
    // In a closed tab the width is zero: the resize observer will draw it later.
    if (!figure || width === 0 || !element.isConnected) return;
    // Plotly modifies its arguments, so each drawing gets its own copy.
    const { data, layout } = structuredClone(figure);
    layout.template = chartTemplate(box);
    layout.margin ??= startingMargins(figure);
    layout.width = width;
    layout.height = height();
    plot.style.height = `${layout.height}px`;
    stepBack(layout);
    layout.title = { text: "" }; // shown above as text that wraps
    // As long as this stays the same, Plotly keeps the reader's zoom, camera and hidden series.
    layout.uirevision = `${layout.uirevision ?? layout.meta?.uirevision ?? "keep"}/${resets}`;
    drawnWidth = width;
    keepCamera();
    await plotly.react(plot, data, layout, CONFIG);
    if (!drawn) {
      drawn = true; // purging also removes the listeners
      plot.on("plotly_click", (event) => announce("chart-click", event));
      plot.on("plotly_hover", (event) => announce("chart-hover", event));
      plot.on("plotly_unhover", () => announce("chart-unhover", {}));
      plot.on("plotly_afterplot", mark); // also after a zoom
      mark();
    }
    if (details.open) showTable();
  }

  /**
   * Make Plotly redraw a scene from the reader's camera. Plotly records the camera when the button
   * is released, and the scene then keeps turning. It also records it only in the layout of the
   * first drawing, and never after a turn by touch.
   */
  function keepCamera() {
    if (!drawn || !touched) return;
    plot._fullLayout.scene?._scene.saveLayout(plot.layout);
  }

  /** Tell the page what the reader points at in this chart. */
  function announce(name, event) {
    const meta = figure?.layout?.meta?.pointer;
    const wishes = (event.points ?? []).map((point) => wishOf(point, meta));
    const pick = figure?.layout?.meta?.pick;
    const detail = { points: describePoints(event), wishes, pick };
    element.dispatchEvent(new CustomEvent(name, { detail, bubbles: true }));
  }

  /** Draw the pointer's marks over the plot. */
  function mark() {
    if (!drawn || !plot.offsetParent) return;
    const { offsetLeft: left, offsetTop: top, offsetWidth: width, offsetHeight: tall } = plot;
    Object.assign(marks.style, {
      left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${tall}px` });
    keepCamera();
    markChart(plotly, plot, marks, figure?.layout?.meta?.pointer, selections);
  }

  /** Queue it for another drawing. */
  function draw() {
    if (!figure) return;
    drawSoon(view);
  }

  const layoutNow = () => figure?.layout ?? {};

  /** The figure's height; a scene, about as wide as tall, is limited so that no space stays
   * empty. */
  function height() {
    const { height: tall = 340, scene } = layoutNow();
    return scene && plot.clientWidth ? Math.min(tall, Math.round(1.1 * plot.clientWidth)) : tall;
  }
  const showTable = () => fillTable(part("rows"), plot._fullData ?? [], layoutNow(), texts);

  /** An empty box, or a figure with its title, name and height. */
  function show(next) {
    try {
      figure = next;
      box.dataset.state = figure ? "drawn" : "empty";
      if (!figure) return purge();
      const { title, meta } = figure.layout;
      const [name, alt] = [plain(title?.text ?? label), plain(meta?.alt)];
      part("title").textContent = name;
      plot.style.height = `${height()}px`; // before drawing, so that the page does not jump
      plot.setAttribute("aria-label", [name, alt].filter(Boolean).join(". ") || texts.image);
      part("rows").setAttribute("aria-label", name || texts.image);
      draw();
    } catch (error) {
      showError(error);
    }
  }

  function toPng() {
    keepCamera();
    const options = { figure, name: part("title").textContent, height: height() };
    savePng(plotly, plot, box, options).catch(showError);
  }

  function toCsv() {
    const rows = listRows(plot._fullData ?? [], layoutNow(), texts);
    saveCsv(rows, part("title").textContent);
  }

  const resizeObserver = new ResizeObserver(() => {
    if (Math.floor(plot.clientWidth) !== drawnWidth) draw();
  });
  const view = {
    element,
    draw,
    render: () => react().catch(showError),
    mark,
    isDrawn: () => drawn,
    dispose() {
      views.delete(view);
      drawNoMore(view);
      resizeObserver.disconnect();
      purge();
    },
  };
  views.add(view);
  loadPlotly(plotlyAddress, texts).catch(() => {}); // early; the first figure reports failures
  resizeObserver.observe(plot);
  part("png").addEventListener("click", toPng);
  part("csv").addEventListener("click", toCsv);
  part("reset").addEventListener("click", () => {
    resets += 1;
    touched = false;
    draw();
  });
  for (const touch of ["mousedown", "touchstart", "wheel"])
    plot.addEventListener(touch, () => (touched = true), { capture: true, passive: true });
  shareTouch(plot);
  details.addEventListener("toggle", () => details.open && drawn && showTable());
  return { show };
}
