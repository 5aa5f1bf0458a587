// @ts-check
// The outputs of a part: charts, code, and HTML from the server.

import { createChart } from "./chart.js";
import { numberChildren } from "./clicks.js";
import { make } from "./elements.js";

/** The element of one output; `sync` is called when it is opened. */
export function buildOutput(output, { language }, { words, plotly, sync }) {
  if (output.kind === "chart") {
    const box = make("div", "pg-output plotly-view");
    output.body = make("p", "pg-output-error");
    box.append(output.body);
    const { label, empty } = output;
    output.chart = createChart(box, { label, empty, words, plotly, language });
    return box;
  }
  if (output.kind === "code") {
    const fold = make("details", "pg-output pg-fold pg-code");
    fold.addEventListener("toggle", sync); // requested once it is opened
    output.body = make("pre");
    output.body.tabIndex = 0;
    output.body.setAttribute("translate", "no");
    fold.append(make("summary", "", output.label), copyButton(output.body, words), output.body);
    return fold;
  }
  const box = make("div", "pg-output pg-view");
  box.hidden = true;
  return box;
}

/**
 * Show a drawing from the server, or its error message.
 * @param {any} output - with its `element`, as buildOutput leaves it
 * @param {any} drawn
 * @param {(values: Record<string, any>) => void} standAt - told where controls stand by default
 */
export function showDrawing(output, drawn, standAt) {
  const { element: box } = output;
  box.classList.toggle("pg-problem", drawn.error !== undefined);
  if (drawn.error !== undefined) {
    output.html = undefined;
    output.chart?.show(null);
    (output.body ?? box).textContent = drawn.error;
    box.hidden = false;
  } else if (output.kind === "chart") {
    output.body.textContent = "";
    box.hidden = drawn.figure === null && !output.empty;
    output.chart.show(drawn.figure);
  } else if (output.kind === "code") {
    box.hidden = !drawn.code;
    output.body.innerHTML = drawn.code; // highlighted on the server, which escapes it
  } else {
    box.hidden = !drawn.html;
    if (output.html !== drawn.html) replaceHtml(box, drawn.html);
    output.html = drawn.html;
    const defaults = box.querySelector("[data-defaults]");
    if (defaults) standAt(JSON.parse(defaults.dataset.defaults));
  }
}

/** Keep the focus on the clicked element, if it still exists. */
function replaceHtml(box, html) {
  const focusable = () => [...box.querySelectorAll("a, button, summary, [tabindex]")];
  const focused = focusable().indexOf(document.activeElement);
  box.innerHTML = html; // the server escapes all foreign text
  numberChildren(box);
  if (focused >= 0) focusable()[focused]?.focus();
}

function copyButton(source, words) {
  const button = make("button", "pg-button pg-small", words.copy);
  button.type = "button";
  button.addEventListener("click", async () => {
    await navigator.clipboard?.writeText(source.textContent);
    button.textContent = words.copied;
  });
  return button;
}
