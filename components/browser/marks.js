// @ts-check
// The pointer's marks on tokens, table rows and images.

/**
 * Chips, table rows, and patches that are elements.
 * @param {Selections} selections
 * @param {Answer | null} answer - that the decoder tab shows
 */
export function markElements({ fixed: pinned, hovered: over }, answer) {
  const holds = (element, selection) => {
    if (!selection) return false;
    const { start, end, span, row, column } = element.dataset;
    if (start !== undefined) return +start <= selection.index && selection.index < +end;
    const [top, left] = selection.patch ?? [];
    return +span === selection.span && (selection.patch
      ? +row === top && +column === left
      : selection.rows[0] <= +row && +row <= selection.rows[1] &&
        selection.columns[0] <= +column && +column <= selection.columns[1]);
  };
  const targets = document.querySelectorAll("[data-pointer] [data-start], [data-span][data-row]");
  for (const element of targets) {
    element.classList.toggle("pg-fixed", holds(element, pinned));
    element.classList.toggle("pg-hovered", holds(element, over));
  }
  for (const list of document.querySelectorAll("[data-ids]")) {
    const start = answerStart(list, answer);
    [...list.children].forEach((chip, number) => {
      const index = start === null ? null : start + number;
      chip.classList.toggle("pg-fixed", index !== null && index === pinned?.index);
      chip.classList.toggle("pg-hovered", index !== null && index === over?.index);
    });
  }
}

/**
 * The sequence index of the first token of a list of generated tokens (chips.py), if they are the
 * answer that the decoder tab shows; else null.
 * @param {any} list
 * @param {Answer | null} answer
 */
export function answerStart(list, answer) {
  return answer && list?.dataset.ids === answer.ids ? answer.start + Number(list.dataset.first) : null;
}

const SVG = "http://www.w3.org/2000/svg";

/** The token's block of patches and, if one was selected, the patch, on an image. */
export function markImage(frame, selections, layout) {
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
    const selection = selections[name];
    if (selection?.span !== Number(frame.dataset.span)) continue;
    const [top, left, size] = [selection.rows[0], selection.columns[0], span.mergeSize];
    const rect = (kind, x, y, side) =>
      `<rect class="pg-point-${kind} pg-point-${name}" x="${x}" y="${y}" width="${side}" ` +
      `height="${side}"/>`;
    rects.push(rect("shade", left, top, size), rect("token", left, top, size));
    if (selection.patch) rects.push(rect("patch", selection.patch[1], selection.patch[0], 1));
  }
  const drawn = rects.join("");
  if (overlay.dataset.drawn === drawn) return;
  overlay.dataset.drawn = drawn;
  overlay.innerHTML = drawn; // contains only our own numbers
}

/** Scroll marks into view inside their lists; the page itself does not scroll. */
export function showMarks(from) {
  for (const element of document.querySelectorAll(".pg-fixed")) {
    const list = element.closest(".pg-table, .pg-strip, .pg-scroll");
    if (!list || list === from?.closest?.(".pg-table, .pg-strip, .pg-scroll")) continue;
    const [box, outer] = [element.getBoundingClientRect(), list.getBoundingClientRect()];
    if (box.height === 0) continue; // in a closed tab
    if (box.top < outer.top + 30 || box.bottom > outer.bottom)
      list.scrollTop += box.top - outer.top - outer.height / 2;
  }
}
