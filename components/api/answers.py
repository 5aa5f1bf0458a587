"""Answers of the public endpoints: plain JSON made from records, typed for the schemas."""

# No `from __future__ import annotations` here: Gradio reads these types at runtime and would treat
# a postponed one as "any value".

from dataclasses import asdict
from typing import Any, Literal, TypedDict

import numpy as np

import playground
from playground.errors import InputError, ModelError
from playground.pipeline import Run
from playground.records import ModelInputs
from playground.sampling.trace import Candidate, SamplingTrace

Thw = list[list[int]]


class TokenAnswer(TypedDict):
    index: int
    id: int
    text: str
    bytes: list[int]
    special: bool
    role: Literal["system", "user", "assistant", "template"]
    kind: Literal["text", "special", "image", "video"]


class TensorAnswer(TypedDict):
    shape: list[int]
    dtype: str


class PreprocessAnswer(TypedDict):
    rendered_prompt: str
    tokens: list[TokenAnswer]
    image_grid_thw: Thw
    num_image_tokens: int
    original_size: list[int] | None
    resized_size: list[int] | None
    tensors: dict[str, TensorAnswer]


class VisionAnswer(TypedDict):
    num_patches: int
    num_merged_tokens: int
    deepstack_layers: list[int]
    pca: list[list[list[int]]]
    norms: list[list[float]]


class MergeAnswer(TypedDict):
    position_ids: list[list[int]]
    rope_delta: int
    visual_positions: list[int]
    inputs_embeds_norms: list[float]


class ProbAnswer(TypedDict):
    id: int
    text: str
    prob: float


class KvAnswer(TypedDict):
    shape: list[int]
    bytes: int


class ParityAnswer(TypedDict):
    max_abs_diff: float


class AnswerTokenAnswer(TypedDict):
    id: int
    text: str
    logprob: float
    image_attention: float
    first_layer: int | None


class DecoderAnswer(TypedDict):
    next_token: list[ProbAnswer]
    logit_lens: list[list[ProbAnswer]]
    residual_norms: list[float]
    kv: KvAnswer
    parity: ParityAnswer
    answer_tokens: list[AnswerTokenAnswer]


class Settings(TypedDict, total=False):
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    typical_p: float
    repetition_penalty: float
    frequency_penalty: float
    presence_penalty: float
    no_repeat_ngram_size: int
    thinking_budget: int | None
    seed: int


class CandidateAnswer(TypedDict):
    id: int
    text: str
    prob: float
    removed_by: str | None


class StepAnswer(TypedDict):
    id: int
    text: str
    prob: float
    entropy: float
    top: list[CandidateAnswer]


class ColumnAnswer(TypedDict):
    settings: Settings
    text: str
    tokens: list[StepAnswer]


class SamplingAnswer(TypedDict):
    runs: list[ColumnAnswer]
    first_divergence: int | None


class CacheAnswer(TypedDict):
    hit: bool
    shared_tokens: int
    computed_tokens: int
    miss_ms: float
    hit_ms: float
    kv_bytes: int
    max_abs_diff: float


# ------------------------------------------------------------------------- records → answers


def preprocess_answer(inputs: ModelInputs) -> PreprocessAnswer:
    """The record of stage 1 as JSON."""
    media = inputs.media[0] if inputs.media else None
    grids = inputs.image_grid_thw
    return {
        "rendered_prompt": inputs.rendered_prompt,
        "tokens": [
            {
                "index": token.index,
                "id": token.id,
                "text": token.text,
                "bytes": list(token.raw),
                "special": token.special,
                "role": token.role,
                "kind": token.kind,
            }
            for token in inputs.tokens
        ],
        "image_grid_thw": [] if grids is None else grids.tolist(),
        "num_image_tokens": sum(token.kind == "image" for token in inputs.tokens),
        "original_size": None if media is None else list(media.original_size),
        "resized_size": None if media is None else list(media.resized_size),
        "tensors": {
            name: {
                "shape": list(tensor.shape),
                "dtype": str(tensor.dtype).removeprefix("torch."),
            }
            for name, tensor in playground.preprocess.stage.model_kwargs(inputs).items()
        },
    }


