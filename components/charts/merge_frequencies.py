"""Charts of interleaved M-RoPE: which frequency turns with which axis, and a token's angles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go

from components.charts.style import FONT_SIZE_PX, HEIGHT_MEDIUM, base_layout
from components.look.colors import BLUE, GREEN, GREY, ORANGE
from playground.language import mark, say

AXIS_MARKS = (
    (mark("t (time)"), BLUE, "circle"),
    (mark("h (height)"), ORANGE, "square"),
    (mark("w (width)"), GREEN, "diamond"),
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
        say("Interleaved sections: t, h and w each get fast and slow frequencies"),
        height=HEIGHT_MEDIUM,
        alt=say(
            "Wavelengths of {count} rotary frequencies on a log scale, from {shortest:.3g} to "
            "{longest:,.0f} positions: {t} turn with t, {h} with h and {w} with w, in turns.",
            count=len(axes),
            shortest=float(wavelengths.min()),
            longest=float(wavelengths.max()),
            t=counts[0],
            h=counts[1],
            w=counts[2],
        ),
        x_title=say("frequency index"),
        y_title=say("wavelength (positions per full turn)"),
    )
    layout["yaxis"] |= {"type": "log", "dtick": 1, "exponentformat": "power"}
    layout["xaxis"] |= {"zeroline": False, "range": [-0.7, len(axes) - 0.3]}
    layout["meta"]["columns"] = {
        "x": say("frequency"),
        "y": say("wavelength"),
        "customdata": say("rad per position"),
    }
    here = say("largest position of this prompt: {largest:,}", largest=largest)
    levels = [(max(largest, 1), here)]
    if wavelengths.max() >= context:
        levels.append((context, say("context window: {context:,}", context=context)))
    layout["shapes"] = [_level(value) for value, _ in levels]
    layout["annotations"] = [_level_name(value, words) for value, words in levels]
    traces = [
        _axis_trace(
            axis,
            np.flatnonzero(axes == axis),
            wavelengths[axes == axis],
            say("{axis}: {count} of {total}", axis=say(name), count=counts[axis], total=len(axes)),
            say(
                "frequency %{{x}} turns with {axis}<br>a full turn in %{{y:,.4g}} positions<br>"
                "%{{customdata:.4g}} rad per position",
                axis=say(name),
            ),
            size=8,
            customdata=(2 * math.pi / wavelengths[axes == axis]).astype(np.float32),
        )
        for axis, (name, _, _) in enumerate(AXIS_MARKS)
    ]
    return go.Figure(traces, layout)


def _axis_trace(
    axis: int, x: np.ndarray, y: np.ndarray, name: str, hover: str, *, size: int, **more: Any
) -> go.Scatter:
    """The frequencies that turn with t, h or w, in that axis's colour and shape."""
    _, color, symbol = AXIS_MARKS[axis]
    return go.Scatter(
        x=x.astype(np.int32),
        y=y.astype(np.float32),
        name=name,
        mode="markers",
        marker={"color": color, "symbol": symbol, "size": size},
        hovertemplate=f"{hover}<extra></extra>",
        **more,
    )


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
        say("Token {token}: the angle that each frequency is turned by", token=token),
        height=HEIGHT_MEDIUM,
        alt=say(
            "Angles of token {token} at {count} frequencies; {moved} of them would be another "
            "angle with plain 1-D positions.",
            token=token,
            count=len(axes),
            moved=moved,
        ),
        x_title=say("frequency index"),
        y_title=say("angle (degrees)"),
    )
    layout["yaxis"] |= {"range": [-12, 372], "tickvals": [0, 90, 180, 270, 360]}
    layout["xaxis"] |= {"zeroline": False, "range": [-0.7, len(axes) - 0.3]}
    layout["meta"]["columns"] = {"x": say("frequency"), "y": say("angle (degrees)")}
    everywhere = np.arange(len(axes), dtype=np.int32)
    flat = go.Scatter(
        x=everywhere,
        y=flat_turns.astype(np.float32),
        name=say("plain 1-D"),
        mode="markers",
        marker={"color": GREY, "symbol": "circle-open", "size": 11},
        hovertemplate=say("frequency %{x}<br>1-D: %{y:.1f}°") + "<extra></extra>",
    )
    traces = [
        _axis_trace(
            axis,
            everywhere[axes == axis],
            turns[axes == axis],
            say(name),
            say("frequency %{{x}}, {axis}<br>M-RoPE: %{{y:.1f}}°", axis=say(name)),
            size=7,
        )
        for axis, (name, _, _) in enumerate(AXIS_MARKS)
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
