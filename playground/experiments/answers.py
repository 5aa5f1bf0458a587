"""The probability of each token of one answer in two runs.

Two different answers only show that something changed. The same answer scored by both runs shows
which tokens changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from playground.cache import fork_cache
from playground.capture import watch_modules
from playground.decoder.stage import decoder_kwargs
from playground.engine import Engine
from playground.errors import InputError
from playground.experiments.what_if import WhatIf, change_merged
from playground.language import say
from playground.merge.extend import extend_merged
from playground.records import DecoderOutput, MergedInputs, ModelInputs, Progress
from playground.sampling.generation_config import end_token_ids

DEPENDENT_NATS = 1.0  # a token depends on the image if the image makes it this much more likely
SURE_PROB = 0.5  # and if it is at least this likely, so that it is not one of many alternatives


@dataclass(frozen=True, slots=True, eq=False)
class AnswerShift:
    """Log-probabilities of one answer's tokens in two runs, each given the tokens before it."""

    ids: tuple[int, ...]
    before: np.ndarray  # (tokens,) float32, nats: log-probability in the first run
    after: np.ndarray  # (tokens,) float32, nats: in the second one

    @property
    def drop(self) -> np.ndarray:
        """``(tokens,)`` float32, nats: the drop from the first run to the second."""
        return np.asarray(self.before - self.after, np.float32)


def answer_log_probs(
    engine: Engine,
    merged: MergedInputs,
    decoded: DecoderOutput,
    answer_ids: Sequence[int],
    *,
    progress: Progress | None = None,
) -> np.ndarray:
    """Log-probability of each token of an answer, given the prompt and the earlier tokens.

    Runs one forward over the answer, on a fork of the prefill's cache.

    Args:
        engine: the engine of the prefill, with its edits if it has any.
        merged: the input of the prefill.
        decoded: the prefill.
        answer_ids: the answer's tokens.
        progress: called before every layer; ``StageCancelled`` raised in it stops.

    Returns:
        ``(tokens,)`` float32, nats.

    Raises:
        InputError: the answer is empty.
    """
    if not answer_ids:
        raise InputError(say("The answer is empty."), remedy=say("Give at least one token."))
    model: Any = engine.model
    rows = [decoded.logits[None].float()]
    if len(answer_ids) > 1:
        start = decoded.num_tokens + int(merged.rope_deltas)
        positions = torch.arange(start, start + len(answer_ids) - 1).expand(3, 1, -1)
        with engine.exclusive(), watch_layers(engine, progress, say("answer, layer")):
            hidden = model.model.language_model(
                input_ids=torch.tensor([list(answer_ids[:-1])], device=engine.device),
                position_ids=positions.to(engine.device),
                cache=fork_cache(decoded.cache),
                use_cache=True,
            ).last_hidden_state
            rows.append(model.lm_head(hidden)[0].float().cpu())
    log_probs = torch.cat(rows).log_softmax(-1)
    chosen = log_probs.gather(1, torch.tensor(list(answer_ids))[:, None])
    return np.asarray(chosen[:, 0].numpy(), np.float32)


def watch_layers(engine: Engine, progress: Progress | None, what: str) -> Any:
    """A context that calls ``progress`` before every decoder layer, so that the run can stop."""
    if progress is None:
        return nullcontext()
    layers = engine.model.model.language_model.layers
    return watch_modules(layers, lambda index: progress(what, index, len(layers)))


def read_at_once(
    engine: Engine,
    merged: MergedInputs,
    answer_ids: Sequence[int],
    *,
    progress: Progress | None = None,
) -> np.ndarray:
    """``answer_log_probs`` for a run without a prefill: one forward without a cache.

    Args:
        engine: the loaded checkpoint.
        merged: the decoder's input for the prompt.
        answer_ids: the answer's tokens.
        progress: called before every layer; ``StageCancelled`` raised in it stops.
    """
    model: Any = engine.model
    extended = extend_merged(engine, merged, answer_ids[:-1])
    with engine.exclusive(), watch_layers(engine, progress, say("answer, layer")):
        hidden = model.model.language_model(
            **decoder_kwargs(engine, extended), use_cache=False
        ).last_hidden_state[:, -len(answer_ids) :]
        log_probs = model.lm_head(hidden)[0].float().log_softmax(-1).cpu()
    chosen = log_probs.gather(1, torch.tensor(list(answer_ids))[:, None])
    return np.asarray(chosen[:, 0].numpy(), np.float32)


def without_images(
    engine: Engine,
    inputs: ModelInputs,
    merged: MergedInputs,
    decoded: DecoderOutput,
    answer_ids: Sequence[int],
    *,
    progress: Progress | None = None,
) -> AnswerShift:
    """The answer's tokens with the images, and with all image tokens masked at once.

    Args:
        engine: the loaded checkpoint.
        inputs: the record of ``run_preprocess``.
        merged: the record of ``run_merge``.
        decoded: the record of ``run_decoder``.
        answer_ids: the answer's tokens.
        progress: called before every layer.

    Raises:
        InputError: the prompt has no image, or the answer is empty.
    """
    blind = mask_images(inputs, merged)
    return AnswerShift(
        tuple(answer_ids),
        answer_log_probs(engine, merged, decoded, answer_ids, progress=progress),
        read_at_once(engine, blind, answer_ids, progress=progress),
    )


def mask_images(inputs: ModelInputs, merged: MergedInputs) -> MergedInputs:
    """The decoder's input with all image tokens masked at once.

    Raises:
        InputError: the prompt has no image.
    """
    check_images(inputs)
    visual = tuple(index for span in inputs.spans for index in range(span.start, span.end))
    return change_merged(merged, WhatIf(masked=visual))


def check_images(inputs: ModelInputs) -> None:
    """Check that there is something to see.

    Raises:
        InputError: the prompt has no image.
    """
    if not inputs.spans:
        raise InputError(say("This prompt has no image."), remedy=say("Add an image or a video."))


def first_dependent_token(engine: Engine, shift: AnswerShift) -> int:
    """The first token of an answer that depends on the image, or else the one that drops most.

    Args:
        engine: knows which tokens end an answer.
        shift: the answer with and without the image.

    Returns:
        Index into ``shift.ids``.
    """
    ends = end_token_ids(engine)
    drop = np.where([token in ends for token in shift.ids], -np.inf, shift.drop)
    is_sure = shift.before >= np.log(SURE_PROB)
    dependent = np.flatnonzero(is_sure & (drop >= DEPENDENT_NATS))
    return int(dependent[0]) if len(dependent) else int(drop.argmax())
