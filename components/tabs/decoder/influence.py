"""The decoder tab's occlusion (Zeiler and Fergus 2014), compared with attention.

Parts of the image are masked one at a time to measure what one answer token depends on.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup

import playground
from components.charts.decoder_influence import plot_agreement, plot_influence
from components.charts.token_labels import span_name
from components.charts.what_if import plot_answer_shift
from components.parts.compound_controls import Clicked
from components.parts.controls import Choice
from components.parts.part import SELECTION, Part
from components.tabs.decoder.answer import answer_labels
from components.tabs.decoder.influence_maps import (
    Found,
    Influence,
    choose_answer_token,
    find_influence,
    maps_html,
    pointed_span,
    score_answer,
)
from components.tabs.decoder.masking import masked_html
from components.tabs.decoder.verdict import answer_verdict_html, compare_change, plot_answer_tokens
from components.views.facts import fact_html
from playground.errors import InputError
from playground.language import mark, say
from playground.pipeline import Run
from playground.pointer import Selection
from playground.records import Progress

# Blocks around each masked block.
SIZES = ((mark("one block"), 0), (mark("3 × 3 blocks"), 1), (mark("5 × 5 blocks"), 2))
EMPTY = mark("Run occlusion to see this chart.")


def read_answer_index(raw: Any, _run: Run) -> int:
    """The index of an answer token; its upper limit is known only once the answer exists.

    Raises:
        InputError: the value is not an index.
    """
    if type(raw) is not int or raw < 0:
        raise InputError(
            say("The answer token must be given by its index, a whole number from 0 on.")
        )
    return raw


WORD = Clicked(id="word", label=mark("Answer token"), read=read_answer_index)
SIZE = Choice(
    id="size",
    label=mark("Size of a masked part"),
    info=mark(
        "Neighbouring tokens carry similar information, so masking a single one changes little."
    ),
    options=SIZES,
    value=1,
)
PART = Part(
    "influence",
    mark("Occlusion"),
    stage="decoder",
    intro=mark(
        "Occlusion (Zeiler and Fergus 2014) masks the image one part at a time and measures how "
        "the probability of one answer token changes. It shows what the token **depends on**, "
        "which can differ from what it attends to. Then mask the most important part and see how "
        "the answer changes."
    ),
    controls=(WORD, SIZE),
    layout=(
        "size",
        ("measured",),
        "words",
        "owed",
        "facts",
        "maps",
        ("drops", "agreement"),
        ("taken",),
        "without",
        "verdict",
        "changed",
    ),
    shown=lambda run: bool(run.inputs.spans),
    absent=mark("This prompt has no image to mask."),
)
NEEDS = ("word", "size", SELECTION)
FOUND = ("measured", "taken")


# ------------------------------------------------------------------------------- experiments


@PART.experiment(mark("Run occlusion"), needs=NEEDS, again=("word", "size"), primary=True)
def measured(
    run: Run, progress: Progress, token: int | None, size: int, selection: Selection | None
) -> Iterator[Found]:
    """The answer's tokens first, then the occlusion map of one of them."""
    owed = score_answer(run, progress)
    chosen = choose_answer_token(run, owed, token, selection)
    yield Found(owed, chosen)
    yield Found(owed, chosen, find_influence(run, progress, token, size, selection))


@PART.experiment(mark("Mask the most important part"), needs=NEEDS, again=("word", "size"))
def taken(
    run: Run, progress: Progress, token: int | None, size: int, selection: Selection | None
) -> Iterator[Found]:
    """The same, and the answer when the most important part is masked."""
    for found in measured(run, progress, token, size, selection):
        yield found
    assert found.influence is not None
    change = playground.experiments.what_if.WhatIf(masked=found.influence.measured.strongest)
    compared = compare_change(run, progress, change)
    yield Found(found.owed, found.token, found.influence, compared)


# ------------------------------------------------------------------------------------ charts


def latest(first: Found | None, second: Found | None) -> Found | None:
    """The finding to show: of the first experiment, or else of the second."""
    return second if first is None else first


def answer_texts(run: Run, found: Found) -> list[str]:
    """The answer's tokens as plain text."""
    return [html.unescape(label) for label in answer_labels(run, found.owed.ids)]


@PART.html(needs=FOUND, live=True)
def words(run: Run, measured: Found | None, taken: Found | None) -> Markup:
    """The answer, with a button per token that measures it."""
    found = latest(measured, taken)
    if found is None:
        return Markup("")
    chips = Markup("").join(
        Markup(
            '<button type="button" class="pg-tag" data-set="{values}" aria-pressed="{pressed}" '
            'data-token-of-answer="{selects}" translate="no">{text}</button>'
        ).format(
            values=json.dumps({WORD.id: number}),
            selects=number if run.inputs.num_answer_tokens else "",
            pressed="true" if number == found.token else "false",
            text=text,
        )
        for number, text in enumerate(answer_texts(run, found))
    )
    return Markup(
        '<div class="pg-control"><span class="pg-label">{label}</span>'
        '<span class="pg-info">{info}</span>'
        '<div class="pg-tags" role="group" aria-label="{label}">{chips}</div></div>'
    ).format(
        label=WORD.title(),
        info=say("A token of the answer. The default is the first one that depends on the image."),
        chips=chips,
    )


