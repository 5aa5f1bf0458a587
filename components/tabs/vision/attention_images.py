"""The images and text of the vision tab's attention: one head's overlay and small maps of all."""

from __future__ import annotations

import numpy as np

import playground
from components.look.colors import SEQUENTIAL, ColorScale
from components.tabs.vision.focus import PatchFocus
from components.views.facts import capital, fact_html, join_sentences
from components.views.images import (
    color_values,
    grey_out,
    image_html,
    image_row_html,
    overlay_values,
    scale_html,
)
from playground.language import say
from playground.pipeline import Run

MEAN = -1  # the value of the mean of all heads among the head options
FROM_PATCH, RECEIVED = "looks", "received"
GROUND_SIDE = 512  # pixels of the longer side of the image below the attention overlay
SMALL_WIDTH = 92  # CSS pixels of a head's small map
SMALL_PATCHES = 1200  # a small map with more patches shows means of 2 x 2 of them
GLOW: ColorScale = [(0.0, "#c2410c"), (0.5, "#f59e0b"), (1.0, "#fff3a3")]


def attention_html(
    run: Run,
    focus: PatchFocus,
    weights: np.ndarray,
    block: int,
    head: int,
    direction: str,
) -> str:
    """One head's attention as an overlay on the image, with a caption."""
    shown = weights.mean(0) if head == MEAN else weights[head]
    high = float(shown.max())
    row, column = (int(index) for index in np.unravel_index(shown.argmax(), shown.shape))
    who = say("the mean of all heads") if head == MEAN else say("head {head}", head=head)
    what = say("attention from {patch}", patch=focus.patch_name)
    if direction == RECEIVED:
        what = received_text(focus)
    sentences = [
        say("Block {block}, {who}: {what}.", block=block, who=who, what=what),
        say(
            "The brightest patch, at row {row}, column {column}, receives {most:.1%}; uniform "
            "attention would give each patch {even:.2%}.",
            row=row,
            column=column,
            most=high,
            even=1 / shown.size,
        ),
    ]
    if direction != RECEIVED:
        sentences += [entropy_text(shown), focus.hint]
    return image_html(
        _ground(run, focus),
        alt=say(
            "{name}, {what}, block {block}, {who}",
            name=capital(focus.name),
            what=what,
            block=block,
            who=who,
        ),
        caption=join_sentences(*sentences),
        span=focus.number,
        overlay=overlay_values(shown, GLOW, high),
        # The page itself marks a selected patch.
        marked=None if direction == RECEIVED or focus.selected else focus.patch,
        legend=scale_html(GLOW, "0", f"{high:.1%}", say("attention")),
    )


def entropy_text(shown: np.ndarray) -> str:
    """The entropy of a head's attention over the patches."""
    entropy = float(-(shown * np.log(np.maximum(shown, 1e-30))).sum())
    return say(
        "Entropy {entropy:.2f} nats, the same as attention spread uniformly over {count:.0f} of "
        "the {total:,} patches.",
        entropy=entropy,
        count=np.exp(entropy),
        total=shown.size,
    )


def received_text(focus: PatchFocus) -> str:
    """What the map of received attention shows, and how many queries it averages over."""
    patches, most = focus.span.num_patches, playground.vision.attention.MAX_QUERIES
    if patches <= most:
        return say("attention received by each patch")
    return say(
        "attention received by each patch, averaged over {most} evenly spaced query patches of "
        "{patches:,}",
        most=most,
        patches=patches,
    )


def heads_html(focus: PatchFocus, weights: np.ndarray, block: int) -> str:
    """Small maps of the mean and of every head, each on its own scale."""
    named = [(say("mean"), weights.mean(0))]
    named += [
        (say("head {head}", head=number), weight_map) for number, weight_map in enumerate(weights)
    ]
    figures = [
        image_html(
            color_values(
                _small(focus, weight_map), SEQUENTIAL, 0.0, float(_small(focus, weight_map).max())
            ),
            alt=say("Attention of block {block}, {name}", block=block, name=name),
            caption=say("{name}, {most:.1%}", name=name, most=weight_map.max()),
            pixelated=True,
            shown_width=SMALL_WIDTH,
            span=focus.number,
        )
        for name, weight_map in named
    ]
    words = fact_html(
        say("All heads of block {block}.", block=block),
        say(
            "Each map has its own colour scale, from 0 (dark) to the largest weight, given "
            "below it."
        ),
    )
    return words + image_row_html(figures)


def intro_html(run: Run, focus: PatchFocus) -> str:
    """Which patches attend to which, with this run's numbers."""
    facts, span = run.engine.facts, focus.span
    apart = say("images do not attend to each other")
    if span.kind == "video":
        apart = say("frames do not attend to each other")
    return fact_html(
        say(
            "In each of the {depth} blocks, {heads} heads let each of the {patches:,} patches of "
            "{name} attend to all {patches:,}, without a causal mask ({apart}). The weights are "
            "recomputed for the selected block only, from its input in this run. Click a patch to "
            "see what it attends to.",
            depth=facts.vision_depth,
            heads=facts.vision_num_heads,
            patches=span.num_patches,
            name=focus.name,
            apart=apart,
        )
    )


def _ground(run: Run, focus: PatchFocus) -> np.ndarray:
    """The image in grey, small enough to send with every click; the last one is cached."""

    def draw() -> np.ndarray:
        pixels = playground.preprocess.stage.unpatchify(run.inputs, focus.span)[0]
        return grey_out(pixels, max_side=GROUND_SIDE)

    return run.memo("grey picture", draw, of=focus.number)  # half a megabyte


def _small(focus: PatchFocus, values: np.ndarray) -> np.ndarray:
    """A head's map for its small image: means of 2 x 2 patches where there are many."""
    if values.size <= SMALL_PATCHES:
        return values
    size = focus.span.merge_size
    blocks = values.reshape(focus.span.merged_h, size, focus.span.merged_w, size)
    return np.asarray(blocks.mean((1, 3)))
