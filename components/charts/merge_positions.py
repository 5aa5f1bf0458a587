"""Charts of the positions: along the sequence, and in 3-D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from components.charts.small_arrays import compact_integers
from components.charts.style import (
    FONT_SIZE_PX,
    HEIGHT_LARGE,
    base_layout,
    pointer_meta,
    span_label,
)
from components.look.colors import BLUE, GREEN, GREY, KIND_COLORS, ORANGE
from playground.language import mark, say

# From wide to narrow, so that overlapping lines are all visible.
AXES = (("t", 6.0, BLUE), ("h", 3.5, ORANGE), ("w", 1.5, GREEN))
KIND_SYMBOLS = {
    mark("text"): "circle",
    mark("special"): "diamond",
    mark("image"): "square",
    mark("video"): "cross",
}
POINTED_COLOR = "#e0218a"  # 4:1 and more on the white and on the dark page


def plot_positions_3d(
    positions: np.ndarray, indices: np.ndarray, kinds: Sequence[str], labels: Sequence[str]
) -> go.Figure:
    """Every token at (t, h, w): text along the diagonal, each image as a plane.

    Args:
        positions: (3, n): t, h, w.
        indices: (n,) sequence index of each token.
        kinds: n kinds.
        labels: n escaped texts.
    """
    present = [kind for kind in KIND_COLORS if kind in kinds]
    visual = any(kind in present for kind in ("image", "video"))
    layout = base_layout(
        say("Positions in 3-D: text follows the diagonal, an image spreads over h and w")
        if visual
        else say("Positions in 3-D: text follows the diagonal"),
        height=HEIGHT_LARGE,
        alt=say(
            "3-D scatter of {count} tokens by time, height and width position; kinds: {kinds}.",
            count=len(kinds),
            kinds=say(", ").join(say(kind) for kind in present),
        ),
    )
    layout["scene"] = _scene()
    layout["legend"] = {"itemsizing": "constant"}
    layout["meta"]["columns"] = {"customdata": [say("index"), say("token")]}
    layout["meta"]["pointer"] = pointer_meta("token", axis="points")
    of_kind = np.array(kinds)
    traces = [
        _kind_trace(kind, np.flatnonzero(of_kind == kind), positions, indices, labels)
        for kind in present
    ]
    return go.Figure([*traces, _pointed_trace()], layout)


def _scene() -> dict[str, Any]:
    return {
        "xaxis": {"title": {"text": say("w (width)")}},
        "yaxis": {"title": {"text": say("h (height)")}},
        "zaxis": {"title": {"text": say("t (time)")}},
        "aspectmode": "cube",
        # Not along the diagonal, where all text would fall on one point; centred below the
        # middle, so that the axis titles stay inside.
        "camera": {
            "eye": {"x": 1.05, "y": -2.35, "z": 1.0},
            "center": {"x": 0, "y": 0, "z": -0.15},
        },
    }


def _kind_trace(
    kind: str,
    chosen: np.ndarray,
    positions: np.ndarray,
    indices: np.ndarray,
    labels: Sequence[str],
) -> go.Scatter3d:
    t, h, w = compact_integers(positions[:, chosen])
    custom: Any = compact_integers(indices[chosen])[:, None]
    token_text = say("token %{{customdata[0]}} ({kind})", kind=say(kind))
    if kind in ("text", "special"):  # all placeholders of a kind have the same text
        custom = [[int(indices[i]), labels[i]] for i in chosen]
        token_text = say("token %{{customdata[0]}}: %{{customdata[1]}} ({kind})", kind=say(kind))
    return go.Scatter3d(
        x=w,
        y=h,
        z=t,
        name=say(kind),
        mode="markers",
        marker={"size": 4, "color": KIND_COLORS[kind], "symbol": KIND_SYMBOLS[kind]},
        customdata=custom,
        hovertemplate=f"{token_text}<br>t %{{z}}, h %{{y}}, w %{{x}}<extra></extra>",
    )


def _pointed_trace() -> go.Scatter3d:
    """Marks the selected token; the page fills it in. Must be the last trace."""
    return go.Scatter3d(
        x=[],
        y=[],
        z=[],
        name="pointed at",
        mode="markers",
        marker={
            "size": 10,
            "symbol": "circle-open",
            "color": POINTED_COLOR,
            "line": {"color": POINTED_COLOR, "width": 4},
        },
        showlegend=False,
        hoverinfo="skip",
    )


def plot_positions(
    positions: np.ndarray,
    indices: np.ndarray,
    labels: Sequence[str],
    spans: Sequence[tuple[int, int, str]],
    jump: tuple[int, int] | None,
    *,
    kinds: Sequence[str] = (),
) -> go.Figure:
    """t, h and w against the sequence index, with the jump after the first image.

    Args:
        positions: (3, n): t, h, w.
        indices: (n,) sequence index of each column.
        labels: n escaped texts.
        spans: first index, one past the last, and name (may be empty) of each image or frame.
        jump: sequence index and position of the token after the first image.
        kinds: ``image`` or ``video`` for each of ``spans``; by default all are images.
    """
    last, top = int(indices[-1]), int(positions.max())
    layout = base_layout(
        say("Positions along the sequence: t = h = w for text, three different axes in an image")
        if spans
        else say("Positions along the sequence: t = h = w for text"),
        height=HEIGHT_LARGE,
        alt=say(
            "Lines of t, h and w over {tokens} tokens; the largest position is {top}, {less} less "
            "than the last index.",
            tokens=last + 1,
            top=top,
            less=last - top,
        ),
        x_title=say("sequence index"),
        y_title=say("position"),
    )
    # Fixed ranges, so that neither the 1-D line nor a label stretches the axes.
    layout["yaxis"] |= {"range": [-0.04 * top - 1, 1.2 * top + 1], "zeroline": False}
    layout["xaxis"] |= {
        "range": [-0.02 * last - 1, 1.02 * last + 1],
        "zeroline": False,
        "unifiedhovertitle": {"text": say("token %{x}")},
    }
    layout["hovermode"] = "x unified"
    layout["shapes"] = [
        _span_band(start, end, kind)
        for (start, end, _), kind in zip(spans, kinds or ["image"] * len(spans), strict=True)
    ]
    layout["annotations"] = [span_label(*span, y=1, anchor="top") for span in spans if span[2]]
    if jump is not None:
        layout["annotations"].append(_jump_label(*jump, top=top))
    layout["meta"]["columns"] = {
        "x": say("index"),
        "y": say("position"),
        "customdata": say("token"),
    }
    layout["meta"]["pointer"] = pointer_meta("token", axis="x")
    flat = _flat_trace(indices[[0, -1]])
    return go.Figure([flat, *_axis_traces(positions, indices, labels)], layout)


def _flat_trace(ends: np.ndarray) -> go.Scatter:
    return go.Scatter(
        x=compact_integers(ends),
        y=compact_integers(ends),
        name=say("plain 1-D"),
        mode="lines",
        line={"color": GREY, "width": 1, "dash": "dot"},
        hoverinfo="skip",
    )


def _axis_traces(
    positions: np.ndarray, indices: np.ndarray, labels: Sequence[str]
) -> list[go.Scatter]:
    traces = []
    for row, (axis, width, color) in zip(positions, AXES, strict=True):
        token_line = "%{customdata}<br>" if axis == "t" else ""
        traces.append(
            go.Scatter(
                x=compact_integers(indices),
                y=compact_integers(row),
                name=axis,
                mode="lines",
                line={"color": color, "width": width},
                # Only once, since the three lines share one hover box.
                customdata=list(labels) if axis == "t" else None,
                hovertemplate=f"{token_line}{axis} = %{{y}}<extra></extra>",
            )
        )
    return traces


def _span_band(start: int, end: int, kind: str) -> dict[str, Any]:
    return {
        "type": "rect",
        "x0": start - 0.5,
        "x1": end - 0.5,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "fillcolor": KIND_COLORS[kind],
        "opacity": 0.12,
        "line": {"width": 0},
        "layer": "below",
    }


def _jump_label(index: int, position: int, *, top: int) -> dict[str, Any]:
    """An arrow to the first token after the image, from the corner without lines."""
    return {
        "x": index,
        "y": position,
        "text": say("next text position<br>= largest + 1 = {position}", position=position),
        "showarrow": True,
        "arrowhead": 2,
        "arrowwidth": 1,
        "axref": "x",
        "ayref": "y",
        "ax": 0,
        "ay": 0.93 * top,
        "xanchor": "left",
        "yanchor": "bottom",
        "align": "left",
        "font": {"size": FONT_SIZE_PX - 1},
    }
