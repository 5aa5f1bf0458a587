"""Stage 5: from logits to tokens, one column per settings, all columns from one prefill.

The loop is ``generate``'s, written out so that every step can be seen: filters, draw, cached
forward. Two things differ from ``generate`` on purpose. Vision placeholders are never sampled
(``suppress_tokens`` there), since a placeholder without a picture derails the model. And a token
is drawn by one uniform number through the inverse CDF, from a generator of the column's own, so
that a column neither depends on its neighbours nor on the global seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from transformers import DynamicCache

from playground.decoder import check_finite
from playground.engine import Engine
from playground.errors import ModelError
from playground.kv_cache import expand_cache
from playground.logits_filters import REMOVED, FilterContext, filter_logits, removed_by
from playground.records import (
    Candidate,
    DecoderOutput,
    MergedInputs,
    ModelInputs,
    Progress,
    SamplingRun,
    SamplingSettings,
    SamplingTrace,
    TokenStep,
)
from playground.sampling_settings import (
    LIMITS,
    MAX_COLUMNS,
    MAX_NEW_TOKENS,
    check_columns,
    check_max_new_tokens,
    check_settings,
)
from playground.tokens import token_text

__all__ = [
    "LIMITS",
    "MAX_COLUMNS",
    "MAX_NEW_TOKENS",
    "barred_token_ids",
    "check_columns",
    "check_max_new_tokens",
    "check_settings",
    "decode_step",
    "distribution",
    "draw_token",
    "end_token_ids",
    "invert_cdf",
    "run_sampling",
    "sample_next_token",
    "stream_sampling",
]

MAX_CANDIDATES = 100  # TokenStep.top, per step

FinishReason = Literal["running", "stop", "length"]

# --------------------------------------------------------------------------- one token


def draw_token(
    logits: torch.Tensor, generator: torch.Generator
) -> tuple[int, float, torch.Tensor, torch.Tensor]:
    """Draw by one uniform number through the inverse CDF.

    The tokens stand in the order of their ids, not of their probabilities: two tokens of almost
    equal probability may change places between a row alone and the same row in a batch, and the
    draw would then change with them.

    Args:
        logits: (vocab,), ``-inf`` where removed.
        generator: the column's own, on the CPU; one float64 is taken.

    Returns:
        The token's id, the uniform number in [0, 1), and the distribution: kept ids (kept,) int64
        and their probabilities (kept,) float64.

    Raises:
        ModelError: nothing is left to draw from, or the logits overflowed.
    """
    ids, probs = distribution(logits)
    uniform = float(torch.rand((), dtype=torch.float64, generator=generator))
    return int(ids[invert_cdf(probs, uniform)]), uniform, ids, probs


def distribution(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Kept ids in ascending order (kept,) int64, and their probabilities (kept,) float64.

    Args:
        logits: (vocab,), ``-inf`` where removed.

    Raises:
        ModelError: no token is kept, or a kept one is NaN or infinite.
    """
    ids = (logits != REMOVED).nonzero()[:, 0]
    kept = logits[ids].double()
    if not len(ids) or not torch.isfinite(kept).all():
        raise ModelError(
            "These settings leave no distribution to draw from.",
            limit="After the penalties and the temperature every logit must be a finite number.",
            remedy="Raise the temperature, or bring the penalties nearer to their neutral values.",
        )
    return ids, kept.softmax(-1)


def invert_cdf(probs: torch.Tensor, uniform: float) -> int:
    """The first index whose cumulative probability exceeds ``uniform``.

    Args:
        probs: (kept,) float64, of sum 1 up to rounding.
        uniform: in [0, 1).
    """
    cumulative = probs.cumsum(-1)
    index = int(torch.searchsorted(cumulative, uniform * cumulative[-1], right=True))
    # Rounding may carry the product up to the sum itself: then the last token that can be drawn.
    return min(index, int(probs.nonzero()[-1]))


def sample_next_token(
    logits: torch.Tensor,
    context: FilterContext,
    generator: torch.Generator,
    *,
    top: int = 8,
    text_of: Callable[[int], str] = str,
) -> TokenStep:
    """Filter one row of logits and choose its next token.

    Args:
        logits: (vocab,), finite.
        context: the row's settings and tokens; ``generated_ids`` is (1, steps).
        generator: on the CPU; untouched when greedy.
        top: candidates to report, by raw probability. The chosen token follows as one more if it
            is not among them.
        text_of: a token's readable text.

    Raises:
        ModelError: the logits are not finite, before or after the filters.
    """
    check_finite(logits)
    logits = logits.float()
    steps = filter_logits(logits[None], context)
    filtered = steps[-1].logits[0] if steps else logits
    if context.settings.temperature == 0:
        ids, probs = distribution(filtered)
        token_id, uniform = int(ids[0]), None
    else:
        token_id, uniform, ids, probs = draw_token(filtered, generator)

    def prob_of(candidate: int) -> float:
        return float(probs[ids == candidate].sum())  # 0 where it is not among the kept

    raw_probs = logits.softmax(-1)
    reported = raw_probs.topk(min(top, len(logits))).indices.tolist()
    if token_id not in reported:
        reported.append(token_id)
    return TokenStep(
        id=token_id,
        text=text_of(token_id),
        prob=prob_of(token_id),
        entropy=max(0.0, float(torch.special.entr(probs).sum())),  # no -0.0
        uniform=uniform,
        num_kept=len(ids),
        top=tuple(
            Candidate(
                id=candidate,
                text=text_of(candidate),
                raw_prob=float(raw_probs[candidate]),
                prob=prob_of(candidate),
                removed_by=removed_by(steps, 0, candidate),
            )
            for candidate in reported
        ),
    )


