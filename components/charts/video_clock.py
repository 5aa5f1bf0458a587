"""The times that a prompt gives a video's frames, against their times in the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from components.charts.style import HEIGHT_MEDIUM, LEGEND_BELOW, base_layout, escape_label
from components.look.colors import CATEGORICAL, GREY
from playground.language import say

SYMBOLS = ("circle", "square", "diamond", "cross", "x", "triangle-up")


@dataclass(frozen=True, slots=True)
class ClockLine:
    """The temporal patches of a video under one reading of its clock."""

    name: str
    true_s: Sequence[float]  # (patches,) seconds in the file
    told_s: Sequence[float]  # (patches,) seconds in the prompt
    texts: Sequence[str]  # (patches,) as they are written in the prompt


def plot_clock(
    lines: Sequence[ClockLine], frame_s: Sequence[float], *, patch_frames: int = 2
) -> go.Figure:
    """The prompt's clock against the file's.

    Args:
        lines: the right reading, and any wrong ones after it.
        frame_s: ``(frames,)`` when each sampled frame is shown, in seconds of the file.
        patch_frames: frames per temporal patch.
    """
    right, *wrong = lines
    worst = max(wrong, key=_largest_error, default=right)
    title = say("Each temporal patch has one time in the prompt: the mean of its frames")
    if wrong:
        title = say(
            "Misread, the prompt's times are wrong by up to {seconds:.3g} s",
            seconds=_largest_error(worst),
        )
    layout = base_layout(
        title,
        height=HEIGHT_MEDIUM,
        alt=say(
            "Chart of time in the prompt over time in the file, from {first} to {last}, with a "
            "dashed line where both are equal and {count} wrong readings.",
            first=escape_label(right.texts[0]),
            last=escape_label(right.texts[-1]),
            count=len(wrong),
        ),
        x_title=say("time in the file (s)"),
        y_title=say("time in the prompt (s)"),
    )
    layout["xaxis"] |= {"rangemode": "tozero"}
    layout["yaxis"] |= {"rangemode": "tozero"}
    layout["legend"] = LEGEND_BELOW
    layout["meta"]["columns"] = {"customdata": say("Text in the prompt")}
    colors = zip(CATEGORICAL, SYMBOLS, strict=False)
    traces = [_no_error(max(frame_s)), _frames(frame_s, right, patch_frames)]
    traces += [
        _line(line, color, symbol) for line, (color, symbol) in zip(lines, colors, strict=False)
    ]
    return go.Figure(traces, layout)


def _largest_error(line: ClockLine) -> float:
    return max(abs(told - true) for true, told in zip(line.true_s, line.told_s, strict=True))


def _no_error(end_s: float) -> go.Scatter:
    return go.Scatter(
        x=np.array([0, end_s], np.float32),
        y=np.array([0, end_s], np.float32),
        mode="lines",
        name=say("equal times"),
        line={"color": GREY, "dash": "dash", "width": 1},
        hoverinfo="skip",
    )


def _frames(frame_s: Sequence[float], right: ClockLine, patch_frames: int) -> go.Scatter:
    """The sampled frames, at the time that the prompt gives their temporal patch."""
    patches = [place // patch_frames for place in range(len(frame_s))]
    return go.Scatter(
        x=np.asarray(frame_s, np.float32),
        y=np.asarray(right.told_s, np.float32)[patches],
        customdata=[escape_label(right.texts[patch]) for patch in patches],
        mode="markers",
        name=say("sampled frames"),
        marker={"symbol": "line-ns-open", "size": 12, "color": CATEGORICAL[0]},
        hovertemplate=say("frame at %{x:.3f} s, in the prompt as %{customdata}")
        + "<extra></extra>",
    )


def _line(line: ClockLine, color: str, symbol: str) -> go.Scatter:
    return go.Scatter(
        x=np.asarray(line.true_s, np.float32),
        y=np.asarray(line.told_s, np.float32),
        customdata=[escape_label(text) for text in line.texts],
        mode="lines+markers",
        name=line.name,
        line={"color": color, "width": 1.5},
        marker={"symbol": symbol, "size": 9, "color": color},
        hovertemplate=say("temporal patch at %{x:.3f} s, in the prompt as %{customdata}")
        + "<extra></extra>",
    )
