"""What if a part of the model were missing? Changes that never modify the shared model.

A ``WhatIf`` is applied in two steps: ``change_merged`` changes the decoder's input, and
``edit_engine`` makes an engine whose forwards run with hooks on the layers, which are attached and
removed inside the lock. Every stage function accepts the changed record and the edited engine.

Patching hidden states of another run is activation patching (causal tracing, Meng et al. 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import torch

from playground.capture import Edit, edit_inputs, skip_modules
from playground.engine import Engine
from playground.errors import InputError
from playground.language import say
from playground.records import MergedInputs, ModelInputs

MAX_GAIN = 4.0
Positions = Literal["mrope", "flat", "swapped"]
Fill = Literal["zero", "mean"]


@dataclass(frozen=True, slots=True, eq=False)
class StatePatch:
    """A hidden state of another run that replaces this run's own (activation patching)."""

    layer: int  # index into DecoderOutput.hidden_states: the input of that layer
    position: int  # sequence index
    state: torch.Tensor  # (hidden,)


@dataclass(frozen=True, slots=True, eq=False)
class WhatIf:
    """The changes to apply, in any combination; the defaults change nothing."""

    deepstack_gains: tuple[float, ...] = ()  # one factor per tap; 1 for the rest
    positions: Positions = "mrope"  # flat: 1-D RoPE, as for text; swapped: h and w swapped
    masked: tuple[int, ...] = ()  # sequence indices of the masked image tokens
    fill: Fill = "zero"  # what replaces them: zeros, or the mean of all image tokens
    leave_deepstack: bool = False  # mask in inputs_embeds only, so that DeepStack leaks them
    skipped_layers: tuple[int, ...] = ()  # decoder layers that add nothing to the residual
    zeroed_heads: tuple[tuple[int, int], ...] = ()  # (layer, query head): outputs to zero
    patches: tuple[StatePatch, ...] = ()


def check_what_if(engine: Engine, inputs: ModelInputs, what_if: WhatIf) -> None:
    """Check a change against the model and the sequence.

    Raises:
        InputError: a gain, token, layer, head or patch is outside its range.
    """
    layers = range(engine.facts.num_layers)
    taps = len(engine.facts.added_taps)
    visual = {index for span in inputs.spans for index in range(span.start, span.end)}
    if len(what_if.deepstack_gains) > taps:
        raise InputError(
            say("There are more gains than DeepStack taps ({taps}).", taps=taps),
            remedy=say("Give one gain per tap."),
        )
    for gain in what_if.deepstack_gains:
        if not 0 <= gain <= MAX_GAIN:  # also refuses NaN
            raise InputError(
                say("The DeepStack gain {gain} is out of range.", gain=gain),
                limit=say("It must be between 0 and {most:g}.", most=MAX_GAIN),
            )
    for index in what_if.masked:
        if index not in visual:
            raise InputError(
                say("Token {index:,} is not an image token.", index=index),
                remedy=say("Mask only image tokens."),
            )
    for layer in (*what_if.skipped_layers, *(layer for layer, _ in what_if.zeroed_heads)):
        if layer not in layers:
            raise InputError(
                say("There is no layer {layer}.", layer=layer),
                limit=say("The model has {count} layers.", count=len(layers)),
            )
    for _, head in what_if.zeroed_heads:
        if not 0 <= head < engine.facts.num_attention_heads:
            raise InputError(
                say("There is no head {head}.", head=head),
                limit=say(
                    "Each layer has {heads} query heads.", heads=engine.facts.num_attention_heads
                ),
            )
    for patch in what_if.patches:
        if not 0 <= patch.layer <= len(layers) or not 0 <= patch.position < inputs.num_tokens:
            raise InputError(
                say(
                    "There is no hidden state at layer {layer}, position {position}.",
                    layer=patch.layer,
                    position=patch.position,
                ),
                limit=say(
                    "Layers go up to {layers}, positions up to {positions}.",
                    layers=len(layers),
                    positions=inputs.num_tokens - 1,
                ),
            )
        if tuple(patch.state.shape) != (engine.facts.hidden_size,):
            raise InputError(
                say("The hidden state to patch in has the wrong size."),
                limit=say("It must have {count:,} values.", count=engine.facts.hidden_size),
            )


# ------------------------------------------------------------------------------ the decoder's input


def change_merged(merged: MergedInputs, what_if: WhatIf) -> MergedInputs:
    """The decoder's input after the change; the record itself is not modified."""
    embeds, taps = merged.inputs_embeds, merged.deepstack_visual_embeds
    if what_if.masked and merged.visual_pos_masks is not None:
        mask = merged.visual_pos_masks[0]
        masked = torch.zeros_like(mask)
        masked[list(what_if.masked)] = True
        visual = embeds[0, mask]
        embeds = embeds.clone()
        embeds[0, masked] = _fill_vector(visual, what_if.fill)
        if taps is not None and not what_if.leave_deepstack:
            taps = tuple(_mask_tap(tap, masked[mask], what_if.fill) for tap in taps)
    if taps is not None and what_if.deepstack_gains:
        gains = (*what_if.deepstack_gains, *[1.0] * len(taps))
        taps = tuple(tap * gain for tap, gain in zip(taps, gains, strict=False))
    position_ids, rope_deltas = _change_positions(merged, what_if.positions)
    return replace(
        merged,
        inputs_embeds=embeds,
        deepstack_visual_embeds=taps,
        position_ids=position_ids,
        rope_deltas=rope_deltas,
    )


