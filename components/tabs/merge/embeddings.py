"""The merge tab's first part: the embedding at each position before and after masked_scatter."""

from __future__ import annotations

import html

import numpy as np
import plotly.graph_objects as go

from components.charts.merge_embeds import (
    group_words,
    plot_embed_norms,
    plot_embed_pca,
    plot_embed_values,
)
from components.parts.controls import Choice
from components.parts.part import Part
from components.tabs.merge.focus import chart_kinds, chart_labels
from components.views.facts import fact_markup, signed
from components.views.strips import sequence_strip_html
from components.views.tables import Cell, Mono, table_html
from playground.language import mark, say
from playground.merge.embed_views import (
    PLACEHOLDER,
    compare_groups,
    embed_groups,
    embed_norms,
    embed_values,
    project_groups,
    thin_groups,
    unit_groups,
)
from playground.merge.views import spread_indices
from playground.pipeline import Run

MAX_DOTS = 2_000  # per series of the norms: with the PCA's points under 5,000 SVG points each
MAX_GROUP_DOTS = 900  # per group of the PCA, which is also fitted on them
MAX_VALUES = 16  # dimensions shown of each embedding
MAX_CELLS = 6_000  # per heat map of values, 4 bytes each; at least MIN_VALUES per token
MIN_VALUES = 4
PCA_CHOICES = (
    (mark("Directions only"), "directions"),
    (mark("Unscaled embeddings"), "embeddings"),
)


SHOWN = Choice(
    id="shown",
    label=mark("Principal components of"),
    info=mark(
        "Directions: every vector is first scaled to length 1. The chart of norms compares the "
        "lengths."
    ),
    options=PCA_CHOICES,
)
PART = Part(
    "embeddings",
    mark("Embeddings"),
    stage="merge",
    heading=mark("The embedding at each position"),
    controls=(SHOWN,),
    layout=("intro", "strip", "values", ("norms", "pca"), "shown", "regions", "groups"),
)


@PART.html()
def strip(run: Run) -> str:
    """The whole sequence."""
    return sequence_strip_html(run.inputs, pointed=True)


