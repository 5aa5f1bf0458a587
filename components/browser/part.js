// @ts-check
// One part of the page: shows its controls and requests its visible outputs. An output is requested
// when the part becomes visible for a run, and when something that it needs has changed. There is
// one request at a time, for a few outputs, those in view first; the next one has the latest state.

import { warmUp } from "./chart.js";
import { listenForClicks } from "./clicks.js";
import { buildControls } from "./controls.js";
import { make } from "./elements.js";
import { onAnswer, startExperiment } from "./experiments.js";
import { buildOutput, showDrawing } from "./outputs.js";
import {
  awaitFindings, currentRun, currentSelection, findingOf, forgetFinding, hasRun, isAwaited,
  nextQuestion, onChange, setFinding, setShownRun, setValue, shownRun, valueOf,
} from "./run.js";
import { TEXTS } from "./texts.js";

const SELECTION = "selection";
const RETRY_MS = 1500; // after a request without an answer; longer each time
const MAX_RETRIES = 5;
const CHARTS_AT_ONCE = 2; // the browser draws them while the server makes the next ones

/** Split a need's full name; it may name a control or an experiment, so both are looked up. */
function stateOf(need) {
  if (need === SELECTION) return currentSelection();
  return [valueOf(need) ?? null, findingOf(need) ?? null];
}

/** The current values of the controls and the selection that an output needs. */
const settingsFor = (output) =>
  JSON.stringify(output.needs.map((need) =>
    need === SELECTION ? currentSelection() : valueOf(need) ?? null));

/** Everything that an output is drawn from; it is redrawn when this changes. */
const fingerprint = (shown, output) => JSON.stringify([shown, ...output.needs.map(stateOf)]);

function isInView({ element }) {
  if (!element || element.hidden) return true;
  const { top, bottom } = element.getBoundingClientRect();
  return top < innerHeight && bottom > 0;
}

/** The outputs to request first: those in view, and few charts at once. */
function firstOf(wanted) {
  const seen = wanted.filter(isInView);
  let charts = 0;
  return (seen.length ? seen : wanted).filter(
    ({ kind }) => kind !== "chart" || (charts += 1) <= CHARTS_AT_ONCE);
}

/**
 * Mount a part; `element`, `server`, `upload` are Gradio's.
 * @param {any} gradio
 * @param {any} spec - see stage_view.py
 */
