"""Answers what the browser asks of a part: its controls for a run, and drawings of outputs.

A question comes from outside and nothing in it is believed: an unknown part, output or run is
refused in words, every control's value is parsed, and one output that fails says so in its own
place. Nothing on the server remembers what a page shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from components.chart_view.figures import figure_content
from components.parts.findings import Findings
from components.parts.part import LABS, PLACE, Experiment, Output, Part, Parts
from components.parts.turns import Turns
from components.pointer.place import read_place
from components.serving.faults import fault_words, log_fault
from playground.errors import InputError, PlaygroundError
from playground.language import say
from playground.pipeline import STAGES, Stage
from playground.run_store import RunStore

if TYPE_CHECKING:
    from playground.pipeline import Run

MAX_OUTPUTS = 32  # of one question
Drawn = dict[str, Any]  # {"html": text}, {"figure": {…}}, {"code": text} or {"error": words}


@dataclass(frozen=True, slots=True)
class Question:
    """What a page asks: of which run, which part, what of it, and where its controls stand."""

    run: str
    part: str
    outputs: tuple[str, ...] = ()
    controls: bool = False  # whether the controls' specs are asked for
    values: Mapping[str, Any] = field(default_factory=dict)  # raw, by full name
    findings: Mapping[str, Any] = field(default_factory=dict)  # keys, by full name
    place: Any = None  # as ``read_place`` takes it

    @classmethod
    def read(cls, data: Any) -> Question:
        """From what a browser sends.

        Raises:
            InputError: it is no question.
        """
        given = data if isinstance(data, Mapping) else {}
        outputs = given.get("outputs", ())
        names_fit = isinstance(outputs, list | tuple) and len(outputs) <= MAX_OUTPUTS
        texts = (given.get("run"), given.get("part"), *(outputs if names_fit else (None,)))
        mappings = [given.get(name, {}) for name in ("values", "findings")]
        if not all(isinstance(each, str) for each in texts) or not all(
            isinstance(each, Mapping) for each in mappings
        ):
            raise unknown_error()
        return cls(
            run=given["run"],
            part=given["part"],
            outputs=tuple(dict.fromkeys(outputs)),
            controls=given.get("controls") is True,
            values=mappings[0],
            findings=mappings[1],
            place=given.get("place"),
        )


def unknown_error() -> InputError:
    """For whoever asks for what the page does not have."""
    return InputError(
        say("The page requested something that it does not contain."),
        remedy=say("Reload the page."),
    )


class Drawing:
    """Draws parts of runs for all visitors."""

    def __init__(self, parts: Parts, runs: RunStore, findings: Findings) -> None:
        self.parts, self.runs, self.findings = parts, runs, findings
        self.turns = Turns()

    def answer(self, data: Any) -> dict[str, Any]:
        """The answer to a question, as JSON holds it.

        Raises:
            InputError: there is no such run, part or output.
        """
        question = Question.read(data)
        part = self.find_part(question.part)
        run = self.runs.get(question.run)
        require_stage(part, run)
        answer: dict[str, Any] = {"run": question.run, "outputs": {}}
        if not part.is_shown(run):
            return answer | {"absent": say(part.absent)}
        if question.controls:
            answer["controls"] = [
                spec for control in part.controls if (spec := control.spec(run)) is not None
            ]
        for name in question.outputs:
            output = part.outputs.get(name)
            if output is None:
                raise unknown_error()
            answer["outputs"][name] = self.draw(part, output, run, question)
        return answer

    def find_part(self, key: Any) -> Part:
        """The part with this key.

        Raises:
            InputError: there is none.
        """
        part = self.parts.by_key.get(key) if isinstance(key, str) else None
        if part is None:
            raise unknown_error()
        return part

    def draw(
        self,
        part: Part,
        output: Output,
        run: Run,
        question: Question,
        found: Mapping[str, Any] | None = None,
    ) -> Drawn:
        """One output; what goes wrong with it is said in its place. ``found``: see ``needs``."""
        try:
            needs = self.needs(part, output, run, question, found)
            return encode(output, output.draw(run, *needs))
        except PlaygroundError as error:
            return {"error": str(error)}
        except Exception as error:
            log_fault(error)
            return {"error": fault_words(error)}

    def needs(
        self,
        part: Part,
        owner: Output | Experiment,
        run: Run,
        question: Question,
        found: Mapping[str, Any] | None = None,
    ) -> list[Any]:
        """What a function gets after the run.

        Args:
            part: whose function it is.
            owner: the output or experiment.
            run: the page's.
            question: raw values, keys of findings, and the place.
            found: findings by full name that are there before they have a key.

        Raises:
            InputError: a control's value is none that it offers.
        """
        given: list[Any] = []
        for need in owner.needs:
            name = part.full_name(need)
            if name == PLACE:
                given.append(read_place(run, question.place))
            elif (control := self.parts.control(name)) is not None:
                given.append(control.parse(question.values.get(name), run))
            elif found and name in found:
                given.append(found[name])
            else:
                given.append(self.findings.find(question.findings.get(name), run, name))
        return given

    def draw_found(
        self, part: Part, run: Run, question: Question, found: Mapping[str, Any], *, live: bool
    ) -> dict[str, Drawn]:
        """The part's outputs that need what an experiment has found.

        Args:
            part: the experiment's.
            run: the page's.
            question: with which it was started.
            found: the finding, by its full name.
            live: those that keep up with a running experiment, or those that do not.
        """
        return {
            output.name: self.draw(part, output, run, question, found)
            for output in part.outputs.values()
            if output.live == live
            and not found.keys().isdisjoint(map(part.full_name, output.needs))
        }


def required_stage(part: Part) -> Stage | None:
    """The stage whose record a part needs; None for a part that is about no run."""
    if part.stage in LABS:
        return STAGES[-1]
    return next((stage for stage in STAGES if stage == part.stage), None)


def require_stage(part: Part, run: Run) -> None:
    """Refuse to compute a stage for a drawing: only *Run* does, where it can be stopped.

    Raises:
        InputError: the part's stage has not run.
    """
    stage = required_stage(part)
    if stage is not None and not run.has(stage):
        raise InputError(
            say("This stage has not run on this prompt yet."),
            remedy=say("Press “Run this stage” above."),
        )


def encode(output: Output, drawn: Any) -> Drawn:
    """A drawing as it is sent."""
    if output.kind == "chart":
        return {"figure": None if drawn is None else figure_content(drawn)}
    if output.kind == "code":
        # It quotes what visitors have typed: the formatter escapes it.
        return {"code": highlight(drawn or "", PythonLexer(), HtmlFormatter(nowrap=True))}
    return {output.kind: str(drawn or "")}