@PART.chart(mark("Embedding values before and after masked_scatter"))
def values(run: Run) -> go.Figure | None:
    """The first dimensions of every embedding before and after; None without an image."""
    if not run.inputs.spans:
        return None
    num_tokens = run.inputs.num_tokens
    num_values = max(MIN_VALUES, min(MAX_VALUES, MAX_CELLS // num_tokens))
    kept = spread_indices(num_tokens, MAX_CELLS // MIN_VALUES)
    numbers = embed_values(run.merged, num_values)[:, :, kept]
    return plot_embed_values(numbers, kept, int(run.merged.inputs_embeds.shape[-1]))


@PART.chart(mark("Norms before and after masked_scatter"))
def norms(run: Run) -> go.Figure:
    """Embedding norms before and after masked_scatter."""
    kept = spread_indices(run.inputs.num_tokens, MAX_DOTS)
    lengths = embed_norms(run.merged)[:, kept]
    return plot_embed_norms(lengths, kept, chart_kinds(run, kept), chart_labels(run, kept))


@PART.chart(mark("Regions of embedding space"), needs=("shown",))
def pca(run: Run, shown: str) -> go.Figure:
    """The groups on two principal components; a large group is subsampled evenly."""
    directions = shown == "directions"
    thinned = thin_groups(embed_groups(run.inputs, run.merged), MAX_GROUP_DOTS)
    if directions:
        thinned = unit_groups(thinned)
    projected = project_groups(thinned)
    labels = [
        chart_labels(run, group.indices) if group.name in ("text", "special") else []
        for group in thinned
    ]
    return plot_embed_pca(
        [group.name for group in thinned],
        projected.scores,
        [group.indices for group in thinned],
        labels,
        projected.variance,
        directions,
    )


@PART.html()
def intro(run: Run) -> str:
    """What masked_scatter does to this sequence."""
    inputs, width = run.inputs, int(run.merged.inputs_embeds.shape[-1])
    visual = sum(span.end - span.start for span in inputs.spans)
    if not visual:
        return fact_markup(
            say(
                "Each of the {tokens:,} tokens is looked up in the embedding table, which gives a "
                "vector of {width:,} dimensions. Without an image there are no placeholder tokens "
                "to replace: <code>masked_scatter</code> is skipped, and the decoder gets these "
                "embeddings unchanged.",
                tokens=inputs.num_tokens,
                width=width,
            )
        )
    pads = {kind: sum(s.end - s.start for s in inputs.spans if s.kind == kind)
            for kind in ("image", "video")}  # fmt: skip
    counts = [
        f"{count:,} × <code>{html.escape(f'<|{kind}_pad|>')}</code>"
        for kind, count in pads.items()
        if count
    ]
    return fact_markup(
        say(
            "Before: each of the {tokens:,} tokens is looked up in the embedding table ({width:,} "
            "dimensions); {same}. After: <code>masked_scatter</code> has replaced the placeholder "
            "tokens with the vision tower’s {visual:,} features, one for one and in order. The "
            "other {others:,} embeddings are unchanged.",
            tokens=inputs.num_tokens,
            width=width,
            same=_same_row_words(counts),
            visual=visual,
            others=inputs.num_tokens - visual,
        )
    )


def _same_row_words(counts: list[str]) -> str:
    """States that the placeholders of one kind share an embedding row."""
    if len(counts) == 1:
        return say("all {count} get the same row", count=counts[0])
    first, second = counts
    return say("all {first} get one row, all {second} another", first=first, second=second)


@PART.html()
def regions(run: Run) -> str:
    """How text embeddings and visual features differ, as a sentence."""
    numbers = compare_groups(embed_groups(run.inputs, run.merged))
    kind = next((name for name in ("image", "video") if name in numbers.names), None)
    if kind is None or "text" not in numbers.names:
        return fact_markup(
            say(
                "With an image, its features would form a separate region here, away from the text."
            )
        )
    text, visual = numbers.names.index("text"), numbers.names.index(kind)
    pad = numbers.names.index(kind + PLACEHOLDER)
    ratio = numbers.norms[visual] / max(float(numbers.norms[text]), 1e-12)
    cosines = numbers.cosines
    return fact_markup(
        say(
            "Text embeddings and {kind} features lie in different regions. The {kind} features "
            "are {ratio:.3g} times as long as the text embeddings and point in other directions: "
            "the mean cosine similarity is {across} between one of each, but {within} between two "
            "{kind} features. The placeholder that they replace (norm {norm:.3g}) carries no "
            "information about them: cosine similarity {pad}.",
            kind=say(kind),
            ratio=ratio,
            across=signed(float(cosines[text, visual]), ".2f"),
            within=signed(float(cosines[visual, visual]), ".2f"),
            norm=numbers.norms[pad],
            pad=signed(float(cosines[pad, visual]), ".2f"),
        )
    )


@PART.html()
def groups(run: Run) -> str:
    """Norms and cosines of all groups."""
    numbers = compare_groups(embed_groups(run.inputs, run.merged))
    names = [group_words(name) for name in numbers.names]
    rows: list[list[Cell | Mono]] = [
        [
            name,
            numbers.counts[row],
            float(numbers.norms[row]),
            *(
                None if np.isnan(cosine) else round(float(cosine), 3)
                for cosine in numbers.cosines[row]
            ),
        ]
        for row, name in enumerate(names)
    ]
    headers = (
        say("Embeddings"),
        say("Vectors"),
        say("Mean norm"),
        *(say("Cosine with {name}", name=name) for name in names),
    )
    caption = say("Mean norm, and mean cosine similarity between different vectors")
    return table_html(headers, rows, caption)
