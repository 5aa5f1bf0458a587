"""The page's pointer: what is pointed at, in words, and marked in every tab.

The browser half, pointer.js, knows the run's layout (which token stands where) and so marks what
the mouse is over without asking the server. A click fixes the place and tells the server, which
redraws what depends on it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from components.browser_module import mount_script
from components.charts.token_labels import span_name
from components.strips import visible
from playground.errors import InputError
from playground.pointer import Place, locate_patch, locate_token

if TYPE_CHECKING:
    from playground.pipeline import Run

MODULE_PATH = Path(__file__).resolve().parent / "pointer.js"
MAX_TEXT_CHARS = 24  # of a token, in the bar

HTML_TEMPLATE = """
<div class="pg-pointer" role="status" aria-live="polite" hidden>
  <button type="button" class="pg-pointer-previous">◀</button>
  <button type="button" class="pg-pointer-next">▶</button>
  <p class="pg-pointer-words"></p>
  <button type="button" class="pg-pointer-clear">✕</button>
</div>
"""


class PointerView(gr.HTML):
    """The bar that says what is pointed at; its value is a run's layout as JSON, or None."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            None,
            html_template=HTML_TEMPLATE,
            js_on_load=mount_script(MODULE_PATH),
            apply_default_css=False,
            elem_classes=["pg-pointer-bar"],
            **kwargs,
        )


def write_layout(run: Run) -> str:
    """Where each token of a run stands, for the browser; the run must be preprocessed.

    One string, since Gradio would compare and walk through nested lists.
    """
    inputs = run.inputs
    spans = [
        {
            "name": span_name(inputs, span),
            "kind": span.kind,
            "start": span.start,
            "end": span.end,
            "gridH": span.grid_h,
            "gridW": span.grid_w,
            "patchStart": span.patch_start,
            "mergeSize": span.merge_size,
        }
        for span in inputs.spans
    ]
    texts = {
        token.index: visible(token.text)[:MAX_TEXT_CHARS]
        for token in inputs.tokens
        if token.kind in ("text", "special")
    }
    layout = {
        "spans": spans,
        "patchSize": inputs.patch_size,
        "positions": run.positions.tolist(),
        "texts": texts,
    }
    return json.dumps(layout, ensure_ascii=False, separators=(",", ":"))


def read_place(run: Run, data: Any) -> Place | None:
    """The place that the browser reports, located anew; None where the mark was taken away.

    Raises:
        InputError: no such place is in this run.
    """
    if not isinstance(data, Mapping):
        raise InputError("The page reported no place.", remedy="Reload the page.")
    if data.get("index") is None and data.get("span") is None:
        return None
    names = ("index",) if data.get("span") is None else ("span", "row", "column")
    values = [data.get(name) for name in names]
    if not all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        raise InputError("The page reported a place that is no whole number.")
    if len(values) == 1:
        return locate_token(run.inputs, run.positions, *values)
    return locate_patch(run.inputs, run.positions, *values)
