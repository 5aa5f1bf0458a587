"""The decoder tab's attention: one layer, its heads, and what a token attends to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup

import playground
from components.charts.decoder_attention import (
    MAX_CELLS,
    plot_attention_matrix,
    plot_attention_row,
    plot_head_shares,
)
from components.charts.token_labels import span_name, token_labels
from components.compute.gpu_process import compute_ahead
from components.look.colors import SEQUENTIAL
from components.parts.controls import Choice, IndexSlider, Option
from components.parts.part import SELECTION, Part
from components.tabs.decoder.focus import choose_token, last_layer, middle_layer
from components.views.facts import capital, fact_html
from components.views.images import (
    grey_out,
    image_html,
    image_row_html,
    overlay_values,
    scale_html,
)
from components.views.text import visible
from playground.language import mark, say
from playground.pipeline import STAGES, Run
from playground.pointer import Selection
from playground.records import Progress, VisualSpan

if TYPE_CHECKING:
    from playground.decoder.attention import QueryKey

RAW, LESS_SINK = "raw", "less the sink"
MAX_IMAGES = 4
IMAGE_SIDE = 448
KINDS = (
    (mark("raw weights"), RAW),
    (mark("minus a neutral prompt (attention sink removed)"), LESS_SINK),
)
MEAN = -1  # the mean of all heads instead of one head


def head_name(head: int) -> str:
    """The name of a head, or of the mean."""
    return say("mean of all heads") if head == MEAN else say("head {head}", head=head)


def head_options(run: Run) -> list[Option]:
    """The mean of all heads, then each head."""
    heads = range(run.engine.facts.num_attention_heads)
    return [(head_name(head), head) for head in (MEAN, *heads)]


LAYER = IndexSlider("layer", mark("Decoder layer"), last=last_layer, value=middle_layer)
HEAD = Choice(id="head", label=mark("Head"), options=head_options, compact=True)
KIND = Choice(
    id="kind",
    label=mark("On the image"),
    options=KINDS,
    shown=lambda run: bool(run.inputs.spans),
)
PART = Part(
    "attention",
    mark("Attention"),
    stage="decoder",
    controls=(LAYER, HEAD, KIND),
    intro=mark(
        "The attention weights of the chosen layer are recomputed from its recorded input and "
        "equal those of eager attention. Many heads put most of their weight on the first token, "
        "an attention sink (Xiao et al. 2023)."
    ),
    layout=(("layer", "head", "kind"), "words", "pictures", ("shares", "row"), "matrix"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Neutral:
    """Marks that the neutral prompt has run; ``neutral_run`` holds its records."""

    text: str  # of the neutral prompt


@PART.experiment(auto=True, when={"kind": (LESS_SINK,)})
def neutral(run: Run, progress: Progress) -> Iterator[Neutral]:
    """Run a neutral prompt on the same images."""
    if run.inputs.spans:
        other = playground.experiments.neutral.neutral_run(run)
        compute_ahead(other, STAGES, progress)
        other.ensure("decoder", progress)
    yield Neutral(playground.experiments.neutral.NEUTRAL_TEXT)


@PART.html(needs=("layer", "head", SELECTION))
def words(run: Run, layer: int, head: int, selection: Selection | None) -> str:
    """The shares of the token's attention, and its largest weight."""
    focus = choose_token(run, selection)
    weights = head_rows(run, layer, head, [focus.index])[0]
    index = int(weights.argmax())
    token = run.inputs.tokens[index]
    on_visual = run.inputs.mm_token_type_ids[0].numpy() > 0
    text = say(
        "Layer {layer}, {head}: {visual:.0%} of this token's attention goes to the image and "
        "{first:.0%} to the first token. The largest weight, {most:.0%}, is on token {index} "
        "“{token}”.",
        layer=layer,
        head=head_name(head),
        visual=weights[on_visual].sum(),
        first=weights[0],
        most=weights[index],
        index=index,
        token=visible(token.text.strip() or token.text),
    )
    rest = ""
    if first := _first_query(run):
        rest = say(
            "The matrix shows the last {queries:,} queries.", queries=run.inputs.num_tokens - first
        )
    return fact_html(text, focus.hint, rest)


