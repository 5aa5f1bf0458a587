// @ts-check
// Save a chart as a file, in the browser: the drawing as PNG, the numbers as CSV.

/** A file's name from a chart's title. */
function fileName(title, ending) {
  const name = title.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "");
  return `${name.slice(0, 80) || "chart"}.${ending}`;
}

/** Save the drawing, including zoom, with its title and an opaque background, at twice its size. */
export function savePng(plotly, plot, box, { figure, name, height }) {
  const ground = getComputedStyle(box).getPropertyValue("--chart-surface").trim();
  const above = plot.layout.margin?.t ?? 8;
  const layout = {
    ...plot.layout,
    title: { text: figure.layout.title?.text ?? "", x: 0.01, font: { size: 15 } },
    margin: { ...plot.layout.margin, t: above + 36 },
    height: height + 36,
    paper_bgcolor: ground,
  };
  const options = {
    format: "png", scale: 2, width: layout.width, height: layout.height,
    filename: fileName(name, "png").slice(0, -4), // Plotly adds the extension
  };
  const config = { displayModeBar: false, plotlyServerURL: "" };
  return plotly.downloadImage({ data: plot.data, layout, config }, options);
}

// Characters that make a spreadsheet evaluate a text as a formula, full-width ones included.
const FORMULA = /^[=+\-@\t\r＝＋－＠]/u;

function csvCell(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "";
  if (typeof value === "number") return String(value);
  const text = FORMULA.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** All rows as CSV; the byte order mark tells a spreadsheet that this is UTF-8. */
export function csvText({ columns, rows }) {
  const lines = [columns, ...rows.map((row) => columns.map((name) => row.get(name)))];
  return "\ufeff" + lines.map((line) => line.map(csvCell).join(",") + "\r\n").join("");
}

/** Save the rows of a chart's table. */
export function saveCsv(table, title) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csvText(table)], { type: "text/csv" }));
  link.download = fileName(title, "csv");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
