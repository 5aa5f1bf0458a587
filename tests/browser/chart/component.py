"""One chart as a Gradio component, for the tests: what part.js does with a chart, and no more."""

from __future__ import annotations

from typing import Any

import gradio as gr
import plotly.graph_objects as go

from components.chart_view.figures import encode_figure
from components.chart_view.library import library_address
from components.serving.browser_module import file_address, page_files, page_module
from playground.language import spoken_language

# `module` is chart.js; `select` gets the points that a click has hit.
SHOW = """
const showChart = async (module, { element, props, trigger, watch }, spec) => {
  const { TEXTS } = await import(base + spec.texts);
  const box = document.createElement("div");
  box.className = "plotly-view";
  element.replaceChildren(box);
  const { label, language } = spec;
  const plotly = base + spec.plotly;
  const chart = module.createChart(
    box, { label, empty: "", words: TEXTS[language], plotly, language });
  box.addEventListener("chart-click",
    (event) => trigger("select", { points: event.detail.points }));
  const update = () => chart.show(props.value ? JSON.parse(props.value) : null);
  watch("value", update);
  update();
};
"""


class ChartView(gr.HTML):
    """Shows a figure."""

    def __init__(self, value: go.Figure | None = None, *, label: str = "", **kwargs: Any) -> None:
        spec = {
            "label": label,
            "language": spoken_language(),
            "plotly": library_address(),
            "texts": file_address(*page_files("texts.js")),
        }
        script = page_module("chart.js", calls="show", spec=spec)
        super().__init__(
            value,
            html_template="",
            js_on_load=SHOW + script.replace("module.show(", "showChart(module, "),
            apply_default_css=False,
            **kwargs,
        )

    def postprocess(self, value: go.Figure | None) -> str | None:
        """What is sent to the page."""
        return encode_figure(value)
