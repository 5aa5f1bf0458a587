"""One line per answer token: its probability, where it comes from, and what the images add."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from playground.decoder.attention import mean_attention, without_sink
from playground.decoder.stage import LENS_ROWS, logit_lens
from playground.experiments.answers import (
    AnswerShift,
    check_images,
    mask_images,
    read_at_once,
)
from playground.experiments.neutral import neutral_run
from playground.logits import apply_head
from playground.merge.extend import head_of_merged
from playground.pipeline import Run
from playground.records import MediaKind, ModelInputs, Progress


@dataclass(frozen=True, slots=True)
class AnswerToken:
    """One token of an answer, as the position before it predicts it.

    Attention is the mean over all heads of all layers, of the position that predicts the token.
    Each tuple has one number per image and video, in the order of the sequence.
    """

    index: int  # sequence index and KV slot; the position before it predicts the token
    id: int
    text: str
    log_prob: float  # nats
    rank: int  # in the vocabulary, from 1
    image_attention: tuple[float, ...]  # share of the attention, in [0, 1]
    # The same without the attention sink: per image token, the weight minus that of a neutral
    # prompt's last token, where it is positive. None if it was not measured, or without an image.
    image_attention_less_sink: tuple[float, ...] | None
    # The first row of the logit lens from which the token is the most likely one in every later
    # row, too: the input of that layer; the number of layers for the output of the last one. None
    # if another token is the most likely one in the end.
    first_layer: int | None
    # With all image tokens zeroed in inputs_embeds and deepstack_visual_embeds; they are still
    # attended to. None if it was not measured, or without an image.
    log_prob_without_images: float | None

    @property
    def prob(self) -> float:
        """Probability in [0, 1]."""
        return math.exp(self.log_prob)

    @property
    def log_prob_lost(self) -> float | None:
        """Nats that the log-probability falls without the images."""
        if self.log_prob_without_images is None:
            return None
        return self.log_prob - self.log_prob_without_images


def describe_answer(
    answered: Run, *, measure_images: bool = True, progress: Progress | None = None
) -> tuple[AnswerToken, ...]:
    """The answer's tokens; each part is computed once and kept with the run.

    Args:
        answered: from ``run_with_answer``.
        measure_images: also run the model twice more, which costs up to two prefills: a neutral
            prompt on the same images, and the sequence with all images masked.
        progress: called before every layer and chunk; ``StageCancelled`` raised in it stops.
    """
    inputs, media = answered.inputs, media_tokens(answered.inputs)
    log_probs, ranks = log_probs_and_ranks(answered, progress=progress)
    attention = answer_attention(answered, progress=progress)
    layers = first_layers(answered, progress=progress)
    less_sink, without = None, None
    if measure_images and media:
        less_sink = answer_attention_less_sink(answered, progress=progress)
        without = answer_without_images(answered, progress=progress).after
    return tuple(
        AnswerToken(
            index=token.index,
            id=token.id,
            text=token.text,
            log_prob=float(log_probs[number]),
            rank=int(ranks[number]),
            image_attention=_shares(attention[number], media),
            image_attention_less_sink=None
            if less_sink is None
            else _shares(less_sink[number], media),
            first_layer=layers[number],
            log_prob_without_images=None if without is None else float(without[number]),
        )
        for number, token in enumerate(inputs.tokens[inputs.num_prompt_tokens :])
    )


def _shares(weights: np.ndarray, media: Sequence[np.ndarray]) -> tuple[float, ...]:
    return tuple(float(weights[indices].sum()) for indices in media)


def media_tokens(inputs: ModelInputs) -> tuple[np.ndarray, ...]:
    """The sequence indices of each image and of each video, in the order of the sequence."""
    found: dict[tuple[MediaKind, int], list[int]] = {}
    for span in inputs.spans:
        found.setdefault((span.kind, span.media_index), []).extend(range(span.start, span.end))
    return tuple(np.array(indices) for indices in found.values())


def predicting_rows(inputs: ModelInputs) -> range:
    """The positions that predict the answer's tokens: each is the one before its token."""
    return range(inputs.num_prompt_tokens - 1, inputs.num_tokens - 1)


