"""An answer as it was written, and how likely each of its tokens is in another run.

Comparing two answers says that something changed; the same answer read by both runs says where.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
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
from playground.records import DecoderOutput, MergedInputs, ModelInputs, Progress
from playground.sampling.generation_config import end_token_ids

PICTURE_WORD_NATS = 1.0  # a word this much likelier with the picture tells of it,
SURE_PROB = 0.5  # unless it is one of several ways to begin, none of which is likelier than this


@dataclass(frozen=True, slots=True, eq=False)
class AnswerShift:
    """The tokens of one answer, as two runs find them; each given those before it."""

    ids: tuple[int, ...]
    before: np.ndarray  # (tokens,) float32, nats: log-probability in the first run
    after: np.ndarray  # (tokens,) float32, nats: in the second one

    @property
    def drop(self) -> np.ndarray:
        """``(tokens,)`` float32, nats: what each token lost."""
        return np.asarray(self.before - self.after, np.float32)


def answer_log_probs(
    engine: Engine,
    merged: MergedInputs,
    decoded: DecoderOutput,
    answer_ids: Sequence[int],
    *,
    progress: Progress | None = None,
) -> np.ndarray:
    """Log-probability of each token of an answer, given the prompt and the answer before it.

    One forward over the answer, on a fork of the prefill's cache.

    Args:
        engine: the one that ran the prefill, with its edits if it has any.
        merged: what the prefill was given.
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
                past_key_values=fork_cache(decoded.past_key_values),
                use_cache=True,
            ).last_hidden_state
            rows.append(model.lm_head(hidden)[0].float().cpu())
    log_probs = torch.cat(rows).log_softmax(-1)
    chosen = log_probs.gather(1, torch.tensor(list(answer_ids))[:, None])
    return np.asarray(chosen[:, 0].numpy(), np.float32)


def watch_layers(engine: Engine, progress: Progress | None, what: str) -> Any:
    """A context in which ``progress`` is called before every decoder layer, so that it can stop."""
    if progress is None:
        return nullcontext()
    layers = engine.model.model.language_model.layers
    return watch_modules(layers, lambda index: progress(what, index, len(layers)))


def extend_merged(engine: Engine, merged: MergedInputs, answer_ids: Sequence[int]) -> MergedInputs:
    """The decoder's input with the start of an answer behind the prompt."""
    if not answer_ids:
        return merged
    embed: Any = engine.model.get_input_embeddings()
    count, seq = len(answer_ids), merged.inputs_embeds.shape[1]
    with engine.exclusive():
        added = embed(torch.tensor([list(answer_ids)], device=engine.device)).cpu()
    later = torch.arange(seq, seq + count) + int(merged.rope_deltas)
    mask = merged.visual_pos_masks
    if mask is not None:
        mask = torch.cat([mask, torch.zeros(1, count, dtype=torch.bool)], dim=1)
    return replace(
        merged,
        token_embeds=torch.cat([merged.token_embeds, added], dim=1),
        inputs_embeds=torch.cat([merged.inputs_embeds, added], dim=1),
        position_ids=torch.cat([merged.position_ids, later.expand(3, 1, -1)], dim=2),
        visual_pos_masks=mask,
    )


def read_at_once(
    engine: Engine,
    merged: MergedInputs,
    answer_ids: Sequence[int],
    *,
    progress: Progress | None = None,
) -> np.ndarray:
    """``answer_log_probs`` of a run that has no prefill: one forward that leaves nothing behind.

    Args:
        engine: the loaded checkpoint.
        merged: what the decoder is given for the prompt.
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


def without_pictures(
    engine: Engine,
    inputs: ModelInputs,
    merged: MergedInputs,
    decoded: DecoderOutput,
    answer_ids: Sequence[int],
    *,
    progress: Progress | None = None,
) -> AnswerShift:
    """What each token of an answer owes to the pictures: all visual tokens taken away at once.

    Args:
        engine: the loaded checkpoint.
        inputs: the record of ``run_preprocess``.
        merged: the record of ``run_merge``.
        decoded: the record of ``run_decoder``.
        answer_ids: the answer's tokens.
        progress: called before every layer.

    Raises:
        InputError: there is no picture, or no answer.
    """
    if not inputs.spans:
        raise InputError(say("This prompt has no image."), remedy=say("Add an image or a video."))
    visual = tuple(index for span in inputs.spans for index in range(span.start, span.end))
    blind = change_merged(merged, WhatIf(painted=visual))
    return AnswerShift(
        tuple(answer_ids),
        answer_log_probs(engine, merged, decoded, answer_ids, progress=progress),
        read_at_once(engine, blind, answer_ids, progress=progress),
    )


def first_picture_word(engine: Engine, shift: AnswerShift) -> int:
    """The first token of an answer that tells of the picture; the one that owes it most, if none.

    Args:
        engine: knows which tokens end an answer.
        shift: with the picture and without it.

    Returns:
        Index into ``shift.ids``.
    """
    ends = end_token_ids(engine)
    drop = np.where([token in ends for token in shift.ids], -np.inf, shift.drop)
    is_sure = shift.before >= np.log(SURE_PROB)
    telling = np.flatnonzero(is_sure & (drop >= PICTURE_WORD_NATS))
    return int(telling[0]) if len(telling) else int(drop.argmax())
