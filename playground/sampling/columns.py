"""The decode loop: generates columns of settings together, from one prefill."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from playground.cache import expand_cache
from playground.engine import Engine
from playground.errors import ModelError
from playground.language import say
from playground.records import Progress
from playground.sampling.filter_chain import FilterContext
from playground.sampling.generation_config import (
    barred_token_ids,
    check_token_ids,
    end_token_ids,
)
from playground.sampling.paths import (
    Prefix,
    TokenPath,
    decode_states,
    last_logits,
    room_in_window,
    take_path,
)
from playground.sampling.settings import check_columns, check_max_new_tokens
from playground.sampling.step import draw_uniform, sample_next_token
from playground.sampling.thinking import no_think_tags, read_think_tags
from playground.sampling.trace import SamplingRun, SamplingSettings, SamplingTrace, TokenStep
from playground.tokens import token_text

MAX_CANDIDATES = 100  # TokenStep.top, per step

FinishReason = Literal["running", "stop", "length", "window", "error"]


@dataclass(slots=True, eq=False)
class _Column:
    """One column while it runs."""

    settings: SamplingSettings
    generator: torch.Generator
    steps: list[TokenStep]
    states: list[torch.Tensor]  # (hidden,) per step, on the CPU
    forced: int | None  # the first new token, if it is given
    finish_reason: FinishReason = "running"
    error: str = ""
    token_seconds: list[float] = field(default_factory=list)  # from the start of the run to each
    #                                                           of its own tokens
    path: TokenPath | None = None

    @classmethod
    def start(cls, settings: SamplingSettings, prefix: Prefix, forced: int | None) -> _Column:
        generator = torch.Generator().manual_seed(settings.seed)
        if settings.temperature > 0:
            # Skip the uniform samples of earlier tokens: a branch gets those of its own steps.
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
            # A character of several tokens whose last token is not generated yet.
            text = text.rstrip("\N{REPLACEMENT CHARACTER}")
        return SamplingTrace(self.settings, tuple(self.steps), text, self.finish_reason, self.error)


class Sampler:
    """Generates columns as one batch, on a fork of the KV cache that they start from.

    Columns that have ended leave the batch. The engine's lock is held only during a forward pass,
    so users alternate token by token, and a caller that stops iterating stops the run.
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
        """Check the arguments; the model does not run yet.

        Args:
            engine: the loaded checkpoint.
            prefix: where all columns start; not modified.
            settings: one per column, 1 to ``MAX_COLUMNS``.
            max_new_tokens: 1 to the engine's limit, including the end token; columns also stop at
                the end of the context window.
            top: candidates reported per token.
            first_ids: the first new token of each column; None to sample it.
            keep_paths: store each column's states, keys and values, see ``paths``.
            keep_going: a column without a token to sample ends with an error; the others continue.

        Raises:
            InputError: a setting, the length or a first token is invalid, the context window is
                full, or a column has a thinking budget and the tokenizer no ``</think>``.
        """
        checked = check_columns(settings)
        chosen = check_max_new_tokens(max_new_tokens, engine.limits.max_new_tokens)
        room = room_in_window(engine, prefix)
        self._max_new_tokens = min(chosen, room)
        self._last_reason: FinishReason = "length" if chosen <= room else "window"
        firsts = first_ids if first_ids is not None else [None] * len(checked)
        self._barred_ids = torch.tensor(barred_token_ids(engine))
        self._tags = read_think_tags(engine.tokenizer, prefix.prompt_ids)
        if self._tags is None and any(column.thinking_budget is not None for column in checked):
            raise no_think_tags()
        check_token_ids(engine, (token_id for token_id in firsts if token_id is not None))
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
        """The run so far."""
        return SamplingRun(tuple(column.trace(self._engine.tokenizer) for column in self._columns))

    @property
    def seconds(self) -> tuple[float, ...]:
        """Generation time of each column, from the start of the run."""
        return tuple(times[-1] if times else 0.0 for times in self.token_seconds)

    @property
    def token_seconds(self) -> tuple[tuple[float, ...], ...]:
        """When each token of each column was generated, from the start of the run.

        The tokens before a branch are not generated again: they take no time.
        """
        skipped = (0.0,) * len(self._prefix.steps)
        return tuple(skipped + tuple(column.token_seconds) for column in self._columns)

    def paths(self) -> tuple[TokenPath, ...]:
        """The path of each column so far; needs ``keep_paths``."""
        for row, column in enumerate(self._running):
            column.path = self._take_path(row, column)
        return tuple(column.path for column in self._columns if column.path is not None)

    def stream(self, progress: Progress | None = None) -> Iterator[SamplingRun]:
        """Generate one token of each column at a time.

        Args:
            progress: called before every token; ``StageCancelled`` raised in it stops the run.

        Yields:
            The run so far, after every step.

        Raises:
            ModelError: the logits leave no token to sample.
        """
        began = time.perf_counter()
        written = len(self._prefix.steps)
        logits = self._prefix.logits.float().expand(len(self._running), -1)
        for step in range(self._max_new_tokens):
            if progress is not None:
                progress(say("token"), step, self._max_new_tokens)
            for column, row in zip(self._running, logits, strict=True):
                self._choose(column, row, is_last=step + 1 == self._max_new_tokens)
                column.token_seconds.append(time.perf_counter() - began)
            self._drop_ended()
            yield self.run
            if not self._running:
                return
            token_ids = torch.tensor([[column.steps[-1].id] for column in self._running])
            position = self._prefix.start + written + step
            positions = torch.full((3, len(self._running), 1), position)
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
            column.settings, self._prefix.prompt_ids, generated, self._barred_ids, self._tags
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
            column.finish_reason = self._last_reason

    def _drop_ended(self) -> None:
        """Remove the columns that have ended from the batch, and store their paths."""
        alive = [
            row for row, column in enumerate(self._running) if column.finish_reason == "running"
        ]
        if len(alive) == len(self._running):
            return
        if self._keep_paths:
            for row, column in enumerate(self._running):
                if row not in alive:
                    column.path = self._take_path(row, column)
        self._running = [self._running[row] for row in alive]
        if alive:
            self._cache.batch_select_indices(torch.tensor(alive, device=self._engine.device))

    def _take_path(self, row: int, column: _Column) -> TokenPath:
        return take_path(
            self._cache,
            row,
            prompt_tokens=len(self._prefix.prompt_ids),
            token_ids=tuple(column.ids),
            hidden_states=torch.stack(column.states[: len(column.steps) + 1]),
        )
