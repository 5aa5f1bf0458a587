"""DeepStack taps (Meng et al. 2024): where they lead, and their similarity to the final tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from components.charts.vision_merger import plot_tap_similarity
from components.tabs.never_added import never_added_text
from components.tabs.vision.focus import PatchFocus, stack_html
from components.views.facts import fact_html
from components.views.tables import table_html
from playground.language import say
from playground.pipeline import Run

if TYPE_CHECKING:
    from playground.vision.merger import TapSimilarity


def plot_tap(focus: PatchFocus, taps: tuple[TapSimilarity, ...], number: int) -> go.Figure | None:
    """The map of one tap, counted from 0; None where the tower has fewer."""
    if number >= len(taps):
        return None
    tap = taps[number]
    return plot_tap_similarity(
        tap.cosine,
        tap.norms,
        focus.number,
        title=say(
            "Tap {number} (block {block}): cosine to the final tokens",
            number=number + 1,
            block=tap.tap,
        ),
        reach=max(float(np.abs(tap.cosine).max()) for tap in taps),
        token=divmod(focus.token, focus.span.merged_w),
    )


def taps_html(run: Run, focus: PatchFocus, taps: tuple[TapSimilarity, ...]) -> str:
    """Which block and decoder layer each tap connects, with its norm and cosine for this token."""
    facts, span = run.engine.facts, focus.span
    position = divmod(focus.token, span.merged_w)
    final = focus.tower.pooler_output[span.patch_start // span.merge_size**2 + focus.token]
    rows: list[tuple[Any, ...]] = [
        (
            say("tap {number}", number=number + 1),
            tap.tap,
            say("added to the output of layer {layer}", layer=number)
            if number < facts.num_layers
            else say("never added: there are {layers} layers", layers=facts.num_layers),
            float(tap.norms[position]),
            f"{tap.cosine[position]:.3f}",
            f"{tap.cosine.mean():.3f}",
        )
        for number, tap in enumerate(taps)
    ]
    rows.append(
        (
            say("final merger"),
            facts.vision_depth - 1,
            say("input of layer 0"),
            float(final.float().norm()),
            "1.000",
            "1.000",
        )
    )
    headers = (
        say("Merger"),
        say("After vision block"),
        say("Decoder"),
        say("Norm of token {token}", token=span.start + focus.token),
        say("Cosine to the final token"),
        say("Mean over the image"),
    )
    caption = say("DeepStack taps compared with the final token")
    return stack_html(
        fact_html(_route_text(taps[: facts.num_layers]), never_added_text(facts)),
        table_html(headers, rows, caption, right=(4, 5)),
    )


def _route_text(taps: tuple[TapSimilarity, ...]) -> str:
    """Which vision block and which decoder layer each tap connects."""
    if not taps:
        return say("DeepStack (Meng et al. 2024) passes on nothing here: no block has a tap.")
    routes = [
        say(
            "tap {number} from vision block {block} to decoder layer {layer}",
            number=number + 1,
            block=tap.tap,
            layer=number,
        )
        for number, tap in enumerate(taps)
    ]
    return say(
        "DeepStack (Meng et al. 2024) also passes on earlier features: after some blocks, a "
        "separate merger computes one vector per token, which is added to that token's hidden "
        "state at the output of a decoder layer: {routes} (all counted from 0). A cosine near 0 "
        "means that the tap carries different information from the final token instead of "
        "repeating it.",
        routes=say(", ").join(routes),
    )
