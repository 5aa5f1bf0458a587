"""A chart component: a Plotly figure that is updated in place.

`gr.Plot` builds the chart anew with every update, which loses the reader's zoom and camera and
leaks a WebGL context each time; it has no click events, ignores dark mode and bundles an older
plotly.js than the one that the installed Python package writes for. This component uses the
package's own plotly.js and `Plotly.react`. The browser half is plotly_view.js,
with the table twin in chart_table.js, the pointer's marks in chart_pointer.js and so on.

Never put a `gr.Plot` on the same page: both use `window.Plotly`.
"""

from __future__ import annotations

import html
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import plotly
import plotly.graph_objects as go
import plotly.io

from components.chart_view.figures import encode_figure as encode_figure
from components.serving.browser_module import BROWSER, file_address, mount_script, page_files
from playground.language import say, spoken_language

MODULE_PATH = BROWSER / "plotly_view.js"
STYLES_PATH = BROWSER / "plotly_view.css"
LIBRARY_PATH = Path(plotly.__file__).resolve().parent / "package_data" / "plotly.min.js"
# Asks Chromium to compile all of it beside the page, which stood still while that was done
# piece by piece: see benchmarks/plotly_start.py.
COMPILED_AT_ONCE = "//# allFunctionsCalledOnLoad\n"

# The browser fills the parts; nothing here depends on the value, so Gradio never redraws it. What
# has a name has it from the start: the script of a part that is mounted late comes after its marks.
HTML_TEMPLATE = """
<figure class="chart-box" data-state="empty" data-language="$LANGUAGE">
  <div class="chart-empty">$EMPTY</div>
  <div class="chart-error" role="alert"></div>
  <figcaption class="chart-head">
    <span class="chart-title"></span>
    <button type="button" class="chart-reset" title="$RESET" aria-label="$RESET">
      <svg viewBox="0 0 20 20" aria-hidden="true">
      <path d="M4 10a6 6 0 1 0 2-4.5M6 2v4h4"/></svg></button>
    <button type="button" class="chart-png" title="$PNG" aria-label="$PNG">
      <svg viewBox="0 0 20 20" aria-hidden="true">
      <path d="M3 4h14v12H3zM3 13l4-4 4 4 2-2 4 4M13 7.5h.01"/></svg></button>
    <button type="button" class="chart-csv" title="$CSV" aria-label="$CSV">
      <svg viewBox="0 0 20 20" aria-hidden="true">
      <path d="M3 4h14v12H3zM3 8h14M3 12h14M8 4v12"/></svg></button>
  </figcaption>
  <div class="chart-plot" role="img" aria-label="$LABEL"></div>
  <details class="chart-table"><summary>$TABLE</summary>
    <div class="chart-rows" role="region" tabindex="0"></div></details>
</figure>
"""


def library_address() -> str:
    """Where the page finds plotly.js, below the folder of page files."""
    return file_address(LIBRARY_PATH, first_line=COMPILED_AT_ONCE)


JS_ON_LOAD = mount_script(*page_files("plotly_view.js"), arguments=(library_address(),))


def _fill_template(label: str | None, empty: str) -> str:
    """A chart's parts with their names, in the language that is being spoken."""
    nothing = empty or say("Run this stage to draw this chart.")
    words = {
        "EMPTY": " — ".join(filter(None, (label, nothing))),
        "LABEL": label or say("Chart"),
        "RESET": say("Reset the view"),
        "PNG": say("Save as PNG"),
        "CSV": say("Save the numbers as CSV"),
        "TABLE": say("Show as table"),
        "LANGUAGE": spoken_language(),
    }
    filled = string.Template(HTML_TEMPLATE)
    return filled.substitute({name: html.escape(text) for name, text in words.items()})


class PlotlyView(gr.HTML):
    """Show a `plotly.graph_objects.Figure`; `view.select(fn)` calls `fn` with a `gr.EventData`.

    `event.points` is a list of dicts with the keys curve, trace_name, point_index, x, y, z,
    label and customdata (None where the trace has no such thing).

    The figure's `layout.meta` may hold: `alt` (one sentence for screen readers), `columns`
    (headings of the table twin by field, `{"x": "Layer", "customdata": ["Token", "Id"]}`),
    `uirevision` (a new value drops the reader's zoom and camera), and `pointer` (what its places
    mean to the page's pointer, see `charts.style.pointer_meta`).
    """

    label: str | None  # none that Gradio would translate

    def __init__(
        self,
        value: go.Figure | Callable[..., go.Figure | None] | None = None,
        *,
        label: str | None = None,
        elem_id: str | None = None,
        elem_classes: list[str] | str | None = None,
        empty: str = "",
        **kwargs: Any,
    ) -> None:
        """Make a chart.

        Args:
            value: The first figure; None shows the empty state.
            label: Name of the chart before it is drawn, and where the figure has no title.
            elem_id: The element's id in the page.
            elem_classes: Further CSS classes.
            empty: What to say while there is no figure, instead of the general advice.
            kwargs: Passed on to `gr.HTML` (visible, scale, min_width, key, render, …).
        """
        classes = [elem_classes] if isinstance(elem_classes, str) else list(elem_classes or [])
        super().__init__(
            value,
            label=label,
            elem_id=elem_id,
            elem_classes=["plotly-view", *classes],
            # In the template: Gradio loses other props of what it mounts late.
            html_template=_fill_template(label, empty),
            js_on_load=JS_ON_LOAD,
            apply_default_css=False,
            **kwargs,
        )
        self.empty = empty

    def preprocess(self, payload: str | None) -> go.Figure | None:
        """Return the figure that the page shows, for a handler that has the chart as input."""
        return None if payload is None else plotly.io.from_json(payload)

    def postprocess(self, value: go.Figure | None) -> str | None:
        """Return what is sent to the page."""
        return encode_figure(value)