# --------------------------------------------------------------------------- the decode loop


def end_token_ids(engine: Engine) -> frozenset[int]:
    """The ids that end an answer: ``generation_config.eos_token_id``, one or several."""
    config: Any = engine.model.generation_config
    ids = config.eos_token_id
    return frozenset([ids] if isinstance(ids, int) else ids or ())


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
    """Run the decoder over new text tokens on top of a cache, which grows by them.

    All rows are equally long and none is padded, so the causal mask that the model builds by
    itself is the right one. Positions are explicit, so ``model.rope_deltas``, which all users
    share, is neither read nor written.

    Args:
        engine: the loaded checkpoint; its lock is held for this one step.
        cache: the caller's own; its batch size is ``rows``.
        token_ids: (rows, tokens) int64.
        position_ids: (3, rows, tokens) int64.

    Returns:
        (rows, vocab) float32 logits of the last token, on the CPU.
    """
    model: Any = engine.model
    with engine.exclusive():
        output = model.model.language_model(
            input_ids=token_ids.to(engine.device),
            position_ids=position_ids.to(engine.device),
            past_key_values=cache,
            use_cache=True,
        )
        logits: torch.Tensor = model.lm_head(output.last_hidden_state[:, -1:])[:, 0]
        return logits.float().cpu()


@dataclass(slots=True, eq=False)
class _Column:
    """One column while it runs."""

    settings: SamplingSettings
    generator: torch.Generator
    steps: list[TokenStep] = field(default_factory=list)
    finish_reason: FinishReason = "running"

    @classmethod
    def start(cls, settings: SamplingSettings) -> _Column:
        return cls(settings, torch.Generator().manual_seed(settings.seed))

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
        return SamplingTrace(self.settings, tuple(self.steps), text, self.finish_reason)


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
    """Generate all columns together, one token of each at a time.

    The columns are one batch on a fork of the prefill's cache; columns that have ended leave it.
    The engine's lock is held for each forward only, so that users take turns token by token, and
    a caller that stops iterating stops the run.

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
    columns = [_Column.start(column) for column in check_columns(settings)]
    check_max_new_tokens(max_new_tokens)
    start = inputs.num_tokens + int(merged.rope_deltas)
    return _stream(
        engine,
        columns,
        decoder_output,
        prompt_ids=inputs.input_ids[0],
        start=start,
        max_new_tokens=int(max_new_tokens),
        top=min(top, MAX_CANDIDATES),
        progress=progress,
    )


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


def _stream(
    engine: Engine,
    columns: Sequence[_Column],
    decoder_output: DecoderOutput,
    *,
    prompt_ids: torch.Tensor,
    start: int,
    max_new_tokens: int,
    top: int,
    progress: Progress | None,
) -> Iterator[SamplingRun]:
    """The loop of ``stream_sampling``; ``start`` is the position of the first new token."""
    tokenizer, end_ids = engine.tokenizer, end_token_ids(engine)
    barred_ids = torch.tensor(barred_token_ids(engine))
    running = list(columns)
    cache = expand_cache(decoder_output.past_key_values, len(running))
    logits = decoder_output.logits.expand(len(running), -1)
    for step in range(max_new_tokens):
        if progress is not None:
            progress("token", step, max_new_tokens)
        for column, row in zip(running, logits, strict=True):
            generated = torch.tensor(column.ids, dtype=torch.int64)[None]
            context = FilterContext(column.settings, prompt_ids, generated, barred_ids)
            token = sample_next_token(
                row,
                context,
                column.generator,
                top=top,
                text_of=lambda token_id: token_text(tokenizer, token_id),
            )
            column.steps.append(token)
            if token.id in end_ids:
                column.finish_reason = "stop"
            elif step + 1 == max_new_tokens:
                column.finish_reason = "length"
        yield SamplingRun(tuple(column.trace(tokenizer) for column in columns))

        alive = [row for row, column in enumerate(running) if column.finish_reason == "running"]
        if not alive:
            return
        if len(alive) < len(running):
            running = [running[row] for row in alive]
            cache.batch_select_indices(torch.tensor(alive))
        token_ids = torch.tensor([[column.steps[-1].id] for column in running])
        positions = torch.full((3, len(running), 1), start + step)
        logits = decode_step(engine, cache, token_ids, positions)
