// The browser half of PlotlyView (view.py): draws one Plotly figure in one Gradio HTML
// component. Loaded once as a module and shared by every chart on the page.

// The version is a folder of the address: what lies beside this module is renewed with it.
const beside = (file) => new URL(file, import.meta.url).href;
const FILES = ["chart_texts.js", "chart_table.js", "chart_pointer.js", "chart_look.js",
  "chart_files.js", "chart_touch.js", "chart_warmup.js"];
const [{ TEXTS }, table, { markChart, wishOf }, { chartTemplate, stepBack, CONFIG }, files,
  { shareTouch }, { warmUpPlotly }] = await Promise.all(FILES.map((file) => import(beside(file))));
const { fillTable, listRows, plain } = table;

// ---------------------------------------------------------------------------- once for the page

const styles = document.createElement("link");
styles.rel = "stylesheet";
const stylesLoaded = new Promise((done) => (styles.onload = styles.onerror = done));
styles.href = beside("plotly_view.css");
document.head.append(styles);

let library = null;

/** Load plotly.js once for the page; a failed attempt may be repeated by the next chart. */
function loadPlotly(address, texts) {
  library ??= new Promise((done, fail) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = () => done(window.Plotly);
    script.onerror = () => {
      library = null;
      script.remove();
      fail(new Error(texts.offline));
    };
    document.head.append(script);
  });
  return Promise.all([library, stylesLoaded]).then(([plotly]) => plotly);
}

/** Let the page answer the reader between two charts: all at one go would freeze it for seconds. */
const breathe = () => new Promise((done) => setTimeout(done));

/** Load and try what charts need while the reader looks at the first tab, which has none. */
export function warmUp(_page, plotlyAddress) {
  const isNeeded = () => ![...views].some((view) => view.isDrawn());
  const load = () => loadPlotly(plotlyAddress, TEXTS.en)
    .then((plotly) => warmUpPlotly(plotly, isNeeded))
    .catch(() => {}); // the first chart reports
  (window.requestIdleCallback ?? setTimeout)(load, { timeout: 5000 });
}

const views = new Set();

// Gradio tells a component nothing about its removal, so look after each change of the page.
new MutationObserver(() => {
  for (const view of views) if (!view.element.isConnected) view.dispose();
}).observe(document.documentElement, { childList: true, subtree: true });

// Where the page's pointer is (pointer.js), on every chart whose figure says what its places mean.
let places = {};
document.addEventListener("pointer-change", (event) => {
  places = event.detail;
  views.forEach((view) => view.mark());
});

// Dark mode is a class on <body> (or <html>): repaint in place, without asking the server.
const modeObserver = new MutationObserver(() => views.forEach((view) => view.draw()));
for (const node of [document.documentElement, document.body])
  modeObserver.observe(node, { attributes: true, attributeFilter: ["class"] });

// -------------------------------------------------------------------------------- small helpers

