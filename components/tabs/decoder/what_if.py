"""The decoder tab's what-ifs: break a part on purpose, and see the answer beside the original."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

import playground
from components.chart_view.view import PlotlyView
from components.tabs.decoder.painting import Painting, is_visual, painted_html
from components.tabs.decoder.verdict import compare_change
from components.tabs.stage_tab import App, Section
from components.views.html_view import build_html_view
from playground.errors import InputError
from playground.language import mark, say
from playground.pipeline import Run
from playground.records import Progress

MAX_TAPS = 3  # sliders; every Qwen3-VL has three taps
POSITIONS = (
    (mark("M-RoPE, as trained"), "mrope"),
    (mark("flat 1-D positions"), "flat"),
    (mark("h and w swapped"), "swapped"),
)


def build_what_if_section(app: App) -> Section:
    """Build the part inside the tab."""
    gr.Markdown(
        say(
            "Change what you like, also several things at once, and run the model with the change "
            "beside the original. The shared model itself is never touched."
        )
    )
    gains, positions, skipped, heads = _build_changes()
    painting = Painting()
    with gr.Row():
        start = gr.Button(say("Run with the change"), variant="primary", min_width=180)
        clear = gr.Button(say("Unpaint all"), min_width=120)
    verdict = build_html_view()
    words = PlotlyView(label=say("The answer's words"), empty=say("Run with a change to compare."))
    shift = PlotlyView(label=say("Next token"), empty=say("Run with a change to compare."))
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
            gr.Slider(
                0,
                2,
                1,
                step=0.1,
                label=say("DeepStack tap {tap}, gain", tap=tap + 1),
                min_width=150,
            )
            for tap in range(MAX_TAPS)
        ]
    with gr.Row():
        positions = gr.Radio(
            [(say(label), value) for label, value in POSITIONS],
            value="mrope",
            label=say("Positions"),
            min_width=300,
        )
        skipped, heads = (
            gr.Dropdown([], value=[], multiselect=True, label=label, min_width=160)
            for label in (say("Layers to skip"), say("Heads to zero"))
        )
    return gains, positions, skipped, heads


def draw_what_if(run: Run, painted: tuple[int, ...]) -> tuple[Any, ...]:
    """The controls as this model has them; results of another run are cleared."""
    facts = run.engine.facts
    taps = len(facts.deepstack_visual_indexes)
    has_pictures = bool(run.inputs.spans)
    kept = tuple(index for index in painted if is_visual(run, index))
    layers = [(say("layer {layer}", layer=layer), layer) for layer in range(facts.num_layers)]
    heads = [
        (say("layer {layer}, head {head}", layer=layer, head=head), f"{layer}:{head}")
        for layer in range(facts.num_layers)
        for head in range(facts.num_attention_heads)
    ]
    return (
        *(gr.update(visible=has_pictures and tap < taps) for tap in range(MAX_TAPS)),
        gr.update(choices=layers),
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
    make = playground.experiments.what_if.WhatIf
    if positions not in [value for _, value in POSITIONS] or fill not in ("zero", "mean"):
        raise InputError(say("Positions or filling: choose one of those offered."))
    try:
        pairs = [[int(part) for part in str(head).split(":")] for head in heads or ()]
        layers = tuple(int(layer) for layer in skipped or ())
        factors = tuple(float(gain) for gain in gains)
    except (TypeError, ValueError) as error:
        raise InputError(say("A layer, head or gain is no number.")) from error
    if any(len(pair) != 2 for pair in pairs):
        raise InputError(say("A head is written as layer:head."))
    taps = len(run.engine.facts.deepstack_visual_indexes)
    return make(
        deepstack_gains=factors[:taps],
        positions=positions,
        painted=tuple(index for index in painted if is_visual(run, index)),
        fill=fill,
        leave_deepstack=bool(leave),
        skipped_layers=layers,
        zeroed_heads=tuple((layer, head) for layer, head in pairs),
    )


def stream_what_if(run: Run, progress: Progress, *values: Any) -> Iterator[tuple[Any, ...]]:
    """The original's answer, then the changed one beside it."""
    run.ensure("decoder", progress)
    yield compare_change(run, progress, read_what_if(run, *values))
