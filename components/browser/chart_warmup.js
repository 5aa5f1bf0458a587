// @ts-check
// Draws small hidden figures while the page is idle. A browser compiles Plotly's code when it is
// first used, which doubled the time of the page's first chart.

import { CONFIG } from "./chart_look.js";

const NONE = { visible: false };
const LINE = { x: [0, 1], y: [0, 1], name: "a", mode: "lines+markers" };
const AXIS = { title: { text: "a" }, automargin: true };
const MAP = { type: "heatmap", z: [[0, 1], [1, 0]], colorbar: { title: { text: "a" } } };
const NAMED = { tickvals: [0, 1], ticktext: ["a", "b"] };
const MARKS = {
  annotations: [{ text: "a", x: 0, y: 0, showarrow: false }],
  shapes: [{ type: "line", x0: 0, x1: 1, y0: 0, y1: 1 }],
};
const NARROW = { l: 8, r: 8, t: 8, b: 8 }; // the axes make their own room

// From simple to complex, so that no step takes long.
const FIGURES = [
  [[], { xaxis: NONE, yaxis: NONE }],
  [[LINE], { xaxis: NONE, yaxis: NONE }],
  [[LINE], {}],
  [[LINE, LINE], { xaxis: AXIS, yaxis: AXIS }],
  [[LINE], { ...MARKS, xaxis: AXIS, yaxis: { ...AXIS, ...NAMED }, margin: NARROW }],
  [[{ ...MAP, showscale: false }], {}],
  [[MAP], {}],
  [[{ ...MAP, text: [["a", "b"], ["a", "b"]], texttemplate: "%{text}" }], { yaxis: NAMED }],
  [[MAP], { xaxis: { constrain: "domain" }, yaxis: { constrain: "domain", scaleanchor: "x" } }],
  [[{ type: "bar", x: [0, 1], y: [0, 1] }], {}],
];
const SIZE = { width: 300, height: 220, margin: { l: 60, r: 70, t: 60, b: 50 } };

const idle = () => new Promise((done) => (window.requestIdleCallback ?? setTimeout)(done));

/** Draw them one after the other, until the page draws a chart of its own. */
export async function warmUpPlotly(plotly, isNeeded) {
  const plot = document.createElement("div");
  plot.ariaHidden = "true";
  plot.style.cssText = "position: fixed; left: -1000px; top: 0; visibility: hidden";
  document.body.append(plot);
  try {
    for (const [data, layout] of structuredClone(FIGURES)) {
      await idle();
      if (!isNeeded()) break;
      await plotly.react(plot, data, { ...SIZE, ...layout }, CONFIG);
    }
  } finally {
    plot.remove();
    plotly.purge(plot);
  }
}
