"""Prefill from any index, even inside an image, and generate a greedy answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from transformers import DynamicCache

from playground.engine import Engine
from playground.errors import InputError
from playground.kv_cache.block_hash import RequestIdentity
from playground.language import say
from playground.logits import check_finite
from playground.merge.stage import get_positions
from playground.records import ModelInputs, Progress, VisualSpan
from playground.sampling.generation_config import barred_token_ids, end_token_ids
from playground.sampling.paths import decode_step

Features = tuple[torch.Tensor, ...]
"""Features of one image: ``pooler_output``, then each DeepStack tap; (merged, out_hidden) each."""


def prefill_on(
    engine: Engine,
    inputs: ModelInputs,
    identity: RequestIdentity,
    cache: DynamicCache,
    start: int,
    held: Mapping[str, Features] | None = None,
) -> tuple[torch.Tensor, dict[str, Features]]:
    """Compute a request's tokens from any index on, even from inside an image.

    Makes the same calls as ``Qwen3VLModel.forward`` (transformers 5.24) for the tokens from
    ``start`` on, and uses features from ``held`` instead of running the vision tower.

    Args:
        engine: the loaded checkpoint; its lock is held for the forward pass.
        inputs: the record from ``run_preprocess``.
        identity: from ``identify`` for the same inputs.
        cache: exactly ``start`` tokens long; the rest is appended to it.
        start: first sequence index to compute.
        held: image features by digest.

    Returns:
        (vocab,) logits of the last token on the CPU, and the features of the newly encoded images
        by digest.

    Raises:
        InputError: ``start`` leaves nothing to compute, or the cache has another length.
        ModelError: the logits hold NaN or infinity.
    """
    if not 0 <= start < inputs.num_tokens or cache.get_seq_length() != start:
        raise InputError(
            say("Cannot continue from token {start}.", start=start),
            limit=say(
                "The cache holds {held} tokens, and the request has {count}.",
                held=cache.get_seq_length(),
                count=inputs.num_tokens,
            ),
        )
    model: Any = engine.model
    language_model = model.model.language_model
    position_ids, _ = get_positions(engine, inputs)
    digests = [image.digest for image in identity.images]
    wanted = [(s, d) for s, d in zip(inputs.spans, digests, strict=True) if s.end > start]
    with engine.exclusive():
        missing = {d: s for s, d in wanted if d not in (held or {})}
        encoded = _encode(engine, inputs, missing)
        features = {**(held or {}), **encoded}
        kwargs = _embed(engine, inputs, start, [(s, features[d]) for s, d in wanted])
        output = language_model(
            **kwargs,
            position_ids=position_ids[:, :, start:].to(engine.device),
            cache=cache,
            use_cache=True,
        )
        logits: torch.Tensor = model.lm_head(output.last_hidden_state[:, -1:])[0, 0].cpu()
    check_finite(logits)
    return logits, encoded


def _encode(
    engine: Engine, inputs: ModelInputs, spans: Mapping[str, VisualSpan]
) -> dict[str, Features]:
    """Encode these images in one pass of the vision tower; each attends only to itself."""
    if not spans:
        return {}
    rows = []
    for span in spans.values():
        values = inputs.pixel_values if span.kind == "image" else inputs.pixel_values_videos
        assert values is not None
        rows.append(values[span.patch_start : span.patch_start + span.num_patches])
    grids = torch.tensor([[1, span.grid_h, span.grid_w] for span in spans.values()])
    output = engine.model.model.get_image_features(
        torch.cat(rows).to(engine.device), grids.to(engine.device), return_dict=True
    )
    sizes = [span.end - span.start for span in spans.values()]
    # (tokens of all images, out_hidden) each, split by image
    tensors = [_rows(output.pooler_output), *map(_rows, output.deepstack_features)]
    parts = zip(*(tensor.split(sizes) for tensor in tensors), strict=True)
    return dict(zip(spans, parts, strict=True))


def _rows(features: torch.Tensor | Iterable[torch.Tensor]) -> torch.Tensor:
    return features if isinstance(features, torch.Tensor) else torch.cat(tuple(features))


def _embed(
    engine: Engine, inputs: ModelInputs, start: int, images: list[tuple[VisualSpan, Features]]
) -> dict[str, Any]:
    """Decoder inputs from ``start`` on: embeddings and DeepStack features."""
    ids = inputs.input_ids[:, start:].to(engine.device)
    inputs_embeds = engine.model.model.get_input_embeddings()(ids)
    if not images:
        return {"inputs_embeds": inputs_embeds}
    mask = (inputs.mm_token_type_ids[:, start:] != 0).to(engine.device)
    shown = [
        [tensor[max(0, start - span.start) :] for tensor in tensors] for span, tensors in images
    ]
    pooled, *taps = (
        torch.cat(parts).to(engine.device, inputs_embeds.dtype)
        for parts in zip(*shown, strict=True)
    )
    return {
        "inputs_embeds": inputs_embeds.masked_scatter(mask[..., None], pooled),
        "visual_pos_masks": mask,
        "deepstack_visual_embeds": taps,
    }


def answer_greedily(
    engine: Engine,
    inputs: ModelInputs,
    logits: torch.Tensor,
    cache: DynamicCache,
    max_new_tokens: int,
    *,
    progress: Progress | None = None,
) -> tuple[int, ...]:
    """Generate greedily on top of a request's cache.

    Args:
        engine: the loaded checkpoint; its lock is held per token.
        inputs: the request in the cache.
        logits: (vocab,) of its last token.
        cache: grows by all tokens of the answer except the last.
        max_new_tokens: limit of the answer, capped by the engine's own limit.
        progress: called before every token.

    Returns:
        The answer's ids, including the end token if one was generated.
    """
    position_ids, _ = get_positions(engine, inputs)
    position = int(position_ids.max()) + 1
    ends, barred = end_token_ids(engine), list(barred_token_ids(engine))
    max_new_tokens = engine.limits.at_most(max_new_tokens)
    ids: list[int] = []
    while len(ids) < max_new_tokens:
        if ids:
            if progress is not None:
                progress(say("token"), len(ids), max_new_tokens)
            next_position = torch.full((3, 1, 1), position + len(ids) - 1)
            logits = decode_step(engine, cache, torch.tensor([ids[-1:]]), next_position)[0]
        allowed = logits.float().clone()
        allowed[barred] = -torch.inf
        ids.append(int(allowed.argmax()))
        if ids[-1] in ends:
            break
    return tuple(ids)


def answer_text(engine: Engine, ids: Iterable[int]) -> str:
    """Decode an answer without special tokens."""
    text: str = engine.tokenizer.decode(list(ids), skip_special_tokens=True)
    return text.strip()
