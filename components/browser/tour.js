// @ts-check
// The browser half of TourView (tour.py): opens the tabs of each step and shows its text.

import { openTabs } from "./tabs.js";

const SETTLE_MS = 900; // time for a part's charts to get their heights

export function mount({ element }) {
  const find = (name) => element.querySelector(`.tour-${name}`);
  const card = find("card");
  const steps = JSON.parse(card.dataset.steps);
  let current = -1; // the step on the card
  let latest = -1; // the step whose tabs are opened, even after the card is closed

  async function show(number) {
    current = latest = number;
    const step = steps[number];
    find("place").textContent = card.dataset.counter
      .replace("{number}", number + 1).replace("{count}", steps.length);
    find("title").textContent = step.title;
    find("text").textContent = step.text;
    find("back").disabled = number === 0;
    const next = find("next");
    next.textContent = number + 1 < steps.length ? next.dataset.next : next.dataset.end;
    card.hidden = false;
    find("title").focus({ preventScroll: true });
    const tab = await openTabs(step.tabs, () => latest === number);
    // Twice: a newly opened part grows while it is drawn.
    for (const wait of [0, SETTLE_MS]) {
      await new Promise((resolve) => setTimeout(resolve, wait));
      if (current !== number || !tab) return; // another step was chosen in the meantime
      tab.scrollIntoView({ block: "start" });
    }
  }

  function close() {
    current = -1;
    card.hidden = true;
    find("start").focus();
  }

  find("start").addEventListener("click", () => show(0));
  find("back").addEventListener("click", () => show(current - 1));
  find("next").addEventListener("click", () => {
    if (current + 1 < steps.length) show(current + 1);
    else close();
  });
  find("close").addEventListener("click", close);
  card.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
  });
}
