// @ts-check
// The look of every chart: defaults for the figure, in the colours of the page.

export const CONFIG = { displayModeBar: false, displaylogo: false, plotlyServerURL: "" };

/** Defaults for everything that a figure does not set, in the page's light or dark colours. */
export function chartTemplate(box) {
  const css = getComputedStyle(box);
  const color = (name) => css.getPropertyValue(`--chart-${name}`).trim();
  const [text, muted, grid, surface] = ["text", "muted", "grid", "surface"].map(color);
  const clear = "rgba(0,0,0,0)";
  const title = { font: { color: muted, size: 12 }, standoff: 8 };
  const axis = {
    automargin: true, color: text, gridcolor: grid, linecolor: grid, tickcolor: grid,
    zerolinecolor: grid, zerolinewidth: 1, title, tickfont: { color: muted, size: 11 },
  };
  const solid = { ...axis, showbackground: false, title: { font: title.font } };
  const colorbar = {
    thickness: 10, outlinewidth: 0, xpad: 6, ticks: "", tickfont: axis.tickfont,
    title: { side: "right", font: title.font },
  };
  const bars = { colorbar };
  const marked = { marker: { colorbar } };
  const tiles = { marker: { line: { color: surface, width: 1 } }, tiling: { pad: 2 } };
  return {
    layout: {
      font: { color: text, family: css.fontFamily, size: 13 },
      paper_bgcolor: clear, plot_bgcolor: clear,
      xaxis: axis, yaxis: axis,
      scene: {
        xaxis: solid, yaxis: solid, zaxis: solid, bgcolor: clear,
        // A little farther away and lower than Plotly's default, which cuts off axis titles on a
        // phone.
        camera: { eye: { x: 1.5, y: 1.5, z: 1.0 }, center: { x: 0, y: 0, z: -0.15 } },
      },
      coloraxis: bars,
      // Above the plot, where it takes no width on a phone.
      legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom",
        font: { color: text, size: 12 } },
      hoverlabel: { bgcolor: surface, bordercolor: grid, font: { color: text }, align: "left" },
      hovermode: "closest",
      uniformtext: { minsize: 10, mode: "hide" }, // the table has labels that do not fit
      // If a finger drew a zoom box, it could never scroll past the chart.
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      annotationdefaults: { font: { color: text } },
      shapedefaults: { line: { color: muted } },
    },
    data: {
      heatmap: [bars], contour: [bars], surface: [bars],
      scatter: [marked], scatter3d: [marked], bar: [marked],
      treemap: [tiles], icicle: [tiles], sunburst: [{ marker: tiles.marker }],
    },
  };
}

const SIDE = 8; // pixels around a plot
// Pixels that labels usually take. An automatic margin that has to grow makes Plotly lay the chart
// out a second time, which costs as much as the first.
const USUAL = { l: 58, r: 84, t: 43, b: 48 };

/**
 * Margins with room for what the figure shows beside its plot; Plotly widens them where needed.
 * @param {Figure} figure
 */
export function startingMargins({ data, layout }) {
  const { xaxis, yaxis, showlegend } = layout;
  const named = data.filter((trace) => trace.showlegend ?? trace.name !== undefined);
  const hasTitle = (axis) => Boolean(axis?.title?.text) && axis.visible !== false;
  const hasScale = (trace) => trace.type === "heatmap" && trace.showscale !== false;
  return {
    l: hasTitle(yaxis) ? USUAL.l : SIDE,
    r: data.some(hasScale) ? USUAL.r : SIDE,
    t: showlegend ?? named.length > 1 ? USUAL.t : SIDE,
    b: hasTitle(xaxis) ? USUAL.b : SIDE,
  };
}

const ROOM_FOR_TITLES = 330; // pixels: with fewer, axis titles, which do not shrink, are cut off

/**
 * View a scene from farther away if it is narrow, as on a phone.
 * @param {Record<string, any>} layout
 */
export function stepBack({ scene, template, width }) {
  const times = ROOM_FOR_TITLES / width;
  if (!scene || times <= 1) return;
  const { eye, ...rest } = { ...template.layout.scene.camera, ...scene.camera };
  const farther = Object.fromEntries(Object.entries(eye).map(([axis, at]) => [axis, times * at]));
  scene.camera = { ...rest, eye: farther };
}
