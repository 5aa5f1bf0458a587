"""Stage 5: from logits to tokens, one column per settings, all columns from one prefill.

The loop is ``generate``'s, written out so that every step can be seen: filters, draw, cached
forward. Two things differ from ``generate`` on purpose. Vision placeholders are never sampled
(``suppress_tokens`` there), since a placeholder without a picture derails the model. And a token
is drawn by one uniform number through the inverse CDF, from a generator of the column's own, so
that a column neither depends on its neighbours nor on the global seed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import DynamicCache

from playground.engine import Engine
from playground.errors import InputError, ModelError
from playground.kv_cache import expand_cache
from playground.logits_filters import FilterContext
from playground.records import (
    DecoderOutput,
    MergedInputs,
    ModelInputs,
    Progress,
    SamplingRun,
    SamplingSettings,
    SamplingTrace,
    TokenStep,
)
from playground.sampling_paths import Path, Prefix, decode_states, prompt_prefix, take_path
from playground.sampling_settings import (
    LIMITS,
    MAX_COLUMNS,
    MAX_NEW_TOKENS,
    check_columns,
    check_max_new_tokens,
    check_settings,
)
from playground.sampling_step import (
    distribution,
    draw_token,
    draw_uniform,
    invert_cdf,
    sample_next_token,
)
from playground.tokens import token_text

__all__ = [
    "LIMITS",
    "MAX_COLUMNS",
    "MAX_NEW_TOKENS",
    "Sampler",
    "barred_token_ids",
    "check_columns",
    "check_max_new_tokens",
    "check_settings",
    "decode_step",
    "distribution",
    "draw_token",
    "end_token_ids",
    "invert_cdf",
    "own_settings",
    "run_sampling",
    "sample_next_token",
    "stream_sampling",
]

MAX_CANDIDATES = 100  # TokenStep.top, per step

FinishReason = Literal["running", "stop", "length", "error"]


def end_token_ids(engine: Engine) -> frozenset[int]:
    """The ids that end an answer: ``generation_config.eos_token_id``, one or several."""
    config: Any = engine.model.generation_config
    ids = config.eos_token_id
    return frozenset([ids] if isinstance(ids, int) else ids or ())


def own_settings(engine: Engine) -> SamplingSettings:
    """What the checkpoint's ``generation_config`` asks for; greedy where it does not sample."""
    config: Any = engine.model.generation_config
    given = {
        name: getattr(config, name, None)
        for name in ("top_k", "top_p", "min_p", "typical_p", "repetition_penalty")
    }
    # transformers' defaults where the file leaves something out: top-k alone is not off there.
    temperature = 1.0 if config.temperature is None else config.temperature
    given["temperature"] = temperature if config.do_sample else 0.0
    if config.do_sample and given["top_k"] is None:
        given["top_k"] = 50
    return check_settings({name: value for name, value in given.items() if value is not None})


def barred_token_ids(engine: Engine) -> tuple[int, ...]:
    """The placeholders and marks of pictures, ascending: none of them is ever sampled."""
    facts, tokenizer = engine.facts, engine.tokenizer
    ids = {
        facts.image_token_id,
        facts.video_token_id,
        facts.vision_start_token_id,
        facts.vision_end_token_id,
    }
    vision_pad = tokenizer.get_added_vocab().get("<|vision_pad|>")  # not in the configuration
    if vision_pad is not None:
        ids.add(vision_pad)
    return tuple(sorted(ids))


def decode_step(
    engine: Engine, cache: DynamicCache, token_ids: torch.Tensor, position_ids: torch.Tensor
) -> torch.Tensor:
    """``decode_states``, and the logits of the last token: (rows, vocab) float32 on the CPU."""
    states = decode_states(engine, cache, token_ids, position_ids)
    return last_logits(engine, states)


def last_logits(engine: Engine, states: torch.Tensor) -> torch.Tensor:
    """``lm_head`` on the last of ``(rows, tokens, hidden)``: (rows, vocab) float32 on the CPU."""
    model: Any = engine.model
    with engine.exclusive():
        logits: torch.Tensor = model.lm_head(states[:, -1:])[:, 0]
        return logits.float().cpu()