def _fill_vector(visual: torch.Tensor, fill: Fill) -> torch.Tensor:
    """``(hidden,)``: the vector that replaces a masked token."""
    mean = visual.float().mean(0).to(visual.dtype)
    return mean if fill == "mean" else torch.zeros_like(mean)


def _mask_tap(tap: torch.Tensor, masked: torch.Tensor, fill: Fill) -> torch.Tensor:
    changed = tap.clone()
    changed[masked] = _fill_vector(tap, fill)
    return changed


def _change_positions(
    merged: MergedInputs, positions: Positions
) -> tuple[torch.Tensor, torch.Tensor]:
    if positions == "flat":
        seq = merged.position_ids.shape[-1]
        flat = torch.arange(seq).expand(3, 1, -1).contiguous()
        return flat, torch.zeros_like(merged.rope_deltas)
    if positions == "swapped":
        return merged.position_ids[[0, 2, 1]], merged.rope_deltas
    return merged.position_ids, merged.rope_deltas


def first_changed_layer(merged: MergedInputs, what_if: WhatIf, num_layers: int) -> int:
    """The first layer that has to run again; the hidden states before it are unchanged.

    A DeepStack tap is added to the output of the layer with its index. That output is recorded
    only with the tap added, so that the layer has to run again although it computes the same.

    Args:
        merged: the decoder's input before the change.
        what_if: checked by ``check_what_if``.
        num_layers: decoder layers.

    Returns:
        ``num_layers`` if no layer has to: nothing changes, or only the input of the final norm.
    """
    if what_if.masked or what_if.positions != "mrope":
        return 0
    gains = () if merged.deepstack_visual_embeds is None else what_if.deepstack_gains
    return min(
        [
            num_layers,
            *(tap for tap, gain in enumerate(gains) if gain != 1),
            *what_if.skipped_layers,
            *(layer for layer, _ in what_if.zeroed_heads),
            *(patch.layer for patch in what_if.patches),
        ]
    )


# ------------------------------------------------------------------------------ inside the layers


@dataclass(frozen=True, slots=True, eq=False)
class EditedEngine(Engine):
    """An engine whose forwards run with edits; it shares the model and its lock."""

    edits: tuple[Edit, ...] = ()
    skipped: tuple[Any, ...] = ()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the model for one native step, with the edits attached for that time only."""
        with (
            self.lock,
            torch.no_grad(),
            edit_inputs(self.edits),
            skip_modules(self.skipped),
        ):
            yield


def edit_engine(engine: Engine, what_if: WhatIf, num_tokens: int) -> Engine:
    """An engine that runs the changed layers.

    Args:
        engine: the loaded checkpoint.
        what_if: checked by ``check_what_if``.
        num_tokens: length of the prefill; hidden states are patched only there.
    """
    layers: Any = engine.model.model.language_model.layers
    readers = [*layers, engine.model.model.language_model.norm]
    edits: list[Edit] = []
    for layer in sorted({layer for layer, _ in what_if.zeroed_heads}):
        heads = [head for at, head in what_if.zeroed_heads if at == layer]
        attention = layers[layer].self_attn
        edits.append((attention.o_proj, _zero_heads(heads, attention.head_dim)))
    for patch in what_if.patches:
        edits.append((readers[patch.layer], _replace_state(patch, num_tokens)))
    if not edits and not what_if.skipped_layers:
        return engine
    return EditedEngine(
        **{item.name: getattr(engine, item.name) for item in fields(Engine)},
        edits=tuple(edits),
        skipped=tuple(layers[layer] for layer in sorted(set(what_if.skipped_layers))),
    )


def _zero_heads(heads: list[int], head_dim: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Edit of ``o_proj``'s input: (batch, seq, heads * head_dim)."""

    def edit(mixed: torch.Tensor) -> torch.Tensor:
        changed = mixed.clone()
        for head in heads:
            changed[..., head * head_dim : (head + 1) * head_dim] = 0
        return changed

    return edit


def _replace_state(patch: StatePatch, num_tokens: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Edit of a layer's input: (batch, seq, hidden); decoding steps on a cache are unchanged."""

    def edit(hidden_states: torch.Tensor) -> torch.Tensor:
        if hidden_states.shape[1] < num_tokens:
            return hidden_states
        changed = hidden_states.clone()
        changed[:, patch.position] = patch.state.to(changed)
        return changed

    return edit
