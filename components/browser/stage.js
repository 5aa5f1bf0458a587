// @ts-check
// The browser half of StageView (stage_view.py): a stage's heading, the tabs of its parts, and its
// foot. A part is mounted when its tab is first opened.

import { make } from "./elements.js";
import { mount as mountPart } from "./part.js";

/**
 * Fill a stage's tab; `element`, `server`, `trigger`, `upload` are Gradio's.
 * @param {any} gradio
 * @param {any} spec - see stage_view.py
 */
export function mount(gradio, spec) {
  const root = make("div", "pg-stage");
  root.append(buildHeading(spec, () => gradio.trigger("run_stage")));
  gradio.element.replaceChildren(root);

  /** @param {any} part */
  const fill = (part, box = make("div")) => {
    mountPart({ ...gradio, element: box }, part);
    return box;
  };
  if (spec.head) root.append(fill(spec.head));
  if (spec.parts.length === 1) root.append(fill(spec.parts[0]));
  else root.append(...buildTabs(spec.parts, fill));
  if (spec.last) root.append(fill(spec.last));
  if (spec.foot) {
    const foot = make("div");
    foot.innerHTML = spec.foot; // trusted, from the server
    root.append(foot);
  }
}

function buildHeading(spec, run) {
  const box = make("div", "stage-header");
  const words = make("div", "prose stage-sentence");
  words.innerHTML = spec.heading; // trusted, from the server
  box.append(words);
  if (spec.run) {
    const button = make("button", "pg-button pg-small", spec.run);
    button.type = "button";
    button.addEventListener("click", run);
    box.append(button);
  }
  return box;
}

/** A list of tabs and their panels, accessible to keyboards and screen readers. */
function buildTabs(parts, fill) {
  const list = make("div", "pg-tabs");
  list.setAttribute("role", "tablist");
  const panels = parts.map((part) => {
    const panel = make("div");
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", `tab-${part.key}`);
    panel.id = `panel-${part.key}`;
    return panel;
  });
  const tabs = parts.map((part, number) => {
    const tab = make("button", "", part.title);
    tab.type = "button";
    tab.id = `tab-${part.key}`;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", panels[number].id);
    tab.dataset.tabId = part.key;
    tab.addEventListener("click", () => open(number));
    return tab;
  });

  function open(chosen) {
    tabs.forEach((tab, number) => {
      tab.setAttribute("aria-selected", String(number === chosen));
      tab.tabIndex = number === chosen ? 0 : -1;
      panels[number].hidden = number !== chosen;
    });
    if (!panels[chosen].firstChild) fill(parts[chosen], panels[chosen]);
  }

  list.addEventListener("keydown", (event) => {
    const next = nextTab(event.key, tabs.indexOf(document.activeElement), tabs.length);
    if (next === undefined) return;
    event.preventDefault();
    tabs[next].focus();
    open(next);
  });
  list.append(...tabs);
  open(0);
  return [list, ...panels];
}

/** The tab that a key leads to; undefined for other keys. */
function nextTab(key, from, count) {
  const steps = { ArrowRight: from + 1, ArrowLeft: from - 1, Home: 0, End: count - 1 };
  return key in steps ? (steps[key] + count) % count : undefined;
}
