"""What if rounded: the run with its weights rounded to 8 or 4 bits, on a copy."""

from __future__ import annotations

from typing import Any

from components.parts.compound_controls import Presets
from components.parts.controls import Choice
from components.parts.part import Part
from playground.language import mark

KEPT = "kept"
FORMATS = (
    (mark("as it is"), KEPT),
    ("FP8", "fp8"),
    ("int8", "int8"),
    ("int4", "int4"),
)
GROUPS = (
    (mark("a row (per output channel)"), 0),
    (mark("128 values"), 128),
    (mark("64 values"), 64),
    (mark("32 values"), 32),
)
# By id; the engine's names of the model's parts.
LABELS = {
    "vision": mark("Vision tower"),
    "merger": mark("Mergers"),
    "attention": mark("Decoder attention"),
    "mlp": mark("Decoder MLP"),
    "embeddings": mark("Embeddings and head"),
}
CHOSEN = tuple(
    Choice(id=name, label=label, options=FORMATS, value="fp8", compact=True)
    for name, label in LABELS.items()
)
GROUP = Choice(
    id="group",
    label=mark("int4: one scale for"),
    options=GROUPS,
    compact=True,
)


def _preset(label: str, kind: str, *names: str) -> tuple[str, dict[str, Any]]:
    """Round these parts and keep the others."""
    return label, {name: kind if name in names else KEPT for name in LABELS} | {GROUP.id: 0}


PRESETS = Presets(
    id="preset",
    label=mark("Try"),
    options=(
        _preset(mark("FP8 everywhere"), "fp8", *LABELS),
        _preset(mark("int8 everywhere"), "int8", *LABELS),
        _preset(mark("int4 everywhere"), "int4", *LABELS),
        _preset(mark("int4, decoder MLP only"), "int4", "mlp"),
    ),
)
PART = Part(
    "rounding",
    mark("What if rounded"),
    stage="compare",
    intro=mark(
        "Quantised checkpoints store weights with 8 or 4 bits. Choose a format for each part of "
        "the model and see what rounding changes. Activations, norms and biases keep their dtype, "
        "and the model that everybody shares is not touched."
    ),
    controls=(PRESETS, *CHOSEN, GROUP),
)
