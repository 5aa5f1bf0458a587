"""Stage 4: the decoder layers, DeepStack and the logits.

Source: ``Qwen3VLTextModel.forward`` and ``Qwen3VLForConditionalGeneration.forward``,
transformers 5.24.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import DynamicCache

from playground.cache import empty_cache, fork_cache
from playground.capture import (
    capture_inputs,
    capture_output_norms,
    capture_routes,
    watch_modules,
)
from playground.engine import Engine
from playground.errors import InputError
from playground.language import say
from playground.logits import check_finite, log_totals, top_tokens
from playground.preprocess.stage import model_kwargs
from playground.records import (
    DecoderOutput,
    ExpertRoutes,
    LogitLens,
    MergedInputs,
    ModelInputs,
    Parity,
    Progress,
)
from playground.tokens import token_text

# Rows of logits held at once, as lm_head is slower on fewer: 78 MB in float32 at 151,936 tokens.
LENS_ROWS = 128


def run_decoder(
    engine: Engine,
    inputs: ModelInputs,
    merged: MergedInputs,
    *,
    progress: Progress | None = None,
) -> DecoderOutput:
    """Prefill: run every decoder layer over the whole sequence.

    Args:
        engine: the loaded checkpoint.
        inputs: the record of ``run_preprocess``.
        merged: the record of ``run_merge`` for the same inputs.
        progress: called before every layer.

    Raises:
        ModelError: the logits hold NaN or infinity.
    """
    return run_layers(engine, merged, inputs.attention_mask, progress=progress)


def run_layers(
    engine: Engine,
    merged: MergedInputs,
    attention_mask: torch.Tensor,
    *,
    past: DynamicCache | None = None,
    progress: Progress | None = None,
) -> DecoderOutput:
    """``run_decoder`` for any sequence of embeddings, which need not be a prompt.

    Args:
        engine: the loaded checkpoint.
        merged: the input of the layers.
        attention_mask: (1, seq) int64.
        past: keys and values of the first tokens, which are not run again; not modified. Except
            for the cache, the record then has only the other tokens.
        progress: called before every layer.

    Raises:
        ModelError: the logits hold NaN or infinity.
    """
    language_model: Any = engine.model.model.language_model
    cache = empty_cache(engine) if past is None else fork_cache(past)
    start = cache.get_seq_length()
    modules = [*language_model.layers, language_model.norm]
    routed = [index for index, layer in enumerate(language_model.layers) if _has_router(layer)]
    with (
        engine.exclusive(),
        capture_inputs(modules, progress=progress, what=say("decoder layer")) as states,
        capture_output_norms([layer.self_attn for layer in language_model.layers]) as attention,
        capture_output_norms([layer.mlp for layer in language_model.layers]) as mlp,
        capture_routes([language_model.layers[index].mlp.gate for index in routed]) as routes,
    ):
        output = language_model(
            **decoder_kwargs(engine, merged, start),
            attention_mask=attention_mask.to(engine.device),
            cache=cache,
            use_cache=True,
        )
        last_hidden_state = output.last_hidden_state
        logits = engine.model.lm_head(last_hidden_state[:, -1:])[0, 0].cpu()
    check_finite(logits)
    return DecoderOutput(
        hidden_states=tuple(state[0].cpu() for state in states),
        last_hidden_state=last_hidden_state[0].cpu(),
        logits=logits,
        cache=cache,
        position_ids=merged.position_ids[:, :, start:],
        attention_norms=_join_norms(attention, len(last_hidden_state[0])),
        mlp_norms=_join_norms(mlp, len(last_hidden_state[0])),
        num_deepstack=len(merged.deepstack_visual_embeds or ()),
        experts=_join_routes(routed, routes) if routed else None,
    )


def _join_norms(norms: Sequence[torch.Tensor], num_tokens: int) -> torch.Tensor:
    """``(layers, seq)`` float32, for the layers that ran; there may be none."""
    none = torch.empty(0, num_tokens)
    return torch.cat([none, *(norm.cpu() for norm in norms)])


def _has_router(layer: Any) -> bool:
    """Whether the layer's MLP is a mixture of experts (``Qwen3VLMoeTextSparseMoeBlock``)."""
    return hasattr(layer.mlp, "gate")


def _join_routes(
    layers: Sequence[int], routes: Sequence[tuple[torch.Tensor, torch.Tensor]]
) -> ExpertRoutes:
    return ExpertRoutes(
        layers=tuple(layers),
        ids=torch.stack([ids.cpu() for _, ids in routes]),
        weights=torch.stack([weights.float().cpu() for weights, _ in routes]),
    )


def decoder_kwargs(engine: Engine, merged: MergedInputs, start: int = 0) -> dict[str, Any]:
    """The arguments of ``Qwen3VLTextModel.forward`` for the tokens from ``start`` on."""
    kwargs: dict[str, Any] = {
        "inputs_embeds": merged.inputs_embeds[:, start:].to(engine.device),
        # Always explicit: without them, the forward reads and writes model.rope_deltas, which
        # all users share.
        "position_ids": merged.position_ids[:, :, start:].to(engine.device),
    }
    if merged.visual_pos_masks is not None and merged.visual_pos_masks[:, start:].any():
        skipped = int(merged.visual_pos_masks[:, :start].sum())
        kwargs["visual_pos_masks"] = merged.visual_pos_masks[:, start:].to(engine.device)
        kwargs["deepstack_visual_embeds"] = [
            tap[skipped:].to(engine.device) for tap in merged.deepstack_visual_embeds or ()
        ]
    return kwargs


