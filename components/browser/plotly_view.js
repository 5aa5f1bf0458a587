// The browser half of PlotlyView (view.py): one chart in one Gradio HTML component.

import { bringToLife } from "./chart.js";

/** `element`, `props`, `trigger`, `watch` are Gradio's. */
export function mount({ element, props, trigger, watch }, plotlyAddress) {
  const select = (points) => trigger("select", { points });
  const chart = bringToLife(element, { plotlyAddress, label: props.label, select });
  const update = () => chart.show(props.value ? JSON.parse(props.value) : null);
  watch("value", update);
  update();
}
