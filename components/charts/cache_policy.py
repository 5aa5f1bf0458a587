"""Charts of the policy lab: the prefix tree, and the tokens that each policy reuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from components.charts.style import (
    HEIGHT_MEDIUM,
    HEIGHT_SMALL,
    LEGEND_ABOVE,
    base_layout,
    escape_label,
    hatching,
)
from components.look.colors import BLUE, GREEN, GREY, ORANGE, PURPLE
from playground.language import mark, say

if TYPE_CHECKING:
    from playground.kv_cache.block_store import Policy
    from playground.kv_cache.log import Rehearsal
    from playground.kv_cache.tree import Segment

ROW_PIXELS = 24
STATUS_STYLE = {
    "shared": (mark("cached, reused by a later request"), GREEN, ""),
    "stored": (mark("cached, not reused"), BLUE, "."),
    "evicted": (mark("evicted"), GREY, "/"),
}
POLICY_STYLE: dict[str, tuple[str, str, Any, str]] = {
    "lru": (mark("LRU: least recently used"), GREEN, "solid", "circle"),
    "fifo": (mark("FIFO: first in, first out"), ORANGE, "dash", "square"),
    "lfu": (mark("LFU: least frequently used"), PURPLE, "dot", "diamond"),
}
MB = 1e6


def plot_tree(
    segments: Sequence[Segment], texts: Sequence[str], marked: frozenset[str] = frozenset()
) -> go.Figure:
    """The store as a prefix tree: tokens from left to right, a row per branch.

    Args:
        segments: the result of ``build_tree``.
        texts: the text of each segment.
        marked: keys of blocks whose segments are outlined.
    """
    counts = dict.fromkeys(STATUS_STYLE, 0)
    for segment in segments:
        counts[segment.status] += segment.end - segment.start
    stored, shared = counts["stored"] + counts["shared"], counts["shared"]
    rows = max((segment.row for segment in segments), default=0)
    figure = go.Figure(
        [
            _links(segments),
            *(
                _bars(segments, texts, status)
                for status in STATUS_STYLE
                if any(segment.status == status for segment in segments)
            ),
            *([_outline(segments, marked)] if marked else []),
        ],
        base_layout(
            say(
                "{stored:,} tokens are cached, {shared:,} of them were reused",
                stored=stored,
                shared=shared,
            ),
            height=max(HEIGHT_SMALL, int(ROW_PIXELS * (rows + 1)) + 130),
            alt=say(
                "Prefix tree of {count} segments: {stored} tokens cached, {shared} of them reused "
                "by later requests, {gone} evicted.",
                count=len(segments),
                stored=stored,
                shared=shared,
                gone=counts["evicted"],
            ),
            x_title=say("Position in the request (token)"),
        ),
    )
    figure.update_yaxes(
        range=[rows + 0.7, -0.7], showticklabels=False, showgrid=False, zeroline=False
    )
    figure.update_xaxes(zeroline=False)
    figure.update_layout(
        barmode="overlay",
        uniformtext={"minsize": 10, "mode": "hide"},  # hide text that does not fit
        legend=LEGEND_ABOVE,
    )
    return figure


def _bars(segments: Sequence[Segment], texts: Sequence[str], status: str) -> go.Bar:
    name, color, shape = STATUS_STYLE[status]
    chosen = [
        (segment, text)
        for segment, text in zip(segments, texts, strict=True)
        if segment.status == status
    ]
    return go.Bar(
        orientation="h",
        base=np.array([segment.start for segment, _ in chosen], dtype=np.int32),
        x=np.array([segment.end - segment.start for segment, _ in chosen], dtype=np.int32),
        y=np.array([segment.row for segment, _ in chosen], dtype=np.float32),
        name=say(name),
        width=0.72,
        marker={"color": color, "pattern": hatching(shape, 0.22)},
        text=[escape_label(_fit(text, segment.end - segment.start)) for segment, text in chosen],
        textposition="inside",
        insidetextanchor="start",
        textangle=0,
        textfont={"color": "#ffffff", "size": 11},
        constraintext="inside",
        customdata=[_hover(segment, text) for segment, text in chosen],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _fit(text: str, num_tokens: int) -> str:
    """Cut a text to roughly the width of its bar."""
    room = int(num_tokens * 1.6)
    return text if len(text) <= room else text[: max(0, room - 1)] + ("…" if room > 3 else "")


def _hover(segment: Segment, text: str) -> str:
    later = say(", ").join(segment.used_by)
    lines = [
        say(
            "tokens {first} to {last}, {count:,} bytes",
            first=segment.start,
            last=segment.end - 1,
            count=segment.num_bytes,
        ),
        say("cached by request {name}", name=segment.made_by),
        say("reused by request {names}", names=later) if later else say("not reused"),
        *([say("evicted")] if segment.status == "evicted" else []),
        escape_label(text[:80]),
    ]
    return "<br>".join(lines)


def _links(segments: Sequence[Segment]) -> go.Scatter:
    """A line from the end of each segment to the start of each of its children."""
    x: list[float | None] = []
    y: list[float | None] = []
    for segment in segments:
        if segment.parent is not None:
            above = segments[segment.parent]
            x += [above.end, above.end, None]
            y += [above.row, segment.row, None]
    return go.Scatter(
        x=x,
        y=y,
        mode="lines",
        line={"color": GREY, "width": 2},
        hoverinfo="skip",
        showlegend=False,
        name=say("branches"),
    )


def _outline(segments: Sequence[Segment], marked: frozenset[str]) -> go.Scatter:
    """A frame around the segments of one request."""
    x: list[float | None] = []
    y: list[float | None] = []
    for segment in segments:
        if marked & set(segment.keys):
            low, high = segment.row - 0.42, segment.row + 0.42
            x += [segment.start, segment.end, segment.end, segment.start, segment.start, None]
            y += [low, low, high, high, low, None]
    return go.Scatter(
        x=x,
        y=y,
        mode="lines",
        line={"color": ORANGE, "width": 3},
        hoverinfo="skip",
        name=say("selected request"),
    )


def plot_policies(
    compared: Mapping[Policy, Sequence[Rehearsal]], budget: int, policy: Policy
) -> go.Figure:
    """Share of all tokens that are reused, by budget and policy."""
    chosen = min(compared[policy], key=lambda row: abs(row.max_bytes - budget))
    figure = go.Figure(
        [_policy_curve(name, rows) for name, rows in compared.items()],
        base_layout(
            say(
                "With {budget:.2f} MB, {policy} reuses {share:.0%} of the tokens",
                budget=budget / MB,
                policy=policy.upper(),
                share=chosen.saved_share,
            ),
            height=HEIGHT_MEDIUM,
            alt=say(
                "Share of tokens reused at each budget: {listed}.",
                listed=say("; ").join(_shares(name, rows) for name, rows in compared.items()),
            ),
            x_title=say("Budget (MB)"),
            y_title=say("Tokens reused (% of the log)"),
        ),
    )
    figure.add_vline(x=budget / MB, line={"color": GREY, "dash": "dot", "width": 2})
    figure.update_yaxes(rangemode="tozero")
    figure.update_layout(legend=LEGEND_ABOVE)
    return figure


def _shares(policy: str, rows: Sequence[Rehearsal]) -> str:
    """One policy's shares as text, for the chart's accessible description."""
    shares = say(", ").join(
        say("{share:.0%} at {budget:.2f} MB", share=row.saved_share, budget=row.max_bytes / MB)
        for row in rows
    )
    return f"{policy.upper()}: {shares}"


def _policy_curve(policy: str, rows: Sequence[Rehearsal]) -> go.Scatter:
    name, color, dash, symbol = POLICY_STYLE[policy]
    return go.Scatter(
        x=np.array([row.max_bytes / MB for row in rows], dtype=np.float32),
        y=np.array([100 * row.saved_share for row in rows], dtype=np.float32),
        name=say(name),
        mode="lines+markers",
        line={"color": color, "width": 2.5, "dash": dash},
        marker={"symbol": symbol, "size": 9},
        customdata=np.array(
            [[100 * row.hit_rate, row.num_evicted] for row in rows], dtype=np.float32
        ),
        hovertemplate=say(
            "{name}<br>%{{x:.2f}} MB: %{{y:.1f}} % of tokens reused, %{{customdata[0]:.0f}} % of "
            "requests hit, %{{customdata[1]:.0f}} evicted<extra></extra>",
            name=say(name),
        ),
    )
