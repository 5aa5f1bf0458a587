"""Preprocess charts along the token sequence and along a video."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from components.charts.style import HEIGHT_SMALL, NO_LINES, base_layout, pointer_meta, small_label
from components.look.colors import GREY, KIND_COLORS, ORANGE, PURPLE, SKY
from playground.language import mark, say

# Attention mask 0 and 1, then token types 0, 1 and 2, as one integer scale.
MASK_NAMES = (mark("masked"), mark("attended to"), mark("text"), mark("image"), mark("video"))
MASK_LABELS = (
    mark("0 masked"),
    mark("1 attended"),
    mark("0 text"),
    mark("1 image"),
    mark("2 video"),
)
MASK_COLORS = (GREY, PURPLE, "#6f7682", KIND_COLORS["image"], KIND_COLORS["video"])


def plot_masks(attention_mask: np.ndarray, token_types: np.ndarray) -> go.Figure:
    """``attention_mask`` and ``mm_token_type_ids`` over the sequence.

    Args:
        attention_mask: ``(seq,)`` of 0 and 1.
        token_types: ``(seq,)``: 0 text, 1 image, 2 video.
    """
    codes = np.stack([attention_mask, token_types + 2]).astype(np.uint8)
    used = np.unique(codes).tolist()  # only these appear in the colour bar
    counts = say(", ").join(
        f"{int((codes[1] == code).sum()):,} {say(MASK_NAMES[code])}" for code in used if code >= 2
    )
    layout = base_layout(
        say("Which tokens can be attended to, and which hold image or video features"),
        height=HEIGHT_SMALL,
        alt=say(
            "Two strips over {total:,} tokens: attention_mask is 1 for {attended:,} of them; "
            "mm_token_type_ids has {counts}.",
            total=len(token_types),
            attended=int(attention_mask.sum()),
            counts=counts,
        ),
        x_title=say("sequence index"),
    )
    layout["xaxis"] |= NO_LINES
    layout["yaxis"] |= {
        "tickvals": [0, 1],
        "ticktext": ["attention_mask", "mm_token_<br>type_ids"],
        "autorange": "reversed",
        **NO_LINES,
    }
    layout["meta"] |= {
        "pointer": pointer_meta("token"),
        "columns": {"x": say("Index"), "customdata": say("Value")},
    }
    heat_map = go.Heatmap(
        z=np.searchsorted(used, codes).astype(np.uint8),
        zmin=-0.5,
        zmax=len(used) - 0.5,
        colorscale=_steps([MASK_COLORS[code] for code in used]),
        ygap=6,
        customdata=np.stack([attention_mask, token_types]).astype(np.uint8),
        hovertemplate="token %{x}<br>%{y} = %{customdata}<extra></extra>",
        colorbar={
            "tickvals": list(range(len(used))),
            "ticktext": [say(MASK_LABELS[code]) for code in used],
            "ticks": "",
        },
    )
    return go.Figure(heat_map, layout)


def _steps(colors: Sequence[str]) -> list[tuple[float, str]]:
    """A stepped colour scale with one colour per integer."""
    return [
        (edge / len(colors), color)
        for number, color in enumerate(colors)
        for edge in (number, number + 1)
    ]


PAIR_COLORS = (SKY, ORANGE)
MAX_FILE_FRAMES = 2000  # markers; a longer file shows every second, third, ... frame


def plot_timeline(
    frame_indices: Sequence[int],
    total_num_frames: int,
    fps: float,
    timestamps: Sequence[float],
    *,
    patch_frames: int = 2,
    seconds: Sequence[float] | None = None,
) -> go.Figure:
    """Which frames of the file were sampled, and how they pair up.

    Args:
        frame_indices: indices of the sampled frames in the file.
        total_num_frames: frames in the file.
        fps: frames per second of the file.
        timestamps: the seconds given in the prompt, one per temporal patch.
        patch_frames: frames per temporal patch: two, a pair, in every published Qwen3-VL.
        seconds: when each sampled frame is shown, if the frame rate varies; the file's other frames
            are then left out.
    """
    counts = {"taken": len(frame_indices), "total": total_num_frames}
    title = say(
        "{taken} of the file's {total:,} frames are sampled, {size} per temporal patch",
        size=patch_frames,
        **counts,
    )
    layout = base_layout(
        title,
        height=HEIGHT_SMALL,
        alt=say(
            "Timeline of {seconds:.3g} seconds with sampled frames {frames}.",
            seconds=total_num_frames / fps,
            frames=say(", ").join(str(index) for index in frame_indices),
        ),
        x_title=say("time in the file (s)"),
    )
    layout |= {"showlegend": False}
    first = 0 if seconds is None else 1
    layout["yaxis"] |= {
        "tickvals": [0, 1, 2][first:],
        "ticktext": [say("file"), say("sampled"), say("patches")][first:],
        "range": [first - 0.5, 2.7],
        **NO_LINES,
    }
    layout["xaxis"] |= {"zeroline": False}
    layout["annotations"] = [
        small_label(seconds, 2.4, say("{seconds:.1f} s", seconds=seconds))
        for seconds in timestamps[:: _thin(timestamps)]
    ]
    taken = np.asarray(frame_indices)
    pairs = np.arange(len(taken)) // patch_frames
    times = taken / fps if seconds is None else np.asarray(seconds)
    traces = [
        *([_file_frames(total_num_frames, fps)] if seconds is None else []),
        _sampled_frames(taken, pairs, times),
        *(_pair_line(times[pairs == pair], pair) for pair in range(len(timestamps))),
    ]
    return go.Figure(traces, layout)


def _file_frames(total_num_frames: int, fps: float) -> go.Scatter:
    """A marker for each frame in the file, thinned out if the file is long."""
    every = np.arange(0, total_num_frames, max(1, -(-total_num_frames // MAX_FILE_FRAMES)))
    return go.Scatter(
        x=(every / fps).astype(np.float32),
        y=np.zeros(len(every), np.uint8),
        customdata=every.astype(np.int32),
        mode="markers",
        name=say("frames in the file"),
        marker={"symbol": "line-ns-open", "size": 10, "color": GREY},
        hovertemplate=say("frame %{customdata} of the file, %{x:.3f} s") + "<extra></extra>",
    )


def _sampled_frames(taken: np.ndarray, pairs: np.ndarray, times: np.ndarray) -> go.Scatter:
    """A marker for each sampled frame, in the colour and shape of its pair."""
    return go.Scatter(
        x=times.astype(np.float32),
        y=np.ones(len(taken), np.uint8),
        customdata=np.stack([taken, pairs + 1], axis=1).astype(np.int32),
        mode="markers",
        name=say("sampled"),
        marker={
            "size": 11,
            "color": [PAIR_COLORS[pair % 2] for pair in pairs],
            "symbol": ["circle" if pair % 2 == 0 else "diamond" for pair in pairs],
        },
        hovertemplate=say(
            "frame %{customdata[0]} of the file at %{x:.3f} s, in temporal patch %{customdata[1]}"
        )
        + "<extra></extra>",
    )


def _thin(timestamps: Sequence[float], limit: int = 12) -> int:
    """The step between labels that keeps them from overlapping."""
    return max(1, -(-len(timestamps) // limit))


def _pair_line(seconds: np.ndarray, pair: int) -> go.Scatter:
    middle = float(seconds.mean())
    first, last = float(seconds[0]), float(seconds[-1])
    return go.Scatter(
        x=np.array([first, first, last, last], np.float32),
        y=np.array([1.35, 2, 2, 1.35], np.float32),
        mode="lines",
        name=say("temporal patch {pair}", pair=pair + 1),
        line={"color": PAIR_COLORS[pair % 2], "width": 2},
        hovertemplate=say(
            "temporal patch {pair}: middle at {middle:.2f} s", pair=pair + 1, middle=middle
        )
        + "<extra></extra>",
    )
