"""Runs of one user turn, for the tests of the tabs."""

from __future__ import annotations

from playground.engine import Engine
from playground.pipeline import Run
from playground.prompt import Prompt, PromptImage, PromptVideo, Turn


def make_run(
    engine: Engine,
    text: str = "What is left of the square?",
    *images: PromptImage,
    video: PromptVideo | None = None,
    max_pixels: int | None = None,
) -> Run:
    """A run that nothing has been computed of."""
    turn = Turn("user", text, images=images, video=video)
    return Run(engine, Prompt((turn,), max_pixels=max_pixels))


def ignore_progress(_what: str, _done: int, _total: int) -> None:
    """A progress callback for runs that nobody watches."""
