// @ts-check
// A video that this browser cannot play: the page says so below it, in place of Gradio's red
// "Video not playable", since Run may well read the file.

const VIDEO = "#input-video video";

/** Keep the failure from Gradio's own handler, which sits on the video itself. */
function noteFailure(/** @type {Event} */ event) {
  const video = event.target;
  if (!(video instanceof HTMLVideoElement) || !video.matches(VIDEO)) return;
  event.stopPropagation();
  video.dataset.unplayable = "";
}

function noteSuccess(/** @type {Event} */ event) {
  if (event.target instanceof HTMLVideoElement) delete event.target.dataset.unplayable;
}

/** Listen to all videos: Gradio makes a new one for each file. These events do not bubble. */
export function mount() {
  document.addEventListener("error", noteFailure, true);
  document.addEventListener("loadeddata", noteSuccess, true);
}
