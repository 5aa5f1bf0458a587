"""The likeliest words of rows of logits, and the sum of all, without sorting a vocabulary.

A vocabulary has 151,936 words. Its largest few are looked for in two stages: the largest of each
block of 128 words, then the words of the blocks that can hold one of them.
"""

from __future__ import annotations

import torch

BLOCK = 128  # words; 151,936 is 1,187 blocks of it
SMALL_VOCAB = 16_384  # words; up to here torch's own way is at least as fast


def top_words(logits: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """``logits.topk(count)``; among equal logits other words may come first.

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
    # The blocks with the largest maxima hold `count` words that no word elsewhere exceeds.
    nearest = blocks.amax(-1).topk(count).indices
    words = blocks.gather(1, nearest[:, :, None].expand(-1, -1, BLOCK)).flatten(1)
    places = torch.arange(BLOCK, device=logits.device)
    ids = (nearest[:, :, None] * BLOCK + places).flatten(1)
    if whole < vocab:  # the words after the last whole block
        rest = torch.arange(whole, vocab, device=logits.device)
        words = torch.cat([words, logits[:, whole:]], dim=1)
        ids = torch.cat([ids, rest.expand(rows, -1)], dim=1)
    top = words.topk(count)
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
