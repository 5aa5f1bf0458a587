// @ts-check
// The script of the run report: draws its charts with Plotly, which is included earlier in the
// file. writer.py bundles it with the modules below and removes their imports.

import { saveCsv, savePng } from "../../browser/chart_files.js";
import { CONFIG, chartTemplate } from "../../browser/chart_look.js";
import { fillTable, listRows } from "../../browser/chart_table.js";
import { TEXTS } from "../../browser/chart_texts.js";

const language = document.documentElement.lang.startsWith("zh") ? "zh" : "en";
const words = TEXTS[language];
const darkMode = matchMedia("(prefers-color-scheme: dark)");
/** @param {string} selector */
const all = (selector) =>
  /** @type {NodeListOf<any>} */ (document.querySelectorAll(selector));
const charts = [...all("[data-chart]")].map(makeChart);

/** One chart, drawn when it is nearly visible. */
function makeChart(box) {
  const plot = box.querySelector(".chart-plot");
  const source = document.getElementById(`chart-${box.dataset.chart}`)?.textContent;
  const figure = JSON.parse(source ?? "");
  const details = box.querySelector("details");
  const name = box.querySelector(".chart-title").textContent;
  const height = figure.layout.height ?? 340;
  let [width, wanted] = [0, false];

  async function draw() {
    const space = Math.floor(plot.clientWidth);
    if (!wanted || !space) return;
    width = space;
    const { data, layout } = structuredClone(figure);
    Object.assign(layout, { template: chartTemplate(box), width, height, title: { text: "" } });
    try {
      await Plotly.react(plot, data, layout, CONFIG);
      box.dataset.drawn = "true";
      if (details.open) showTable();
    } catch (/** @type {any} */ error) {
      plot.textContent = words.failed + (error?.message ?? error);
      console.warn(error);
    }
  }

  const showTable = () =>
    fillTable(box.querySelector(".chart-rows"), plot._fullData ?? [], figure.layout, words);

  /** Free a 3-D chart's WebGL context: a browser has few of them. */
  function release() {
    wanted = false;
    if (!figure.data.some((trace) => /3d|surface|gl$/.test(trace.type ?? ""))) return;
    if (!width) return;
    for (const canvas of plot.querySelectorAll("canvas"))
      canvas.getContext("webgl")?.getExtension("WEBGL_lose_context")?.loseContext();
    Plotly.purge(plot);
    width = 0;
    delete box.dataset.drawn;
  }

  async function want() {
    wanted = true;
    if (!width) await draw();
  }

  new ResizeObserver(() => Math.floor(plot.clientWidth) !== width && draw()).observe(plot);
  details.addEventListener("toggle", async () => {
    if (!details.open) return;
    await want();
    showTable();
  });
  box.addEventListener("click", async (event) => {
    const kind = event.target.closest("[data-save]")?.dataset.save;
    if (!kind) return;
    await want();
    if (kind === "png") return savePng(Plotly, plot, box, { figure, name, height });
    saveCsv(listRows(plot._fullData ?? [], figure.layout, words), name);
  });
  return { box, draw, want, release };
}

/** Like the page, whose styles depend on a class, not on the reader's preference. */
function followMode() {
  document.documentElement.classList.toggle("dark", darkMode.matches);
  for (const chart of charts) chart.draw();
}

darkMode.addEventListener("change", followMode);
followMode();
const byBox = new Map(charts.map((chart) => [chart.box, chart]));
const observer = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) byBox.get(target)?.want();
      else byBox.get(target)?.release();
    }
  },
  { rootMargin: "600px" },
);
for (const { box } of charts) observer.observe(box);
addEventListener("beforeprint", () => charts.forEach((chart) => chart.want()));

for (const each of all(".pg-view button")) each.disabled = true;
for (const each of all(".pg-view [role='button']")) each.removeAttribute("tabindex");
if (matchMedia("(max-width: 899px)").matches)
  for (const contents of all(".report-contents details")) contents.open = false;