@PART.html(needs=("layer", "head", "kind", "neutral", SELECTION))
def pictures(
    run: Run, layer: int, head: int, kind: str, neutral: Neutral | None, selection: Selection | None
) -> str:
    """The weights on each image up to the token, as an overlay; the token may lie in one itself."""
    query = choose_token(run, selection).index
    spans = [(n, span) for n, span in enumerate(run.inputs.spans) if span.start <= query]
    if not spans:
        return fact_html(say("No image comes before this token."))
    weights = values = head_rows(run, layer, head, [query])[0]
    name = say("weight")
    if kind == LESS_SINK:
        if neutral is None:
            return _waiting_html()
        base = _neutral_weights(run, layer, head)
        values = np.clip(weights[: len(base)] - base[: len(weights)], 0, None)
        name = say("weight minus that of a neutral prompt")
    return image_row_html(
        [
            _image_html(run, number, span, query=query, values=values, weights=weights, name=name)
            for number, span in spans[:MAX_IMAGES]
        ]
    )


@PART.chart(mark("Heads"), needs=("layer", "head"))
def shares(run: Run, layer: int, head: int) -> go.Figure:
    """What each head of the layer attends to; a click selects a head."""
    vectors = layer_vectors(run, layer)
    summary = playground.decoder.attention.summarise_heads(vectors, run.inputs)
    return plot_head_shares(summary, layer, None if head == MEAN else head)


@PART.chart(mark("What the token attends to"), needs=("layer", "head", SELECTION))
def row(run: Run, layer: int, head: int, selection: Selection | None) -> go.Figure:
    """The token's attention weights on itself and all earlier tokens."""
    index = choose_token(run, selection).index
    weights = head_rows(run, layer, head, [index])[0]
    return plot_attention_row(weights, token_labels(run.inputs.tokens), index)


@PART.chart(mark("Attention matrix"), needs=("layer", "head"))
def matrix(run: Run, layer: int, head: int) -> go.Figure:
    """The weights of all queries, or of the last ones in a long sequence."""
    first = _first_query(run)
    weights = head_rows(run, layer, head, range(first, run.inputs.num_tokens))
    return plot_attention_matrix(weights, first, layer, head_name(head))


def layer_vectors(run: Run, layer: int) -> QueryKey:
    """Queries and keys of the chosen layer, shared by all charts of the part."""

    def make() -> QueryKey:
        return playground.decoder.attention.layer_queries_keys(run.engine, run.decoded, layer)

    return run.memo("queries and keys", make, of=layer)


def head_rows(run: Run, layer: int, head: int, queries: Sequence[int]) -> np.ndarray:
    """``(queries, seq)`` float32 weights of one head, or the mean of all."""
    weights: Any = playground.decoder.attention.attention_rows(layer_vectors(run, layer), queries)
    chosen = weights.float().mean(0) if head == MEAN else weights[head].float()
    array: np.ndarray = chosen.numpy()
    return array


def _first_query(run: Run) -> int:
    """The first query of the matrix, which is limited to ``MAX_CELLS``."""
    num_tokens = run.inputs.num_tokens
    return num_tokens - min(num_tokens, max(1, MAX_CELLS // num_tokens))


def _image_html(
    run: Run,
    number: int,
    span: VisualSpan,
    *,
    query: int,
    values: np.ndarray,
    weights: np.ndarray,
    name: str,
) -> str:
    """A grey image under its values; the caption gives the token's share from ``weights``."""
    seen = values[span.start : span.end]
    hidden = np.zeros(span.end - span.start - len(seen))  # masked by the causal mask
    grid = np.concatenate([seen, hidden]).reshape(span.merged_h, span.merged_w)
    high = max(float(grid.max()), 1e-6)
    image = span_name(run.inputs, span)
    pixels = playground.preprocess.stage.unpatchify(run.inputs, span)[0]
    return image_html(
        grey_out(pixels, max_side=IMAGE_SIDE),
        alt=say("Attention from token {query} to {image}", query=query, image=image),
        caption=say(
            "{image}: attention from token {query}, {share:.1%} of its total.",
            image=capital(image),
            query=query,
            share=weights[span.start : span.end].sum(),
        ),
        span=number,
        overlay=overlay_values(grid, SEQUENTIAL, high),
        legend=scale_html(SEQUENTIAL, "0", f"{high:.2%}", name),
    )


# -------------------------------------------------------------------- the neutral prompt


def _neutral_weights(run: Run, layer: int, head: int) -> np.ndarray:
    """Attention of the neutral prompt's last token, up to the end of the last image."""
    other = playground.experiments.neutral.neutral_run(run)
    last = head_rows(other, layer, head, [other.inputs.num_tokens - 1])
    weights: np.ndarray = last[0, : run.inputs.spans[-1].end]
    return weights


def _waiting_html() -> Markup:
    """Shown instead of the images until the neutral prompt has run, or if it was stopped."""
    return Markup(
        '<p class="pg-fact">{} '
        '<button type="button" class="pg-button pg-small" data-run="neutral">{}</button></p>'
    ).format(
        say("This view first needs a run of a neutral prompt on the same images."),
        say("Run the neutral prompt"),
    )
