"""Prompts after the first four stages, for the tests of sampling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from playground.engine import Engine
from playground.prompt import Prompt, Turn
from playground.records import DecoderOutput, MergedInputs, ModelInputs
from playground.sampling.trace import SamplingRun, SamplingSettings
from tests.media_samples import make_image, make_square_image, make_video

GREEDY = SamplingSettings(temperature=0)

COLUMNS = (
    SamplingSettings(seed=1),
    SamplingSettings(temperature=0),
    SamplingSettings(temperature=1.5, top_k=50, seed=2, frequency_penalty=0.5),
    SamplingSettings(temperature=0.8, top_p=0.9, seed=1, repetition_penalty=1.1),
)

PROMPTS = {
    "text": Prompt((Turn("user", "你好"),), system="Be brief."),
    "image": Prompt((Turn("user", "Describe this image.", (make_square_image(),)),)),
    "two images": Prompt(
        (Turn("user", "What differs?", (make_image(128, 96), make_image(192, 64, 1))),)
    ),
    "video": Prompt((Turn("user", "Where does it move?", video=make_video()),)),
    "image and video": Prompt(
        (Turn("user", "描述一下。", (make_image(96, 128, seed=2),), make_video(seed=1)),)
    ),
}


@dataclass(frozen=True, eq=False)
class Prefilled:
    """One prompt after the first four stages."""

    inputs: ModelInputs
    merged: MergedInputs
    output: DecoderOutput

    @property
    def stages(self) -> tuple[ModelInputs, MergedInputs, DecoderOutput]:
        return self.inputs, self.merged, self.output


Prefill = Callable[[Engine, str], Prefilled]


def ids_of(run: SamplingRun) -> list[list[int]]:
    return [[step.id for step in trace.steps] for trace in run.traces]


@contextmanager
def poisoned_deltas(engine: Engine) -> Iterator[torch.Tensor]:
    """Leave another user's ``rope_deltas`` on the model; nothing may read or replace it."""
    inner: Any = engine.model.model
    before, poison = inner.rope_deltas, torch.tensor([[-977]])
    inner.rope_deltas = poison
    try:
        yield poison
        assert inner.rope_deltas is poison
        assert poison.tolist() == [[-977]]
    finally:
        inner.rope_deltas = before
