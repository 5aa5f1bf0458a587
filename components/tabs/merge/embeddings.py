"""The merge tab's first part: what stands in each place before and after masked_scatter."""

from __future__ import annotations

import html
from typing import Any

import gradio as gr
import numpy as np

from components.chart_view.view import PlotlyView
from components.charts.merge_embeds import (
    group_words,
    plot_embed_norms,
    plot_embed_pca,
    plot_embed_values,
)
from components.tabs.choices import fact_markup
from components.tabs.merge.focus import chart_kinds, chart_labels
from components.tabs.stage_tab import App, Section
from components.views.html_view import build_html_view
from components.views.strips import sequence_strip_html
from components.views.tables import Cell, Mono, table_html
from playground.language import mark, say
from playground.merge.embed_views import (
    PLACEHOLDER,
    GroupNumbers,
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


def build_embeddings_section(app: App) -> Section:
    """Build the part; its control is what the PCA is made of."""
    gr.Markdown("### " + say("What stands in each place"))
    intro = build_html_view()
    strip = build_html_view()
    with gr.Column() as picture_only:
        values = PlotlyView(label=say("Embedding values before and after masked_scatter"))
    with gr.Row():
        norms = PlotlyView(label=say("Norms before and after masked_scatter"), min_width=320)
        pca = PlotlyView(label=say("Regions of embedding space"), min_width=320)
    shown = gr.Radio(
        [(say(label), value) for label, value in PCA_CHOICES],
        value="directions",
        label=say("Regions by principal components of"),
        info=say(
            "Directions: every vector is scaled to length 1 first, as the chart of norms compares "
            "the lengths."
        ),
    )
    regions = build_html_view()
    groups = build_html_view()
    app.on_view(shown.input, draw_pca, [shown], [pca])
    return Section(
        controls=(shown,),
        outputs=(intro, strip, picture_only, values, norms, pca, regions, groups),
        draw=draw_embeddings,
    )


def draw_embeddings(run: Run, shown: str) -> tuple[Any, ...]:
    """Everything of this part."""
    groups = embed_groups(run.inputs, run.merged)
    numbers = compare_groups(groups)
    has_pictures = bool(run.inputs.spans)
    return (
        intro_html(run),
        sequence_strip_html(run.inputs, pointed=True),
        gr.update(visible=has_pictures),
        draw_values(run) if has_pictures else None,
        draw_norms(run),
        draw_pca(run, shown),
        regions_html(numbers),
        groups_table(numbers),
    )


def draw_values(run: Run) -> Any:
    """The first numbers of every embedding before and after."""
    num_tokens = run.inputs.num_tokens
    num_values = max(MIN_VALUES, min(MAX_VALUES, MAX_CELLS // num_tokens))
    kept = spread_indices(num_tokens, MAX_CELLS // MIN_VALUES)
    values = embed_values(run.merged, num_values)[:, :, kept]
    return plot_embed_values(values, kept, int(run.merged.inputs_embeds.shape[-1]))


def draw_norms(run: Run) -> Any:
    """Embedding norms before and after masked_scatter."""
    kept = spread_indices(run.inputs.num_tokens, MAX_DOTS)
    norms = embed_norms(run.merged)[:, kept]
    return plot_embed_norms(norms, kept, chart_kinds(run, kept), chart_labels(run, kept))


def draw_pca(run: Run, shown: str) -> Any:
    """Where the groups lie; a long group is thinned out evenly."""
    directions = shown != "embeddings"
    groups = thin_groups(embed_groups(run.inputs, run.merged), MAX_GROUP_DOTS)
    if directions:
        groups = unit_groups(groups)
    pca = project_groups(groups)
    labels = [
        chart_labels(run, group.indices) if group.name in ("text", "special") else []
        for group in groups
    ]
    return plot_embed_pca(
        [group.name for group in groups],
        pca.scores,
        [group.indices for group in groups],
        labels,
        pca.variance,
        directions,
    )


def intro_html(run: Run) -> str:
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


def regions_html(numbers: GroupNumbers) -> str:
    """How far apart text and pictures are, in words."""
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
            across=_number(cosines[text, visual]),
            within=_number(cosines[visual, visual]),
            norm=numbers.norms[pad],
            pad=_number(cosines[pad, visual]),
        )
    )


def groups_table(numbers: GroupNumbers) -> str:
    """Norms and cosines of all groups."""
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


def _number(value: Any) -> str:
    return f"{float(value):.2f}".replace("-", "−")
