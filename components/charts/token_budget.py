"""Charts of the token budget: the cost of a prompt at other pixel limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from components.charts.style import HEIGHT_MEDIUM, LEGEND_ABOVE, base_layout
from components.look.colors import GREY, KIND_COLORS, PINK, PURPLE
from playground.language import say


def plot_ladder_tokens(
    max_pixels: np.ndarray, visual: np.ndarray, text: int, current: int | None
) -> go.Figure:
    """How many tokens the prompt has at increasing pixel limits.

    Args:
        max_pixels: ``(rungs,)``.
        visual: ``(rungs,)``: tokens of all images and videos.
        text: number of all other tokens.
        current: the index of the current limit, if it is on the ladder.
    """
    layout = _ladder_layout(
        say("Tokens grow with max pixels until the image fits at full size"),
        say(
            "Bar chart of {count} pixel limits: from {least:,} to {most:,} tokens.",
            count=len(max_pixels),
            least=visual[0] + text,
            most=visual[-1] + text,
        ),
        say("tokens in the sequence"),
        max_pixels,
        current,
    )
    return _stack_bars(
        layout,
        max_pixels,
        say("tokens"),
        (say("text and special tokens"), np.full(len(max_pixels), text), GREY),
        (say("images and video"), visual, KIND_COLORS["image"]),
    )


def plot_ladder_times(
    max_pixels: np.ndarray,
    vision_ms: np.ndarray,
    prefill_ms: np.ndarray,
    current: int | None,
) -> go.Figure:
    """Measured times at each limit; NaN where nothing was measured.

    Args:
        max_pixels: ``(rungs,)``.
        vision_ms: ``(rungs,)`` float: the vision tower.
        prefill_ms: ``(rungs,)`` float: merge and decoder.
        current: the index of the current limit, if it is on the ladder.
    """
    total = vision_ms + prefill_ms
    done = np.flatnonzero(~np.isnan(total))
    alt = say("Stacked bars of vision tower and decoder time: not measured yet.")
    if len(done):
        alt = say(
            "Stacked bars of vision tower and decoder time: from {first:.3g} to {last:.3g} ms.",
            first=total[done[0]],
            last=total[done[-1]],
        )
    layout = _ladder_layout(
        say("Measured time to the first token's logits"),
        alt,
        say("milliseconds"),
        max_pixels,
        current,
    )
    return _stack_bars(
        layout,
        max_pixels,
        "ms",
        (say("vision tower"), vision_ms, PURPLE),
        (say("decoder prefill"), prefill_ms, PINK),
    )


def plot_ladder_overlaps(
    max_pixels: np.ndarray, overlaps: np.ndarray, current: int | None
) -> go.Figure:
    """How well the boxes at each limit agree with those at the largest one.

    Args:
        max_pixels: ``(rungs,)``.
        overlaps: ``(rungs,)`` float in [0, 1]: mean intersection over union; NaN where unknown,
            not everywhere.
        current: the index of the current limit, if it is on the ladder.
    """
    known = overlaps[~np.isnan(overlaps)]
    alt = say(
        "Bar chart of the overlap with the boxes at the largest limit: from {least:.2f} to "
        "{most:.2f}.",
        least=float(known.min()),
        most=float(known.max()),
    )
    layout = _ladder_layout(
        say("Boxes at each limit agree with those at the largest one by this much"),
        alt,
        say("intersection over union"),
        max_pixels,
        current,
    )
    layout["yaxis"] |= {"range": [0, 1.05]}
    bars = (say("overlap"), overlaps, KIND_COLORS["image"])
    return _stack_bars(layout, max_pixels, "", bars)


def _ladder_layout(
    title: str, alt: str, y_title: str, max_pixels: np.ndarray, current: int | None
) -> dict[str, Any]:
    layout = base_layout(
        title, height=HEIGHT_MEDIUM, alt=alt, x_title=say("max pixels"), y_title=y_title
    )
    layout["xaxis"] |= {
        "tickvals": list(range(len(max_pixels))),
        "ticktext": [
            f"<b>{_short(limit)}</b><br>{say('current')}" if index == current else _short(limit)
            for index, limit in enumerate(max_pixels)
        ],
        "range": [-0.6, len(max_pixels) - 0.4],
        "showgrid": False,
    }
    layout["yaxis"] |= {"rangemode": "tozero"}
    layout["legend"] = LEGEND_ABOVE
    layout["meta"]["columns"] = {"customdata": say("Max pixels")}
    layout["meta"]["pick"] = {
        "rerun:max_pixels": "customdata"
    }  # a click reruns with the bar's limit
    return layout


def _short(limit: int) -> str:
    """``16.4k``; the table has the exact number."""
    return f"{limit / 1000:.3g}k" if limit < 1e6 else f"{limit / 1e6:.3g}M"


def _stack_bars(
    layout: dict[str, Any], max_pixels: np.ndarray, unit: str, *bars: tuple[str, np.ndarray, str]
) -> go.Figure:
    """Stacked bars: a name, values ``(rungs,)`` and a colour for each layer."""
    limits = np.asarray(max_pixels).astype(np.int32)
    traces = [
        go.Bar(
            x=np.arange(len(limits), dtype=np.int32),
            y=np.asarray(values, np.float32),
            customdata=limits,
            name=name,
            marker={"color": color},
            hovertemplate=say(
                "max pixels %{{customdata:,}}<br>{name}: %{{y:,.4~g}} {unit}", name=name, unit=unit
            )
            + "<extra></extra>",
        )
        for name, values, color in bars
    ]
    return go.Figure(traces, layout | {"barmode": "stack"})
