"""Ablations: how the answers change with one part of the model switched off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from training.evaluation import Answerer, Item, build_items, score_exact, score_slots

TASKS = ("describe", "color", "where", "relation", "order", "yes_no", "pair", "direction")


@contextmanager
def zero_deepstack(model: nn.Module) -> Iterator[None]:
    """DeepStack adds nothing to the decoder's first layers."""
    mergers = model.model.visual.deepstack_merger_list
    hooks = [m.register_forward_hook(lambda _m, _i, out: torch.zeros_like(out)) for m in mergers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def zero_position_grid(model: nn.Module) -> Iterator[None]:
    """The learned position grid adds nothing to the patch embeddings."""
    hook = model.model.visual.pos_embed.register_forward_hook(
        lambda _m, _i, out: torch.zeros_like(out)
    )
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def no_vision_rope(model: nn.Module) -> Iterator[None]:
    """Vision attention without RoPE: cos 1, sin 0."""

    def upright(_module: nn.Module, _inputs: object, output: tuple[Tensor, Tensor]) -> tuple:
        cos, sin = output
        return torch.ones_like(cos), torch.zeros_like(sin)

    hook = model.model.visual.rotary_pos_emb.register_forward_hook(upright)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def flat_positions(model: nn.Module) -> Iterator[None]:
    """1-D RoPE: positions count up by one per token on all three axes."""
    inner = model.model

    def count_up(
        input_ids: Tensor, attention_mask: Tensor | None = None, **_: object
    ) -> tuple[Tensor, Tensor]:
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        positions = (mask.long().cumsum(-1) - 1).clamp(min=0)
        deltas = (positions.max(-1).values + 1 - mask.sum(-1)).unsqueeze(1)
        return positions.expand(3, -1, -1), deltas

    inner.get_rope_index = count_up
    try:
        yield
    finally:
        del inner.get_rope_index


def grey_pixels(inputs: dict) -> dict:
    """Every pixel mid-grey (0 after normalisation)."""
    for name in ("pixel_values", "pixel_values_videos"):
        if name in inputs:
            inputs[name] = torch.zeros_like(inputs[name])
    return inputs


def swap_pictures(items: list[Item]) -> list[Item]:
    """Each question with the image of the next item."""
    others = items[1:] + items[:1]
    return [
        replace(item, images=o.images, frames=o.frames, metadata=o.metadata)
        for item, o in zip(items, others, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Ablation:
    """One row of the table."""

    name: str
    patched: Callable[[object], AbstractContextManager] | None = None
    change_inputs: Callable[[dict], dict] | None = None
    change_items: Callable[[list[Item]], list[Item]] | None = None


ABLATIONS = (
    Ablation("whole model"),
    Ablation("image blanked (grey)", change_inputs=grey_pixels),
    Ablation("image swapped", change_items=swap_pictures),
    Ablation("DeepStack zeroed", patched=zero_deepstack),
    Ablation("position grid zeroed", patched=zero_position_grid),
    Ablation("vision RoPE off", patched=no_vision_rope),
    Ablation("M-RoPE flattened to 1-D", patched=flat_positions),
)


def run_ablations(answerer: Answerer, count: int) -> dict[str, dict[str, float]]:
    """Score per ablation and task (English): share of exact answers; of slots for descriptions."""
    items = {task: build_items(task, "en", count) for task in TASKS}
    table: dict[str, dict[str, float]] = {}
    for ablation in ABLATIONS:
        row = {}
        for task, originals in items.items():
            shown = ablation.change_items(originals) if ablation.change_items else originals
            answers = answerer.answer(shown, ablation.change_inputs, ablation.patched)
            if task == "describe":
                slots = score_slots(originals, answers)
                row["describe: color"], row["describe: place"] = slots["color"], slots["position"]
            else:
                row[task] = score_exact(originals, answers)
        table[ablation.name] = row
    return table
