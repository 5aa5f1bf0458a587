"""A part in the run report: its text, control values and drawings, in the page's order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from components.chart_view.figures import write_json
from components.parts.controls import Control
from components.parts.drawing import Drawing, failed_control, failed_drawing
from components.parts.part import Fold, Heading, Item, Output, Part, StageParts, Text
from components.parts.question import Question
from playground.errors import PlaygroundError
from playground.language import say
from playground.pipeline import Run


@dataclass(frozen=True, slots=True)
class Words:
    """An explanation, in Markdown; a heading where ``is_heading``."""

    text: str
    is_heading: bool = False


@dataclass(frozen=True, slots=True)
class ControlValue:
    """A control and its value."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class View:
    """A drawing: HTML, highlighted source, or a figure as JSON; may be empty."""

    output: Output
    value: str
    failed: bool = False  # the value is then an error message


@dataclass(frozen=True, slots=True)
class Group:
    """The content of one part, one collapsible section, or one row."""

    kind: str  # "part", "fold" or "row"
    title: str
    inside: tuple[ReportItem, ...]


ReportItem = Words | ControlValue | View | Group


def stage_items(
    drawing: Drawing, stage: StageParts, run: Run, state: Question
) -> tuple[ReportItem, ...]:
    """Everything in one tab.

    Args:
        drawing: draws the parts.
        stage: the tab.
        run: the run; the stage has been computed.
        state: the visitor's control values and findings.
    """
    items: list[ReportItem] = []
    for part in stage.all_parts:
        inside = part_items(drawing, part, run, replace(state, part=part.key))
        items += [Group("part", say(part.title), inside)] if part in stage.parts else inside
    return tuple(items)


def part_items(drawing: Drawing, part: Part, run: Run, state: Question) -> tuple[ReportItem, ...]:
    """Everything in one part, or why the part does not apply, or that it failed."""
    try:
        run = drawing.shown_run(part, run, state)
        is_shown = part.is_shown(run)
    except PlaygroundError as error:
        return (Words(str(error)),)
    except Exception as error:
        return (Words(failed_drawing(part, "shown", run, error)["error"]),)
    if not is_shown:
        return (Words(say(part.absent)),) if part.absent else ()
    return tuple(_walk((*part.intro_items, *part.items), drawing, part, run, state))


def _walk(
    items: Sequence[Item], drawing: Drawing, part: Part, run: Run, state: Question
) -> Iterator[ReportItem]:
    for item in items:
        if isinstance(item, Text):
            yield Words(say(item.markdown))
        elif isinstance(item, Heading):
            yield Words(say(item.text), is_heading=True)
        elif isinstance(item, Fold | tuple):
            is_fold = isinstance(item, Fold)
            names = item.items if isinstance(item, Fold) else item
            inside = tuple(_walk(names, drawing, part, run, state))
            if is_fold or sum(isinstance(item, View) for item in inside) > 1:
                title = say(item.label) if isinstance(item, Fold) else ""
                yield Group("fold" if is_fold else "row", title, inside)
            else:
                yield from inside
        elif item in part.outputs:
            yield _view(drawing, part, part.outputs[item], run, state)
        elif (control := part.control(item)) is not None:
            yield from _choice(part, control, run, state)


def _view(drawing: Drawing, part: Part, output: Output, run: Run, state: Question) -> View:
    drawn: dict[str, Any] = drawing.draw(part, output, run, state)
    if "figure" in drawn:
        try:
            return View(output, write_json(drawn["figure"]) if drawn["figure"] else "")
        except Exception as error:
            drawn = failed_drawing(part, output.name, run, error)
    if drawn.get("failed"):
        return View(output, drawn["error"], failed=True)
    return View(output, drawn.get(output.kind, ""))


def _choice(part: Part, control: Control, run: Run, state: Question) -> Iterator[ControlValue]:
    is_listed = control.carried and control.kind not in ("hidden", "presets")
    if not is_listed:
        return
    try:
        if control.spec(run) is None:
            return
        value = control.parse(state.values.get(part.full_name(control.id)), run)
        words = "" if value is None else control.words(value, run)
    except PlaygroundError:
        return
    except Exception as error:
        value, words = "", failed_control(part, control, run, error)["error"]
    if value is not None:
        yield ControlValue(control.title(), words)


def views(items: Sequence[ReportItem]) -> Iterator[View]:
    """All views, at any nesting depth."""
    for item in items:
        if isinstance(item, Group):
            yield from views(item.inside)
        elif isinstance(item, View):
            yield item
