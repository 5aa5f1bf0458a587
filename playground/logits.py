"""Rows of logits: ``lm_head``, finite checks, the most likely tokens, and log-sum-exp.

A vocabulary has 151,936 tokens. The top k are found in two stages, without sorting all: the largest
of each block of 128 tokens, then the tokens of the blocks that can hold one of them.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch

from playground.engine import Engine
from playground.errors import ModelError
from playground.language import say
from playground.records import TokenProb
from playground.tokens import token_text

BLOCK = 128  # tokens; 151,936 is 1,187 blocks
SMALL_VOCAB = 16_384  # tokens; up to here torch's own top-k is at least as fast


def apply_head(engine: Engine, states: torch.Tensor) -> torch.Tensor:
    """The logits of some positions, from the final norm's output there.

    Args:
        engine: the loaded checkpoint, with its edits if the states are of a changed run.
        states: (rows, hidden); a hundred at most, as a row of logits has the whole vocabulary.

    Returns:
        ``(rows, vocab)`` in the model's dtype, on the CPU.
    """
    head: Any = engine.model.lm_head
    with engine.exclusive():
        # A packed head has no parameter called weight, or only buffers.
        device = next(chain(head.parameters(), head.buffers())).device
        logits: torch.Tensor = head(states.to(device)).cpu()
    return logits


def check_finite(logits: torch.Tensor) -> None:
    """Refuse logits that do not define a distribution.

    Raises:
        ModelError: a logit is NaN or infinite.
    """
    if not torch.isfinite(logits).all():
        raise ModelError(
            say("The model's logits contain NaN or infinity."),
            remedy=say("Use another dtype (--dtype float32 or bfloat16), or check the weights."),
        )


def next_token_probs(engine: Engine, logits: torch.Tensor, top_k: int) -> tuple[TokenProb, ...]:
    """The most likely next tokens in the unfiltered distribution, most likely first.

    Args:
        engine: for the tokens' texts.
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
    """``logits.topk(count)``; ties may be ordered differently.

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
    offsets = torch.arange(BLOCK, device=logits.device)
    ids = (nearest[:, :, None] * BLOCK + offsets).flatten(1)
    if whole < vocab:  # the tokens after the last whole block
        rest = torch.arange(whole, vocab, device=logits.device)
        values = torch.cat([values, logits[:, whole:]], dim=1)
        ids = torch.cat([ids, rest.expand(rows, -1)], dim=1)
    top = values.topk(count)
    return top.values, ids.gather(1, top.indices)


def log_totals(logits: torch.Tensor, highest: torch.Tensor) -> torch.Tensor:
    """Compute ``logits.float().logsumexp(-1)`` row by row, within the CPU's cache.

    All rows reuse the same memory, since new pages for each row would cost three times as much as
    the sum.

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
        row.copy_(values).sub_(high).exp_().sum()
        for values, high in zip(logits, highest, strict=True)
    ]
    return highest + torch.stack(sums).log()
