"""Charts of the positions: along the sequence, in 3-D, and how far tokens are from one another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go

from components.chart_style import (
    BLUE,
    FONT_SIZE_PX,
    GREEN,
    GREY,
    HEIGHT_LARGE,
    HEIGHT_MEDIUM,
    KIND_COLORS,
    ORANGE,
    SEQUENTIAL,
    base_layout,
    pointer_meta,
)
from components.charts.small_arrays import compact_integers

# Drawn from wide to narrow, so that lines that lie on each other can all be seen.
AXES = (("t", 6.0, BLUE), ("h", 3.5, ORANGE), ("w", 1.5, GREEN))
KIND_SYMBOLS = {"text": "circle", "special": "diamond", "image": "square", "video": "cross"}
POINTED_COLOR = "#e0218a"  # 4:1 and more on the white and on the dark page


def plot_positions_3d(
    positions: np.ndarray, indices: np.ndarray, kinds: Sequence[str], labels: Sequence[str]
) -> go.Figure:
    """Every token at its place (t, h, w): text along the diagonal, each picture as a plane.

    Args:
        positions: (3, n): t, h, w.
        indices: (n,) sequence index of each token.
        kinds: n kinds.
        labels: n escaped texts.
    """
    present = [kind for kind in KIND_COLORS if kind in kinds]
    visual = any(kind in present for kind in ("image", "video"))
    layout = base_layout(
        "Positions in 3-D: text climbs the diagonal"
        + (", a picture spreads over h and w" if visual else ""),
        height=HEIGHT_LARGE,
        alt=f"3-D scatter of {len(kinds)} tokens by time, height and width position; "
        f"kinds: {', '.join(present)}.",
    )
    layout["scene"] = _scene()
    layout["legend"] = {"itemsizing": "constant"}
    layout["meta"]["columns"] = {"customdata": ["index", "token"]}
    layout["meta"]["pointer"] = pointer_meta("token", axis="points")
    of_kind = np.array(kinds)
    traces = [
        _kind_trace(kind, np.flatnonzero(of_kind == kind), positions, indices, labels)
        for kind in present
    ]
    return go.Figure([*traces, _pointed_trace()], layout)


def _scene() -> dict[str, Any]:
    return {
        "xaxis": {"title": {"text": "w (width)"}},
        "yaxis": {"title": {"text": "h (height)"}},
        "zaxis": {"title": {"text": "t (time)"}},
        "aspectmode": "cube",
        # Not along the diagonal, or all text would lie on one point; from below the middle, so
        # that the axis titles stay inside.
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
    words = ""
    if kind in ("text", "special"):  # all placeholders of a kind have the same text
        custom = [[int(indices[i]), labels[i]] for i in chosen]
        words = ": %{customdata[1]}"
    return go.Scatter3d(
        x=w,
        y=h,
        z=t,
        name=kind,
        mode="markers",
        marker={"size": 4, "color": KIND_COLORS[kind], "symbol": KIND_SYMBOLS[kind]},
        customdata=custom,
        hovertemplate=f"token %{{customdata[0]}}{words} ({kind})<br>"
        "t %{z}, h %{y}, w %{x}<extra></extra>",
    )


def _pointed_trace() -> go.Scatter3d:
    """Where the page draws the pointer's mark; must be the last trace."""
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
    """t, h and w against the sequence index, with the jump after the first picture.

    Args:
        positions: (3, n): t, h, w.
        indices: (n,) sequence index of each column.
        labels: n escaped texts.
        spans: first index, one past the last, and a name or none, of each picture or frame.
        jump: sequence index of the token after the first picture, and its position.
        kinds: ``image`` or ``video`` for each of ``spans``; images where nothing is said.
    """
    last, top = int(indices[-1]), int(positions.max())
    title = "Positions along the sequence: one clock for text"
    layout = base_layout(
        title + (", three for a picture" if spans else ""),
        height=HEIGHT_LARGE,
        alt=f"Lines of t, h and w over {last + 1} tokens; the largest position is {top}, "
        f"{last - top} less than the last index.",
        x_title="sequence index",
        y_title="position",
    )
    # Fixed, so that neither the line of the plain index nor a label stretches them.
    layout["yaxis"] |= {"range": [-0.04 * top - 1, 1.2 * top + 1], "zeroline": False}
    layout["xaxis"] |= {
        "range": [-0.02 * last - 1, 1.02 * last + 1],
        "zeroline": False,
        "unifiedhovertitle": {"text": "token %{x}"},
    }
    layout["hovermode"] = "x unified"
    layout["shapes"] = [
        _span_band(start, end, kind)
        for (start, end, _), kind in zip(spans, kinds or ["image"] * len(spans), strict=True)
    ]
    layout["annotations"] = [_span_name(*span) for span in spans if span[2]]
    if jump is not None:
        layout["annotations"].append(_jump_label(*jump, top=top))
    layout["meta"]["columns"] = {"x": "index", "y": "position", "customdata": "token"}
    layout["meta"]["pointer"] = pointer_meta("token", axis="x")
    flat = _flat_trace(indices[[0, -1]])
    return go.Figure([flat, *_axis_traces(positions, indices, labels)], layout)


