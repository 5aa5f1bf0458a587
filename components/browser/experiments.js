// @ts-check
// The experiments of all parts are one Gradio event: a part starts them here and gets their
// answers. The browser half of ExperimentsView (experiments.py).

/** @type {any[]} what was started before Gradio had built the component */
let waiting = [];
let trigger = (data) => void waiting.push(data);

/** @type {Map<string, (answer: any) => void>} by part */
const receivers = new Map();

/** @param {{part: string, experiment: string, run: string}} data - and what the functions need */
export const startExperiment = (data) => trigger(data);

/** Register a part for the answers of its experiments. */
export const onAnswer = (part, receive) => receivers.set(part, receive);

/** `props`, `trigger`, `watch` are Gradio's. */
export function mount({ props, trigger: send, watch }) {
  trigger = (data) => send("experiment", data);
  watch("value", () => {
    if (!props.value) return;
    const answer = JSON.parse(props.value);
    receivers.get(answer.part)?.(answer);
  });
  waiting.forEach(trigger);
  waiting = [];
}
