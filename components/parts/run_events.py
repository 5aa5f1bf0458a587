"""The events that compute a page's run, stage by stage, and the run of the first example."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from components.compute.engine_host import EngineHost
from components.compute.gpu_process import compute_ahead, in_place
from components.parts.drawing import Drawing, failed_drawing
from components.parts.question import Question
from components.parts.run_view import write_run
from components.pointer.view import write_layout
from components.prompt.examples import load_examples
from components.prompt.reader import prompt_fingerprint, read_example, read_prompt
from components.serving.faults import fault_words, log_fault
from components.views.status_bar import loading_html, status_html
from playground.errors import PlaygroundError, StageCancelled
from playground.language import say
from playground.pipeline import STAGES, Run, Stage
from playground.records import Progress

if TYPE_CHECKING:
    from playground.engine import Engine

POLL_S = 0.3  # how often a waiting page checks the loading progress
PROMPT_NAMES = (
    "images",
    "video",
    "text",
    "system",
    "max_pixels",
    "earlier",
    "thinking",
    "video_fps",
    "video_frames",
    "video_start",
    "video_end",
)

# The changes of an event by name: "status", "run_key", "run" (RunView) and "pointer".
Changes = dict[str, Any]


@dataclass(slots=True, eq=False)
class Opening:
    """The run of the first example, which every new page shows."""

    run: Run
    key: str
    findings: dict[str, str] = field(default_factory=dict)  # keys, of its automatic experiments

    def write(self, **more: Any) -> str:
        """The run for the page, see ``write_run``."""
        return write_run(self.key, _done(self.run), findings=self.findings, **more)


@dataclass(slots=True, eq=False)
class RunEvents:
    """The handlers of all pages' run events."""

    host: EngineHost
    drawing: Drawing
    opening: Opening | None = None
    refused: Exception | None = None  # why the first example could not be run to its end

    # -------------------------------------------------------------------------------- opening

    @in_place
    def compute_opening(self, engine: Engine) -> None:
        """Run the first example with its automatic experiments, once for all pages.

        A checkpoint that cannot run it may still run other prompts: ``refused`` is then the error,
        and pages show the stages before it.
        """
        first = load_examples()[0]
        try:
            run = Run(engine, read_example(engine, first))
            self.opening = Opening(run, self.drawing.runs.add(run, pinned=True))
            run.ensure("decoder")
            run.check_parity()
        except Exception as error:
            if not isinstance(error, PlaygroundError):
                log_fault(error)
            self.refused = error.with_traceback(None)  # which would keep the tensors of its frames
            return
        self._find_automatic(self.opening)

    def _find_automatic(self, opening: Opening) -> None:
        """Run the automatic experiments of all parts."""
        run, findings = opening.run, opening.findings
        for part in self.drawing.parts.by_key.values():
            for experiment in part.experiments.values():
                # On a new page, no control has been moved.
                if not experiment.auto or not experiment.early or experiment.when:
                    continue
                try:
                    if not part.is_shown(run):
                        continue
                    question = Question(run=opening.key, part=part.key, findings=findings)
                    needs = self.drawing.needs(part, experiment, run, question)
                    *_, found = experiment.run(run, lambda *_: None, *needs)
                except Exception as error:  # the page starts it again and shows the message
                    failed_drawing(part, experiment.name, run, error)
                    continue
                name = part.finding_name(experiment)
                findings[name] = self.drawing.findings.add(run, name, found, pinned=True)

    def open_page(self) -> Iterator[Changes]:
        """Fill a new page: the loading bar until the first example has run, then its run."""
        if not (yield from self.wait_until_loaded()):
            return
        opening, note = self.opening, self._refusal()
        parity = opening.run.parity if opening is not None and not note else None
        changes: Changes = {"status": status_html(self.host.engine, parity, note=note)}
        if opening is not None:
            changes |= {"run_key": opening.key, "run": opening.write()}
            if opening.run.has("preprocess"):
                changes["pointer"] = write_layout(opening.run)
        yield changes

    def _refusal(self) -> str:
        """Why the first example did not run to its end, in the current language."""
        if (error := self.refused) is None:
            return ""
        words = str(error) if isinstance(error, PlaygroundError) else fault_words(error)
        return say("The first example does not run on this checkpoint. {words}", words=words)

    def wait_until_loaded(self) -> Generator[Changes, None, bool]:
        """Show the loading progress; returns whether loading succeeded."""
        while (status := self.host.wait(POLL_S)).phase == "loading":
            yield {"status": loading_html(status)}
        if status.phase == "failed":
            yield {"status": loading_html(status)}
        return status.phase != "failed"

    # -------------------------------------------------------------------------------- running

    def run(
        self,
        stages: Sequence[Stage],
        run_key: str | None,
        prompt_values: Sequence[Any],
        progress: Progress,
        **shown: Any,
    ) -> Iterator[Changes]:
        """Run those of these stages that have not yet run on the panel's input.

        Args:
            stages: in order.
            run_key: key of the page's current run; it is continued if the prompt is the same.
            prompt_values: by ``PROMPT_NAMES``.
            progress: progress callback; stops the run by raising ``StageCancelled``.
            shown: further arguments of ``write_run``, sent with each step.
        """
        start = time.perf_counter()
        given = dict(zip(PROMPT_NAMES, prompt_values, strict=True))
        prompt = read_prompt(self.host.engine, **given)
        key, run = self._find_or_start(run_key, prompt)
        note = ""
        try:
            yield {"run_key": key, "run": _state(key, run, stages, **shown)}
            compute_ahead(run, stages, progress)
            for stage in stages:
                is_new = not run.has("preprocess")
                if run.has(stage):
                    continue
                run.ensure(stage, progress)
                changes = {"run": _state(key, run, stages)}
                yield changes | ({"pointer": write_layout(run)} if is_new else {})
            if run.has("decoder"):
                run.check_parity(progress)
        except StageCancelled:
            note = say("Stopped")
        except GeneratorExit:  # the page was closed, and nobody else knows the run
            if key != run_key:
                self.drawing.runs.discard(key)
            raise
        except PlaygroundError:
            yield {"run": write_run(key, _done(run))}
            raise
        parity = run.parity if run.has("decoder") and not note else None
        seconds = None if note else time.perf_counter() - start
        yield {
            "status": status_html(self.host.engine, parity, seconds=seconds, note=note),
            "run": write_run(key, _done(run)),
        }

    def _find_or_start(self, run_key: str | None, prompt: Any) -> tuple[str, Run]:
        """The page's current run if the prompt is the same, so that nothing is computed twice."""
        runs = self.drawing.runs
        current = runs.peek(run_key)
        if current is not None and prompt_fingerprint(current.prompt) == prompt_fingerprint(prompt):
            return run_key or "", current
        run = Run(self.host.engine, prompt, earlier=current)
        runs.discard(run_key)
        return runs.add(run), run


def _done(run: Run) -> list[str]:
    return [stage for stage in STAGES if run.has(stage)]


def _state(key: str, run: Run, stages: Sequence[Stage], **shown: Any) -> str:
    """The run's state, with the next stage marked as running."""
    waiting = [stage for stage in stages if not run.has(stage)]
    return write_run(key, _done(run), running=waiting[0] if waiting else "", **shown)


def stages_until(stage: str) -> tuple[Stage, ...]:
    """The stages that a tab's *Run this stage* runs: its own and those before it."""
    last = STAGES.index(stage) if stage in STAGES else len(STAGES) - 1
    return STAGES[: last + 1]