def _flat_trace(ends: np.ndarray) -> go.Scatter:
    return go.Scatter(
        x=compact_integers(ends),
        y=compact_integers(ends),
        name="plain 1-D",
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
                # Sent once: the three lines share one hover box.
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


def _span_name(start: int, end: int, name: str) -> dict[str, Any]:
    return {
        "x": (start + end - 1) / 2,
        "y": 1,
        "yref": "paper",
        "yanchor": "top",
        "text": name,
        "showarrow": False,
        "font": {"size": FONT_SIZE_PX - 1},
    }


def _jump_label(index: int, position: int, *, top: int) -> dict[str, Any]:
    """An arrow to the first token after the picture, from the corner that no line reaches."""
    return {
        "x": index,
        "y": position,
        "text": f"next text position<br>= largest + 1 = {position}",
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


def plot_nearness(
    values: np.ndarray,
    *,
    title: str,
    quantity: Literal["distance", "likeness"],
    token: int,
    span: int,
) -> go.Figure:
    """How far, or how alike turned, the tokens of a picture are to one token.

    Args:
        values: (merged_h, merged_w): distances in positions, or likeness in [-1, 1].
        title: what to see.
        quantity: which of the two.
        token: sequence index of the one.
        span: index into ``ModelInputs.spans``.
    """
    height, width = values.shape
    layout = base_layout(
        title,
        height=HEIGHT_MEDIUM,
        alt=f"Map of {height} by {width} visual tokens: {quantity} to token {token}, from "
        f"{float(values.min()):.3g} to {float(values.max()):.3g}.",
        x_title="column of the token grid",
        y_title="row of the token grid",
    )
    layout["xaxis"] |= {"constrain": "domain", "showgrid": False, "zeroline": False}
    layout["yaxis"] |= {
        "autorange": "reversed",
        "scaleanchor": "x",
        "constrain": "domain",
        "showgrid": False,
        "zeroline": False,
    }
    layout["meta"]["pointer"] = pointer_meta("merged", span=span)
    layout["meta"]["columns"] = {"x": "column", "y": "row", "z": quantity}
    return go.Figure([_nearness_map(values, quantity, token)], layout)


def _nearness_map(
    values: np.ndarray, quantity: Literal["distance", "likeness"], token: int
) -> go.Heatmap:
    """The cells; a distance is coloured the other way round."""
    far = quantity == "distance"
    unit = " positions" if far else ""
    return go.Heatmap(
        z=compact_integers(values) if far else values.astype(np.float32),
        # Bright is near, in both.
        colorscale=SEQUENTIAL,
        reversescale=far,
        zmin=0 if far else -0.5,
        zmax=max(int(values.max()), 1) if far else 1,
        colorbar={
            "title": {"text": f"{quantity}{' (positions)' if far else ''}"},
            "thickness": 10,
            "dtick": max(1, round(int(values.max()) / 5)) if far else 0.5,
        },
        hovertemplate=f"row %{{y}}, column %{{x}}<br>{quantity} to token {token}: "
        f"%{{z:.3g}}{unit}<extra></extra>",
    )
