"""The decoder tab's influence: what one word of the answer depends on, beside attention."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np

import playground
from components.chart_view.view import PlotlyView
from components.charts.decoder_influence import plot_agreement, plot_influence
from components.charts.token_labels import span_name
from components.charts.what_if import plot_answer_shift
from components.look.colors import SEQUENTIAL
from components.tabs.choices import fact_html
from components.tabs.decoder.answer import answer_ids, answer_labels, answer_of
from components.tabs.decoder.painting import PICTURE_SIDE, painted_html
from components.tabs.decoder.verdict import compare_change
from components.tabs.stage_tab import App, Section
from components.views.html_view import build_html_view
from components.views.pictures import (
    grey_out,
    overlay_values,
    picture_html,
    picture_row_html,
    scale_html,
)
from playground.errors import InputError
from playground.language import mark, say
from playground.pipeline import Run
from playground.pointer import Place
from playground.records import Progress, VisualSpan

MAP_WIDTH = 270  # CSS pixels: three side by side
MAX_PARTS = 150  # of a picture; a larger one is measured in blocks of several tokens
# Blocks around each one.
SIZES = ((mark("one block"), 0), (mark("3 × 3 blocks"), 1), (mark("5 × 5 blocks"), 2))
EMPTY = mark("Measure to draw this.")
OWED = "what the answer owes to the pictures"  # a memo's name


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """What was measured of one word."""

    span_index: int  # into ModelInputs.spans
    word: int  # index into the answer's tokens
    measured: Any  # influence.InfluenceMap
    attention: np.ndarray  # (layers, heads, seq) float32, of the position that says the word


def build_influence_section(app: App) -> Section:
    """Build the part inside the tab."""
    gr.Markdown(
        say(
            "Every part of the picture is taken away in turn, and one word of the answer is "
            "watched: what the word **depends on**, which is not always what attention shows. Then "
            "take the strongest part away, and see the answer change."
        )
    )
    with gr.Row():
        word = gr.Dropdown(
            [],
            value=None,
            label=say("Word of the answer"),
            info=say("Of the greedy answer; at first the first word that tells of the picture."),
            min_width=220,
            filterable=False,
        )
        size = gr.Radio(
            [(say(label), around) for label, around in SIZES],
            value=1,
            label=say("Size of a part"),
            info=say("Neighbours tell much the same."),
            min_width=220,
        )
    measure = gr.Button(say("Measure what it depends on"), variant="primary", min_width=220)
    owed = PlotlyView(label=say("What the words owe to the picture"), empty=say(EMPTY))
    words, pictures = build_html_view(), build_html_view()
    with gr.Row():
        drops = PlotlyView(label=say("Influence"), empty=say(EMPTY))
        agreement = PlotlyView(label=say("Does attention tell?"), empty=say(EMPTY))
    take = gr.Button(say("Take the strongest part away"), min_width=220)
    taken = build_html_view()
    verdict = build_html_view()
    changed = PlotlyView(
        label=say("The answer's words"), empty=say("Take the strongest part away to draw.")
    )
    views = [word, owed, words, pictures, drops, agreement]
    results = [taken, verdict, changed]
    settings = [word, size, app.pointed]
    app.on_model(measure.click, stream_influence, settings, views)
    for trigger in (word.input, size.input):
        app.on_model(trigger, stream_again, settings, views)
    app.on_model(take.click, stream_taken, settings, [*views, *results])
    return Section((), (*views, *results), draw_influence)


def draw_influence(_run: Run) -> tuple[Any, ...]:
    """Nothing is measured of a new run until it is asked for."""
    empty = gr.update(choices=[], value=None)
    return (empty, None, "", "", None, None, "", "", None)


def stream_influence(
    run: Run, progress: Progress, word: float | None, size: float | None, place: Place | None
) -> Iterator[tuple[Any, ...]]:
    """The answer's words first, then the maps of one of them."""
    yield from _stream_finding(run, progress, word, size, place)


def stream_again(run: Run, *settings: Any) -> Iterator[tuple[Any, ...]]:
    """The maps of another word or size, once any have been asked for."""
    if run.recall(OWED) is None:
        yield (gr.skip(),) * 6
        return
    yield from _stream_finding(run, *settings)


def stream_taken(
    run: Run, progress: Progress, word: float | None, size: float | None, place: Place | None
) -> Iterator[tuple[Any, ...]]:
    """The maps, and what is left of the answer without the part that the word depends on most."""
    keep = (gr.skip(),) * 3
    for drawn in _stream_finding(run, progress, word, size, place):
        yield (*drawn, *keep)
    finding = find_influence(run, progress, word, size, place)
    painted = finding.measured.strongest
    what_if = playground.experiments.what_if.WhatIf(painted=painted)
    verdict, words, _ = compare_change(run, progress, what_if)
    yield (*(gr.skip(),) * 6, painted_html(run, painted), verdict, words)


def _stream_finding(
    run: Run, progress: Progress, word: float | None, size: float | None, place: Place | None
) -> Iterator[tuple[Any, ...]]:
    if not run.inputs.spans:
        raise InputError(say("There is no picture in this prompt."), remedy=say("Add one."))
    run.ensure("decoder", progress)
    shift = words_of(run, progress)
    chosen = choose_word(run, shift, word)
    labels = answer_labels(run, shift.ids)
    names = [html.unescape(label) for label in labels]
    choices = [(f"{number + 1}. {name}", number) for number, name in enumerate(names)]
    sides = (say("with the picture"), say("without it"))
    owed = plot_answer_shift(shift, labels, sides, chosen)
    listed = gr.update(choices=choices, value=chosen)
    yield (listed, owed, *(gr.skip(),) * 4)
    finding = find_influence(run, progress, chosen, size, place)
    span = run.inputs.spans[finding.span_index]
    measured = finding.measured
    heads = playground.experiments.influence.agreement_by_head(measured, finding.attention)
    yield (
        gr.skip(),
        gr.skip(),
        influence_html(run, finding, heads, names[chosen]),
        maps_html(run, finding, span, heads, names[chosen]),
        plot_influence(measured.drop, measured.block, labels[chosen], finding.span_index),
        plot_agreement(heads),
    )


