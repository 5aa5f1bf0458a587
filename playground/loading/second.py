"""A second checkpoint beside the first: what must be equal, and whether there is room."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch

from playground.errors import CheckpointError
from playground.free_memory import count_free_bytes
from playground.language import mark, say
from playground.model_facts import ModelFacts

# A comparison adds the logits and hidden states of a second run to the weights.
ROOM = 1.1

# Facts that may differ: the two compute with the same inputs all the same.
MAY_DIFFER = (
    "max_position_embeddings",
    "tied_embeddings",
    "mrope_section",
    "rope_theta",
    "num_experts_per_tok",
)


def check_same_shape(facts: ModelFacts, first: ModelFacts, source: str) -> None:
    """Refuse a checkpoint whose modules or token ids are not those of the first.

    Args:
        facts: of the second checkpoint's configuration.
        first: of the loaded one.
        source: the user's name for the second.

    Raises:
        CheckpointError: names the fields, and both values of each.
    """
    names = [field.name for field in fields(ModelFacts) if field.name not in MAY_DIFFER]
    differing = [
        f"{name} {getattr(facts, name)} ≠ {getattr(first, name)}"
        for name in names
        if getattr(facts, name) != getattr(first, name)
    ]
    if differing:
        raise CheckpointError(
            say(
                "{source!r} has another architecture than the first checkpoint: {differing}.",
                source=source,
                differing=", ".join(differing),
            ),
            remedy=say("Compare with a checkpoint of the same size and family."),
        )


def check_room(weight_bytes: int, device: torch.device) -> None:
    """Refuse a second checkpoint for which the main memory has no room.

    GPUs are checked by ``choose_device_map``, which sees what the first one has left.

    Raises:
        CheckpointError: says what is needed and what is there.
    """
    if device.type == "cuda":
        return
    needed, free = weight_bytes * ROOM, count_free_bytes(device)
    if needed > free:
        raise CheckpointError(
            say(
                "The second checkpoint needs about {needed:.1f} GB of memory beside the first; "
                "{free:.1f} GB are free.",
                needed=needed / 1e9,
                free=free / 1e9,
            ),
            remedy=say("Choose smaller checkpoints, or --dtype bfloat16."),
        )


def compare_processors(second: Any, first: Any, source: str) -> tuple[str, ...]:
    """In words, what the two processors do differently; empty if nothing.

    Args:
        second: the second checkpoint's processor.
        first: the processor that makes the inputs of both.
        source: the user's name for the second.
    """
    return tuple(
        say(
            "{source!r} has another {part} than the first checkpoint. Both run on the inputs that "
            "the first one's makes.",
            source=source,
            part=say(name),
        )
        for name, read in (
            (mark("tokenizer"), lambda processor: processor.tokenizer.get_vocab()),
            (mark("chat template"), lambda processor: processor.chat_template),
            (mark("image processor"), lambda processor: _settings(processor.image_processor)),
            (mark("video processor"), lambda processor: _settings(processor.video_processor)),
        )
        if read(second) != read(first)
    )


def _settings(processor: Any) -> dict[str, Any]:
    """What decides the pixels; not the file's own description of itself."""
    settings: dict[str, Any] = processor.to_dict()
    return {name: value for name, value in settings.items() if not name.endswith("_type")}
