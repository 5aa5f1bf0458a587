// @ts-check
// Locate tokens and patches from a run's layout; independent of the page.

/** The number of the span with this sequence index, or -1 for text. */
function findSpan(layout, index) {
  return layout.spans.findIndex((span) => span.start <= index && index < span.end);
}

/**
 * A layout with the tokens of an answer after it; unchanged if the answer belongs to another run.
 * @param {RunLayout} layout
 * @param {Answer} answer
 * @returns {RunLayout}
 */
export function addAnswer(layout, { start, positions, texts }) {
  const [t, h, w] = layout.positions;
  if (start !== t.length) return layout;
  const added = texts.map((text, number) => [start + number, text]);
  return {
    ...layout,
    positions: [[...t, ...positions], [...h, ...positions], [...w, ...positions]],
    texts: { ...layout.texts, ...Object.fromEntries(added) },
  };
}

/**
 * All coordinates of a sequence index, like `pointer.locate_token`; null if out of range.
 * @param {RunLayout} layout
 * @param {number} index
 * @returns {TokenSelection | null}
 */
export function locateToken(layout, index) {
  const [t, h, w] = layout.positions;
  if (!Number.isInteger(index) || index < 0 || index >= t.length) return null;
  /** @type {TextSelection} */
  const selection = { index, thw: [t[index], h[index], w[index]] };
  const number = findSpan(layout, index);
  if (number < 0) return selection;
  const { start, gridW, mergeSize: size, patchStart } = layout.spans[number];
  const [offset, across, pixels] = [index - start, gridW / size, layout.patchSize * size];
  const [row, column] = [Math.floor(offset / across), offset % across];
  /** @returns {Pair} */
  const range = (first, length) => [first * length, (first + 1) * length - 1];
  const first = patchStart + offset * size * size;
  return {
    ...selection,
    span: number,
    rows: range(row, size),
    columns: range(column, size),
    x: range(column, pixels),
    y: range(row, pixels),
    pixelRows: Array.from({ length: size * size }, (_, i) => first + i),
  };
}

/**
 * All coordinates of a patch, like `pointer.locate_patch`; null if out of range.
 * @param {RunLayout} layout
 * @param {number} span - its number
 * @param {number} row
 * @param {number} column
 * @returns {VisualSelection | null}
 */
export function locatePatch(layout, span, row, column) {
  const there = layout.spans[span];
  const inside = (value, size) => Number.isInteger(value) && value >= 0 && value < size;
  if (!there || !inside(row, there.gridH) || !inside(column, there.gridW)) return null;
  const size = there.mergeSize;
  const across = there.gridW / size;
  const index = there.start + Math.floor(row / size) * across + Math.floor(column / size);
  const token = /** @type {VisualSelection} */ (locateToken(layout, index));
  return { ...token, patch: [row, column] };
}

/**
 * Locate the token or patch that a view names: `{index}`, `{span, row, column}` or
 * `{span, mergedRow, mergedColumn}`.
 * @param {RunLayout | null} layout
 * @param {Wish | null | undefined} wish
 */
export function locate(layout, wish) {
  if (!layout || !wish) return null;
  if (wish.index !== undefined) return locateToken(layout, wish.index);
  if (wish.mergedRow === undefined) return locatePatch(layout, wish.span, wish.row, wish.column);
  const span = layout.spans[wish.span];
  if (!span) return null;
  const across = span.gridW / span.mergeSize;
  return locateToken(layout, span.start + wish.mergedRow * across + wish.mergedColumn);
}

/**
 * Sequence indices of an image token and its neighbours, like `influence.span_parts`.
 * @param {RunLayout} layout
 * @param {VisualSelection} selection
 * @param {number} around
 */
export function tokensAround(layout, selection, around) {
  const { start, gridW, gridH, mergeSize: size } = layout.spans[selection.span];
  const [down, across] = [gridH / size, gridW / size];
  const offset = selection.index - start;
  const [row, column] = [Math.floor(offset / across), offset % across];
  const found = [];
  for (let y = Math.max(0, row - around); y <= Math.min(down - 1, row + around); y += 1)
    for (let x = Math.max(0, column - around); x <= Math.min(across - 1, column + around); x += 1)
      found.push(start + y * across + x);
  return found;
}

const range = ([first, last]) => (first === last ? `${first}` : `${first}–${last}`);

/** Fill in the named fields of a sentence. */
const fill = (sentence, values) => sentence.replace(/\{(\w+)\}/g, (_, name) => values[name]);

/**
 * Describe a selection with the layout's texts.
 * @param {RunLayout} layout
 * @param {TokenSelection} selection
 */
export function describe(layout, selection) {
  const { words } = layout;
  const { index, thw: [t, h, w] } = selection;
  const position = fill(t === h && h === w ? words.same : words.apart, { t, h, w });
  if (selection.span === undefined) {
    const text = layout.texts[index];
    return fill(text ? words.text : words.plain, { index, text, position });
  }
  const { name, kind, mergeSize: size } = layout.spans[selection.span];
  const pixels = selection.pixelRows;
  const values = {
    name: capital(name), index, size, position,
    rows: range(selection.rows), columns: range(selection.columns),
    x: range(selection.x), y: range(selection.y),
    resized: kind === "video" ? words.resizedVideo : words.resizedImage,
    values: kind === "video" ? "pixel_values_videos" : "pixel_values",
    pixelRows: range([pixels[0], pixels.at(-1)]),
  };
  if (!selection.patch) return fill(words.visual, values);
  const [row, column] = selection.patch;
  const pixelRow = pixels[(row % size) * size + (column % size)];
  return fill(words.patch, { ...values, row, column, pixelRow });
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
