"""The decoder tab's what-ifs: break a part on purpose, and see the answer beside the original."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np

import playground
from components.charts.token_labels import span_name, token_label
from components.charts.what_if import plot_influence, plot_shift
from components.html_view import build_html_view
from components.pictures import picture_html, picture_row_html
from components.plotly_view import PlotlyView
from components.stage_tab import App, Section, skip_unless_run
from components.strips import probability_legend_html, token_chips_html
from playground.errors import InputError
from playground.pipeline import Run
from playground.pointer import Place
from playground.records import Progress, VisualSpan

MAX_TAPS = 3  # sliders; every Qwen3-VL has three taps
NEW_TOKENS = 32
TOP_K = 8
BLOCK_ABOVE = 150  # image tokens: larger pictures are measured in blocks of 2 x 2 tokens
PICTURE_SIDE = 448
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
    with gr.Row():
        gains = [
            gr.Slider(0, 2, 1, step=0.1, label=f"DeepStack tap {tap + 1}, gain", min_width=150)
            for tap in range(MAX_TAPS)
        ]
    with gr.Row():
        positions = gr.Radio(POSITIONS, value="mrope", label="Positions", min_width=300)
        skipped = gr.Dropdown([], value=[], multiselect=True, label="Layers to skip", min_width=160)
        heads = gr.Dropdown([], value=[], multiselect=True, label="Heads to zero", min_width=160)
    # In columns: a checkbox alone would share a phone's width instead of wrapping.
    with gr.Row():
        with gr.Column(min_width=220):
            painting = gr.Checkbox(
                False,
                label="Paint what I click",
                info="Each click on a picture takes its token away, or brings it back.",
            )
        with gr.Column(min_width=220):
            fill = gr.Radio(
                [("nothing (zeros)", "zero"), ("the mean image token", "mean")],
                value="zero",
                label="Put in its place",
            )
        with gr.Column(min_width=220):
            leave = gr.Checkbox(
                False,
                label="Leave DeepStack in",
                info="Then the painted tokens leak through the taps.",
            )
    painted = gr.State(())
    pictures = build_html_view()
    with gr.Row():
        start = gr.Button("Run with the change", variant="primary", min_width=180)
        clear = gr.Button("Unpaint all", min_width=120)
    verdict = build_html_view()
    shift = PlotlyView(label="Next token", empty="Run with a change to compare.")
    gr.Markdown(
        "### Where did it look?\n\nEvery part of the picture is taken away in turn, and the "
        "log-probability of the answer's next word is measured: what it depends on, which is not "
        "always what attention shows."
    )
    measure = gr.Button("Measure the influence of each part", min_width=240)
    influence_words = build_html_view()
    influence = PlotlyView(label="Influence", empty="Measure to draw this map.")

    changes = [*gains, positions, skipped, heads, painted, fill, leave]
    app.on_model(start.click, stream_what_if, changes, [verdict, shift])
    app.on_model(measure.click, stream_influence, [app.pointed], [influence_words, influence])

    def paint(run: Run, place: Place | None, tokens: tuple[int, ...], on: bool) -> tuple[Any, ...]:
        if not on or place is None or place.span is None:
            return gr.skip(), gr.skip()
        kept = tuple(sorted(set(tokens) ^ {place.index}))
        return kept, painted_html(run, kept)

    app.on_point(skip_unless_run("decoder", paint, 2), [painted, painting], [painted, pictures])
    app.on_view(clear.click, lambda run: ((), painted_html(run, ())), [], [painted, pictures])
    outputs = (
        *gains,
        skipped,
        heads,
        painted,
        pictures,
        verdict,
        shift,
        influence_words,
        influence,
    )
    return Section((painted,), outputs, draw_what_if)


def draw_what_if(run: Run, painted: tuple[int, ...]) -> tuple[Any, ...]:
    """The controls as this model has them; results of another run are cleared."""
    facts = run.engine.facts
    taps = len(facts.deepstack_visual_indexes)
    has_pictures = bool(run.inputs.spans)
    kept = tuple(index for index in painted if _is_visual(run, index))
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
        "",
        None,
    )


def _is_visual(run: Run, index: int) -> bool:
    return any(span.start <= index < span.end for span in run.inputs.spans)


def painted_html(run: Run, painted: tuple[int, ...]) -> str:
    """The pictures with the painted tokens covered."""
    if not run.inputs.spans:
        return '<p class="pg-fact">There is no picture to paint on.</p>'
    figures = []
    for number, span in enumerate(run.inputs.spans[:4]):
        here = [index for index in painted if span.start <= index < span.end]
        figures.append(_painted_picture(run, number, span, here))
    return picture_row_html(figures)


def _painted_picture(run: Run, number: int, span: VisualSpan, here: list[int]) -> str:
    cover = np.zeros((span.merged_h, span.merged_w, 4), np.uint8)
    for index in here:
        cover[divmod(index - span.start, span.merged_w)] = (128, 128, 128, 245)
    name = span_name(run.inputs, span)
    return picture_html(
        playground.preprocess.unpatchify(run.inputs, span)[0],
        alt=f"{name}, {len(here)} of its tokens painted",
        caption=f"{name.capitalize()}: {len(here)} of {span.end - span.start} tokens taken away.",
        max_side=PICTURE_SIDE,
        shown_width=300,
        span=number,
        overlay=cover,
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
        painted=tuple(index for index in painted if _is_visual(run, index)),
        fill=fill,
        leave_deepstack=bool(leave),
        skipped_layers=layers,
        zeroed_heads=pairs,
    )


def stream_what_if(run: Run, progress: Progress, *values: Any) -> Iterator[tuple[Any, ...]]:
    """The original's answer, then the changed one beside it."""
    what_if = read_what_if(run, *values)
    runs = playground.what_if_runs
    engine, inputs, merged = run.engine, run.inputs, run.merged
    original = playground.sampling.run_sampling(  # the run has its prefill already
        engine,
        inputs,
        merged,
        run.decoded,
        [runs.GREEDY],
        max_new_tokens=NEW_TOKENS,
        progress=progress,
    ).traces[0]
    changed = runs.run_what_if(
        engine, inputs, merged, what_if, max_new_tokens=NEW_TOKENS, progress=progress
    )
    shift = runs.compare_logits(engine, run.decoded.logits, changed.decoded.logits, TOP_K)
    yield verdict_html(original, changed.answer, shift), plot_shift(shift)


