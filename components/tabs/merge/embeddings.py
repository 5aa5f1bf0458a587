"""The merge tab's first part: what stands in each place before and after masked_scatter."""

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
MAX_VALUES = 16  # numbers of each embedding that are shown
MAX_CELLS = 6_000  # of one heat map of values, 4 bytes each; at least MIN_VALUES a token
MIN_VALUES = 4
PCA_CHOICES = (
    (mark("Directions alone"), "directions"),
    (mark("Embeddings as they are"), "embeddings"),
)


SHOWN = Choice(
    id="shown",
    label=mark("Regions by principal components of"),
    info=mark(
        "Directions: every vector is scaled to length 1 first, as the chart of norms compares the "
        "lengths."
    ),
    options=PCA_CHOICES,
)
PART = Part(
    "embeddings",
    mark("Embeddings"),
    stage="merge",
    heading=mark("What stands in each place"),
    controls=(SHOWN,),
    layout=("intro", "strip", "values", ("norms", "pca"), "shown", "regions", "groups"),
)


@PART.html()
def strip(run: Run) -> str:
    """The whole sequence."""
    return sequence_strip_html(run.inputs, pointed=True)


@PART.chart(mark("Embedding values before and after masked_scatter"))
def values(run: Run) -> go.Figure | None:
    """The first numbers of every embedding before and after; nothing without a picture."""
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
    """Where the groups lie; a long group is thinned out evenly."""
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
                "Each of the {tokens:,} tokens looks up its row of the embedding table, a vector "
                "of {width:,} numbers. There is no picture, so no placeholder is replaced: "
                "<code>masked_scatter</code> is skipped, and these vectors go into the decoder as "
                "they are.",
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
            "Before: each of the {tokens:,} tokens looks up its row of the embedding table, "
            "{width:,} numbers; {same}. After: <code>masked_scatter</code> has put the tower’s "
            "{visual:,} features in their places, in order, one for one. The other {others:,} "
            "places keep their vectors.",
            tokens=inputs.num_tokens,
            width=width,
            same=_same_row_words(counts),
            visual=visual,
            others=inputs.num_tokens - visual,
        )
    )


def _same_row_words(counts: list[str]) -> str:
    """That placeholders share a row: of one kind, or of two."""
    if len(counts) == 1:
        return say("the {count} all get the same row", count=counts[0])
    first, second = counts
    return say(
        "the {first} and {second} of a kind all get the same row", first=first, second=second
    )


@PART.html()
def regions(run: Run) -> str:
    """How far apart text and pictures are, in words."""
    numbers = compare_groups(embed_groups(run.inputs, run.merged))
    kind = next((name for name in ("image", "video") if name in numbers.names), None)
    if kind is None or "text" not in numbers.names:
        return fact_markup(
            say(
                "With a picture, its features would show here as a region of their own, away from "
                "the text."
            )
        )
    text, visual = numbers.names.index("text"), numbers.names.index(kind)
    pad = numbers.names.index(kind + PLACEHOLDER)
    ratio = numbers.norms[visual] / max(float(numbers.norms[text]), 1e-12)
    cosines = numbers.cosines
    return fact_markup(
        say(
            "Text and pictures live in different regions: the {kind} features are {ratio:.3g} "
            "times as long as text embeddings, and point elsewhere: the mean cosine between one of "
            "each is {across}, but {within} between two {kind} features. The placeholder that they "
            "replace (norm {norm:.3g}) says nothing about them: cosine {pad}.",
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
        *(say("cos with {name}", name=name) for name in names),
    )
    caption = say("Mean norm, and mean cosine between two different vectors")
    return table_html(headers, rows, caption)