def measure_parity(
    engine: Engine,
    inputs: ModelInputs,
    output: DecoderOutput,
    *,
    progress: Progress | None = None,
) -> Parity:
    """Compare the staged run with one plain ``model(**inputs)``.

    Args:
        engine: the loaded checkpoint.
        inputs: the record of ``run_preprocess``.
        output: the record of ``run_decoder`` for the same inputs.
        progress: called before every vision block and layer; an exception raised in it stops the
            forward.
    """
    model: Any = engine.model
    blocks = model.model.visual.blocks if inputs.spans else ()
    modules = [*blocks, *model.model.language_model.layers]

    def report(index: int) -> None:
        if progress is not None:
            progress(say("parity, layer"), index, len(modules))

    with engine.exclusive(), watch_modules(modules, report):
        shared = model.model.rope_deltas
        try:
            plain = model(**model_kwargs(inputs, engine.device), logits_to_keep=1)
        finally:
            model.model.rope_deltas = shared  # a plain forward overwrites it
        reference = plain.logits[0, -1].float().cpu()
    staged = output.logits.float()
    return Parity(
        max_abs_diff=float((staged - reference).abs().max()),
        same_argmax=bool(staged.argmax() == reference.argmax()),
        tolerance=engine.parity_tolerance,
    )


def residual_norms(output: DecoderOutput) -> np.ndarray:
    """Euclidean norm of the residual stream.

    Returns:
        ``(layers + 1, seq)`` float32; row ``i`` is the input of layer ``i``, the last row
        that of the final norm.
    """
    return torch.stack([state.float().norm(dim=-1) for state in output.hidden_states]).numpy()


def logit_lens(
    engine: Engine,
    output: DecoderOutput,
    positions: tuple[int, ...],
    top_k: int,
    *,
    layers: tuple[int, ...] | None = None,
    progress: Progress | None = None,
) -> LogitLens:
    """Logit lens (nostalgebraist 2020): the final norm and ``lm_head`` on each layer's input.

    Args:
        engine: the loaded checkpoint.
        output: the record of ``run_decoder``.
        positions: sequence indices to read.
        top_k: tokens per cell.
        layers: only these rows of ``output.hidden_states``; all by default.
        progress: called before every chunk; ``StageCancelled`` raised in it stops.
    """
    wanted = range(output.num_layers + 1) if layers is None else layers
    states = [output.hidden_states[layer][list(positions)] for layer in wanted]
    rows = torch.stack(states).flatten(0, 1)
    buffer = _lens_buffer(engine, min(len(rows), LENS_ROWS))
    ids, probs = [], []
    for start in range(0, len(rows), LENS_ROWS):
        if progress is not None:
            progress(say("logit lens"), start, len(rows))
        with engine.exclusive():
            logits = _lens_logits(engine, rows[start : start + LENS_ROWS], buffer)
            values, tokens = top_tokens(logits, top_k)
            ids.append(tokens.cpu())
            totals = log_totals(logits, values[:, 0])
            probs.append((values.float() - totals[:, None]).exp().cpu())
    shape = (len(wanted), len(positions), top_k)
    all_ids = torch.cat(ids).reshape(shape).numpy()
    texts = {
        int(token_id): token_text(engine.tokenizer, int(token_id))
        for token_id in np.unique(all_ids)
    }
    return LogitLens(
        positions=positions,
        ids=all_ids,
        probs=torch.cat(probs).reshape(shape).numpy(),
        texts=tuple(
            tuple(tuple(texts[int(token_id)] for token_id in cell) for cell in row)
            for row in all_ids
        ),
    )


def _lens_buffer(engine: Engine, num_rows: int) -> torch.Tensor | None:
    """One buffer for the logits of all chunks: allocating each time costs as much as the top-k."""
    head: Any = engine.model.lm_head
    is_plain = isinstance(head, nn.Linear) and head.weight.dtype == engine.dtype  # not packed
    if not is_plain or head.bias is not None:
        return None
    return torch.empty(num_rows, len(head.weight), dtype=engine.dtype, device=head.weight.device)


def _lens_logits(engine: Engine, states: torch.Tensor, buffer: torch.Tensor | None) -> torch.Tensor:
    """``(rows, vocab)`` logits of ``(rows, hidden)`` states, valid until the next call."""
    model = engine.model
    normed = model.model.language_model.norm(states.to(engine.device))
    if buffer is None or normed.device != buffer.device:
        logits: torch.Tensor = model.lm_head(normed)
        return logits
    return torch.mm(normed, model.lm_head.weight.T, out=buffer[: len(normed)])


def track_token(
    engine: Engine, output: DecoderOutput, position: int, token_id: int
) -> tuple[np.ndarray, np.ndarray]:
    """The probability of one token through the layers, by the logit lens at one position.

    Args:
        engine: the loaded checkpoint.
        output: the record of ``run_decoder``.
        position: sequence index.
        token_id: the token.

    Returns:
        ``(layers + 1,)`` float32 probabilities, and int64 ranks: 1 is the most likely token.

    Raises:
        InputError: there is no such position or token.
    """
    if not 0 <= position < output.num_tokens or not 0 <= token_id < engine.facts.vocab_size:
        raise InputError(
            say(
                "Token {token} or position {position} does not exist.",
                token=token_id,
                position=position,
            ),
            limit=say(
                "There are {positions:,} positions, and the vocabulary has {tokens:,} tokens.",
                positions=output.num_tokens,
                tokens=engine.facts.vocab_size,
            ),
        )
    model = engine.model
    rows = torch.stack([state[position] for state in output.hidden_states])
    with engine.exclusive():
        normed = model.model.language_model.norm(rows.to(engine.device))
        log_probs = model.lm_head(normed).float().log_softmax(-1).cpu()
    chosen = log_probs[:, token_id, None]
    return chosen[:, 0].exp().numpy(), (log_probs > chosen).sum(-1).numpy() + 1
