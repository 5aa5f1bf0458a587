"""The vision tab's blocks: features as PCA colours, similarity to one patch, and norms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

import playground
from components.charts.vision import plot_feature_norms, plot_norm_summary
from components.parts.controls import Choice, IndexSlider
from components.parts.part import SELECTION, Part
from components.snippets.scripts import write_snippet
from components.tabs.vision.feature_images import (
    OWN,
    SHARED,
    model_image_html,
    pca_html,
    read_source,
    similarity_html,
    source_choices,
    source_text,
)
from components.tabs.vision.focus import ABSENT, CHOSEN, PatchFocus, choose_patch, has_image
from playground.language import mark
from playground.pipeline import Run
from playground.pointer import Selection, patch_tokens

if TYPE_CHECKING:
    from playground.vision.maps import FeatureSource

FIRST_STATE = 4  # blocks applied at first; fewer in a shallower tower

PASSED = IndexSlider(
    "state",
    mark("Blocks applied"),
    info=mark(
        "0 is the patch embedding plus position embedding; the last value is the tower's output."
    ),
    last=lambda run: run.engine.facts.vision_depth,
    value=FIRST_STATE,
    play=True,
)
SOURCE = Choice(
    id="source",
    label=mark("Features"),
    info=mark("DeepStack taps and the merger combine neighbouring patches into one token."),
    options=lambda run: source_choices(run.engine.facts),
    compact=True,
    follows=("state",),  # moving the slider switches back to the patches
)
BASIS = Choice(
    id="basis",
    label=mark("Fit colours to"),
    info=mark("Fitted to all blocks, a colour means the same after every block."),
    options=((mark("this map only"), OWN), (mark("all blocks"), SHARED)),
)
PART = Part(
    "blocks",
    mark("Blocks"),
    stage="vision",
    intro=mark(
        "Follow the patches through the tower. Similar colours mean similar features: watch "
        "textures and edges turn into regions and objects. Click a patch to see which others are "
        "similar to it."
    ),
    controls=(PASSED, SOURCE, BASIS),
    layout=(
        "state",
        ("source", "basis"),
        ("picture", "pca"),
        ("similarity", "norms"),
        "summary",
        "code",
    ),
    shown=has_image,
    absent=ABSENT,
)


@PART.html(needs=(CHOSEN,))
def picture(run: Run, span: int) -> str:
    """The image as the model receives it."""
    return model_image_html(run, choose_patch(run, span))


@PART.html(needs=("state", "source", "basis", CHOSEN))
def pca(run: Run, state: int, source: str, basis: str, span: int) -> str:
    """The features as PCA colours."""
    focus = choose_patch(run, span)
    return pca_html(run, focus, read_source(run, state, source), basis)


@PART.html(needs=("state", "source", CHOSEN, SELECTION))
def similarity(run: Run, state: int, source: str, span: int, selection: Selection | None) -> str:
    """Cosine similarity of all patches to the selected one."""
    focus = choose_patch(run, span, selection)
    return similarity_html(run, focus, read_source(run, state, source))


@PART.chart(mark("Norms"), needs=("state", "source", CHOSEN))
def norms(run: Run, state: int, source: str, span: int) -> go.Figure:
    """The norm of every patch's, or every merged token's, feature vector."""
    focus, wanted = choose_patch(run, span), read_source(run, state, source)
    features = playground.vision.maps.grid_features(focus.tower, focus.span, wanted)
    return plot_feature_norms(
        playground.vision.maps.feature_norms(features),
        _tokens_of(focus, wanted),
        source_text(wanted, run.engine.facts),
        merged=wanted.merged,
        span=focus.number,
    )


@PART.chart(mark("Norms by block"), needs=(CHOSEN,))
def summary(run: Run, span: int) -> go.Figure:
    """Smallest, median and largest norm after every block."""
    focus = choose_patch(run, span)
    numbers = playground.vision.maps.norm_summary(focus.tower, focus.span)
    return plot_norm_summary(numbers, focus.tower.deepstack_layers)


@PART.code(mark("Show the code"), needs=("state", CHOSEN))
def code(run: Run, state: int, span: int) -> str:
    """The script that collects the hidden states in ``states``."""
    focus = choose_patch(run, span)
    return write_snippet("vision", run, block=state, kind=focus.span.kind)


def _tokens_of(focus: PatchFocus, wanted: FeatureSource) -> np.ndarray:
    """The sequence index of the token that each cell of a map belongs to."""
    tokens = patch_tokens(focus.span)
    if wanted.merged:
        return tokens[:: focus.span.merge_size, :: focus.span.merge_size]
    return tokens
