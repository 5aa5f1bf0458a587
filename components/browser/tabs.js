// @ts-check
// Opens nested tabs by their ids, as a visitor would.

const WAIT_MS = 4000; // for a tab that Gradio mounts when the enclosing tab is first opened
const LOOK_MS = 100;

/** The button of a visible tab, or undefined. */
function findTab(id) {
  return [.../** @type {NodeListOf<HTMLElement>} */ (
    document.querySelectorAll('button[role="tab"]'))].find(
    (button) => button.dataset.tabId === id && button.offsetParent !== null);
}

async function waitForTab(id, isWanted) {
  for (let waited = 0; waited < WAIT_MS && isWanted(); waited += LOOK_MS) {
    const tab = findTab(id);
    if (tab) return tab;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  return undefined;
}

/** Open tabs in order, unless cancelled; returns the last one's button. */
export async function openTabs(ids, isWanted = () => true) {
  let tab;
  for (const id of ids) {
    tab = await waitForTab(id, isWanted);
    if (!tab || !isWanted()) return undefined;
    if (tab.getAttribute("aria-selected") !== "true") tab.click();
  }
  return tab;
}
