// @ts-check
// Touch on a 3-D chart. Plotly turns the scene with every move and does not let the page scroll: a
// reader with a thumb on the chart could never scroll past it.

/** A vertical swipe scrolls the page; one that starts sideways turns the scene. */
export function shareTouch(plot) {
  /** @type {Touch} */
  let start;
  /** @type {boolean | null} */
  let turns = null; // unknown before the first move
  plot.addEventListener("touchstart", ({ touches }) => {
    start = touches[0];
    turns = touches.length === 1 ? null : false; // two fingers magnify the page
  }, { capture: true, passive: true });
  plot.addEventListener("touchmove", (event) => {
    if (!plot._fullLayout?.scene) return;
    const { clientX, clientY } = event.touches[0];
    turns ??= Math.abs(clientX - start.clientX) > Math.abs(clientY - start.clientY);
    if (!turns) event.stopPropagation();
  }, { capture: true, passive: true });
}
