"""Charts of interleaved M-RoPE: which frequency turns with which axis, and a token's angles."""

from __future__ import annotations

import math

import numpy as np
import plotly.graph_objects as go

from components.chart_style import (
    BLUE,
    FONT_SIZE_PX,
    GREEN,
    GREY,
    HEIGHT_MEDIUM,
    ORANGE,
    base_layout,
)

AXIS_MARKS = (
    ("t (time)", BLUE, "circle"),
    ("h (height)", ORANGE, "square"),
    ("w (width)", GREEN, "diamond"),
)


def plot_frequencies(
    wavelengths: np.ndarray, axes: np.ndarray, largest: int, context: int
) -> go.Figure:
    """The wavelength of each rotary frequency, by the axis that turns it.

    Args:
        wavelengths: (n,) positions for one full turn.
        axes: (n,) 0, 1 or 2: t, h or w.
        largest: largest position of this prompt.
        context: context window of the model, tokens.
    """
    counts = [int((axes == axis).sum()) for axis in range(3)]
    layout = base_layout(
        "Interleaved sections: t, h and w each get fast and slow frequencies",
        height=HEIGHT_MEDIUM,
        alt=f"Wavelengths of {len(axes)} rotary frequencies on a log scale, from "
        f"{float(wavelengths.min()):.3g} to {float(wavelengths.max()):,.0f} positions: "
        f"{counts[0]} turn with t, {counts[1]} with h and {counts[2]} with w, in turns.",
        x_title="frequency index",
        y_title="wavelength (positions per full turn)",
    )
    layout["yaxis"] |= {"type": "log", "dtick": 1, "exponentformat": "power"}
    layout["xaxis"] |= {"zeroline": False, "range": [-0.7, len(axes) - 0.3]}
    layout["meta"]["columns"] = {
        "x": "frequency",
        "y": "wavelength",
        "customdata": "rad per position",
    }
    lines = [(max(largest, 1), f"largest position of this prompt: {largest:,}")]
    if wavelengths.max() >= context:
        lines.append((context, f"context window: {context:,}"))
    layout["shapes"] = [_level(value) for value, _ in lines]
    layout["annotations"] = [_level_name(value, words) for value, words in lines]
    traces = [
        go.Scatter(
            x=np.flatnonzero(axes == axis).astype(np.int32),
            y=wavelengths[axes == axis].astype(np.float32),
            name=f"{name}: {counts[axis]} of {len(axes)}",
            mode="markers",
            marker={"color": color, "symbol": symbol, "size": 8},
            customdata=(2 * math.pi / wavelengths[axes == axis]).astype(np.float32),
            hovertemplate=f"frequency %{{x}} turns with {name}<br>a full turn in %{{y:,.4g}} "
            "positions<br>%{customdata:.4g} rad per position<extra></extra>",
        )
        for axis, (name, color, symbol) in enumerate(AXIS_MARKS)
    ]
    return go.Figure(traces, layout)


def plot_angles(
    turns: np.ndarray, flat_turns: np.ndarray, axes: np.ndarray, token: int
) -> go.Figure:
    """By how much one token's queries and keys are turned, beside plain 1-D positions.

    Args:
        turns: (n,) degrees in [0, 360), under M-RoPE.
        flat_turns: (n,) likewise, were its position its sequence index.
        axes: (n,) 0, 1 or 2: t, h or w.
        token: sequence index.
    """
    moved = int((np.abs(turns - flat_turns) > 1e-3).sum())
    layout = base_layout(
        f"Token {token}: the angle that each frequency is turned by",
        height=HEIGHT_MEDIUM,
        alt=f"Angles of token {token} at {len(axes)} frequencies; {moved} of them would be "
        "another angle with plain 1-D positions.",
        x_title="frequency index",
        y_title="angle (degrees)",
    )
    layout["yaxis"] |= {"range": [-12, 372], "tickvals": [0, 90, 180, 270, 360]}
    layout["xaxis"] |= {"zeroline": False, "range": [-0.7, len(axes) - 0.3]}
    layout["meta"]["columns"] = {"x": "frequency", "y": "angle (degrees)"}
    everywhere = np.arange(len(axes), dtype=np.int32)
    flat = go.Scatter(
        x=everywhere,
        y=flat_turns.astype(np.float32),
        name="plain 1-D",
        mode="markers",
        marker={"color": GREY, "symbol": "circle-open", "size": 11},
        hovertemplate="frequency %{x}<br>1-D: %{y:.1f}°<extra></extra>",
    )
    traces = [
        go.Scatter(
            x=everywhere[axes == axis],
            y=turns[axes == axis].astype(np.float32),
            name=name,
            mode="markers",
            marker={"color": color, "symbol": symbol, "size": 7},
            hovertemplate=f"frequency %{{x}}, {name}<br>M-RoPE: %{{y:.1f}}°<extra></extra>",
        )
        for axis, (name, color, symbol) in enumerate(AXIS_MARKS)
    ]
    return go.Figure([flat, *traces], layout)


def _level(value: float) -> dict[str, object]:
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": value,
        "y1": value,
        "line": {"width": 1, "dash": "dot", "color": GREY},
        "layer": "below",
    }


def _level_name(value: float, words: str) -> dict[str, object]:
    return {
        "text": words,
        "xref": "paper",
        "x": 0.99,
        "xanchor": "right",
        "y": math.log10(value),  # annotations on a log axis take the exponent
        "yanchor": "top",  # below the line, where on the right no frequency lies
        "showarrow": False,
        "font": {"size": FONT_SIZE_PX - 1},
    }
