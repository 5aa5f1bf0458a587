"""What the endpoints share: the engine, and a new run for each call."""

# No `from __future__ import annotations` here: Gradio reads `File` at runtime, in signatures.

from typing import TYPE_CHECKING, Any

import gradio as gr

from components.compute.engine_host import EngineHost
from components.compute.gpu_process import compute_ahead
from components.compute.jobs import stop_without_client
from components.prompt.reader import read_prompt
from components.prompt.uploads import received_image
from playground.pipeline import Run, Stage
from playground.sampling.settings import check_max_new_tokens

if TYPE_CHECKING:
    from playground.engine import Engine

File = gr.FileData | None


class Calls:
    """The calls of one group of endpoints; the engine may still be loading."""

    def __init__(self, host: EngineHost) -> None:
        self._host = host

    def _engine(self) -> "Engine":
        """The engine; a call that arrives during loading waits."""
        return self._host.await_engine(progress=stop_without_client)

    def _run(
        self, stage: Stage, image: Any, text: Any, system: Any, max_pixels: Any, **more: Any
    ) -> Run:
        """A new run for each call, up to this stage; it is discarded after the call."""
        engine = self._engine()
        with received_image(image) as path:
            prompt = read_prompt(
                engine,
                images=[] if path is None else [path],
                video=None,
                text=text,
                system=system,
                max_pixels=max_pixels,
                **more,
            )
        run = Run(engine, prompt)
        self._continue(run, stage)
        return run

    def _continue(self, run: Run, stage: Stage) -> None:
        """Compute a run up to this stage."""
        compute_ahead(run, [stage], stop_without_client)
        run.ensure(stage, stop_without_client)

    def _new_tokens(self, sent: Any, default: int) -> int:
        """Check a number of tokens to generate; the server's limit may be lower than the default.

        Raises:
            InputError: the number is out of range.
        """
        limits = self._engine().limits
        if sent is None:
            return limits.at_most(default)
        return check_max_new_tokens(sent, limits.max_new_tokens)
