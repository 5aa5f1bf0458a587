"""The vision tab's images: model input, features as PCA colours, similarity to a patch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

import playground
from components.charts.vision import state_text
from components.look.colors import SEQUENTIAL
from components.tabs.vision.focus import PatchFocus
from components.views.facts import join_sentences
from components.views.images import color_values, image_html, scale_html
from playground.language import mark, say
from playground.pipeline import Run

if TYPE_CHECKING:
    from playground.model_facts import ModelFacts
    from playground.vision.maps import FeatureSource, PcaBasis

IMAGE_SIDE = 640  # pixels of the longer side, as sent to the browser
COLOR_NAMES = (mark("red"), mark("green"), mark("blue"))
STATE: Literal["state"] = "state"  # the features that the slider steps through
OWN, SHARED = "own", "shared"  # which features the principal components are fitted to


def pca_html(run: Run, focus: PatchFocus, wanted: FeatureSource, basis: str) -> str:
    """The features as PCA colours, with the variance that these explain."""
    shared = basis == SHARED and wanted.kind == STATE
    features = playground.vision.maps.grid_features(focus.tower, focus.span, wanted)
    colours = playground.vision.maps.feature_pca(
        features, _shared_basis(run, focus) if shared else None
    )
    words = source_text(wanted, run.engine.facts)
    what = say("Patches {text}", text=words)
    if wanted.merged:
        what = say("Tokens {text}", text=words)
    shares = say(", ").join(
        f"{say(name)} {share:.0%}"
        for name, share in zip(COLOR_NAMES, colours.variance, strict=False)
    )
    scope = say("The colours are fitted to this map only.")
    if shared:
        scope = say(
            "The colours are fitted to all blocks, so they mean the same after every block."
        )
    elif basis == SHARED:
        scope = say(
            "Only the hidden states between blocks share a basis; these features have a basis "
            "of their own."
        )
    caption = say(
        "{what}, coloured by the first three principal components, which explain {share:.0%} of "
        "the variance ({shares}). Similar colours mean similar features.",
        what=what,
        share=sum(colours.variance),
        shares=shares,
    )
    return image_html(
        colours.rgb,
        alt=say(
            "{what}, coloured by principal components; similar colours mean similar features",
            what=what,
        ),
        caption=join_sentences(caption, scope),
        pixelated=True,
        span=focus.number,
    )


def similarity_html(run: Run, focus: PatchFocus, wanted: FeatureSource) -> str:
    """Cosine similarity of each patch, or merged token, to the selected one."""
    size = focus.span.merge_size if wanted.merged else 1
    row, column = focus.patch[0] // size, focus.patch[1] // size
    features = playground.vision.maps.grid_features(focus.tower, focus.span, wanted)
    cosines = playground.vision.maps.feature_similarity(features, row, column)
    low, median = float(cosines.min()), round(float(np.median(cosines)), 2) + 0.0  # never -0.00
    words = source_text(wanted, run.engine.facts)
    alt, caption = _similarity_text(focus.patch_name, words, wanted.merged, low)
    median_text = say("The median cosine similarity is {median:.2f}.", median=median)
    return image_html(
        color_values(cosines, SEQUENTIAL, low, 1.0),
        alt=alt,
        caption=join_sentences(caption, median_text, focus.hint),
        pixelated=True,
        span=focus.number,
        # The page itself marks a selected patch.
        marked=None if focus.selected else (row, column),
        legend=scale_html(SEQUENTIAL, f"{low:.2f}", "1", say("cosine")),
    )


def _similarity_text(patch: str, words: str, merged: bool, low: float) -> tuple[str, str]:
    """The image's alternative text and its caption."""
    name = say("the token of {patch}", patch=patch) if merged else patch
    fields = {"name": name, "text": words, "low": low}
    if merged:
        return (
            say("Cosine similarity of all tokens to {name}, {text}, from {low:.2f} to 1", **fields),
            say(
                "Cosine similarity of each token to {name}, {text}. Brighter means more similar.",
                **fields,
            ),
        )
    return (
        say("Cosine similarity of all patches to {name}, {text}, from {low:.2f} to 1", **fields),
        say(
            "Cosine similarity of each patch to {name}, {text}. Brighter means more similar.",
            **fields,
        ),
    )


def model_image_html(run: Run, focus: PatchFocus) -> str:
    """The image as the model receives it, put together from its patches."""
    span, name = focus.span, focus.name
    pixels = playground.preprocess.stage.unpatchify(run.inputs, span)[0]
    height, width = pixels.shape[:2]
    if span.kind == "video":
        name = say(
            "{name} (first of {count} frames)",
            name=name,
            count=run.inputs.temporal_patch_size,
        )
    return image_html(
        pixels,
        alt=say("{name} as the model receives it", name=name),
        caption=say(
            "Model input: {name}, {width} × {height} pixels, {across} × {down} patches",
            name=name,
            width=width,
            height=height,
            across=span.grid_w,
            down=span.grid_h,
        ),
        grid=(span.grid_h, span.grid_w),
        max_side=IMAGE_SIDE,
        span=focus.number,
    )


def source_choices(facts: ModelFacts) -> list[tuple[str, str]]:
    """The options of the features menu, with the values that ``read_source`` takes."""
    taps = [
        (
            say(
                "DeepStack tap {number} (after block {block}, counted from 0)",
                number=number,
                block=block,
            ),
            f"tap {number}",
        )
        for number, block in enumerate(facts.taps, 1)
    ]
    return [
        (say("Patches, after the blocks applied"), STATE),
        (say("Patch embedding only, without position"), "embedding"),
        *taps,
        (say("Merger output: the image tokens"), "merger"),
    ]


def read_source(run: Run, state: int, source: str) -> FeatureSource:
    """The features that the slider and the menu select together."""
    facts, make = run.engine.facts, playground.vision.maps.FeatureSource
    if source == "embedding":
        return make("embedding")
    if source == "merger":
        return make("merger")
    taps = [f"tap {number}" for number in range(1, len(facts.taps) + 1)]
    if source in taps:
        return make("tap", taps.index(source))
    return make(STATE, state)


def source_text(source: FeatureSource, facts: ModelFacts) -> str:
    """Name the features, in a phrase that follows a noun."""
    if source.kind == "embedding":
        return say("after patch embedding, before the position is added")
    if source.kind == "tap":
        block = facts.taps[source.index]
        return say(
            "of DeepStack tap {number} (after block {block})",
            number=source.index + 1,
            block=block,
        )
    if source.kind == "merger":
        return say("of the merger's output")
    return state_text(source.index, facts.vision_depth)


def _shared_basis(run: Run, focus: PatchFocus) -> PcaBasis:
    """Fitted once per run and image, so that moving the slider only recolours."""
    fit = playground.vision.maps.fit_shared_basis
    return run.memo(("shared basis", focus.number), lambda: fit(focus.tower, focus.span))
