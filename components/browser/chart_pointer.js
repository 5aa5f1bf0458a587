// @ts-check
// The tokens and patches of a chart's points for the pointer (pointer.js), and the pointer's marks.
// `layout.meta.pointer` comes from pointer_meta in charts/style.py.

const SVG = "http://www.w3.org/2000/svg";
const MARK_TRACE = "pointed at"; // the name of the trace with the mark in 3-D

/** The sequence index in a point's customdata, or in its first field. */
function carriedIndex(customdata) {
  const value = Array.isArray(customdata) || ArrayBuffer.isView(customdata)
    ? customdata[0] : customdata;
  return Number.isInteger(value) ? value : undefined;
}

/** The token or patch of a point of a Plotly event; null if it has none. */
export function wishOf(point, meta) {
  if (!meta) return null;
  if (meta.what === "token") {
    if (meta.axis === "points") {
      const index = carriedIndex(point.customdata);
      return index === undefined ? null : { index };
    }
    if (!meta.indices) return { index: Math.round(point[meta.axis]) };
    const number = point.pointNumber ?? point.pointIndex;
    const position = Array.isArray(number) ? number[meta.axis === "x" ? 1 : 0] : number;
    return { index: meta.indices[position] };
  }
  const [row, column] = [Math.round(point.y), Math.round(point.x)];
  if (!Number.isFinite(row) || !Number.isFinite(column)) return null;
  return meta.what === "patch"
    ? { span: meta.span, row, column }
    : { span: meta.span, mergedRow: row, mergedColumn: column };
}

/** Draw the marks of both selections on a chart; `surface` is an SVG over the plot. */
export function markChart(plotly, plot, surface, meta, selections) {
  surface.replaceChildren();
  const full = plot._fullLayout;
  if (!meta || !full) return;
  if (full.scene) return markScene(plotly, plot, selections.hovered ?? selections.fixed);
  const { xaxis, yaxis } = full;
  if (!xaxis || !yaxis) return;
  const area = {
    x0: xaxis._offset, x1: xaxis._offset + xaxis._length,
    y0: yaxis._offset, y1: yaxis._offset + yaxis._length,
  };
  const x = (value) => xaxis._offset + xaxis.l2p(value);
  const y = (value) => yaxis._offset + yaxis.l2p(value);
  for (const name of ["hovered", "fixed"]) {
    const selection = selections[name];
    if (!selection) continue;
    for (const shape of shapesOf(plot, meta, selection, { x, y, area }))
      for (const layer of ["shade", "line"]) surface.append(element(shape, `${name} ${layer}`));
  }
}

/**
 * The shapes that mark a selection: `[tag, attributes]`.
 * @returns {[string, Record<string, any>][]}
 */
function shapesOf(plot, meta, selection, { x, y, area }) {
  if (meta.what === "token" && meta.axis === "points")
    return pointsOf(plot, selection.index)
      .map(([px, py]) => [x(px), y(py)])
      .filter(([cx, cy]) => within(cx, area.x0, area.x1) && within(cy, area.y0, area.y1))
      .map(([cx, cy]) => ["circle", { cx, cy, r: 8 }]);
  if (meta.what === "token") {
    const value = meta.indices ? meta.indices.indexOf(selection.index) : selection.index;
    if (value < 0) return [];
    const along = meta.axis === "x" ? x(value) : y(value);
    if (meta.axis === "x")
      return within(along, area.x0, area.x1)
        ? [["line", { x1: along, x2: along, y1: area.y0, y2: area.y1 }]] : [];
    return within(along, area.y0, area.y1)
      ? [["line", { x1: area.x0, x2: area.x1, y1: along, y2: along }]] : [];
  }
  if (selection.span !== meta.span) return [];
  /** @returns {[string, Record<string, any>][]} */
  const box = (left, top, right, bottom) => {
    const [xs, ys] = [[x(left - 0.5), x(right + 0.5)], [y(top - 0.5), y(bottom + 0.5)]];
    const clip = (values, low, high) => values.map((v) => Math.min(Math.max(v, low), high));
    const [x0, x1] = clip(xs.sort((a, b) => a - b), area.x0, area.x1);
    const [y0, y1] = clip(ys.sort((a, b) => a - b), area.y0, area.y1);
    return x1 > x0 && y1 > y0 ? [["rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0 }]] : [];
  };
  const { rows, columns, patch } = selection;
  if (meta.what === "merged") {
    const size = rows[1] - rows[0] + 1;
    return box(columns[0] / size, rows[0] / size, columns[0] / size, rows[0] / size);
  }
  const token = box(columns[0], rows[0], columns[1], rows[1]);
  return patch ? [...token, ...box(patch[1], patch[0], patch[1], patch[0])] : token;
}

const within = (value, low, high) => value >= low - 0.5 && value <= high + 0.5;

/** Where a chart shows a sequence index: `[x, y, z]` of every point with it. */
function pointsOf(plot, index) {
  const found = [];
  for (const trace of plot._fullData ?? []) {
    if (trace.visible !== true || trace.name === MARK_TRACE || !trace.customdata) continue;
    for (let i = 0; i < trace.customdata.length; i += 1)
      if (carriedIndex(trace.customdata[i]) === index)
        found.push([trace.x[i], trace.y[i], trace.z?.[i]]);
  }
  return found;
}

/** 3-D charts have a separate trace for the mark. */
function markScene(plotly, plot, selection) {
  const number = plot.data.findIndex((trace) => trace.name === MARK_TRACE);
  if (number < 0 || !plot.offsetParent) return;
  const [at] = selection ? pointsOf(plot, selection.index) : [];
  const wish = JSON.stringify(at ?? null);
  // Plotly redraws after each change and requests the marks again: only a new selection counts.
  if ((plot.data[number].meta ?? "null") === wish) return;
  const axis = (value) => [value === undefined ? [] : [value]];
  plotly.restyle(plot,
    { x: axis(at?.[0]), y: axis(at?.[1]), z: axis(at?.[2]), meta: wish }, [number]);
}

function element([tag, attributes], classes) {
  const shape = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) shape.setAttribute(name, value);
  shape.setAttribute("class", classes.split(" ").map((name) => `chart-mark-${name}`).join(" "));
  return shape;
}