def words_of(run: Run, progress: Progress) -> Any:
    """What each token of the answer owes to the pictures; kept as long as the run is."""

    def read() -> Any:
        ids = answer_ids(answer_of(run, progress))
        return playground.experiments.answers.without_pictures(
            run.engine, run.inputs, run.merged, run.decoded, ids, progress=progress
        )

    return run.memo(OWED, read, progress=progress)


def choose_word(run: Run, shift: Any, word: float | None) -> int:
    """The chosen token's place in the answer, or the first that tells of the picture."""
    if isinstance(word, int | float) and 0 <= word < len(shift.ids):
        return int(word)
    return int(playground.experiments.answers.first_picture_word(run.engine, shift))


def find_influence(
    run: Run, progress: Progress, word: float | None, size: float | None, place: Place | None
) -> Finding:
    """Measure one word on the pointed picture, or on the first; kept as long as the run is."""
    shift = words_of(run, progress)
    chosen = choose_word(run, shift, word)
    there = run.still_there(place)
    number = there.span if there is not None and there.span is not None else 0
    around = int(size) if size in (0, 1, 2) else 1

    def measure() -> Finding:
        span = run.inputs.spans[number]
        block = int(np.ceil(np.sqrt((span.end - span.start) / MAX_PARTS)))
        ids = shift.ids[: chosen + 1]
        measured = playground.experiments.influence.measure_influence(
            run.engine,
            run.inputs,
            run.merged,
            span,
            ids,
            block=block,
            margin=around * block,
            progress=progress,
        )
        attention = playground.experiments.influence.attention_by_head(
            run.engine, run.merged, run.decoded, ids[:-1], progress=progress
        )
        return Finding(number, chosen, measured, attention)

    return run.memo(("influence", chosen, around, number), measure, progress=progress)


def influence_html(run: Run, finding: Finding, heads: np.ndarray, word: str) -> str:
    """The maps in words, with the rank correlation of the mean attention."""
    measured = finding.measured
    span = run.inputs.spans[finding.span_index]
    mean = playground.experiments.influence.attention_on_parts(
        measured, finding.attention.mean((0, 1))
    )
    correlation = playground.experiments.influence.rank_correlation(measured.drop, mean)
    left = np.exp(measured.log_prob - measured.drop.max())
    text = say(
        "“{word}” has probability {prob:.1%}. Of {parts:,} parts of {picture}, taken away one at a "
        "time, the strongest costs {nats:.3g} nats and leaves {left:.1%}.",
        word=word,
        prob=np.exp(measured.log_prob),
        parts=measured.drop.size,
        picture=span_name(run.inputs, span),
        nats=float(measured.drop.max()),
        left=left,
    )
    return fact_html(text, _correlation_words(correlation, heads))


def _correlation_words(correlation: float, heads: np.ndarray) -> str:
    if np.isnan(heads).all():
        return say(
            "Rank correlation with the mean attention of all layers and heads: {mean:.2f}.",
            mean=correlation,
        )
    return say(
        "Rank correlation with the mean attention of all layers and heads: {mean:.2f}; of single "
        "heads from {low:.2f} to {high:.2f}.",
        mean=correlation,
        low=np.nanmin(heads),
        high=np.nanmax(heads),
    )


def maps_html(run: Run, finding: Finding, span: VisualSpan, heads: np.ndarray, word: str) -> str:
    """What the word depends on, and what attention shows, side by side on the picture."""
    measured, attention = finding.measured, finding.attention
    ground = grey_out(
        playground.preprocess.stage.unpatchify(run.inputs, span)[0], max_side=PICTURE_SIDE
    )
    shape = (span.merged_h, span.merged_w)
    drops = np.repeat(np.repeat(measured.drop, measured.block, 0), measured.block, 1)
    views = [
        (
            say("“{word}” depends on", word=word),
            drops[: shape[0], : shape[1]],
            say("nats lost"),
            "{:.3g}",
        ),
        (
            say("Mean attention of all heads"),
            attention.mean((0, 1))[span.start : span.end].reshape(shape),
            say("weight"),
            "{:.2%}",
        ),
    ]
    if not np.isnan(heads).all():
        layer, head = np.unravel_index(int(np.nanargmax(heads)), heads.shape)
        seen = attention[layer, head, span.start : span.end].reshape(shape)
        name = say("The nearest head: layer {layer}, head {head}", layer=layer, head=head)
        views.append((name, seen, say("weight"), "{:.2%}"))
    figures = []
    for name, grid, unit, form in views:
        high = max(float(grid.max()), 1e-6)
        figures.append(
            picture_html(
                ground,
                alt=say(
                    "{name} on {picture}, up to {high} {unit}",
                    name=name,
                    picture=span_name(run.inputs, span),
                    high=form.format(high),
                    unit=unit,
                ),
                caption=say("{sentence}.", sentence=name),
                shown_width=MAP_WIDTH,
                span=finding.span_index,
                overlay=overlay_values(np.clip(grid, 0, None), SEQUENTIAL, high),
                legend=scale_html(SEQUENTIAL, "0", form.format(high), unit),
            )
        )
    return picture_row_html(figures)
