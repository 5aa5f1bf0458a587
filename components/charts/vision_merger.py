"""Charts of the mergers: the values after each step, and the similarity of DeepStack taps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from components.charts.heat_map import hide_lines, signed_map
from components.charts.patch_map import mark_position, patch_layout
from components.charts.style import HEIGHT_MEDIUM, HEIGHT_SMALL, base_layout
from playground.language import say

CLIP_QUANTILE = 0.99  # of |value| in a step: a few large values would leave the rest pale
MAX_DIMENSIONS = 256  # of each row; more would be narrower than a pixel
GAP = 1  # empty rows between steps


def plot_merger_vectors(steps: Sequence[tuple[str, np.ndarray]], token: int) -> go.Figure:
    """The values of the four patch vectors and of each following step, as coloured rows.

    Args:
        steps: name and (rows, dimensions) values of each step; a long vector is broken into rows
            of one patch's length, and only the first dimensions of each are drawn. Each step has
            its own colour range.
        token: sequence index of the token.
    """
    width = steps[0][1].shape[1]
    shown = min(width, MAX_DIMENSIONS)
    x_title = say("dimension in its row (of {width:,})", width=width)
    if shown < width:
        x_title = say(
            "dimension in its row (first {shown:,} of {width:,})", shown=shown, width=width
        )
    ranges = [
        say("{name}, values up to ±{most:.3g}", name=name, most=np.nanmax(np.abs(values)))
        for name, values in steps
    ]
    layout = base_layout(
        say("How token {token} is computed: the values after each step", token=token),
        height=HEIGHT_MEDIUM,
        alt=say("Coloured rows for each step: {ranges}.", ranges=say("; ").join(ranges)),
        x_title=x_title,
        y_title=say("step"),
    )
    traces, middles, top = [], [], 0
    for name, values in steps:
        lines = np.arange(top, top + len(values), dtype=np.int32)
        known = np.abs(values[np.isfinite(values)])
        reach = float(np.quantile(known, CLIP_QUANTILE)) or 1.0
        hover = say("{name}<br>dimension %{{x}} of this row: %{{z:.4g}}", name=name)
        cells = values[:, :shown]
        traces.append(signed_map(cells, hover, reach, y=lines, name=name, hoverongaps=False))
        middles.append((top + (len(values) - 1) / 2, name))
        top += len(values) + GAP
    hide_lines(layout)
    layout["yaxis"] |= {
        "range": [top - GAP - 0.5, -0.5],
        "tickvals": [position for position, _ in middles],
        "ticktext": [name for _, name in middles],
    }
    layout["meta"]["columns"] = {"x": say("dimension"), "y": say("row"), "z": say("value")}
    return go.Figure(traces, layout)


def plot_tap_similarity(
    cosine: np.ndarray,
    norms: np.ndarray,
    span: int,
    *,
    title: str,
    reach: float,
    token: tuple[int, int],
) -> go.Figure:
    """Cosine similarity of a DeepStack tap's tokens to the final tokens of the same patches.

    Args:
        cosine: (merged_h, merged_w) cosine similarity.
        norms: (merged_h, merged_w) Euclidean norm of the tap's tokens.
        span: index into ``ModelInputs.spans``.
        title: which tap.
        reach: the colours range from -reach to reach, the same for all taps.
        token: row and column of the token to mark.
    """
    rows, columns = cosine.shape
    layout = patch_layout(
        title,
        say(
            "Cosine similarity of this tap's {rows} by {columns} tokens to the final tokens, from "
            "{low:.3f} to {high:.3f}, on average {mean:.3f}.",
            rows=rows,
            columns=columns,
            low=cosine.min(),
            high=cosine.max(),
            mean=cosine.mean(),
        ),
        "merged",
        span,
        height=HEIGHT_SMALL + 40,  # three in a row: small
        l=40,
        r=61,
        b=37,
    )
    layout["meta"]["columns"] = {"z": say("cosine similarity"), "customdata": say("norm")}
    cells = signed_map(
        cosine,
        say("token row %{y}, column %{x}<br>cosine similarity %{z:.3f}<br>norm %{customdata:.4g}"),
        reach,
        bar=say("cosine"),
        customdata=norms.astype(np.float32),
        name=say("tokens"),
    )
    return go.Figure([cells, mark_position(token, say("this token"))], layout)