@PART.chart(mark("Answer with and without the image"), needs=FOUND, empty=EMPTY, live=True)
def owed(run: Run, measured: Found | None, taken: Found | None) -> go.Figure | None:
    """Each token's probability with and without the images; a click selects one."""
    found = latest(measured, taken)
    if found is None:
        return None
    sides = (say("with the image"), say("without the image"))
    labels = answer_labels(run, found.owed.ids)
    figure = plot_answer_shift(found.owed, labels, sides, found.token)
    figure.layout.meta["pick"] = {WORD.id: "x"}
    return figure


@PART.html(needs=(*FOUND, SELECTION))
def facts(
    run: Run, measured: Found | None, taken: Found | None, selection: Selection | None
) -> str:
    """The largest drop, and the rank correlation with attention."""
    found = latest(measured, taken)
    if found is None or found.influence is None:
        return ""
    influence = found.influence
    values, span = influence.measured, run.inputs.spans[influence.span_index]
    mean = playground.experiments.influence.attention_on_parts(
        values, influence.attention.mean((0, 1))
    )
    correlation = playground.experiments.influence.rank_correlation(values.drop, mean)
    text = say(
        "“{token}” has probability {prob:.1%}. Masking the {parts:,} parts of {image} one at a "
        "time lowers it by at most {nats:.3g} nats, to {left:.1%}.",
        token=answer_texts(run, found)[found.token],
        prob=np.exp(values.log_prob),
        parts=values.drop.size,
        image=span_name(run.inputs, span),
        nats=float(values.drop.max()),
        left=np.exp(values.log_prob - values.drop.max()),
    )
    return fact_html(
        text,
        _correlation_words(correlation, influence.heads),
        _elsewhere(run, influence, selection),
    )


def _elsewhere(run: Run, influence: Influence, selection: Selection | None) -> str:
    """A hint if the selected image is not the measured one."""
    pointed = pointed_span(run, selection)
    if pointed is None or pointed == influence.span_index:
        return ""
    name = span_name(run.inputs, run.inputs.spans[pointed])
    return say("You have selected {image}. Run occlusion again to measure it.", image=name)


def _correlation_words(correlation: float, heads: np.ndarray) -> str:
    if np.isnan(heads).all():
        return say(
            "Rank correlation with the mean attention of all layers and heads: {mean:.2f}.",
            mean=correlation,
        )
    return say(
        "Rank correlation with the mean attention of all layers and heads: {mean:.2f}; with "
        "single heads: {low:.2f} to {high:.2f}.",
        mean=correlation,
        low=np.nanmin(heads),
        high=np.nanmax(heads),
    )


@PART.html(needs=FOUND)
def maps(run: Run, measured: Found | None, taken: Found | None) -> Markup:
    """Occlusion and attention side by side on the image."""
    found = latest(measured, taken)
    if found is None or found.influence is None:
        return Markup("")
    return maps_html(run, found.influence, answer_texts(run, found)[found.token])


@PART.chart(mark("Occlusion map"), needs=FOUND, empty=EMPTY)
def drops(run: Run, measured: Found | None, taken: Found | None) -> go.Figure | None:
    """The drop in log-probability for each masked part."""
    found = latest(measured, taken)
    if found is None or found.influence is None:
        return None
    values, label = found.influence.measured, answer_labels(run, found.owed.ids)[found.token]
    return plot_influence(values.drop, values.block, label, found.influence.span_index)


@PART.chart(mark("Agreement with attention"), needs=FOUND, empty=EMPTY)
def agreement(_run: Run, measured: Found | None, taken: Found | None) -> go.Figure | None:
    """The rank correlation of each head's attention with the drops."""
    found = latest(measured, taken)
    if found is None or found.influence is None:
        return None
    return plot_agreement(found.influence.heads)


@PART.html(needs=("taken",))
def without(run: Run, taken: Found | None) -> Markup | str:
    """The image with its most important part masked."""
    if taken is None or taken.taken is None or taken.influence is None:
        return ""
    span = run.inputs.spans[taken.influence.span_index]
    sentence = say(
        "Masked: the part of {image} that “{token}” depends on most.",
        image=span_name(run.inputs, span),
        token=answer_texts(run, taken)[taken.token],
    )
    return Markup("{}{}").format(
        Markup(fact_html(sentence)), masked_html(run, taken.taken.what_if.masked)
    )


@PART.html(needs=("taken",))
def verdict(_run: Run, taken: Found | None) -> Markup | str:
    """Both answers."""
    if taken is None or taken.taken is None:
        return ""
    return answer_verdict_html(taken.taken.original, taken.taken.changed, taken.taken.shift)


@PART.chart(
    mark("Answer tokens"),
    needs=("taken",),
    empty=mark("Mask the most important part to see this chart."),
)
def changed(run: Run, taken: Found | None) -> go.Figure | None:
    """The probabilities of the answer's tokens with the part masked."""
    return None if taken is None or taken.taken is None else plot_answer_tokens(run, taken.taken)
