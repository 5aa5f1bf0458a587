"""The vision tab's summary of all heads: how widely each spreads its attention, and how far."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

import playground
from components.charts.vision_attention import plot_head_distance, plot_head_entropy
from components.tabs.choices import fact_html
from components.tabs.vision.focus import PatchFocus, choose_patch
from playground.language import say
from playground.pipeline import Run
from playground.records import Progress

if TYPE_CHECKING:
    from playground.vision.attention import EvenAttention

# Up to so many scores, all heads are measured with the run: about a second on two cores.
AUTO_SCORES = 50_000_000


@dataclass(frozen=True, slots=True, eq=False)
class HeadSummary:
    """All heads of all blocks over one picture or frame; NaN in blocks not yet measured."""

    entropy: np.ndarray  # (blocks, heads) float32, nats
    distance: np.ndarray  # (blocks, heads) float32, patches
    num_lookers: int
    even: EvenAttention


def draw_summary(run: Run, span: float | None) -> tuple[Any, ...]:
    """The summary of all heads where it is there or soon made, else a button that makes it."""
    focus = choose_patch(run, span, None)
    if focus is None:
        return "", gr.skip(), None, None
    summary = run.recall(("vision heads", focus.number))
    cost = playground.vision.attention.count_scores(run.engine, focus.span)
    if summary is None and cost <= AUTO_SCORES:
        *_, summary = measure_all(run, focus)
    if summary is None:
        words = fact_html(
            say(
                "With {patches:,} patches this takes a while, so it waits for you: {depth} blocks, "
                "one after another. Stop ends it.",
                patches=focus.span.num_patches,
                depth=run.engine.facts.vision_depth,
            )
        )
        return words, gr.update(visible=True), None, None
    return summary_html(focus, summary), gr.update(visible=False), *_plot_summary(summary)


def measure_heads(run: Run, progress: Progress, span: float | None) -> Iterator[tuple[Any, ...]]:
    """Measure block after block, and fill the charts with each."""
    focus = choose_patch(run, span, None)
    if focus is None:
        return
    depth = run.engine.facts.vision_depth
    for number, summary in enumerate(measure_all(run, focus)):
        done = number + 1 == depth
        words = (
            summary_html(focus, summary)
            if done
            else fact_html(
                say("{done} of {depth} blocks are measured.", done=number + 1, depth=depth)
            )
        )
        yield words, gr.update(visible=not done), *_plot_summary(summary)
        progress(say("heads of block"), number + 1, depth)


def measure_all(run: Run, focus: PatchFocus) -> Iterator[HeadSummary]:
    """The summary after each block; the last one is kept with the run."""
    attention, engine = playground.vision.attention, run.engine
    shape = engine.facts.vision_depth, engine.facts.vision_num_heads
    entropy, distance = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    even = attention.measure_even(focus.span)
    for block in range(shape[0]):
        heads = attention.measure_block(engine, focus.tower, focus.span, block)
        entropy[block], distance[block] = heads.entropy, heads.distance
        summary = HeadSummary(entropy.copy(), distance.copy(), heads.num_lookers, even)
        if block + 1 == shape[0]:
            _keep(run, focus, summary)
        yield summary


def _keep(run: Run, focus: PatchFocus, summary: HeadSummary) -> None:
    run.memo(("vision heads", focus.number), lambda: summary)


def summary_html(focus: PatchFocus, summary: HeadSummary) -> str:
    """The most local and the most global head, in words."""
    distance, entropy = summary.distance, summary.entropy
    near = np.unravel_index(distance.argmin(), distance.shape)
    far = np.unravel_index(distance.argmax(), distance.shape)
    return fact_html(
        _mean_words(focus.span.num_patches, summary.num_lookers),
        say(
            "Attention spread evenly would have an entropy of log {patches:,} = {entropy:.2f} nats "
            "and reach {distance:.1f} patches far.",
            patches=focus.span.num_patches,
            entropy=summary.even.entropy,
            distance=summary.even.distance,
        ),
        say(
            "The most local head is head {near[1]} of block {near[0]} ({near_distance:.1f} "
            "patches, {near_entropy:.2f} nats), the farthest-looking one head {far[1]} of block "
            "{far[0]} ({far_distance:.1f} patches, {far_entropy:.2f} nats).",
            near=near,
            near_distance=distance[near],
            near_entropy=entropy[near],
            far=far,
            far_distance=distance[far],
            far_entropy=entropy[far],
        ),
        say("Click a cell to see that head on the picture."),
    )


def _mean_words(num_patches: int, num_lookers: int) -> str:
    if num_lookers == num_patches:
        return say("The mean over all {patches:,} patches.", patches=num_patches)
    return say(
        "The mean over {lookers:,} of the {patches:,} patches, evenly spread.",
        lookers=num_lookers,
        patches=num_patches,
    )


def _plot_summary(summary: HeadSummary) -> tuple[Any, Any]:
    return (
        plot_head_entropy(summary.entropy, summary.even.entropy),
        plot_head_distance(summary.distance, summary.even.distance),
    )
