"""Stage 6: serve a request with and without the cached prefix of an earlier one.

Every forward pass gets explicit ``position_ids``; without them, a continuation uses the
``model.rope_deltas`` of the previous request and is silently wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from transformers import DynamicCache

from playground.cache import (
    cache_bytes,
    crop_cache,
    empty_cache,
)
from playground.engine import Engine
from playground.errors import InputError
from playground.kv_cache.shared_prefix import reusable_tokens, shared_prefix
from playground.language import say
from playground.logits import check_finite, next_token_probs
from playground.merge.stage import get_positions
from playground.preprocess.stage import model_kwargs
from playground.records import CacheReuse, ModelInputs, Progress, VisualSpan
from playground.timing import check_repeats, time_ms

MAX_REPEATS = 50

# --------------------------------------------------------------------------- continue from a cache


def serve_rest(
    engine: Engine, inputs: ModelInputs, cache: DynamicCache, start: int
) -> torch.Tensor:
    """Serve a request as a server does, from the pixels to the next token's logits.

    Computes only the tokens from ``start`` on, and encodes only their images; ``start = 0`` with an
    empty cache computes the whole request. No activations are recorded.

    Args:
        engine: the loaded checkpoint; its lock is held for the forward pass.
        inputs: the record from ``run_preprocess``.
        cache: exactly ``start`` tokens long; the rest is appended to it.
        start: first sequence index to compute, not inside an image or a frame.

    Returns:
        (vocab,) logits of the last token in the model's dtype, on the CPU.

    Raises:
        InputError: ``start`` leaves nothing to compute, does not match the cache, or is inside an
            image or a frame.
        ModelError: the logits hold NaN or infinity.
    """
    _check_start(inputs, cache, start)
    model: Any = engine.model
    position_ids, _ = get_positions(engine, inputs)
    rest = model_kwargs(rest_of(inputs, start), engine.device)
    del rest["attention_mask"]  # would have to cover the cached tokens too; nothing is padded
    with engine.exclusive():
        output = model.model(
            **rest,
            position_ids=position_ids[:, :, start:].to(engine.device),
            cache=cache,
            use_cache=True,
        )
        logits: torch.Tensor = model.lm_head(output.last_hidden_state[:, -1:])[0, 0].cpu()
    check_finite(logits)
    return logits


def _check_start(inputs: ModelInputs, cache: DynamicCache, start: int) -> None:
    """Check that the cache ends where the computation starts."""
    if not 0 <= start < inputs.num_tokens:
        raise InputError(
            say("Cannot start at token {start}.", start=start),
            limit=say(
                "The request has {count} tokens, and the last one must be computed.",
                count=inputs.num_tokens,
            ),
        )
    if cache.get_seq_length() != start:
        raise InputError(
            say(
                "The cache holds {held} tokens, not {start}.",
                held=cache.get_seq_length(),
                start=start,
            ),
            remedy=say("Crop the cache first."),
        )


def rest_of(inputs: ModelInputs, start: int) -> ModelInputs:
    """The part of a request from ``start`` on, with its images.

    ``tokens`` and ``spans`` keep their indices in the full sequence.

    Raises:
        InputError: ``start`` is inside an image or a frame.
    """
    if any(span.start < start < span.end for span in inputs.spans):
        raise InputError(
            say("Token {start} is inside an image.", start=start),
            remedy=say("Start before or after the image."),
        )
    spans = tuple(span for span in inputs.spans if span.start >= start)
    pixel_values, image_grid_thw = _rest_of_media(
        inputs.pixel_values, inputs.image_grid_thw, [span for span in spans if span.kind == "image"]
    )
    pixel_values_videos, video_grid_thw = _rest_of_media(
        inputs.pixel_values_videos,
        inputs.video_grid_thw,
        [span for span in spans if span.kind == "video"],
    )
    return replace(
        inputs,
        tokens=inputs.tokens[start:],
        spans=spans,
        input_ids=inputs.input_ids[:, start:],
        attention_mask=inputs.attention_mask[:, start:],
        mm_token_type_ids=inputs.mm_token_type_ids[:, start:],
        pixel_values=pixel_values,
        image_grid_thw=image_grid_thw,
        pixel_values_videos=pixel_values_videos,
        video_grid_thw=video_grid_thw,
    )


def _rest_of_media(
    values: torch.Tensor | None, grids: torch.Tensor | None, spans: list[VisualSpan]
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """The pixels and grids from the first of the given spans on, or ``None`` without spans."""
    if values is None or grids is None or not spans:
        return None, None
    grids = grids[spans[0].media_index :].clone()
    # A prefix may end between two frames; the vision tower encodes each frame separately.
    grids[0, 0] -= spans[0].frame
    return values[spans[0].patch_start :], grids


# --------------------------------------------------------------------------- hit against miss


def run_cache_reuse(
    engine: Engine,
    first: ModelInputs,
    second: ModelInputs,
    *,
    repeats: int = 5,
    progress: Progress | None = None,
) -> CacheReuse:
    """Serve the second request from scratch and on top of the first one's cache.

    Both times cover the work of a server from the pixels on the model's device to the next token's
    logits: positions, vision tower, merge and decoder. The hit computes the tokens after the prefix
    and encodes only the images among them; its time includes forking and cropping the cache.
    Neither time includes reading and hashing the requests, which a server does in both cases.
    After an untimed run of each, hits and misses are interleaved, so a change in the machine's
    speed affects both. Without a shared prefix, the hit does the same work as the miss.

    Args:
        engine: the loaded checkpoint; its lock is held per forward pass.
        first: the record from ``run_preprocess`` for the request that fills the cache.
        second: the record for the request that may hit it.
        repeats: timed runs per variant, 1 to ``MAX_REPEATS``.
        progress: called before every forward pass.

    Raises:
        InputError: ``repeats`` is out of range.
        ModelError: the logits hold NaN or infinity.
    """
    check_repeats(repeats, MAX_REPEATS)
    shared, reason = shared_prefix(first, second)
    reused = reusable_tokens(second, shared)
    cache = empty_cache(engine)

    def fill() -> torch.Tensor:
        return serve_rest(engine, first, cache, 0)

    def miss() -> torch.Tensor:
        return serve_rest(engine, second, empty_cache(engine), 0)

    def hit() -> torch.Tensor:
        return serve_rest(engine, second, crop_cache(cache, reused), reused)

    variants = {"first request": fill, "miss": miss, "hit": hit}
    logits, times = _run_interleaved(engine, variants, _interleave(repeats), progress)
    difference = logits["hit"].float() - logits["miss"].float()
    return CacheReuse(
        first=first,
        second=second,
        shared_tokens=shared,
        reused_tokens=reused,
        reason=reason,
        miss_ms=tuple(times["miss"][1:]),
        hit_ms=tuple(times["hit"][1:]),
        kv_bytes=cache_bytes(crop_cache(cache, reused)),
        max_abs_diff=float(difference.abs().max()),
        next_token=next_token_probs(engine, logits["hit"], 1)[0],
        hit_logits=logits["hit"],
        miss_logits=logits["miss"],
    )


def _run_interleaved(
    engine: Engine,
    variants: dict[str, Callable[[], torch.Tensor]],
    plan: Sequence[str],
    progress: Progress | None,
) -> tuple[dict[str, torch.Tensor], dict[str, list[float]]]:
    """The last logits of each variant, and the milliseconds of all its runs."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    logits: dict[str, torch.Tensor] = {}
    for done, name in enumerate(plan):
        if progress is not None:
            progress(name, done, len(plan))
        logits[name], elapsed_ms = time_ms(engine, variants[name])
        times[name].append(elapsed_ms)
    return logits, times


def _interleave(repeats: int) -> list[str]:
    """One untimed run of each variant, then pairs in alternating order."""
    pairs = [["miss", "hit"] if repeat % 2 else ["hit", "miss"] for repeat in range(repeats)]
    return ["first request", "miss", "hit", *(name for pair in pairs for name in pair)]
