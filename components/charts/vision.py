"""Charts of the vision tower."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from components.charts.heat_map import heat_map
from components.charts.patch_map import patch_layout
from components.charts.small_arrays import compact_integers
from components.charts.style import FONT_SIZE_PX, HEIGHT_MEDIUM, base_layout, vertical_line
from components.look.colors import BLUE, GREY, ORANGE
from playground.language import say

LOG_FROM_RATIO = 20.0  # a wider range of norms is drawn on a log axis


def plot_feature_norms(
    norms: np.ndarray, tokens: np.ndarray, words: str, *, merged: bool, span: int
) -> go.Figure:
    """The norm of each patch's, or each merged token's, feature vector on the patch grid.

    Args:
        norms: (rows, columns) Euclidean norms.
        tokens: (rows, columns) sequence index of the token that each cell is, or is merged into.
        words: name of the features, as the end of a title.
        merged: True for merged tokens, False for patches.
        span: index into ``ModelInputs.spans``.
    """
    rows, columns = norms.shape
    low, high = float(norms.min()), float(norms.max())
    sizes = {"rows": rows, "columns": columns, "low": low, "high": high}
    if merged:
        title = say("Norm of each token {text}: bright cells have large norms", text=words)
        alt = say(
            "Heat map of {rows} by {columns} tokens; norms from {low:.3g} to {high:.3g}.", **sizes
        )
        hover = say(
            "token row %{y}, column %{x}<br>norm %{z:.4g}<br>token %{customdata} of the sequence"
        )
    else:
        title = say("Norm of each patch {text}: bright cells have large norms", text=words)
        alt = say(
            "Heat map of {rows} by {columns} patches; norms from {low:.3g} to {high:.3g}.", **sizes
        )
        hover = say("patch row %{y}, column %{x}<br>norm %{z:.4g}<br>part of token %{customdata}")
    layout = patch_layout(title, alt, "merged" if merged else "patch", span)
    layout["meta"]["columns"] = {"customdata": say("token"), "z": say("norm")}
    cells = heat_map(norms, hover, bar=say("norm"), customdata=compact_integers(tokens))
    return go.Figure(cells, layout)


def plot_norm_summary(summary: np.ndarray, taps: Sequence[int]) -> go.Figure:
    """Smallest, median and largest patch norm after every block, with the DeepStack taps.

    Args:
        summary: (depth + 1, 3) float32: minimum, median, maximum.
        taps: index of the block that each DeepStack tap follows, counted from 0.
    """
    depth = len(summary) - 1
    blocks = np.arange(depth + 1, dtype=np.int32)
    layout = base_layout(
        say("Patch norms by block: how far apart do they drift?"),
        height=HEIGHT_MEDIUM,
        alt=say(
            "Lines of the smallest, median and largest patch norm over {depth} blocks; the median "
            "goes from {first:.3g} to {last:.3g}.",
            depth=depth,
            first=summary[0, 1],
            last=summary[-1, 1],
        ),
        x_title=say("blocks applied"),
        y_title=say("Euclidean norm"),
    )
    layout["xaxis"] |= {"range": [-0.3, depth + 0.3], "dtick": max(1, depth // 8)}
    if float(summary.max()) > LOG_FROM_RATIO * max(float(summary.min()), 1e-12):
        title = {"text": say("norm (log scale)")}
        layout["yaxis"] |= {"type": "log", "dtick": "D2", "title": title}
    else:
        layout["yaxis"] |= {"rangemode": "tozero"}
    layout["shapes"] = [
        vertical_line(tap + 1, dash="dot", width=1.5) | {"layer": "below"} for tap in taps
    ]
    layout["annotations"] = [_tap_label(tap + 1, number) for number, tap in enumerate(taps, 1)]
    lines = (
        (say("largest"), 2, "dash", ORANGE),
        (say("median"), 1, "solid", BLUE),
        (say("smallest"), 0, "dot", GREY),
    )
    traces = [
        go.Scatter(
            x=blocks,
            y=np.ascontiguousarray(summary[:, column], np.float32),
            name=name,
            mode="lines+markers",
            line={"dash": dash, "width": 2, "color": color},
            marker={"size": 5},
            hovertemplate=say("{name} norm after %{{x}} blocks: %{{y:.4g}}", name=name)
            + "<extra></extra>",
        )
        for name, column, dash, color in lines
    ]
    return go.Figure(traces, layout)


def state_text(state: int, depth: int) -> str:
    """Name a hidden state of the tower by the blocks applied."""
    if state == 0:
        return say("before the blocks (patch embedding + position)")
    if state == depth:
        return say("after {state} of {depth} blocks (output)", state=state, depth=depth)
    return say("after {state} of {depth} blocks", state=state, depth=depth)


def _tap_label(x: int, number: int) -> dict[str, Any]:
    return {
        "x": x,
        "y": 0,
        "yref": "paper",
        "yanchor": "bottom",
        "xanchor": "left",
        "text": say("tap {number}", number=number),
        "showarrow": False,
        "font": {"size": FONT_SIZE_PX - 2},
    }
