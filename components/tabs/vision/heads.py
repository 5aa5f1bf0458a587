"""The vision tab's summary of all heads: entropy and mean attention distance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import escape

import playground
from components.tabs.vision.focus import PatchFocus
from components.views.facts import fact_html
from playground.language import say
from playground.pipeline import Run

if TYPE_CHECKING:
    from playground.vision.attention import UniformAttention

# Up to this many scores, all heads are measured without asking: about a second on two cores.
AUTO_SCORES = 50_000_000


@dataclass(frozen=True, slots=True, eq=False)
class TowerHeadSummary:
    """All heads of all blocks for one image or frame; NaN in blocks not yet measured."""

    number: int  # of the image: an index into ModelInputs.spans
    num_blocks: int  # measured so far
    entropy: np.ndarray  # (blocks, heads) float32, nats
    distance: np.ndarray  # (blocks, heads) float32, patches
    num_queries: int
    even: UniformAttention


def summary_of(
    run: Run, focus: PatchFocus, found: TowerHeadSummary | None
) -> TowerHeadSummary | None:
    """The summary of an image if it is cached or cheap to compute; None if it must be requested.

    Args:
        run: a run whose vision stage is computed.
        focus: the image.
        found: the last measurement, which may be of another image or not yet complete.
    """
    cached: TowerHeadSummary | None = run.recall(_name(focus.number))
    if cached is not None:
        return cached
    if playground.vision.attention.count_scores(run.engine, focus.span) <= AUTO_SCORES:
        return run.memo(_name(focus.number), lambda: _last(measure_all(run, focus)))
    return found if found is not None and found.number == focus.number else None


def measure_all(run: Run, focus: PatchFocus) -> Iterator[TowerHeadSummary]:
    """The summary after each block."""
    attention, engine = playground.vision.attention, run.engine
    shape = engine.facts.vision_depth, engine.facts.vision_num_heads
    entropy, distance = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    even = attention.measure_uniform(focus.span)
    for block in range(shape[0]):
        heads = attention.measure_block(engine, focus.tower, focus.span, block)
        entropy[block], distance[block] = heads.entropy, heads.distance
        yield TowerHeadSummary(
            focus.number, block + 1, entropy.copy(), distance.copy(), heads.num_queries, even
        )


def keep_summary(run: Run, summary: TowerHeadSummary) -> None:
    """Cache a complete summary with the run, for when its image is chosen again."""
    run.memo(_name(summary.number), lambda: summary)


def _name(number: int) -> tuple[str, int]:
    return "vision heads", number


def _last(summaries: Iterator[TowerHeadSummary]) -> TowerHeadSummary:
    *_, summary = summaries
    return summary


def summary_text(run: Run, focus: PatchFocus, summary: TowerHeadSummary | None) -> str:
    """The summary as text, or the button that starts it, or its progress."""
    depth = run.engine.facts.vision_depth
    if summary is None:
        words = fact_html(
            say(
                "With {patches:,} patches this takes a while, so it runs only on request: {depth} "
                "blocks, one at a time. You can stop it at any time.",
                patches=focus.span.num_patches,
                depth=depth,
            )
        )
        return words + _button()
    if summary.num_blocks == depth:
        return heads_summary_html(focus, summary)
    done = summary.num_blocks
    words = fact_html(say("{done} of {depth} blocks measured.", done=done, depth=depth))
    return words + _button()


def _button() -> str:
    return (
        '<button type="button" class="pg-button" data-run="measured" data-experiment="measured">'
        f"{escape(say('Measure all heads'))}</button>"
    )


def heads_summary_html(focus: PatchFocus, summary: TowerHeadSummary) -> str:
    """The most local and the most global head, as text."""
    distance, entropy = summary.distance, summary.entropy
    near = np.unravel_index(distance.argmin(), distance.shape)
    far = np.unravel_index(distance.argmax(), distance.shape)
    return fact_html(
        _mean_text(focus.span.num_patches, summary.num_queries),
        say(
            "Uniform attention would have an entropy of log {patches:,} = {entropy:.2f} nats and "
            "a mean distance of {distance:.1f} patches.",
            patches=focus.span.num_patches,
            entropy=summary.even.entropy,
            distance=summary.even.distance,
        ),
        say(
            "The most local head is head {near[1]} of block {near[0]} ({near_distance:.1f} "
            "patches, {near_entropy:.2f} nats); the most global is head {far[1]} of block "
            "{far[0]} ({far_distance:.1f} patches, {far_entropy:.2f} nats).",
            near=near,
            near_distance=distance[near],
            near_entropy=entropy[near],
            far=far,
            far_distance=distance[far],
            far_entropy=entropy[far],
        ),
        say("Click a cell to see that head's attention on the image."),
    )


def _mean_text(num_patches: int, num_queries: int) -> str:
    if num_queries == num_patches:
        return say("Mean over all {patches:,} query patches.", patches=num_patches)
    return say(
        "Mean over {lookers:,} evenly spaced query patches of {patches:,}.",
        lookers=num_queries,
        patches=num_patches,
    )