def verdict_html(original: Any, changed: Any, shift: Any) -> str:
    """Both answers, token by token, and how far the first distribution moved."""
    same = original.text == changed.text
    words = "The answer stays the same." if same else "The answer changes."
    badge = "pg-badge-hit" if same else "pg-badge-miss"
    first = next(
        (
            step
            for step, (a, b) in enumerate(zip(original.steps, changed.steps, strict=False))
            if a.id != b.id
        ),
        None,
    )
    detail = f"KL(original ‖ changed) = {shift.kl:.3g} nats at the first token"
    return (
        f'<p class="pg-verdict"><span class="pg-badge {badge}">{words}</span>'
        f"<span>{html.escape(detail)}, largest change of a probability "
        f"{shift.max_abs_dp:.1%}.</span></p>{probability_legend_html()}"
        f'<h4 class="pg-column-name">Original</h4>{token_chips_html(original.steps)}'
        f'<h4 class="pg-column-name">Changed</h4>{token_chips_html(changed.steps, mark=first)}'
    )


def stream_influence(
    run: Run, progress: Progress, place: Place | None
) -> Iterator[tuple[Any, ...]]:
    """The map of one picture: the pointed one, or the first."""
    if not run.inputs.spans:
        raise InputError("There is no picture in this prompt.", remedy="Add one.")
    there = run.still_there(place)
    number = there.span if there is not None and there.span is not None else 0
    span = run.inputs.spans[number]
    block = 2 if span.end - span.start > BLOCK_ABOVE else 1
    word = int(run.decoded.logits.argmax())
    measured = playground.influence.measure_influence(
        run.engine, run.inputs, run.merged, span, [word], block=block, progress=progress
    )
    label = token_label(playground.tokens.token_text(run.engine.tokenizer, word))
    yield (
        influence_html(run, span, measured, word),
        plot_influence(measured.drop, block, label, number),
    )


def influence_html(run: Run, span: VisualSpan, measured: Any, word: int) -> str:
    """The map in words, with its rank correlation to the attention of the last token."""
    layer = run.decoded.num_layers // 2
    attention = playground.decoder_attention
    vectors = attention.layer_queries_keys(run.engine, run.decoded, layer)
    rows = attention.attention_rows(vectors, [run.inputs.num_tokens - 1])
    seen = rows.float().mean(0)[0, span.start : span.end].numpy()
    seen = _sum_blocks(seen.reshape(span.merged_h, span.merged_w), measured.block)
    correlation = playground.influence.rank_correlation(measured.drop, seen)
    text = playground.tokens.token_text(run.engine.tokenizer, word)
    parts = measured.drop.size
    words = (
        f"The answer's first word “{text}” has probability {np.exp(measured.log_prob):.1%}. Taking "
        f"away each of {parts:,} parts of {span_name(run.inputs, span)} in turn costs up to "
        f"{float(measured.drop.max()):.3g} nats. Rank correlation with the attention of layer "
        f"{layer} (mean of all heads, last token): {correlation:.2f}."
    )
    return f'<p class="pg-fact">{html.escape(words)}</p>'


def _sum_blocks(grid: np.ndarray, block: int) -> np.ndarray:
    """Sums over blocks; those at the right and lower edge may be smaller."""
    rows = np.add.reduceat(grid, range(0, grid.shape[0], block), axis=0)
    return np.asarray(np.add.reduceat(rows, range(0, grid.shape[1], block), axis=1))
