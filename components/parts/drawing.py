"""Answer the browser's requests for a part: its controls for a run, and its drawn outputs.

Requests are untrusted: an unknown part, output or run gives an error message, every control's value
is parsed, and an output that fails shows its own error. The server does not keep track of what a
page shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from components.chart_view.figures import figure_content, write_json
from components.parts.all_parts import Parts
from components.parts.controls import Control
from components.parts.findings import Findings
from components.parts.part import LABS, SELECTION, Experiment, Output, Part
from components.parts.question import Question, unknown_error
from components.parts.turns import Turns
from components.pointer.selection import read_selection
from components.serving.faults import log_part_fault, part_fault_words
from playground.errors import InputError, PlaygroundError
from playground.language import say
from playground.pipeline import STAGES, Stage
from playground.run_store import RunStore

if TYPE_CHECKING:
    from playground.pipeline import Run

# {"html": text}, {"figure": {…}}, {"code": text} or {"error": words}, which is also "failed" if the
# error is the server's.
Drawn = dict[str, Any]


class Drawing:
    """Draws parts of runs for all visitors."""

    def __init__(self, parts: Parts, runs: RunStore, findings: Findings) -> None:
        self.parts, self.runs, self.findings = parts, runs, findings
        self.turns = Turns()

    def answer(self, data: Any) -> dict[str, Any]:
        """The answer to a request, as a JSON value.

        Raises:
            InputError: there is no such run, part or output.
        """
        question = Question.read(data)
        part = self.find_part(question.part)
        run = self.runs.get(question.run)
        require_stage(part, run)
        run = self.shown_run(part, run, question)
        answer: dict[str, Any] = {"run": question.run, "outputs": {}}
        try:
            if not part.is_shown(run):
                return answer | {"absent": say(part.absent)}
        except Exception as error:
            return answer | failed_drawing(part, "shown", run, error)
        if question.controls:
            answer["controls"] = list(control_specs(part, run))
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

    def shown_run(self, part: Part, run: Run, question: Question) -> Run:
        """The run that a part shows, see ``ShownRun``.

        Args:
            part: the part.
            run: the page's.
            question: raw values and keys of findings.

        Raises:
            InputError: the other run has not been made, or has expired.
        """
        stage = self.parts.stage_of[part.key]
        shown = stage.shown_run_of(part)
        if shown is None or stage.head is None:
            return run
        control, finding = map(stage.head.full_name, (shown.control, shown.finding))
        if question.values.get(control, shown.own) == shown.own:
            return run
        made = self.findings.find(question.findings.get(finding), run, finding)
        if made is None:
            experiment = stage.head.experiments[shown.finding]
            raise InputError(
                say("What this part shows has not been computed, or has expired."),
                remedy=say("Press “{button}” above.", button=say(experiment.label)),
            )
        other: Run = made.run
        return other

    def draw(
        self,
        part: Part,
        output: Output,
        run: Run,
        question: Question,
        found: Mapping[str, Any] | None = None,
    ) -> Drawn:
        """Draw one output, or return its error message. ``found``: see ``needs``."""
        try:
            needs = self.needs(part, output, run, question, found)
            return encode(output, output.draw(run, *needs))
        except PlaygroundError as error:
            return {"error": str(error)}
        except Exception as error:
            return failed_drawing(part, output.name, run, error)

    def needs(
        self,
        part: Part,
        owner: Output | Experiment,
        run: Run,
        question: Question,
        found: Mapping[str, Any] | None = None,
    ) -> list[Any]:
        """The arguments of a function after the run.

        Args:
            part: the part of the function.
            owner: the output or experiment.
            run: the page's.
            question: raw values, keys of findings, and the selection.
            found: findings by full name that do not have a key yet.

        Raises:
            InputError: a control does not offer the given value.
        """
        given: list[Any] = []
        for need in owner.needs:
            name = part.full_name(need)
            if name == SELECTION:
                given.append(read_selection(run, question.selection))
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
        """Draw the outputs of a part that need an experiment's finding.

        Args:
            part: the experiment's.
            run: the page's.
            question: the request that started the experiment.
            found: the finding, by its full name.
            live: True for the outputs that update while the experiment runs, False for the others.
        """
        return {
            output.name: self.draw(part, output, run, question, found)
            for output in part.outputs.values()
            if output.live == live
            and not found.keys().isdisjoint(map(part.full_name, output.needs))
        }


def required_stage(part: Part) -> Stage | None:
    """The stage whose record a part needs; None for a part that needs no run."""
    if part.stage in LABS:
        return STAGES[-1]
    return next((stage for stage in STAGES if stage == part.stage), None)


def require_stage(part: Part, run: Run) -> None:
    """Never compute a stage for a drawing: only *Run* does that, where it can be stopped.

    Raises:
        InputError: the part's stage has not run.
    """
    stage = required_stage(part)
    if stage is not None and not run.has(stage):
        raise InputError(
            say("This stage has not run on this prompt yet."),
            remedy=say("Press “Run this stage” above."),
        )


def control_specs(part: Part, run: Run) -> Iterator[dict[str, Any]]:
    """The specs of the controls that a run has.

    One that fails has an ``error`` for its place; the outputs that need it fail likewise.
    """
    for control in part.controls:
        try:
            spec = control.spec(run)
        except PlaygroundError as error:
            yield {"id": control.id, "error": str(error)}
        except Exception as error:
            yield failed_control(part, control, run, error)
        else:
            if spec is not None:
                yield spec


def failed_control(part: Part, control: Control, run: Run, error: Exception) -> dict[str, Any]:
    """What the browser gets in the place of a control's spec; also logged."""
    log_part_fault(f"{part.key}.{control.id}", run.engine, error)
    return {"id": control.id, "error": part_fault_words(_place(part, control.title()), error)}


