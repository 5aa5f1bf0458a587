"""Charts of the embeddings before and after masked_scatter: values, norms and regions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from components.charts.small_arrays import compact_integers
from components.charts.style import (
    HEIGHT_LARGE,
    HEIGHT_MEDIUM,
    NO_LINES,
    base_layout,
    escape_label,
    pointer_meta,
)
from components.look.colors import DIVERGING, GREY, KIND_COLORS, ORANGE, PURPLE
from playground.language import mark, say

# Name in the legend, colour, symbol and size of each group of embeddings.
GROUP_MARKS = {
    "text": (mark("text tokens"), KIND_COLORS["text"], "circle", 7),
    "special": (mark("special tokens"), KIND_COLORS["special"], "diamond", 8),
    "image": (mark("image features"), KIND_COLORS["image"], "square", 6),
    "video": (mark("video features"), KIND_COLORS["video"], "cross", 7),
    "image placeholder": (mark("placeholder <|image_pad|>"), PURPLE, "star", 16),
    "video placeholder": (mark("placeholder <|video_pad|>"), PURPLE, "hexagram", 16),
}


def group_words(name: str) -> str:
    """The name of a group of embeddings."""
    return say(GROUP_MARKS[name][0])


def plot_embed_values(values: np.ndarray, indices: np.ndarray, width: int) -> go.Figure:
    """The first dimensions of every embedding: before (top) and after (bottom).

    Args:
        values: (2, dimensions, n): before and after masked_scatter.
        indices: (n,) sequence index of each column.
        width: hidden size, of which the first dimensions are shown.
    """
    shown = values.shape[1]
    layout = base_layout(
        say("Before, all placeholder tokens share one vector; after, each has its own feature"),
        height=HEIGHT_MEDIUM,
        alt=say(
            "Two heat maps of the first {shown} of {width:,} dimensions of {count} embeddings. "
            "Before masked_scatter, all placeholder columns are equal; after it, they differ, and "
            "the other columns are unchanged.",
            shown=shown,
            width=width,
            count=len(indices),
        ),
        x_title=say("sequence index"),
        y_title=say("first {shown} of {width:,} dimensions", shown=shown, width=width),
    )
    layout["margin"] |= {
        "l": 68,
        "b": 48,
    }  # space for the axes: otherwise Plotly draws everything twice
    # One empty row between the halves.
    first_rows = {say("before"): 0, say("after"): shown + 1}
    layout["xaxis"] |= NO_LINES
    layout["yaxis"] |= {
        "range": [2 * shown + 0.5, -0.5],
        "tickvals": [first + (shown - 1) / 2 for first in first_rows.values()],
        "ticktext": list(first_rows),
        **NO_LINES,
    }
    layout["coloraxis"] = _value_colors(values)
    layout["meta"]["pointer"] = pointer_meta("token", axis="x")
    layout["meta"]["columns"] = {"x": say("index"), "y": say("row"), "z": say("value")}
    traces = [
        go.Heatmap(
            x=compact_integers(indices),
            y0=first,
            dy=1,
            z=part.astype(np.float32),
            name=name,
            coloraxis="coloraxis",
            hovertemplate=say("token %{{x}}, {name}<br>%{{z:.4g}}", name=name) + "<extra></extra>",
        )
        for (name, first), part in zip(first_rows.items(), values, strict=True)
    ]
    return go.Figure(traces, layout)


def _value_colors(values: np.ndarray) -> dict[str, Any]:
    """One colour scale for both halves, clipped to the bulk of the values.

    Features may be many times larger than token embeddings, so the scale's inner colours, up to
    the pale ones, are reserved for the embeddings.
    """
    before, both = (float(np.quantile(np.abs(part), 0.98)) for part in (values[0], values))
    limit = max(both, 1e-6)
    inner = 0.5 * min(max(before / limit, 0.01), 0.5)
    stops = (0.0, 0.5 - inner, 0.5, 0.5 + inner, 1.0)
    return {
        "colorscale": [[stop, color] for stop, (_, color) in zip(stops, DIVERGING, strict=True)],
        "cmin": -limit,
        "cmax": limit,
        "colorbar": {"title": {"text": say("value")}, "thickness": 10},
    }


def plot_embed_norms(
    norms: np.ndarray, indices: np.ndarray, kinds: Sequence[str], labels: Sequence[str]
) -> go.Figure:
    """Norm of each embedding before and after the features replace the placeholders.

    Args:
        norms: (2, n): before and after masked_scatter.
        indices: (n,) sequence index of each column.
        kinds: n kinds.
        labels: n escaped texts.
    """
    before, after = norms.astype(np.float32)
    visual = np.isin(np.array(kinds), ("image", "video"))
    title = say("Norms of the embeddings")
    alt = say("Norms of {count} embeddings.", count=len(kinds))
    if visual.any():
        title = say("Norms before and after masked_scatter: only the placeholder tokens change")
        alt = say(
            "The {count} placeholder tokens have norm {norm:.3g}; the features that replace them "
            "have norms from {low:.3g} to {high:.3g}.",
            count=int(visual.sum()),
            norm=float(before[visual].mean()),
            low=float(after[visual].min()),
            high=float(after[visual].max()),
        )
    layout = base_layout(
        title,
        height=HEIGHT_LARGE,
        alt=alt,
        x_title=say("sequence index"),
        y_title=say("Euclidean norm"),
    )
    layout["yaxis"] |= {"rangemode": "tozero"}
    layout["meta"]["pointer"] = pointer_meta("token", axis="x")
    layout["meta"]["columns"] = {"x": say("index"), "y": say("norm"), "customdata": say("token")}
    shown = [label for label, is_visual in zip(labels, visual, strict=True) if not is_visual]
    text, pads = ~visual, visual
    traces = [
        _norm_trace(say("text, unchanged"), indices[text], before[text], shown, GREY, "circle"),
        _norm_trace(
            say("before: placeholder tokens"),
            indices[pads],
            before[pads],
            [],
            PURPLE,
            "circle-open",
        ),
        _norm_trace(
            say("after: visual features"), indices[pads], after[pads], [], ORANGE, "square"
        ),
    ]
    return go.Figure([trace for trace in traces if len(trace.x)], layout)


def _norm_trace(
    name: str,
    x: np.ndarray,
    y: np.ndarray,
    labels: Sequence[str],
    color: str,
    symbol: str,
) -> go.Scatter:
    token = say("token %{x}: %{customdata}") if labels else say("token %{x}")
    norm = say("norm %{y:.4g}")
    return go.Scatter(
        x=compact_integers(x),
        y=y,
        name=name,
        mode="markers",
        marker={"color": color, "symbol": symbol, "size": 6},
        customdata=list(labels) or None,
        hovertemplate=f"{token}<br>{name}<br>{norm}<extra></extra>",
    )


def plot_embed_pca(
    names: Sequence[str],
    scores: Sequence[np.ndarray],
    indices: Sequence[np.ndarray],
    labels: Sequence[Sequence[str]],
    variance: tuple[float, float],
    directions: bool,
) -> go.Figure:
    """Text, placeholders and features on their first two principal components.

    Args:
        names: of the groups, keys of GROUP_MARKS.
        scores: (n, 2) of each group.
        indices: (n,) sequence indices of each group.
        labels: n escaped texts of each group; none for features.
        variance: share of the variance along each component.
        directions: True if every vector was scaled to length 1.
    """
    counts = [
        say("{count} {group}", count=len(points), group=group_words(name))
        for name, points in zip(names, scores, strict=True)
    ]
    alt = say(
        "Scatter plot of the embeddings on their first two principal components, which explain "
        "{share:.0%} of the variance: {counts}.",
        share=sum(variance),
        counts=say(", ").join(counts),
    )
    layout = base_layout(
        say("Regions of embedding space: directions only")
        if directions
        else say("Regions of embedding space: unscaled embeddings"),
        height=HEIGHT_LARGE,
        alt=alt.replace("<|", "").replace("|>", ""),
        x_title=say("component 1 ({share:.0%} of the variance)", share=variance[0]),
        y_title=say("component 2 ({share:.0%} of the variance)", share=variance[1]),
    )
    layout["legend"] = {"itemsizing": "constant"}
    layout["meta"]["pointer"] = pointer_meta("token", axis="points")
    layout["meta"]["columns"] = {"customdata": [say("index"), say("token")]}
    traces = [_group_trace(*group) for group in zip(names, scores, indices, labels, strict=True)]
    return go.Figure(traces, layout)


def _group_trace(
    name: str, scores: np.ndarray, indices: np.ndarray, labels: Sequence[str]
) -> go.Scatter:
    _, color, symbol, size = GROUP_MARKS[name]
    words = escape_label(group_words(name))
    custom: Any = compact_integers(indices)[:, None]
    if labels:
        custom = [[int(index), label] for index, label in zip(indices, labels, strict=True)]
    is_placeholder = name.endswith("placeholder")
    token = say("token %{customdata[0]}")
    if labels:
        token = say("token %{customdata[0]}: %{customdata[1]}")
    return go.Scatter(
        x=scores[:, 0].astype(np.float32),
        y=scores[:, 1].astype(np.float32),
        name=words,
        mode="markers",
        marker={
            "color": color,
            "symbol": symbol,
            "size": size,
            "opacity": 1.0 if is_placeholder else 0.8,
        },
        # A placeholder stands for many tokens, so a click on it must not select one.
        customdata=None if is_placeholder else custom,
        hovertemplate=f"{words if is_placeholder else token}<br>%{{x:.3g}}, %{{y:.3g}}"
        f"<extra>{'' if is_placeholder else words}</extra>",
    )
