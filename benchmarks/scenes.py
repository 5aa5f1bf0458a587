"""Input of the benchmarks: a seeded image of a given size, and a question."""

from __future__ import annotations

import numpy as np

from components.prompt.examples import load_examples
from components.prompt.reader import read_prompt
from playground.engine import Engine
from playground.pipeline import Run, Stage
from playground.preprocess.stage import max_pixels_range
from playground.prompt import Prompt, PromptImage, Turn

QUESTION = "Describe this image."


def make_image(width: int, height: int, seed: int = 0) -> PromptImage:
    """A noise image; the content does not affect the cost."""
    rng = np.random.default_rng(seed)
    return PromptImage(rng.integers(0, 256, (height, width, 3)).astype(np.uint8), name="noise")


def start_run(
    engine: Engine, *, side: int = 448, text: str = QUESTION, stage: Stage = "preprocess"
) -> Run:
    """A run of a question about an image of ``side`` x ``side`` pixels, up to a stage.

    Args:
        engine: the loaded model.
        side: in pixels; 0 for a text-only prompt.
        text: the question.
        stage: one of ``pipeline.STAGES``.
    """
    images = (make_image(side, side),) if side else ()
    run = Run(engine, Prompt((Turn("user", text, images=images),), max_pixels=_limit(engine)))
    run.ensure(stage)
    return run


def _limit(engine: Engine) -> int:
    """The processor's pixel limit, so that the image keeps its size."""
    return max_pixels_range(engine)[1]


def read_first_example(engine: Engine, question: str | None = None) -> Prompt:
    """The prompt of the page's first example, with its own or another question."""
    first = load_examples()[0]
    return read_prompt(
        engine,
        images=first.images,
        video=None,
        text=first.text if question is None else question,
        system=first.system,
        max_pixels=None,
        earlier=first.earlier,
    )
