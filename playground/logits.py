"""Rows of logits: whether they are finite, their likeliest tokens, and the sum of all.

A vocabulary has 151,936 tokens. Its largest few are looked for in two stages, without sorting it:
the largest of each block of 128 tokens, then the tokens of the blocks that can hold one of them.
"""

from __future__ import annotations

import torch

from playground.engine import Engine
from playground.errors import ModelError
from playground.language import say
from playground.records import TokenProb
from playground.tokens import token_text

BLOCK = 128  # tokens; 151,936 is 1,187 blocks of it
SMALL_VOCAB = 16_384  # tokens; up to here torch's own way is at least as fast


def check_finite(logits: torch.Tensor) -> None:
    """Refuse logits that no distribution can be made of.

    Raises:
        ModelError: a logit is NaN or infinite.
    """
    if not torch.isfinite(logits).all():
        raise ModelError(
            say("The model's logits contain NaN or infinity."),
            remedy=say("Use another dtype (--dtype float32 or bfloat16), or check the weights."),
        )


def next_token_probs(engine: Engine, logits: torch.Tensor, top_k: int) -> tuple[TokenProb, ...]:
    """The likeliest next tokens under the untouched distribution, likeliest first.

    Args:
        engine: gives the tokens' texts.
        logits: (vocab,).
        top_k: how many; at most the vocabulary.
    """
    probs = logits.float().softmax(-1)
    top = probs.topk(min(top_k, probs.numel()))
    return tuple(
        TokenProb(token_id, token_text(engine.tokenizer, token_id), prob)
        for token_id, prob in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    )


def top_tokens(logits: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """``logits.topk(count)``; among equal logits other tokens may come first.

    Args:
        logits: ``(rows, vocab)``.
        count: at most ``vocab``.

    Returns:
        Values and ids, ``(rows, count)`` each, the largest first.
    """
    rows, vocab = logits.shape
    num_blocks = vocab // BLOCK
    if vocab <= SMALL_VOCAB or num_blocks <= count:
        values, ids = logits.topk(count)
        return values, ids
    whole = num_blocks * BLOCK
    blocks = logits[:, :whole].unflatten(1, (num_blocks, BLOCK))
    # The blocks with the largest maxima hold `count` tokens that no token elsewhere exceeds.
    nearest = blocks.amax(-1).topk(count).indices
    values = blocks.gather(1, nearest[:, :, None].expand(-1, -1, BLOCK)).flatten(1)
    places = torch.arange(BLOCK, device=logits.device)
    ids = (nearest[:, :, None] * BLOCK + places).flatten(1)
    if whole < vocab:  # the tokens after the last whole block
        rest = torch.arange(whole, vocab, device=logits.device)
        values = torch.cat([values, logits[:, whole:]], dim=1)
        ids = torch.cat([ids, rest.expand(rows, -1)], dim=1)
    top = values.topk(count)
    return top.values, ids.gather(1, top.indices)


def log_totals(logits: torch.Tensor, highest: torch.Tensor) -> torch.Tensor:
    """``logits.float().logsumexp(-1)``, row by row: one row's exponentials stay in a cache.

    They are written to the same memory, since fresh pages for each row cost three times the sum.

    Args:
        logits: ``(rows, vocab)``.
        highest: ``(rows,)``, the largest of each row.

    Returns:
        ``(rows,)`` float32.
    """
    if logits.device.type != "cpu" or logits.shape[1] <= SMALL_VOCAB:
        return logits.float().logsumexp(-1)
    highest = highest.float()
    row = torch.empty(logits.shape[1])
    sums = [
        row.copy_(each).sub_(high).exp_().sum() for each, high in zip(logits, highest, strict=True)
    ]
    return highest + torch.stack(sums).log()
