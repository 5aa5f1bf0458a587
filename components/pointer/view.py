"""The page's pointer: the selected token or patch, described in a bar and marked in every tab.

The browser half, pointer.js, knows the run's layout (the position of each token), so it can mark
what the mouse is over without asking the server. A click makes a selection; what depends on it is
redrawn.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from components.charts.token_labels import span_name
from components.serving.browser_module import page_module
from components.views.text import visible
from playground.language import mark, say

if TYPE_CHECKING:
    from playground.pipeline import Run

MAX_TEXT_CHARS = 24  # of a token, in the bar

# Templates that pointer.js fills in.
WORDS = {
    "same": mark("position {t} in t, h and w"),
    "apart": mark("position t {t}, h {h}, w {w}"),
    "resizedImage": mark("resized image"),
    "resizedVideo": mark("resized frame"),
    "plain": mark("Token {index} · {position} · KV slot {index}"),
    "text": mark("Token {index} “{text}” · {position} · KV slot {index}"),
    "visual": mark(
        "{name}: token {index} = {size} × {size} patches at rows {rows}, columns {columns} = "
        "pixels x {x}, y {y} of the {resized} · rows {pixelRows} of {values} · {position} · "
        "KV slot {index}"
    ),
    "patch": mark(
        "{name}: patch at row {row}, column {column} = row {pixelRow} of {values}, in token "
        "{index} = {size} × {size} patches at rows {rows}, columns {columns} = pixels x {x}, y {y} "
        "of the {resized} · {position} · KV slot {index}"
    ),
}
BUTTONS = (
    ("previous", "◀", mark("Previous token")),
    ("next", "▶", mark("Next token")),
    ("clear", "✕", mark("Clear the selection")),
)


class PointerView(gr.HTML):
    """The bar that describes the selection; its value is a run's layout as JSON, or None."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            None,
            html_template=bar_html(),
            js_on_load=page_module("pointer.js"),
            apply_default_css=False,
            elem_classes=["pg-pointer-bar"],
            **kwargs,
        )


def bar_html() -> str:
    """The empty bar; pointer.js fills it in."""
    previous, following, clear = (
        f'<button type="button" class="pg-pointer-{name}" title="{say(words)}" '
        f'aria-label="{say(words)}">{sign}</button>'
        for name, sign, words in BUTTONS
    )
    return (
        '<div class="pg-pointer" role="status" aria-live="polite" hidden>'
        f'{previous}{following}<p class="pg-pointer-words"></p>{clear}</div>'
    )


def write_layout(run: Run, selection: Sequence[int] = ()) -> str:
    """The layout of a run's tokens for the browser; the run must be preprocessed.

    The layout is one string, because Gradio would compare nested lists item by item.

    Args:
        run: the run.
        selection: the initial selection: an index, or a patch's span, row and column.
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
    layout: dict[str, Any] = {
        "spans": spans,
        "patchSize": inputs.patch_size,
        "positions": run.positions.tolist(),
        "texts": texts,
        "words": {name: say(words) for name, words in WORDS.items()},
    }
    if selection:
        names = ("index",) if len(selection) == 1 else ("span", "row", "column")
        layout["selection"] = dict(zip(names, selection, strict=True))
    return json.dumps(layout, ensure_ascii=False, separators=(",", ":"))
