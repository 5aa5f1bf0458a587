"""The decoder tab's M-RoPE (Qwen2-VL, Wang et al. 2024): one query and key, score by distance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

import playground
from components.charts.decoder_rotation import plot_pair_strengths, plot_rotation, plot_score_curves
from components.charts.token_labels import token_label
from components.parts.controls import IndexSlider
from components.parts.part import SELECTION, Part
from components.tabs.decoder.focus import choose_token, last_layer, middle_layer
from components.views.facts import fact_markup
from playground.language import mark, say
from playground.pipeline import Run
from playground.pointer import Selection

if TYPE_CHECKING:
    from playground.decoder.rotation import HeadRotation

LAYER = IndexSlider("layer", mark("Decoder layer"), last=last_layer, value=middle_layer)
HEAD = IndexSlider("head", mark("Head"), last=lambda run: run.engine.facts.num_attention_heads - 1)
PART = Part(
    "rotation",
    mark("M-RoPE"),
    stage="decoder",
    controls=(LAYER, HEAD),
    intro=mark(
        "M-RoPE (Qwen2-VL, Wang et al. 2024) rotates pairs of dimensions of every query and key "
        "by the token's position: some pairs by time t, some by height h, some by width w. "
        "Positions therefore affect a score only through the distance between the two tokens."
    ),
)
NEEDS = ("layer", "head", SELECTION)


def rotate(run: Run, layer: int, head: int, selection: Selection | None) -> HeadRotation:
    """The selected token's query and the key that it attends to most, in one head."""
    index = choose_token(run, selection).index

    def make() -> HeadRotation:
        rotations = playground.decoder.rotation
        return rotations.rotate_head(run.engine, run.decoded, layer, head, index)

    return run.memo("rotation of a head", make, of=(layer, head, index))


@PART.html(needs=NEEDS)
def words(run: Run, layer: int, head: int, selection: Selection | None) -> str:
    """The two tokens, their distance and their score."""
    rotation, tokens = rotate(run, layer, head, selection), run.inputs.tokens
    query, key = (
        say("token {index} “{text}”", index=index, text=token_label(tokens[index].text))
        for index in (rotation.query_index, rotation.key_index)
    )
    steps = [f"{axis} {step}" for axis, step in zip("thw", rotation.distances, strict=True)]
    found = {"query": query, "key": key, "apart": say(", ").join(steps), "score": rotation.score}
    if rotation.query_index < 2:
        pair = say(
            "The query of {query} and the key of {key}, at distance {apart}, have the score "
            "{score:.3g}.",
            **found,
        )
    else:
        pair = say(
            "The query of {query} and the key of {key}, the token that this head attends to most "
            "(the first token and the query's own excluded), at distance {apart}, have the score "
            "{score:.3g}.",
            **found,
        )
    t, h, w = (int((rotation.axes == axis).sum()) for axis in range(3))
    shares = say(
        "The head has {pairs} rotary pairs: {t} rotate with t, {h} with h and {w} with w.",
        pairs=len(rotation.axes),
        t=t,
        h=h,
        w=w,
    )
    return fact_markup(pair, shares, choose_token(run, selection).hint)


@PART.chart(mark("Score by distance"), needs=NEEDS)
def curves(run: Run, layer: int, head: int, selection: Selection | None) -> go.Figure:
    """The score if the key were at another distance in t, h or w."""
    rotation = rotate(run, layer, head, selection)
    moved = playground.decoder.rotation.score_curves(run.engine, rotation)
    return plot_score_curves(rotation, moved)


@PART.chart(mark("Rotary pairs"), needs=NEEDS)
def strengths(run: Run, layer: int, head: int, selection: Selection | None) -> go.Figure:
    """How much each rotary pair can add to the score, by its axis."""
    return plot_pair_strengths(rotate(run, layer, head, selection))


@PART.chart(mark("Query and key"), needs=NEEDS)
def numbers(run: Run, layer: int, head: int, selection: Selection | None) -> go.Figure:
    """Query and key before and after the rotation."""
    title = say("Layer {layer}, head {head}", layer=layer, head=head)
    return plot_rotation(rotate(run, layer, head, selection), title)
