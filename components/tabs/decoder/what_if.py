"""The decoder tab's what-ifs: break a part on purpose, and see the answer beside the original."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

import playground
from components.html_view import build_html_view
from components.plotly_view import PlotlyView
from components.stage_tab import App, Section
from components.tabs.decoder.painting import Painting, is_visual, painted_html
from components.tabs.decoder.verdict import compare_change
from playground.errors import InputError
from playground.pipeline import Run
from playground.records import Progress

MAX_TAPS = 3  # sliders; every Qwen3-VL has three taps
POSITIONS = [
    ("M-RoPE, as trained", "mrope"),
    ("flat 1-D positions", "flat"),
    ("h and w swapped", "swapped"),
]


def build_what_if_section(app: App) -> Section:
    """Build the part inside the tab."""
    gr.Markdown(
        "Change what you like, also several things at once, and run the model with the change "
        "beside the original. The shared model itself is never touched."
    )
    gains, positions, skipped, heads = _build_changes()
    painting = Painting()
    with gr.Row():
        start = gr.Button("Run with the change", variant="primary", min_width=180)
        clear = gr.Button("Unpaint all", min_width=120)
    verdict = build_html_view()
    words = PlotlyView(label="The answer's words", empty="Run with a change to compare.")
    shift = PlotlyView(label="Next token", empty="Run with a change to compare.")
    results = [verdict, words, shift]
    painted = painting.painted
    changes = [*gains, positions, skipped, heads, painted, painting.fill, painting.leave]
    app.on_model(start.click, stream_what_if, changes, results)
    painting.wire(app, clear)
    outputs = (*gains, skipped, heads, painted, painting.pictures, *results)
    return Section((painted,), outputs, draw_what_if)


def _build_changes() -> tuple[list[gr.Slider], gr.Radio, gr.Dropdown, gr.Dropdown]:
    """The gains of the taps, the positions, the layers to skip and the heads to zero."""
    with gr.Row():
        gains = [
            gr.Slider(0, 2, 1, step=0.1, label=f"DeepStack tap {tap + 1}, gain", min_width=150)
            for tap in range(MAX_TAPS)
        ]
    with gr.Row():
        positions = gr.Radio(POSITIONS, value="mrope", label="Positions", min_width=300)
        skipped = gr.Dropdown([], value=[], multiselect=True, label="Layers to skip", min_width=160)
        heads = gr.Dropdown([], value=[], multiselect=True, label="Heads to zero", min_width=160)
    return gains, positions, skipped, heads


def draw_what_if(run: Run, painted: tuple[int, ...]) -> tuple[Any, ...]:
    """The controls as this model has them; results of another run are cleared."""
    facts = run.engine.facts
    taps = len(facts.deepstack_visual_indexes)
    has_pictures = bool(run.inputs.spans)
    kept = tuple(index for index in painted if is_visual(run, index))
    heads = [
        (f"layer {layer}, head {head}", f"{layer}:{head}")
        for layer in range(facts.num_layers)
        for head in range(facts.num_attention_heads)
    ]
    return (
        *(gr.update(visible=has_pictures and tap < taps) for tap in range(MAX_TAPS)),
        gr.update(choices=[(f"layer {layer}", layer) for layer in range(facts.num_layers)]),
        gr.update(choices=heads),
        kept,
        painted_html(run, kept),
        "",
        None,
        None,
    )


def read_what_if(run: Run, *values: Any) -> Any:
    """The controls' values as a ``WhatIf``.

    Raises:
        InputError: a value is none that the controls offer.
    """
    *gains, positions, skipped, heads, painted, fill, leave = values
    make = playground.what_if.WhatIf
    if positions not in [value for _, value in POSITIONS] or fill not in ("zero", "mean"):
        raise InputError("Positions or filling: choose one of those offered.")
    try:
        pairs = tuple(tuple(int(part) for part in str(head).split(":")) for head in heads or ())
        layers = tuple(int(layer) for layer in skipped or ())
        factors = tuple(float(gain) for gain in gains)
    except (TypeError, ValueError) as error:
        raise InputError("A layer, head or gain is no number.") from error
    if any(len(pair) != 2 for pair in pairs):
        raise InputError("A head is written as layer:head.")
    taps = len(run.engine.facts.deepstack_visual_indexes)
    return make(
        deepstack_gains=factors[:taps],
        positions=positions,
        painted=tuple(index for index in painted if is_visual(run, index)),
        fill=fill,
        leave_deepstack=bool(leave),
        skipped_layers=layers,
        zeroed_heads=pairs,
    )


def stream_what_if(run: Run, progress: Progress, *values: Any) -> Iterator[tuple[Any, ...]]:
    """The original's answer, then the changed one beside it."""
    run.ensure("decoder", progress)
    yield compare_change(run, progress, read_what_if(run, *values))
