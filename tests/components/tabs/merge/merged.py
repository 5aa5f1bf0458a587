"""All that the merge tab draws of a run, by name, and what a plain forward hands on."""

from __future__ import annotations

from typing import Any

import torch

from components.tabs.merge.deepstack import draw_deepstack
from components.tabs.merge.distances import draw_distances_part
from components.tabs.merge.embeddings import draw_embeddings
from components.tabs.merge.frequencies import draw_frequencies
from components.tabs.merge.positions import draw_positions_part
from playground.pipeline import Run
from playground.pointer import Place
from playground.preprocess.stage import model_kwargs

NAMES = (
    *("intro", "strip", "picture_only", "values", "norms", "pca", "regions", "groups"),
    *("positions_intro", "lines", "space", "jumps", "parts", "first_row", "table"),
    *("distances", "distances_intro", "flat_map", "mrope_map", "neighbours"),
    *("frequencies_intro", "frequencies", "angles", "angles_words"),
    *("deepstack_intro", "routes_only", "routes", "routes_table", "chosen"),
)


def draw_parts(
    run: Run,
    pointed: Place | None = None,
    quantity: str = "distance",
    pca_of: str = "directions",
) -> dict[str, Any]:
    run.ensure("merge")
    drawn = (
        *draw_embeddings(run, pca_of),
        *draw_positions_part(run, pointed),
        *draw_distances_part(run, pointed, quantity),
        *draw_frequencies(run, pointed),
        *draw_deepstack(run, pointed),
    )
    return dict(zip(NAMES, drawn, strict=True))


@torch.no_grad()
def plain_decoder_input(run: Run) -> dict[str, Any]:
    """What one plain forward hands to the language model."""
    seen: dict[str, Any] = {}
    model: Any = run.engine.model
    hook = model.model.language_model.register_forward_pre_hook(
        lambda _module, _args, kwargs: seen.update(kwargs), with_kwargs=True
    )
    shared = model.model.rope_deltas
    try:
        model(**model_kwargs(run.inputs))
        seen["rope_deltas"] = model.model.rope_deltas
    finally:
        hook.remove()
        model.model.rope_deltas = shared
    return seen
