// @ts-check
// The order in which charts are drawn. Visible charts come first, one at a time, so that the page
// stays responsive; the others follow while it is idle. A chart that is queued twice is drawn once.

const NEAR = 150; // pixels around the visible area

/** @typedef {{element: HTMLElement, render: () => Promise<void>}} Drawable */

/** @type {Set<Drawable>} */
const waiting = new Set();
let drawing = false;

const breathe = () => new Promise((done) => setTimeout(done));
const idle = () => new Promise((done) => "requestIdleCallback" in window
  ? requestIdleCallback(done, { timeout: 1000 }) : setTimeout(done, 50)); // Safari has none

/** @param {Drawable} chart */
function isInSight({ element }) {
  const { top, bottom, height } = element.getBoundingClientRect();
  return height > 0 && bottom > -NEAR && top < innerHeight + NEAR;
}

async function drawWaiting() {
  if (drawing) return;
  drawing = true;
  while (waiting.size) {
    await breathe();
    if (![...waiting].some(isInSight)) await idle(); // one may become visible meanwhile
    const [first] = waiting;
    const next = [...waiting].find(isInSight) ?? first;
    waiting.delete(next);
    await next?.render(); // shows its own errors
  }
  drawing = false;
}

/** @param {Drawable} chart */
export function drawSoon(chart) {
  waiting.add(chart);
  drawWaiting();
}

/** @param {Drawable} chart - one that has left the page */
export const drawNoMore = (chart) => waiting.delete(chart);
