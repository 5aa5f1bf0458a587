"""The stored state of a column, from which any step can be inspected and any token branched.

Logits are not stored: 8 columns of 128 steps over 151,936 tokens would take 620 MB. Instead the
final norm's output is stored (2,048 numbers per step), and ``lm_head`` recomputes the logits: one
matrix product, no forward pass. A branch starts from the prompt's KV cache and the keys and values
of the tokens after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from playground.cache import fork_cache
from playground.engine import Engine
from playground.errors import InputError
from playground.language import say
from playground.logits import apply_head
from playground.records import DecoderOutput, MergedInputs, ModelInputs
from playground.sampling.trace import TokenStep

LOGITS_CHUNK = 32  # rows of lm_head's output at once: 19 MB at 151,936 tokens


@dataclass(frozen=True, slots=True, eq=False)
class TokenPath:
    """The tokens after a prompt, with the decoder's hidden states, keys and values."""

    token_ids: tuple[int, ...]
    hidden_states: torch.Tensor  # (steps or steps + 1, hidden), on the CPU: row i gives the logits
    #                              that token i was chosen from
    keys: tuple[torch.Tensor, ...]  # per layer (kv_heads, fed, head_dim), on the CPU; the last
    values: tuple[torch.Tensor, ...]  # token may not have been fed

    @property
    def num_bytes(self) -> int:
        """Memory used."""
        tensors = (self.hidden_states, *self.keys, *self.values)
        return sum(tensor.nbytes for tensor in tensors)


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """Where generation continues: a prompt, and the tokens generated after it."""

    prompt_ids: torch.Tensor  # (seq,) int64
    start: int  # position of the first token after the prompt
    cache: DynamicCache  # one row over all these tokens; never modified
    logits: torch.Tensor  # (vocab,) of the last of them, in the model's dtype, on the CPU
    hidden_states: torch.Tensor  # (written + 1, hidden), on the CPU; the last gave the logits
    steps: tuple[TokenStep, ...] = ()  # the tokens generated after the prompt


def prompt_prefix(
    inputs: ModelInputs, merged: MergedInputs, decoder_output: DecoderOutput
) -> Prefix:
    """The prefix at the end of the prompt, from its prefill."""
    return Prefix(
        prompt_ids=inputs.input_ids[0],
        start=inputs.num_tokens + int(merged.rope_deltas),
        cache=decoder_output.cache,
        logits=decoder_output.logits,
        hidden_states=decoder_output.last_hidden_state[-1:].cpu(),
    )


def room_in_window(engine: Engine, prefix: Prefix) -> int:
    """How many tokens fit after a prefix: a window of n tokens holds prompt and answer.

    Raises:
        InputError: none.
    """
    window = engine.facts.max_position_embeddings
    room = window - len(prefix.prompt_ids) - len(prefix.steps)
    if room < 1:
        raise InputError(
            say("The context window is full: it holds {most:,} tokens.", most=window),
            remedy=say("Shorten the text, lower max pixels, or use fewer images."),
        )
    return room


def prefix_at(
    engine: Engine, prompt: Prefix, path: TokenPath, steps: tuple[TokenStep, ...], index: int
) -> Prefix:
    """The prefix before token ``index`` of a path; only ``lm_head`` runs, on one hidden state.

    Args:
        engine: the loaded checkpoint; its lock is held for ``lm_head``.
        prompt: the path's prompt.
        path: from a column, or from ``force_tokens``.
        steps: the path's tokens; at least ``index``.
        index: 0 is the end of the prompt.

    Raises:
        InputError: the path is shorter than that.
    """
    logits = step_logits(engine, prompt, path, index)
    cache = fork_cache(prompt.cache)
    if index:
        layers: list[Any] = cache.layers
        for layer, keys, values in zip(layers, path.keys, path.values, strict=True):
            layer.keys = _append(layer.keys, keys[:, :index])
            layer.values = _append(layer.values, values[:, :index])
    return Prefix(
        prompt_ids=prompt.prompt_ids,
        start=prompt.start,
        cache=cache,
        logits=logits,
        hidden_states=path.hidden_states[: index + 1],
        steps=steps[:index],
    )