export function mount({ element, server, upload }, spec) {
  const words = TEXTS[spec.language] ?? TEXTS.en;
  const root = make("div", "pg-part");
  const shownNow = () => shownRun(spec.key);
  setShownRun(spec.key, spec.shownRun);
  root.dataset.part = spec.key;
  root.dataset.state = "waiting";
  element.replaceChildren(root);

  /** @type {Map<string, any>} */
  const outputs = new Map(spec.outputs.map((output) => [output.name, { ...output, drawn: "" }]));
  const controls = buildControls(spec, (experiment) => start(experiment), upload);
  const plotly = new URL(`..${spec.plotly}`, import.meta.url).href; // has its own version
  const message = make("p", "pg-part-message");
  message.setAttribute("role", "status");
  root.append(message);
  layOut(spec.items, root);
  listenForClicks(root, spec, { start, forget }, controls.value);

  let inSight = false;
  let asking = false;
  let controlsRun = null; // the run whose controls are shown; like the next ones, of `shownRun`
  let autoRun = null; // the run on which the automatic experiments were started
  let busyRun = null; // the run of the experiment that was started last
  let problem = ""; // why the last request had no drawings
  const repeated = new Map(); // by experiment: the values of its `again` controls
  let failed = 0; // consecutive requests without an answer

  function layOut(items, parent) {
    for (const item of items) {
      if (typeof item === "string") parent.append(boxFor(item));
      else if (Array.isArray(item)) {
        const row = make("div", "pg-part-row");
        row.append(...item.map(boxFor));
        parent.append(row);
      } else if (item.html !== undefined) {
        const text = make("div", "prose pg-part-text");
        text.innerHTML = item.html; // trusted, from the server
        parent.append(text);
      } else {
        const fold = make("details", "pg-fold");
        fold.append(make("summary", "", item.label));
        fold.addEventListener("toggle", sync);
        layOut(item.items, fold);
        parent.append(fold);
      }
    }
  }

  function boxFor(name) {
    const output = outputs.get(name);
    if (output) return (output.element = buildOutput(output, spec, { words, plotly, sync }));
    return controls.elements.get(name) ?? buildButton(name);
  }

  function buildButton(name) {
    const experiment = spec.experiments.find((experiment) => experiment.name === name);
    const look = experiment.primary ? "pg-button pg-primary" : "pg-button";
    const button = make("button", look, experiment.label);
    button.type = "button";
    button.dataset.experiment = name;
    button.addEventListener("click", () => start(name));
    return button;
  }

  // ------------------------------------------------------------------------------ experiments

  function start(name) {
    const run = currentRun();
    if (!run.key || !shownNow()) return;
    const experiment = spec.experiments.find((experiment) => experiment.name === name);
    const given = needsOf([experiment, ...outputsOf(experiment)]);
    root.dataset.busy = name;
    busyRun = shownNow();
    repeated.set(name, settingsOf(experiment));
    for (const output of outputsOf(experiment)) output.askedWith = settingsFor(output);
    problem = "";
    startExperiment({ experiment: name, run: run.key, part: spec.key, ...given });
  }

  /** Reset the controls that an experiment has set, and discard its finding. */
  function forget(name) {
    for (const control of afterwardsOf(name)) setValue(control, undefined);
    forgetFinding(`${spec.key}.${name}`);
    problem = "";
  }

  const afterwardsOf = (name) =>
    Object.keys(spec.experiments.find((experiment) => experiment.name === name)?.afterwards ?? {});

  const outputsOf = (experiment) =>
    [...outputs.values()].filter((output) => output.needs.includes(experiment.finding));

  /** An experiment's answers: drawings while it runs, and its finding in the end. */
  function receive(answer) {
    if (answer.run !== currentRun().key) return;
    if (busyRun !== shownNow()) { // the part shows another sequence now
      if (answer.done) finish("");
      return;
    }
    for (const [name, drawn] of Object.entries(answer.outputs ?? {})) show(name, drawn);
    if (answer.finding) {
      setFinding(answer.finding.name, answer.finding.key);
      for (const [name, value] of Object.entries(answer.values))
        setValue(name, value ?? undefined);
      for (const name of Object.keys(answer.outputs ?? {})) {
        const output = outputs.get(name);
        // Already drawn, so not requested again, unless a control was moved in the meantime.
        if (output.askedWith === settingsFor(output)) output.drawn = fingerprint(busyRun, output);
      }
    }
    if (answer.done) finish(answer.error ?? "");
  }

  function finish(error) {
    delete root.dataset.busy;
    problem = error;
    sync();
  }

  // ---------------------------------------------------------------------------------- asking

  /** Update the visible outputs of the part. */
  function sync() {
    const run = currentRun();
    const shown = shownNow();
    const ready = hasRun(spec.requires) && shown !== null;
    // Old drawings stay visible, dimmed, during the next run.
    root.dataset.state = ready ? "ready"
      : (run.running || run.key && !shown) && root.dataset.shown ? "stale" : "waiting";
    message.textContent = ready ? problem : waitingWords(run);
    message.hidden = !message.textContent;
    message.classList.toggle("pg-problem", ready && problem !== "" && !isAbsent());
    awaitFindings(spec.key, ready && inSight ? missing() : []);
    if (ready && !inSight) startAutomatic(run);
    if (!inSight || !ready || asking) return;
    const wanted = [...outputs.values()].filter(
      (output) => isOpen(output) && output.drawn !== fingerprint(shown, output));
    if (controlsRun !== shown || wanted.length) ask(run, firstOf(wanted));
    else startAutomatic(run);
  }

  /** Findings of other parts that outputs need and that do not exist yet. */
  const missing = () => [...outputs.values()].flatMap(({ needs }) => needs.filter((need) =>
    need !== SELECTION && !need.startsWith(`${spec.key}.`) &&
    valueOf(need) === undefined && !findingOf(need)));

  const settingsOf = (experiment) => JSON.stringify(experiment.again.map(valueOf));

  const waitingWords = (run) => {
    const running = words.stages[run.running];
    if (running) return words.running(running);
    return run.key && !shownNow() ? words.waitingForAnswer : words.waiting;
  };

  const isAbsent = () => root.classList.contains("pg-absent");

  const isOpen = (output) => !output.element?.closest("details:not([open])");

  /** Start automatic experiments: once per run, or again after a control was moved; in a hidden
   * part, only those that another part waits for. */
  function startAutomatic(run) {
    if (run.running || root.dataset.busy) return;
    for (const { name, auto, when, again, finding } of spec.experiments) {
      if (!when.every(([control, values]) => values.includes(valueOf(control)))) continue;
      const found = findingOf(finding);
      if (!inSight && (found || !isAwaited(finding))) continue;
      const settings = settingsOf({ again });
      const isDue = found ? repeated.get(name) !== settings : auto && autoRun !== shownNow();
      const isFirst = found && !repeated.has(name);
      repeated.set(name, settings);
      if (!isDue || isFirst) continue;
      autoRun = shownNow();
      return start(name);
    }
  }

  function needsOf(owners) {
    const { control, finding } = spec.shownRun ?? {};
    const names = new Set([control, finding, ...owners.flatMap((owner) => owner.needs)]);
    names.delete(undefined);
    const given = { values: {}, findings: {} };
    for (const name of names) {
      if (name === SELECTION) given.selection = currentSelection();
      else if (valueOf(name) !== undefined) given.values[name] = valueOf(name);
      else if (findingOf(name)) given.findings[name] = findingOf(name);
    }
    return given;
  }

  async function ask(run, wanted) {
    asking = true;
    root.dataset.asking = "";
    const shown = shownNow();
    const prints = wanted.map((output) => fingerprint(shown, output));
    const question = {
      ...nextQuestion(),
      run: run.key,
      part: spec.key,
      outputs: wanted.map((output) => output.name),
      controls: controlsRun !== shown,
      ...needsOf(wanted),
    };
    try {
      const answer = await server.draw(question);
      if (answer.busy) throw new Error("busy");
      failed = 0;
      take(shown, answer);
      wanted.forEach((output, number) => (output.drawn = prints[number]));
    } catch (error) {
      failed += 1;
      console.warn("Part:", spec.key, error);
      if (failed > 1) problem = words.unreachable;
      wanted.forEach((output, number) => (output.drawn = prints[number]));
      if (failed < MAX_RETRIES) setTimeout(retry, RETRY_MS * failed, wanted);
    } finally {
      asking = false;
      delete root.dataset.asking;
      sync();
    }
  }

  function retry(wanted) {
    for (const output of wanted) output.drawn = "";
    sync();
  }

  function take(shown, answer) {
    if (answer.overtaken) return;
    if (controlsRun !== null && controlsRun !== shown)
      for (const { afterwards } of spec.experiments)
        for (const [name, value] of Object.entries(afterwards))
          if (value !== null && valueOf(name) === value) setValue(name, undefined);
    controlsRun = shown;
    for (const kind of ["absent", "failed"]) root.classList.toggle(`pg-${kind}`, kind in answer);
    problem = answer.error ?? answer.absent ?? "";
    if (problem) return;
    if (answer.controls) controls.show(answer.controls);
    for (const [name, drawn] of Object.entries(answer.outputs)) show(name, drawn);
    if (shownNow() === shown) root.dataset.shown = currentRun().key ?? "";
    warmUp(plotly);
  }

  // ---------------------------------------------------------------------------------- showing

  function show(name, drawn) {
    const output = outputs.get(name);
    if (output?.element) showDrawing(output, drawn, controls.standAt);
  }

  // ----------------------------------------------------------------------------------- start

  const observer = new IntersectionObserver((entries) => {
    inSight = entries.some((entry) => entry.isIntersecting);
    sync();
  }, { rootMargin: "1000000px" }); // whatever the scroll position: everything in an open tab
  observer.observe(root);
  onChange(sync);
  onAnswer(spec.key, receive);
  sync();
}