def plain_numbers(name: str, values: np.ndarray) -> Any:
    """An array as nested lists; JSON has no NaN."""
    if not np.isfinite(values).all():
        raise ModelError(
            f"The {name} hold NaN or infinity.", remedy="Run the model in another dtype."
        )
    return values.tolist()


def embeds_norms(run: Run) -> np.ndarray:
    """Length of each vector of ``inputs_embeds``: ``(seq,)`` float32."""
    norms: np.ndarray = run.merged.inputs_embeds[0].float().norm(dim=-1).numpy()
    return norms


def merge_answer(run: Run, norms: list[float]) -> MergeAnswer:
    """The record of stage 3 as JSON; ``norms`` are those of ``embeds_norms``."""
    merged, spans = run.merged, run.inputs.spans
    return {
        "position_ids": merged.position_ids[:, 0].tolist(),  # [t, h, w][seq]
        "rope_delta": int(merged.rope_deltas),
        "visual_positions": [index for span in spans for index in range(span.start, span.end)],
        "inputs_embeds_norms": norms,
    }


def next_token_answers(run: Run, top_k: int) -> list[ProbAnswer]:
    """The most likely next tokens, from the run's logits."""
    found = playground.logits.next_token_probs(run.engine, run.decoded.logits, top_k)
    return [
        {"id": candidate.id, "text": candidate.text, "prob": candidate.prob} for candidate in found
    ]


def kv_answer(run: Run) -> KvAnswer:
    """Shape and size of the KV cache that the decoder leaves."""
    cache = playground.cache.describe_cache(run.decoded.cache)
    return {
        "shape": [len(cache), 2, *cache[0].key_shape],
        "bytes": sum(entry.num_bytes for entry in cache),
    }


def lens_row(run: Run, layer: int, top_k: int) -> list[list[ProbAnswer]]:
    """The logit lens of one layer at every position."""
    positions = tuple(range(run.inputs.num_tokens))
    lens = playground.decoder.stage.logit_lens(
        run.engine, run.decoded, positions, top_k, layers=(layer,)
    )
    return [
        [
            {"id": int(token_id), "text": text, "prob": float(prob)}
            for token_id, text, prob in zip(ids, texts, probs, strict=True)
        ]
        for ids, texts, probs in zip(lens.ids[0], lens.texts[0], lens.probs[0], strict=True)
    ]


def answer_token_answers(answered: Run) -> list[AnswerTokenAnswer]:
    """The tokens of the answer in a run's sequence."""
    describe = playground.answer.summary.describe_answer
    return [
        {
            "id": token.id,
            "text": token.text,
            "logprob": token.log_prob,
            "image_attention": sum(token.image_attention),
            "first_layer": token.first_layer,
        }
        for token in describe(answered, measure_images=False)
    ]


def list_of_objects(settings: Any) -> list[dict[str, Any]]:
    if not isinstance(settings, list) or not all(isinstance(entry, dict) for entry in settings):
        raise InputError(
            "settings is no list of objects.",
            remedy='Send one object per run, such as [{"temperature": 0}, {"temperature": 1}].',
        )
    return settings


def column_answer(trace: SamplingTrace, names: set[str]) -> ColumnAnswer:
    values = asdict(trace.settings)
    shown: Any = {name: values[name] for name in values if name in names}
    return {
        "settings": shown,
        "text": trace.text,
        "tokens": [
            {
                "id": step.id,
                "text": step.text,
                "prob": step.prob,
                "entropy": step.entropy,
                "top": [_candidate_answer(candidate) for candidate in step.top],
            }
            for step in trace.steps
        ],
    }


def _candidate_answer(candidate: Candidate) -> CandidateAnswer:
    return {
        "id": candidate.id,
        "text": candidate.text,
        "prob": candidate.prob,
        "removed_by": candidate.removed_by,
    }