def _append(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Concatenate along the sequence: (1, kv_heads, seq, head_dim)."""
    return torch.cat([before, after[None].to(before.device)], dim=-2)


def step_logits(engine: Engine, prompt: Prefix, path: TokenPath, index: int) -> torch.Tensor:
    """The logits that token ``index`` was sampled from: (vocab,), in the model's dtype, on the CPU.

    Raises:
        InputError: the path is shorter than that.
    """
    if not 0 <= index < len(path.hidden_states):
        raise InputError(
            say("There is no token {index:,}.", index=index + 1),
            limit=say("This column has {count:,} tokens.", count=len(path.token_ids)),
        )
    if index == 0:
        return prompt.logits
    return apply_head(engine, path.hidden_states[index : index + 1])[0]


def all_logits(engine: Engine, path: TokenPath) -> list[torch.Tensor]:
    """The logits before each token of a path, in chunks of (rows, vocab) float32 on the CPU."""
    states = path.hidden_states[: len(path.token_ids)]
    return [apply_head(engine, chunk).float() for chunk in states.split(LOGITS_CHUNK)]


def decode_states(
    engine: Engine, cache: DynamicCache, token_ids: torch.Tensor, position_ids: torch.Tensor
) -> torch.Tensor:
    """Run the decoder over new text tokens on top of a cache, which is extended by them.

    All rows have the same length and no padding, so the model's own causal mask is right.
    Positions are explicit, so ``model.rope_deltas``, which all users share, is neither read nor
    written.

    Args:
        engine: the loaded checkpoint; its lock is held for this one step.
        cache: the caller's own; its batch size is ``rows``.
        token_ids: (rows, tokens) int64.
        position_ids: (3, rows, tokens) int64.

    Returns:
        (rows, tokens, hidden) after the final norm, on the model's device. Like the cache's new
        keys and values, it must not be modified in place.
    """
    model: Any = engine.model
    # A forward pass of one token is a thousand small calls, each slightly cheaper without
    # autograd's bookkeeping.
    with engine.exclusive(), torch.inference_mode():
        output = model.model.language_model(
            input_ids=token_ids.to(engine.device),
            position_ids=position_ids.to(engine.device),
            cache=cache,
            use_cache=True,
        )
        states: torch.Tensor = output.last_hidden_state
        return states


def decode_step(
    engine: Engine, cache: DynamicCache, token_ids: torch.Tensor, position_ids: torch.Tensor
) -> torch.Tensor:
    """``decode_states``, and the logits of the last token: (rows, vocab) float32 on the CPU."""
    states = decode_states(engine, cache, token_ids, position_ids)
    return last_logits(engine, states)


def last_logits(engine: Engine, states: torch.Tensor) -> torch.Tensor:
    """``lm_head`` on the last of ``(rows, tokens, hidden)``: (rows, vocab) float32 on the CPU."""
    model: Any = engine.model
    with engine.exclusive(), torch.inference_mode():
        logits: torch.Tensor = model.lm_head(states[:, -1:])[:, 0]
        return logits.float().cpu()


def force_tokens(engine: Engine, prompt: Prefix, token_ids: list[int]) -> TokenPath:
    """Feed given tokens as if the model had generated them (teacher forcing), in one forward pass.

    Args:
        engine: the loaded checkpoint.
        prompt: the end of a prompt; not modified.
        token_ids: at least one.

    Returns:
        A path whose last state gives the logits of the token after them.
    """
    if not token_ids:
        raise InputError(say("The text has no tokens."), remedy=say("Enter some text."))
    cache = fork_cache(prompt.cache)
    ids = torch.tensor([token_ids])
    positions = torch.arange(prompt.start, prompt.start + ids.shape[1]).expand(3, 1, -1)
    states = decode_states(engine, cache, ids, positions)[0].cpu()
    return take_path(
        cache,
        0,
        prompt_tokens=len(prompt.prompt_ids),
        token_ids=tuple(token_ids),
        hidden_states=torch.cat([prompt.hidden_states, states]),
    )


def take_path(
    cache: DynamicCache,
    row: int,
    *,
    prompt_tokens: int,
    token_ids: tuple[int, ...],
    hidden_states: torch.Tensor,
) -> TokenPath:
    """Copy one row's keys and values of the tokens after the prompt from a batch's cache."""
    layers: list[Any] = cache.layers
    return TokenPath(
        token_ids=token_ids,
        hidden_states=hidden_states,
        keys=tuple(layer.keys[row, :, prompt_tokens:].cpu().clone() for layer in layers),
        values=tuple(layer.values[row, :, prompt_tokens:].cpu().clone() for layer in layers),
    )
