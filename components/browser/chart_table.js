// @ts-check
// The table of a chart (chart.js): the numbers of Plotly's traces as an HTML table, made in the
// browser, for readers who cannot see the drawing or want the values.

const TABLE_ROWS = 200;

/** Text without the few tags and entities that Plotly supports; `<|im_end|>` is text, not a tag. */
export function plain(text) {
  return String(text ?? "")
    .replace(/<br\s*\/?>/gi, " ")
    .replace(/<\/?(?:b|i|u|s|em|strong|sub|sup|span|a)(?:\s[^<>]*)?>/gi, "")
    .replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&nbsp;/g, " ").replace(/&amp;/g, "&");
}

const axisTitle = (layout, name) => plain(layout[name]?.title?.text);

/** `{count, row(i)}` for one trace, each row a list of [field, value]. */
function traceRows(trace) {
  const { x, y, z, text } = trace;
  if (trace.type === "image" && !z) return { count: 1, row: () => [["image", trace.name ?? ""]] };
  if (trace.labels) {
    const fields = ["labels", "parents", "values", "text"].filter((name) => trace[name]);
    const row = (i) => fields.map((name) => [name, trace[name][i]]);
    return { count: trace.labels.length, row };
  }
  if (z?.[0] && typeof z[0] === "object") {
    const columns = z[0].length;
    const row = (i) => {
      const [r, c] = [Math.floor(i / columns), i % columns];
      const cells = [["y", y?.[r] ?? r], ["x", x?.[c] ?? c], ["z", z[r][c]]];
      if (Array.isArray(text)) cells.push(["text", text[r]?.[c]]);
      if (trace.customdata) cells.push(...customCells(trace.customdata[r]?.[c]));
      return cells;
    };
    return { count: z.length * columns, row };
  }
  const fields = ["x", "y", "z", "r", "theta"].filter((name) => trace[name]?.length);
  const count = Math.max(0, ...fields.map((name) => trace[name].length));
  const row = (i) => {
    const cells = fields.map((name) => [name, trace[name][i]]);
    // A series without x is drawn over its index.
    if (!trace.x?.length && trace.type !== "pie") cells.unshift(["x", i]);
    if (Array.isArray(text)) cells.push(["text", text[i]]);
    if (trace.customdata) cells.push(...customCells(trace.customdata[i]));
    return cells;
  };
  return { count, row };
}

function customCells(entry) {
  const values = entry !== null && typeof entry === "object" ? Array.from(entry) : [entry];
  return values.map((value, i) => [`customdata.${i}`, value]);
}

/** A column's heading: from the figure, else the axis or colour bar, else the field. */
function heading(field, trace, layout, words) {
  const given = layout.meta?.columns ?? {};
  const [name, index] = field.split(".");
  if (index !== undefined) {
    const list = [given.customdata].flat();
    return plain(list[index] ?? `customdata ${Number(index) + 1}`);
  }
  const scene = layout[trace.scene ?? "scene"] ?? {};
  const bar = trace.colorbar ?? layout[trace.coloraxis]?.colorbar;
  const automatic = {
    x: () => axisTitle(trace.scene ? scene : layout, axisKey(trace.xaxis, "xaxis")),
    y: () => axisTitle(trace.scene ? scene : layout, axisKey(trace.yaxis, "yaxis")),
    z: () => (trace.scene ? axisTitle(scene, "zaxis") : plain(bar?.title?.text) || words.value),
    labels: () => "label", parents: () => "parent", values: () => words.value,
    image: () => words.image,
  };
  return plain(given[field]) || automatic[name]?.() || name;
}

/** Trace attribute "x2" → layout attribute "xaxis2". */
const axisKey = (id, base) => base + (id ?? "").slice(1);

function cellText(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (typeof value === "number") {
    return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(5)));
  }
  return String(value);
}

/** The rows of all traces as `{columns, rows, total}`, each row a Map by column. */
export function listRows(traces, layout, words, most = Infinity) {
  const shown = traces.filter((trace) => trace.visible !== false);
  const columns = new Set();
  const rows = [];
  let total = 0;
  for (const trace of shown) {
    const { count, row } = traceRows(trace);
    total += count;
    for (let i = 0; i < count && rows.length < most; i++) {
      const cells = shown.length > 1 ? [[words.series, plain(trace.name)]] : [];
      for (const [field, value] of row(i))
        cells.push([heading(field, trace, layout, words), plainCell(value)]);
      for (const [name] of cells) columns.add(name);
      rows.push(new Map(/** @type {[string, any][]} */ (cells)));
    }
  }
  return { columns: [...columns], rows, total };
}

/** Text without tags; numbers unchanged. */
function plainCell(value) {
  if (typeof value === "string") return plain(value);
  if (typeof value === "object" && value !== null) return Array.from(value, cellText).join(", ");
  return value;
}

/** Fill `box` with the first rows of all traces; `words` are in the reader's language. */
export function fillTable(box, traces, layout, words) {
  const { columns, rows, total } = listRows(traces, layout, words, TABLE_ROWS);
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  for (const name of columns) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = name;
    head.append(cell);
  }
  const body = table.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const name of columns) line.insertCell().textContent = cellText(row.get(name));
  }
  box.replaceChildren(table);
  if (total > rows.length) {
    const note = document.createElement("p");
    note.textContent = words.more(total - rows.length);
    box.append(note);
  }
}