@dataclass(slots=True, eq=False)
class _Column:
    """One column while it runs."""

    settings: SamplingSettings
    generator: torch.Generator
    steps: list[TokenStep]
    states: list[torch.Tensor]  # (hidden,) per step, on the CPU
    forced: int | None  # the first new token, where it is given
    finish_reason: FinishReason = "running"
    error: str = ""
    seconds: float = 0.0  # from the start of the run to its last token
    path: Path | None = None

    @classmethod
    def start(cls, settings: SamplingSettings, prefix: Prefix, forced: int | None) -> _Column:
        generator = torch.Generator().manual_seed(settings.seed)
        if settings.temperature > 0:
            # The numbers that the tokens before took: a branch gets those of its own steps.
            for _ in prefix.steps:
                draw_uniform(generator)
        return cls(settings, generator, list(prefix.steps), list(prefix.hidden_states), forced)

    @property
    def ids(self) -> list[int]:
        return [step.id for step in self.steps]

    def trace(self, tokenizer: Any) -> SamplingTrace:
        text: str = tokenizer.decode(
            self.ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        if self.finish_reason == "running":
            # A character of several tokens whose last token is still to come.
            text = text.rstrip("\N{REPLACEMENT CHARACTER}")
        return SamplingTrace(self.settings, tuple(self.steps), text, self.finish_reason, self.error)


class Sampler:
    """Columns that are written together, as one batch on a fork of the cache they start from.

    Columns that have ended leave the batch. The engine's lock is held for each forward only, so
    that users take turns token by token, and a caller that stops iterating stops the run.
    """

    def __init__(
        self,
        engine: Engine,
        prefix: Prefix,
        settings: Sequence[SamplingSettings | Mapping[str, object]],
        *,
        max_new_tokens: object,
        top: int = 8,
        first_ids: Sequence[int | None] | None = None,
        keep_paths: bool = False,
        keep_going: bool = False,
    ) -> None:
        """Check everything; nothing is run yet.

        Args:
            engine: the loaded checkpoint.
            prefix: where all columns start; it is not changed.
            settings: one per column, 1 to ``MAX_COLUMNS``.
            max_new_tokens: 1 to ``MAX_NEW_TOKENS``, the ending token included.
            top: candidates reported per token.
            first_ids: the first new token of each column, where that is given and not drawn.
            keep_paths: copy what each column leaves in the cache, see ``paths``.
            keep_going: a column that nothing can be drawn for ends by itself, with its error.

        Raises:
            InputError: a setting, the length or a first token is refused.
        """
        checked = check_columns(settings)
        self._max_new_tokens = check_max_new_tokens(max_new_tokens)
        firsts = first_ids if first_ids is not None else [None] * len(checked)
        self._barred_ids = torch.tensor(barred_token_ids(engine))
        for token_id in firsts:
            _check_first(engine, token_id, self._barred_ids)
        self._columns = [
            _Column.start(column, prefix, first)
            for column, first in zip(checked, firsts, strict=True)
        ]
        self._engine, self._prefix = engine, prefix
        self._top = min(top, MAX_CANDIDATES)
        self._keep_paths, self._keep_going = keep_paths, keep_going
        self._running = list(self._columns)
        self._cache = expand_cache(prefix.cache, len(checked))

    @property
    def run(self) -> SamplingRun:
        """What is written so far."""
        return SamplingRun(tuple(each.trace(self._engine.tokenizer) for each in self._columns))

    @property
    def seconds(self) -> tuple[float, ...]:
        """How long each column has been written on, from the start of all."""
        return tuple(column.seconds for column in self._columns)

    def paths(self) -> tuple[Path, ...]:
        """What each column left, as far as it came; the run must keep paths."""
        for row, column in enumerate(self._running):
            column.path = self._take_path(row, column)
        return tuple(column.path for column in self._columns if column.path is not None)

    def stream(self, progress: Progress | None = None) -> Iterator[SamplingRun]:
        """Write one token of each column at a time.

        Args:
            progress: called before every token; ``StageCancelled`` raised in it stops the run.

        Yields:
            The run so far, after every step.

        Raises:
            ModelError: logits that nothing can be drawn from.
        """
        began = time.perf_counter()
        written = len(self._prefix.steps)
        logits = self._prefix.logits.float().expand(len(self._running), -1)
        for step in range(self._max_new_tokens):
            if progress is not None:
                progress("token", step, self._max_new_tokens)
            for column, row in zip(self._running, logits, strict=True):
                self._choose(column, row, is_last=step + 1 == self._max_new_tokens)
                column.seconds = time.perf_counter() - began
            self._drop_ended()
            yield self.run
            if not self._running:
                return
            token_ids = torch.tensor([[column.steps[-1].id] for column in self._running])
            place = self._prefix.start + written + step
            positions = torch.full((3, len(self._running), 1), place)
            states = decode_states(self._engine, self._cache, token_ids, positions)
            logits = last_logits(self._engine, states)
            if self._keep_paths:
                for column, state in zip(self._running, states[:, -1].cpu(), strict=True):
                    column.states.append(state)

    def _choose(self, column: _Column, logits: torch.Tensor, *, is_last: bool) -> None:
        """Add one token to a column, or end it with an error."""
        tokenizer = self._engine.tokenizer
        generated = torch.tensor(column.ids, dtype=torch.int64)[None]
        context = FilterContext(
            column.settings, self._prefix.prompt_ids, generated, self._barred_ids
        )
        try:
            token = sample_next_token(
                logits,
                context,
                column.generator,
                top=self._top,
                text_of=lambda token_id: token_text(tokenizer, token_id),
                forced=column.forced,
            )
        except ModelError as error:
            if not self._keep_going:
                raise
            column.finish_reason, column.error = "error", str(error)
            return
        column.forced = None
        column.steps.append(token)
        if token.id in end_token_ids(self._engine):
            column.finish_reason = "stop"
        elif is_last:
            column.finish_reason = "length"

    def _drop_ended(self) -> None:
        """Take the columns that have ended out of the batch, and what they leave with them."""
        alive = [row for row, each in enumerate(self._running) if each.finish_reason == "running"]
        if len(alive) == len(self._running):
            return
        if self._keep_paths:
            for row, column in enumerate(self._running):
                if row not in alive:
                    column.path = self._take_path(row, column)
        self._running = [self._running[row] for row in alive]
        if alive:
            self._cache.batch_select_indices(torch.tensor(alive, device=self._engine.device))

    def _take_path(self, row: int, column: _Column) -> Path:
        return take_path(
            self._cache,
            row,
            prompt_tokens=len(self._prefix.prompt_ids),
            token_ids=tuple(column.ids),
            hidden_states=torch.stack(column.states[: len(column.steps) + 1]),
        )


def _check_first(engine: Engine, token_id: int | None, barred_ids: torch.Tensor) -> None:
    if token_id is None:
        return
    if not 0 <= token_id < engine.facts.vocab_size:
        raise InputError(
            f"There is no token {token_id}.",
            limit=f"The vocabulary has {engine.facts.vocab_size:,} words.",
        )
    if bool((barred_ids == token_id).any()):
        raise InputError(
            f"{token_text(engine.tokenizer, token_id)} stands for a picture and is never written.",
            remedy="Choose another token.",
        )


def stream_sampling(
    engine: Engine,
    inputs: ModelInputs,
    merged: MergedInputs,
    decoder_output: DecoderOutput,
    settings: Sequence[SamplingSettings | Mapping[str, object]],
    *,
    max_new_tokens: int,
    top: int = 8,
    progress: Progress | None = None,
) -> Iterator[SamplingRun]:
    """Generate all columns together from one prefill, one token of each at a time.

    Args:
        engine: the loaded checkpoint.
        inputs: the record of ``run_preprocess``.
        merged: the record of ``run_merge`` for the same inputs.
        decoder_output: the record of ``run_decoder`` for the same inputs; it is not changed.
        settings: one per column, 1 to ``MAX_COLUMNS``.
        max_new_tokens: 1 to ``MAX_NEW_TOKENS``, the ending token included.
        top: candidates reported per token.
        progress: called before every token; ``StageCancelled`` raised in it stops the run.

    Returns:
        An iterator over the run so far, after every step.

    Raises:
        InputError: a setting or the length is refused; raised by the call itself.
        ModelError: logits that nothing can be drawn from; raised by the iterator.
    """
    prefix = prompt_prefix(inputs, merged, decoder_output)
    sampler = Sampler(engine, prefix, settings, max_new_tokens=max_new_tokens, top=top)
    return sampler.stream(progress)


def run_sampling(
    engine: Engine,
    inputs: ModelInputs,
    merged: MergedInputs,
    decoder_output: DecoderOutput,
    settings: Sequence[SamplingSettings | Mapping[str, object]],
    *,
    max_new_tokens: int,
    top: int = 8,
    progress: Progress | None = None,
) -> SamplingRun:
    """``stream_sampling`` to its end: the finished run."""
    *_, run = stream_sampling(
        engine,
        inputs,
        merged,
        decoder_output,
        settings,
        max_new_tokens=max_new_tokens,
        top=top,
        progress=progress,
    )
    return run
