"""Charts of the merge: 3-D positions, and the embeddings before and after masked_scatter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
    base_layout,
)

# Drawn from wide to narrow, so that lines that lie on each other can all be seen.
AXES = (("t", 6.0, BLUE), ("h", 3.5, ORANGE), ("w", 1.5, GREEN))
KIND_SYMBOLS = {"text": "circle", "special": "diamond", "image": "square", "video": "cross"}


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
    layout = base_layout(
        "Positions in 3-D: text climbs the diagonal, a picture spreads over h and w",
        height=HEIGHT_LARGE,
        alt=f"3-D scatter of {len(kinds)} tokens by time, height and width position; "
        f"kinds: {', '.join(present)}.",
    )
    layout["scene"] = {
        "xaxis": {"title": {"text": "w (width)"}},
        "yaxis": {"title": {"text": "h (height)"}},
        "zaxis": {"title": {"text": "t (time)"}},
        "aspectmode": "cube",
        # Not along the diagonal, or all text would lie on one point; from below the middle, so
        # that the axis titles stay inside.
        "camera": {"eye": {"x": 0.95, "y": -2.1, "z": 0.9}, "center": {"x": 0, "y": 0, "z": -0.15}},
    }
    layout["legend"] = {"itemsizing": "constant"}
    layout["meta"]["columns"] = {"customdata": ["index", "token"]}
    of_kind = np.array(kinds)
    traces = []
    for kind in present:
        chosen = np.flatnonzero(of_kind == kind).tolist()
        t, h, w = positions[:, chosen].astype(np.int32)
        traces.append(
            go.Scatter3d(
                x=w,
                y=h,
                z=t,
                name=kind,
                mode="markers",
                marker={"size": 4, "color": KIND_COLORS[kind], "symbol": KIND_SYMBOLS[kind]},
                customdata=[[int(indices[i]), labels[i]] for i in chosen],
                hovertemplate=f"token %{{customdata[0]}}: %{{customdata[1]}} ({kind})<br>"
                "t %{z}, h %{y}, w %{x}<extra></extra>",
            )
        )
    return go.Figure(traces, layout)


def plot_positions(
    positions: np.ndarray,
    indices: np.ndarray,
    labels: Sequence[str],
    spans: Sequence[tuple[int, int, str]],
    jump: tuple[int, int] | None,
) -> go.Figure:
    """t, h and w against the sequence index, with the jump after the first picture.

    Args:
        positions: (3, n): t, h, w.
        indices: (n,) sequence index of each column.
        labels: n escaped texts.
        spans: first index, one past the last, and a name or none, of each picture or frame.
        jump: sequence index of the token after the first picture, and its position.
    """
    last, top = int(indices[-1]), int(positions.max())
    layout = base_layout(
        "Positions along the sequence: one clock for text, three for a picture",
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
    layout["shapes"] = [_span_band(start, end) for start, end, _ in spans]
    layout["annotations"] = [_span_name(*span) for span in spans if span[2]]
    if jump is not None:
        layout["annotations"].append(_jump_label(*jump, top=top))
    traces = [
        go.Scatter(
            x=indices[[0, -1]].astype(np.int32),
            y=indices[[0, -1]].astype(np.int32),
            name="plain 1-D",
            mode="lines",
            line={"color": GREY, "width": 1, "dash": "dot"},
            hoverinfo="skip",
        )
    ]
    for row, (axis, width, color) in zip(positions, AXES, strict=True):
        token_line = "%{customdata}<br>" if axis == "t" else ""
        traces.append(
            go.Scatter(
                x=indices.astype(np.int32),
                y=row.astype(np.int32),
                name=axis,
                mode="lines",
                line={"color": color, "width": width},
                # Sent once: the three lines share one hover box.
                customdata=list(labels) if axis == "t" else None,
                hovertemplate=f"{token_line}{axis} = %{{y}}<extra></extra>",
            )
        )
    layout["meta"]["columns"] = {"customdata": "token"}
    return go.Figure(traces, layout)


def plot_embed_norms(
    norms: np.ndarray, indices: np.ndarray, kinds: Sequence[str], labels: Sequence[str]
) -> go.Figure:
    """Norm of each embedding before and after the features take the placeholders' places.

    Args:
        norms: (2, n): before and after masked_scatter.
        indices: (n,) sequence index of each column.
        kinds: n kinds.
        labels: n escaped texts.
    """
    before, after = norms.astype(np.float32)
    visual = np.isin(np.array(kinds), ("image", "video"))
    alt = f"Norms of {len(kinds)} embeddings."
    if visual.any():
        alt = (
            f"The {int(visual.sum())} placeholders have norm {float(before[visual].mean()):.3g}; "
            f"the features in their places have {float(after[visual].min()):.3g} to "
            f"{float(after[visual].max()):.3g}."
        )
    layout = base_layout(
        "Embeddings before and after masked_scatter: only the placeholders change",
        height=HEIGHT_MEDIUM,
        alt=alt,
        x_title="sequence index",
        y_title="Euclidean norm",
    )
    layout["yaxis"] |= {"rangemode": "tozero"}
    layout["meta"]["columns"] = {"customdata": "token"}
    words = [f"{index}: {label}" for index, label in zip(indices, labels, strict=True)]
    chosen = np.flatnonzero(visual).tolist()
    traces = [
        _norm_trace("before: token embeddings", indices, before, words, GREY, "circle-open"),
        _norm_trace(
            "after: visual features",
            indices[chosen],
            after[chosen],
            [words[i] for i in chosen],
            ORANGE,
            "square",
        ),
    ]
    return go.Figure([trace for trace in traces if len(trace.x)], layout)


def _norm_trace(
    name: str, x: np.ndarray, y: np.ndarray, words: list[str], color: str, symbol: str
) -> go.Scatter:
    return go.Scatter(
        x=x.astype(np.int32),
        y=y,
        name=name,
        mode="markers",
        marker={"color": color, "symbol": symbol, "size": 6},
        customdata=words,
        hovertemplate=f"token %{{customdata}}<br>{name}<br>norm %{{y:.4g}}<extra></extra>",
    )


def _span_band(start: int, end: int) -> dict[str, Any]:
    return {
        "type": "rect",
        "x0": start - 0.5,
        "x1": end - 0.5,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "fillcolor": KIND_COLORS["image"],
        "opacity": 0.1,
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
