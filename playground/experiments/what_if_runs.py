"""The original compared with a changed run: next-token distributions and greedy answers."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from playground.decoder.stage import run_decoder
from playground.engine import Engine
from playground.experiments.later_layers import run_later_layers
from playground.experiments.what_if import (
    WhatIf,
    change_merged,
    check_what_if,
    edit_engine,
    first_changed_layer,
)
from playground.records import DecoderOutput, MergedInputs, ModelInputs, Progress
from playground.sampling.stage import run_sampling
from playground.sampling.trace import SamplingSettings, SamplingTrace
from playground.tokens import token_text

GREEDY = SamplingSettings(temperature=0.0)


@dataclass(frozen=True, slots=True)
class TokenShift:
    """A token's probability in the original run and in the changed one."""

    id: int
    text: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class LogitsShift:
    """The change in the next token's distribution."""

    kl: float  # nats: KL(original || changed)
    max_abs_dp: float
    same_top: bool
    tokens: tuple[TokenShift, ...]  # top-k of both runs, sorted by the larger probability

    @property
    def top(self) -> TokenShift:
        """The most likely token of the original run."""
        return max(self.tokens, key=lambda token: token.before)

    @property
    def changed_top(self) -> TokenShift:
        """The most likely token of the changed run."""
        return max(self.tokens, key=lambda token: token.after)


@dataclass(frozen=True, slots=True, eq=False)
class WhatIfRun:
    """A prefill under a change, and its greedy answer."""

    engine: Engine  # with the edits of the change
    what_if: WhatIf
    merged: MergedInputs
    decoded: DecoderOutput
    answer: SamplingTrace


def run_what_if(
    engine: Engine,
    inputs: ModelInputs,
    merged: MergedInputs,
    what_if: WhatIf,
    *,
    decoded: DecoderOutput | None = None,
    max_new_tokens: int = 24,
    progress: Progress | None = None,
) -> WhatIfRun:
    """Prefill and decode greedily under a change; ``WhatIf()`` gives the original.

    Args:
        engine: the loaded checkpoint, which is not modified.
        inputs: the record of ``run_preprocess``.
        merged: the record of ``run_merge`` for the same inputs.
        what_if: the change.
        decoded: the record of ``run_decoder`` for the same inputs; layers before the change are
            reused from it. Without it, every layer runs.
        max_new_tokens: of the answer.
        progress: called before every layer and token; ``StageCancelled`` raised in it stops.

    Raises:
        InputError: the change does not fit the model or the sequence.
        ModelError: the changed logits hold NaN or infinity.
    """
    edited, changed, output = _prefill(engine, inputs, merged, what_if, decoded, progress)
    answer = greedy_answer(
        edited, inputs, changed, output, max_new_tokens=max_new_tokens, progress=progress
    )
    return WhatIfRun(edited, what_if, changed, output, answer)


def run_changed(
    engine: Engine,
    inputs: ModelInputs,
    merged: MergedInputs,
    what_if: WhatIf,
    *,
    decoded: DecoderOutput | None = None,
    progress: Progress | None = None,
) -> DecoderOutput:
    """``run_what_if`` without the answer: the prefill alone."""
    return _prefill(engine, inputs, merged, what_if, decoded, progress)[2]


def _prefill(
    engine: Engine,
    inputs: ModelInputs,
    merged: MergedInputs,
    what_if: WhatIf,
    decoded: DecoderOutput | None,
    progress: Progress | None,
) -> tuple[Engine, MergedInputs, DecoderOutput]:
    """The edited engine, its input and its prefill."""
    check_what_if(engine, inputs, what_if)
    changed = change_merged(merged, what_if)
    edited = edit_engine(engine, what_if, inputs.num_tokens)
    if decoded is None:
        return edited, changed, run_decoder(edited, inputs, changed, progress=progress)
    start = first_changed_layer(merged, what_if, decoded.num_layers)
    return (
        edited,
        changed,
        run_later_layers(edited, changed, inputs.attention_mask, decoded, start, progress=progress),
    )


def greedy_answer(
    engine: Engine,
    inputs: ModelInputs,
    merged: MergedInputs,
    decoded: DecoderOutput,
    *,
    max_new_tokens: int,
    progress: Progress | None = None,
) -> SamplingTrace:
    """The answer when the model always takes the most likely token; see ``run_sampling``.

    The engine's own limit shortens ``max_new_tokens``.
    """
    run = run_sampling(
        engine,
        inputs,
        merged,
        decoded,
        [GREEDY],
        max_new_tokens=engine.limits.at_most(max_new_tokens),
        progress=progress,
    )
    return run.traces[0]


def kl_divergence(first: torch.Tensor, second: torch.Tensor) -> float:
    """KL(first || second) in nats, of logits (vocab,)."""
    log_p, log_q = (logits.double().log_softmax(-1) for logits in (first, second))
    # Rounding may make the KL of two equal distributions slightly negative.
    return max(0.0, float((log_p.exp() * (log_p - log_q)).sum()))


def compare_logits(
    engine: Engine, before: torch.Tensor, after: torch.Tensor, top_k: int
) -> LogitsShift:
    """The next token's distribution in the original and in the changed run.

    Args:
        engine: gives the tokens' texts.
        before: (vocab,) logits of the original run.
        after: (vocab,) logits of the changed one.
        top_k: tokens of each run to compare.
    """
    p, q = (logits.double().softmax(-1) for logits in (before, after))
    count = min(top_k, p.numel())
    ids = torch.cat([p.topk(count).indices, q.topk(count).indices]).unique()
    ids = ids[torch.maximum(p, q)[ids].argsort(descending=True)]
    return LogitsShift(
        kl=kl_divergence(before, after),
        max_abs_dp=float((p - q).abs().max()),
        same_top=bool(p.argmax() == q.argmax()),
        tokens=tuple(
            TokenShift(
                token_id,
                token_text(engine.tokenizer, token_id),
                float(p[token_id]),
                float(q[token_id]),
            )
            for token_id in ids.tolist()
        ),
    )