def failed_drawing(part: Part, name: str, run: Run, error: Exception) -> Drawn:
    """The message in the place of something that has failed, which is also logged.

    Args:
        part: the part.
        name: of the output or experiment.
        run: the page's.
        error: what it raised.
    """
    log_part_fault(f"{part.key}.{name}", run.engine, error)
    label = say(part.outputs[name].label) if name in part.outputs else ""
    return {"error": part_fault_words(_place(part, label), error), "failed": True}


def _place(part: Part, label: str) -> str:
    return " › ".join(filter(None, (say(part.title), label)))


def write_answer(drawing: Drawing, key: Any, answer: dict[str, Any]) -> str:
    """An answer of the part with this key as JSON; what fails here gets its message."""
    try:
        return write_json(answer)
    except Exception:
        part, run = drawing.find_part(key), drawing.runs.get(answer["run"])
        outputs = {
            name: failed_drawing(part, name, run, error) if (error := _json_error(drawn)) else drawn
            for name, drawn in answer["outputs"].items()
        }
        written = answer | {"outputs": outputs}
        if "controls" in answer:
            by_id = {control.id: control for control in part.controls}
            written["controls"] = [
                failed_control(part, by_id[spec["id"]], run, error)
                if (error := _json_error(spec))
                else spec
                for spec in answer["controls"]
            ]
        return write_json(written)


def _json_error(value: Any) -> Exception | None:
    """Why a value cannot be written as JSON; None if it can."""
    try:
        write_json(value)
    except Exception as error:
        return error
    return None


def encode(output: Output, drawn: Any) -> Drawn:
    """A drawing as JSON."""
    if output.kind == "chart":
        return {"figure": None if drawn is None else figure_content(drawn)}
    if output.kind == "code":
        # The code quotes visitors' input; the formatter escapes it.
        return {"code": highlight(drawn or "", PythonLexer(), HtmlFormatter(nowrap=True))}
    return {output.kind: str(drawn or "")}
