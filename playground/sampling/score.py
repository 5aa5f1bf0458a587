"""Score any text as the model's answer: the probability of each of its tokens.

Teacher forcing: the text's tokens go through the decoder in one forward pass on top of the
prompt's KV cache, and each is looked up in the distribution given the tokens before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from playground.engine import Engine
from playground.errors import InputError
from playground.language import say
from playground.sampling.generation_config import end_token_ids
from playground.sampling.paths import (
    Prefix,
    TokenPath,
    all_logits,
    force_tokens,
    room_in_window,
)
from playground.sampling.trace import Candidate, SamplingSettings, SamplingTrace, TokenStep
from playground.tokens import neutralise_special_tokens, token_text

MAX_SCORED_TOKENS = 512
MAX_SCORED_CHARS = 8192


@dataclass(frozen=True, slots=True, eq=False)
class ScoredText:
    """A text as if the model had generated it, with probabilities before the filters."""

    trace: SamplingTrace
    ranks: tuple[int, ...]  # of each token in the vocabulary, from 1
    path: TokenPath

    @property
    def num_tokens(self) -> int:
        """Number of tokens."""
        return len(self.ranks)


def read_answer(engine: Engine, text: object, *, with_end: bool = False) -> list[int]:
    """Tokenize a text that takes the place of the model's answer.

    Special tokens in it stay text, as in a prompt.

    Args:
        engine: provides the tokenizer.
        text: the user's input.
        with_end: append the token that ends an answer.

    Raises:
        InputError: the text is empty or too long.
    """
    if not isinstance(text, str) or not text:
        raise InputError(say("The text is empty."), remedy=say("Enter some text."))
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(
            say("The text contains an unpaired surrogate, which is not a valid character.")
        )
    if len(text) > MAX_SCORED_CHARS:
        raise InputError(
            say("The text has {count:,} characters.", count=len(text)),
            limit=say("The limit is {most:,}.", most=MAX_SCORED_CHARS),
        )
    plain, _ = neutralise_special_tokens(engine.tokenizer, text)
    ids: list[int] = engine.tokenizer.encode(plain, add_special_tokens=False)
    if with_end:
        ids.append(_end_id(engine))
    most = engine.limits.at_most(MAX_SCORED_TOKENS)
    if len(ids) > most:
        raise InputError(
            say("The text has {count:,} tokens.", count=len(ids)),
            limit=say("The limit is {most:,}.", most=most),
            remedy=say("Score a shorter text."),
        )
    return ids


def _end_id(engine: Engine) -> int:
    """The tokenizer's end-of-turn token, if it ends an answer; else another id that does."""
    ends = end_token_ids(engine)
    named = engine.tokenizer.eos_token_id
    if named in ends:
        return int(named)
    return min(ends)


def score_tokens(engine: Engine, prompt: Prefix, token_ids: list[int], top: int = 8) -> ScoredText:
    """Probability and rank of each given token after the prompt.

    Args:
        engine: the loaded checkpoint; its lock is held per forward pass.
        prompt: the end of the prompt.
        token_ids: at least one.
        top: candidates reported per token.

    Raises:
        InputError: the tokens do not fit into the context window.
    """
    room = room_in_window(engine, prompt)
    if len(token_ids) > room:
        raise InputError(
            say("The text has {count:,} tokens.", count=len(token_ids)),
            limit=say("The context window has room for {most:,} after the prompt.", most=room),
            remedy=say("Score a shorter text."),
        )
    path = force_tokens(engine, prompt, token_ids)
    steps: list[TokenStep] = []
    ranks: list[int] = []
    rows = (row for chunk in all_logits(engine, path) for row in chunk)
    for index, (token_id, logits) in enumerate(zip(token_ids, rows, strict=True)):
        row = prompt.logits.float() if index == 0 else logits
        step, rank = _score_token(engine, row, token_id, top)
        steps.append(step)
        ranks.append(rank)
    ended = token_ids[-1] in end_token_ids(engine)
    trace = SamplingTrace(
        settings=SamplingSettings(),
        steps=tuple(steps),
        text=engine.tokenizer.decode(token_ids, skip_special_tokens=True),
        finish_reason="stop" if ended else "length",
    )
    return ScoredText(trace, tuple(ranks), path)


def _score_token(
    engine: Engine, logits: torch.Tensor, token_id: int, top: int
) -> tuple[TokenStep, int]:
    """A given token under logits (vocab,) float32, and its rank from 1."""
    probs = logits.double().softmax(-1)
    reported = probs.topk(min(top, len(probs))).indices.tolist()
    if token_id not in reported:
        reported.append(token_id)
    candidates = tuple(
        Candidate(
            id=token_id,
            text=token_text(engine.tokenizer, token_id),
            raw_prob=float(probs[token_id]),
            prob=float(probs[token_id]),
            removed_by=None,
        )
        for token_id in reported
    )
    step = TokenStep(
        id=token_id,
        text=token_text(engine.tokenizer, token_id),
        prob=float(probs[token_id]),
        entropy=max(0.0, float(torch.special.entr(probs).sum())),
        uniform=None,
        num_kept=len(probs),
        top=candidates,
        forced=True,
    )
    return step, int((logits > logits[token_id]).sum()) + 1
