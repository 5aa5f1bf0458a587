"""When did the model make up its mind? The answer's probability after every n thinking tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from playground.cache import crop_cache, fork_cache
from playground.engine import Engine
from playground.errors import InputError
from playground.language import say
from playground.records import Progress
from playground.sampling.paths import Prefix, decode_states, room_in_window
from playground.sampling.thinking import no_think_tags, read_think_tags

MAX_CUTS = 64
MAX_ANSWER = 256  # tokens
BETWEEN = "\n\n"  # Qwen's templates put it after </think>
SURE_PROB = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class ThinkingCut:
    """The answer after the first n thinking tokens and ``</think>``."""

    num_thinking: int
    log_probs: np.ndarray  # (answer tokens,) float32, nats, each given the tokens before it

    @property
    def log_prob(self) -> float:
        """Of the whole answer, in nats."""
        return float(self.log_probs.sum(dtype=np.float64))


@dataclass(frozen=True, slots=True, eq=False)
class ThinkingCurve:
    """The cuts so far, from no thinking to all of it."""

    answer_ids: tuple[int, ...]
    num_thinking: int  # tokens of the whole thinking
    cuts: tuple[ThinkingCut, ...]

    @property
    def settled_at(self) -> int | None:
        """The cut from which on the answer is always more likely than not; None without one."""
        settled = None
        for cut in reversed(self.cuts):
            if cut.log_prob < np.log(SURE_PROB):
                break
            settled = cut.num_thinking
        return settled


def cut_lengths(num_thinking: int, every: int | None = None) -> tuple[int, ...]:
    """Where to cut: every so many tokens, by default in ``MAX_CUTS`` steps; both ends included.

    Raises:
        InputError: ``every`` gives more than ``MAX_CUTS`` cuts, or is below 1.
    """
    least = max(1, -(-num_thinking // (MAX_CUTS - 1)))
    step = least if every is None else every
    if step < least:
        raise InputError(
            say("A cut after every {count:,} tokens is too often.", count=step),
            limit=say("The thinking has {count:,} tokens.", count=num_thinking),
            remedy=say("Cut after every {least:,} tokens or more.", least=least),
        )
    return (*range(0, num_thinking, step), num_thinking)


def stream_thinking_curve(
    engine: Engine,
    prompt: Prefix,
    thinking_ids: Sequence[int],
    answer_ids: Sequence[int],
    *,
    every: int | None = None,
    progress: Progress | None = None,
) -> Iterator[ThinkingCurve]:
    r"""Score an answer as if the thinking had been cut after n tokens, for several n.

    The thinking runs once. Each cut then crops its KV cache to n tokens, appends
    ``</think>\n\n`` and the answer, and runs these alone.

    Args:
        engine: the loaded checkpoint; its lock is held per forward pass.
        prompt: the end of the prompt; if it does not end with ``<think>``, that token is put
            before the thinking.
        thinking_ids: without the tags; may be empty.
        answer_ids: without white space before it; at least one token.
        every: tokens between two cuts; see ``cut_lengths``.
        progress: called before every cut; ``StageCancelled`` raised in it stops.

    Yields:
        The curve so far, after every cut.

    Raises:
        InputError: the tokenizer has no ``</think>``, or the tokens do not fit.
    """
    tags = read_think_tags(engine.tokenizer, prompt.prompt_ids)
    if tags is None:
        raise no_think_tags()
    between: list[int] = engine.tokenizer.encode(BETWEEN, add_special_tokens=False)
    close = [tags.end_id, *between]
    opened = ([] if tags.is_open else [tags.start_id]) + list(thinking_ids)
    _check_lengths(engine, prompt, len(opened) + len(close), answer_ids)
    lengths = cut_lengths(len(thinking_ids), every)
    cache, kept = fork_cache(prompt.cache), len(prompt.prompt_ids) + len(prompt.steps)
    first = prompt.start + len(prompt.steps)
    if opened:
        decode_states(engine, cache, torch.tensor([opened]), _positions(first, len(opened)))
    skipped = len(opened) - len(thinking_ids)
    cuts: list[ThinkingCut] = []
    for index, length in enumerate(lengths):
        if progress is not None:
            progress(say("cut thinking"), index, len(lengths))
        before = skipped + length
        ids = torch.tensor([[*close, *answer_ids[:-1]]])
        fork = crop_cache(cache, kept + before)
        states = decode_states(engine, fork, ids, _positions(first + before, ids.shape[1]))
        log_probs = _log_probs(engine, states[0, len(close) - 1 :], answer_ids)
        cuts.append(ThinkingCut(length, log_probs))
        yield ThinkingCurve(tuple(answer_ids), len(thinking_ids), tuple(cuts))


def _positions(first: int, count: int) -> torch.Tensor:
    """(3, 1, tokens) of text tokens."""
    return torch.arange(first, first + count).expand(3, 1, -1)


def _log_probs(engine: Engine, states: torch.Tensor, answer_ids: Sequence[int]) -> np.ndarray:
    """(tokens,) float32 of the answer, from the states (tokens, hidden) before each token."""
    with engine.exclusive(), torch.inference_mode():
        log_probs = engine.model.lm_head(states).float().log_softmax(-1).cpu()
    chosen = log_probs.gather(1, torch.tensor(list(answer_ids))[:, None])
    return np.asarray(chosen[:, 0].numpy(), np.float32)


def _check_lengths(engine: Engine, prompt: Prefix, before: int, answer_ids: Sequence[int]) -> None:
    if not answer_ids:
        raise InputError(say("The answer is empty."), remedy=say("Give at least one token."))
    room = room_in_window(engine, prompt) - before
    if len(answer_ids) > min(MAX_ANSWER, room):
        raise InputError(
            say("The text has {count:,} tokens.", count=len(answer_ids)),
            limit=say("The limit is {most:,}.", most=max(0, min(MAX_ANSWER, room))),
            remedy=say("Score a shorter text."),
        )