/** A number, string or list that JSON can carry, whatever typed array Plotly holds it in. */
function toPlain(value) {
  if (ArrayBuffer.isView(value) || Array.isArray(value)) return Array.from(value, toPlain);
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

/** Bring one component to life; `element`, `props`, `trigger`, `watch` are Gradio's. */
export function mount({ element, props, trigger, watch }, plotlyAddress) {
  const part = (name) => element.querySelector(`.chart-${name}`);
  const [box, plot, details] = [part("box"), part("plot"), part("table")];
  const texts = TEXTS[box.dataset.language] ?? TEXTS.en;
  let figure = null; // the parsed value
  let plotly = null;
  let drawn = false;
  let drawnWidth = 0;
  let resets = 0;
  let running = false;
  let stale = false;
  let touched = false; // by the reader, since the chart was made or reset
  const marks = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  marks.setAttribute("class", "chart-marks");
  marks.setAttribute("aria-hidden", "true");
  box.append(marks);

  function showError(error) {
    console.warn("PlotlyView:", error);
    box.dataset.state = "error";
    part("error").textContent = texts.failed + (error?.message ?? error);
  }

  /** Throw the drawing away; a WebGL context is given back at once, not when memory is tidied. */
  function purge() {
    for (const canvas of plot.querySelectorAll("canvas"))
      canvas.getContext("webgl")?.getExtension("WEBGL_lose_context")?.loseContext();
    if (drawn) plotly.purge(plot);
    drawn = false;
    drawnWidth = 0;
  }

  async function render() {
    plotly = await loadPlotly(plotlyAddress, texts);
    await breathe();
    const width = Math.floor(plot.clientWidth);
    // In a closed tab the width is zero: the resize observer comes back.
    if (!figure || width === 0 || !element.isConnected) return;
    // Plotly writes into what it is given, so each drawing gets its own copy.
    const { data, layout } = structuredClone(figure);
    layout.template = chartTemplate(box);
    layout.width = width;
    layout.height = height();
    plot.style.height = `${layout.height}px`;
    stepBack(layout);
    layout.title = { text: "" }; // stands above as text that wraps
    // As long as this stays the same, Plotly keeps the reader's zoom, camera and hidden series.
    layout.uirevision = `${layout.uirevision ?? layout.meta?.uirevision ?? "keep"}/${resets}`;
    drawnWidth = width;
    keepCamera();
    await plotly.react(plot, data, layout, CONFIG);
    if (!drawn) {
      drawn = true; // purging also takes the listeners away
      plot.on("plotly_click", (event) => {
        trigger("select", { points: describePoints(event) });
        announce("chart-click", event);
      });
      plot.on("plotly_hover", (event) => announce("chart-hover", event));
      plot.on("plotly_unhover", () => announce("chart-unhover", {}));
      plot.on("plotly_afterplot", mark); // also after a zoom
    }
    mark();
    if (details.open) showTable();
  }

  /**
   * Have Plotly draw a scene again from where the reader sees it. Its own record is made when the
   * button is let go: the scene then turns on by the speed of the last move. It is also made in the
   * layout of the first drawing only, and not at all after a turn by touch.
   */
  function keepCamera() {
    if (!drawn || !touched) return;
    plot._fullLayout.scene?._scene.saveLayout(plot.layout);
  }

  /** Tell the page what the reader points at in this chart. */
  function announce(name, event) {
    const meta = figure?.layout?.meta?.pointer;
    const wishes = (event.points ?? []).map((point) => wishOf(point, meta));
    const detail = { points: describePoints(event), wishes };
    element.dispatchEvent(new CustomEvent(name, { detail, bubbles: true }));
  }

  /** Draw the pointer's marks over the plot. */
  function mark() {
    if (!drawn || !plot.offsetParent) return;
    const { offsetLeft: left, offsetTop: top, offsetWidth: width, offsetHeight: tall } = plot;
    Object.assign(marks.style, {
      left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${tall}px` });
    keepCamera();
    markChart(plotly, plot, marks, figure?.layout?.meta?.pointer, places);
  }

  /** Draw once more; calls that come while a drawing runs are joined into one. */
  async function draw() {
    stale = true;
    if (running || !figure) return;
    running = true;
    try {
      while (stale) {
        stale = false;
        await render();
      }
    } catch (error) {
      showError(error);
    } finally {
      running = false;
    }
  }

  /** As the figure says; a scene, which is about as wide as tall, leaves no empty ground. */
  function height() {
    const { height: tall = 340, scene } = figure.layout;
    return scene && plot.clientWidth ? Math.min(tall, Math.round(1.1 * plot.clientWidth)) : tall;
  }
  const showTable = () => fillTable(part("rows"), plot._fullData ?? [], figure.layout, texts);

  /** Take the component's value: an empty box, or a figure with its title, name and height. */
  function update() {
    try {
      figure = props.value ? JSON.parse(props.value) : null;
      box.dataset.state = figure ? "drawn" : "empty";
      if (!figure) return purge();
      const { title, meta } = figure.layout;
      const [name, alt] = [plain(title?.text ?? props.label), plain(meta?.alt)];
      part("title").textContent = name;
      plot.style.height = `${height()}px`; // before drawing, so that the page does not jump
      plot.setAttribute("aria-label", [name, alt].filter(Boolean).join(". ") || texts.picture);
      part("rows").setAttribute("aria-label", name || texts.picture);
      draw();
    } catch (error) {
      showError(error);
    }
  }

  function savePng() {
    keepCamera();
    const options = { figure, name: part("title").textContent, height: height() };
    files.savePng(plotly, plot, box, options).catch(showError);
  }

  function saveCsv() {
    const rows = listRows(plot._fullData ?? [], figure.layout, texts);
    files.saveCsv(rows, part("title").textContent);
  }

  const resizeObserver = new ResizeObserver(() => {
    if (Math.floor(plot.clientWidth) !== drawnWidth) draw();
  });
  const view = {
    element,
    draw,
    mark,
    isDrawn: () => drawn,
    dispose() {
      views.delete(view);
      resizeObserver.disconnect();
      purge();
    },
  };
  views.add(view);
  loadPlotly(plotlyAddress, texts).catch(() => {}); // ahead of the first figure, which reports a failure
  resizeObserver.observe(plot);
  part("png").addEventListener("click", savePng);
  part("csv").addEventListener("click", saveCsv);
  part("reset").addEventListener("click", () => {
    resets += 1;
    touched = false;
    draw();
  });
  for (const touch of ["mousedown", "touchstart", "wheel"])
    plot.addEventListener(touch, () => (touched = true), { capture: true, passive: true });
  shareTouch(plot);
  details.addEventListener("toggle", () => details.open && drawn && showTable());
  watch("value", update);
  update();
}
