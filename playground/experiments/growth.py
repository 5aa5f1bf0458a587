"""The time that the KV cache saves for each new token, as the text grows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from playground.cache import cache_bytes, empty_cache, fork_cache
from playground.capture import watch_modules
from playground.decoder.stage import decoder_kwargs
from playground.engine import Engine
from playground.errors import InputError
from playground.language import say
from playground.merge.extend import extend_merged, head_of_merged
from playground.records import MergedInputs, ModelInputs, Progress
from playground.timing import check_repeats, time_ms

MAX_REPEATS = 20


@dataclass(frozen=True, slots=True)
class GrowthPoint:
    """One more token after a text of this length, with and without the cache."""

    num_tokens: int  # before the new token
    cached_ms: tuple[float, ...]  # one forward over the new token, on the cache
    full_ms: tuple[float, ...]  # one forward over all tokens
    cache_bytes: int  # of the text before the new token
    max_abs_diff: float  # between the logits of both variants


def growth_lengths(start: int, longest: int, num_points: int = 7) -> tuple[int, ...]:
    """Lengths from the prompt's to the longest, evenly spaced on a logarithmic scale."""
    steps = np.geomspace(start, max(start, longest), num_points)
    return tuple(sorted({round(float(step)) for step in steps}))


def measure_growth(
    engine: Engine,
    inputs: ModelInputs,
    merged: MergedInputs,
    lengths: Sequence[int],
    *,
    repeats: int = 3,
    progress: Progress | None = None,
) -> Iterator[GrowthPoint]:
    """Time one more token at each length, with and without the cache, interleaved.

    The text after the prompt repeats the prompt's own text, since the content does not affect the
    time. Neither variant runs the vision tower again; a server without a cache would have to.

    Args:
        engine: the loaded checkpoint; its lock is held per forward.
        inputs: the prompt.
        merged: the record of ``run_merge`` for it.
        lengths: ascending, from the prompt's length on.
        repeats: timed runs per variant, 1 to ``MAX_REPEATS``, after an untimed one.
        progress: called before every layer of every forward, so that a long run can be stopped.

    Raises:
        InputError: a length or ``repeats`` is out of range.
    """
    _check_growth(engine, inputs.num_tokens, lengths, repeats)
    text = _continue_text(engine, inputs, merged, lengths[-1] + 1)
    cache, done, total = empty_cache(engine), 0, len(lengths) * (2 + 2 * repeats)
    length = lengths[0]

    def report(_layer: int) -> None:
        if progress is not None:
            progress(say("{count:,} tokens", count=length), done, total)

    for length in lengths:
        _forward(engine, head_of_merged(text, length), cache, report)
        short = head_of_merged(text, length + 1)
        times: dict[str, list[float]] = {"cached": [], "full": []}
        logits: dict[str, torch.Tensor] = {}
        for repeat in range(repeats + 1):
            for variant in ("cached", "full") if repeat % 2 else ("full", "cached"):
                started_on = fork_cache(cache) if variant == "cached" else empty_cache(engine)
                logits[variant], elapsed_ms = time_ms(
                    engine, partial(_forward, engine, short, started_on, report)
                )
                times[variant] += [elapsed_ms] if repeat else []
                done += 1
        yield GrowthPoint(
            num_tokens=length,
            cached_ms=tuple(times["cached"]),
            full_ms=tuple(times["full"]),
            cache_bytes=cache_bytes(cache),
            max_abs_diff=float((logits["cached"] - logits["full"]).abs().max()),
        )


def _check_growth(engine: Engine, num_tokens: int, lengths: Sequence[int], repeats: int) -> None:
    limit = engine.facts.max_position_embeddings
    check_repeats(repeats, MAX_REPEATS)
    if not lengths or lengths[0] < num_tokens or lengths[-1] >= limit:
        raise InputError(
            say("The lengths are {listed}.", listed=", ".join(map(str, lengths))),
            limit=say(
                "They must be between the prompt's {low:,} and {high:,} tokens.",
                low=num_tokens,
                high=limit - 1,
            ),
        )


def _continue_text(
    engine: Engine, inputs: ModelInputs, merged: MergedInputs, length: int
) -> MergedInputs:
    """The prompt's decoder input with its own text repeated until it is ``length`` tokens long."""
    more = length - inputs.num_tokens
    text_ids = inputs.input_ids[0][inputs.mm_token_type_ids[0] == 0]
    ids = text_ids.repeat(-(-more // len(text_ids)))[:more]
    return extend_merged(engine, merged, ids.tolist())


def _forward(
    engine: Engine, text: MergedInputs, cache: DynamicCache, report: Callable[[int], None]
) -> torch.Tensor:
    """(vocab,) float32 logits of the last token; the cache grows by the missing tokens."""
    model: Any = engine.model
    with engine.exclusive(), watch_modules(model.model.language_model.layers, report):
        output = model.model.language_model(
            **decoder_kwargs(engine, text, cache.get_seq_length()),
            cache=cache,
            use_cache=True,
        )
        logits: torch.Tensor = model.lm_head(output.last_hidden_state[:, -1:])[0, 0]
        return logits.float().cpu()
