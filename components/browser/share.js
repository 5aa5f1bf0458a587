// @ts-check
// The browser half of ShareView (share/view.py): requests files and saves them for the visitor.

import { pageState } from "./run.js";

/** The page's own `copy` and `fetch`, which Gradio's events call by these names. */
Object.assign(window, { playgroundCopy: copyLink, playgroundFetch: fetchFile });

/** Copy a link to the clipboard if the browser allows it, and say so. */
async function copyLink(link) {
  // The permission may stay undecided, and a hidden page gets no frames.
  const within = (promise) => Promise.race(
    [promise, new Promise((_, reject) => setTimeout(reject, 1000))]);
  let copied = true;
  try {
    await within(navigator.clipboard.writeText(link));
  } catch {
    copied = false;
  }
  try {
    await within(new Promise(requestAnimationFrame));
  } catch { /* not in sight */ }
  const note = document.querySelector("#link-note");
  note?.querySelector(copied ? "[data-copied]" : "[data-by-hand]")?.removeAttribute("hidden");
  if (copied) return;
  const box = /** @type {HTMLTextAreaElement | null} */ (
    document.querySelector("#link-box textarea, #link-box input"));
  box?.select();
}

/** Download a file that the server just made; the visitor only clicks once. */
function fetchFile(file) {
  if (!file?.url) return;
  const link = document.createElement("a");
  link.href = file.url;
  link.download = file.orig_name ?? "";
  document.body.append(link);
  link.click();
  link.remove();
}

/** `trigger` is Gradio's. */
export function mount({ trigger }) {
  document.addEventListener("click", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    const download = /** @type {HTMLElement | null} */ (target.closest?.("[data-download]"));
    const wanted = download?.dataset.download;
    if (wanted) {
      const [stage, kind] = wanted.split(":");
      trigger("download", { ...pageState(), stage, kind });
    } else if (target.closest?.("[data-report]")) {
      trigger("report", pageState());
    }
  });
}