# ------------------------------------------------------------------------------ the logits


def log_probs_and_ranks(
    answered: Run, *, progress: Progress | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """``(tokens,)`` float32 log-probabilities (nats), and int64 ranks from 1; kept."""
    return answered.memo("answer log-probs", lambda: _read(answered), progress=progress)


def _read(answered: Run) -> tuple[np.ndarray, np.ndarray]:
    inputs, rows = answered.inputs, predicting_rows(answered.inputs)
    states = answered.decoded.last_hidden_state[rows.start : rows.stop].split(LENS_ROWS)
    ids = inputs.input_ids[0, inputs.num_prompt_tokens :, None].split(LENS_ROWS)
    log_probs, ranks = [], []
    for chunk, chosen in zip(states, ids, strict=True):
        every = apply_head(answered.engine, chunk).float().log_softmax(-1)
        own = every.gather(1, chosen)
        log_probs.append(own[:, 0])
        ranks.append((every > own).sum(-1) + 1)
    return torch.cat(log_probs).numpy(), torch.cat(ranks).numpy()


def first_layers(answered: Run, *, progress: Progress | None = None) -> tuple[int | None, ...]:
    """``AnswerToken.first_layer`` of each token of the answer; kept with the run."""
    return answered.memo(
        "answer first layers", lambda: _find_layers(answered, progress), progress=progress
    )


def _find_layers(answered: Run, progress: Progress | None) -> tuple[int | None, ...]:
    inputs = answered.inputs
    lens = logit_lens(
        answered.engine,
        answered.decoded,
        tuple(predicting_rows(inputs)),
        top_k=1,
        progress=progress,
    )
    is_first = lens.ids[:, :, 0] == inputs.input_ids[0, inputs.num_prompt_tokens :].numpy()
    stays = np.flip(np.logical_and.accumulate(np.flip(is_first, 0), 0), 0)  # (layers + 1, tokens)
    return tuple(int(column.argmax()) if column.any() else None for column in stays.T)


# ------------------------------------------------------------------------------ the images


def answer_attention(answered: Run, *, progress: Progress | None = None) -> np.ndarray:
    """``(tokens, seq)`` float32: attention of each position that predicts an answer token.

    The mean over all heads of all layers; kept with the run.
    """

    def measure() -> np.ndarray:
        rows = predicting_rows(answered.inputs)
        return mean_attention(answered.engine, answered.decoded, rows, progress=progress)

    return answered.memo("answer attention", measure, progress=progress)


def answer_attention_less_sink(answered: Run, *, progress: Progress | None = None) -> np.ndarray:
    """The same up to the last image's end, minus a neutral prompt's attention, where positive.

    Returns:
        ``(tokens, end of the last image)`` float32. Only image tokens can be compared: the
        prompts differ in the text after them.

    Raises:
        InputError: the prompt has no image.
    """
    check_images(answered.inputs)
    end, neutral = answered.inputs.spans[-1].end, neutral_run(answered)

    def measure() -> np.ndarray:
        neutral.ensure("decoder", progress)
        last = [neutral.inputs.num_tokens - 1]
        weights: np.ndarray = mean_attention(neutral.engine, neutral.decoded, last)[0]
        return weights

    base = neutral.memo("mean attention", measure, progress=progress)
    seen = answer_attention(answered, progress=progress)[:, :end]
    return np.asarray(without_sink(seen, base[:end]).clip(0))


def answer_without_images(answered: Run, *, progress: Progress | None = None) -> AnswerShift:
    """The answer with and without the images, as ``without_images`` measures it; kept.

    Raises:
        InputError: the prompt has no image.
    """
    inputs, start = answered.inputs, answered.inputs.num_prompt_tokens
    blind = mask_images(inputs, head_of_merged(answered.merged, start))

    def measure() -> AnswerShift:
        ids = tuple(inputs.input_ids[0, start:].tolist())
        after = read_at_once(answered.engine, blind, ids, progress=progress)
        return AnswerShift(ids, log_probs_and_ranks(answered, progress=progress)[0], after)

    return answered.memo("answer without images", measure, progress=progress)
