"""What the tests of the engine's views share."""

from __future__ import annotations

import pytest

from playground.decoder.stage import run_decoder
from playground.engine import Engine
from playground.merge.stage import run_merge
from playground.pipeline import Run
from playground.preprocess.stage import run_preprocess
from playground.prompt import PromptImage
from playground.vision.stage import run_vision
from tests.components.runs import make_run
from tests.playground.sampling_prefills import PROMPTS, Prefill, Prefilled


@pytest.fixture(scope="module")
def run(engine: Engine, image: PromptImage, wide_image: PromptImage) -> Run:
    """Two images of different grids, through the tower; for files without a run of their own."""
    run = make_run(engine, "Which is larger?", image, wide_image)
    run.ensure("vision")
    return run


@pytest.fixture(scope="module")
def prefill() -> Prefill:
    """Runs the first four stages on one of ``PROMPTS``, once per engine."""
    done: dict[tuple[int, str], Prefilled] = {}

    def run(engine: Engine, name: str) -> Prefilled:
        key = (id(engine), name)
        if key not in done:
            inputs = run_preprocess(engine, PROMPTS[name])
            merged = run_merge(engine, inputs, run_vision(engine, inputs))
            done[key] = Prefilled(inputs, merged, run_decoder(engine, inputs, merged))
        return done[key]

    return run
