"""A stage of the page as one Gradio component, which contains all its parts.

Its scripts (stage.js, part.js) show the controls as native form elements, and request drawings
through the component's server function. Experiments, which run the model, are Gradio events: see
experiments.py.
"""

from __future__ import annotations

from typing import Any

import gradio as gr
from markupsafe import Markup
from starlette.responses import Response

from components.chart_view.library import library_address
from components.parts.drawing import Drawing, required_stage, write_answer
from components.parts.part import Fold, Heading, Item, Part, StageParts, Text
from components.parts.question import unknown_error
from components.parts.turns import BusyError, OvertakenError
from components.serving.browser_module import page_module
from components.serving.faults import fault_words, log_fault
from components.views.markdown import markdown_html
from playground.errors import PlaygroundError
from playground.language import say, speaking, spoken_language

MAX_ID_CHARS = 64


class StageView(gr.HTML):
    """A stage's tab: heading, *Run this stage* (event ``run_stage``), tabs for its parts, foot."""

    _config: dict[str, Any] | None = None

    def __init__(
        self, stage: StageParts, drawing: Drawing, *, foot: str = "", **kwargs: Any
    ) -> None:
        """Build it in the current language.

        Args:
            stage: the stage to show.
            drawing: answers the requests of its parts.
            foot: HTML at the end.
            kwargs: Gradio's, when an event leaves the component unchanged.
        """
        language = spoken_language()

        def draw(question: dict[str, Any]) -> Response:
            with speaking(language):
                key = question.get("part") if isinstance(question, dict) else None
                written = write_answer(drawing, key, answer(drawing, question))
                return Response(written, media_type="application/json")

        super().__init__(
            None,
            html_template="",
            js_on_load=page_module("stage.js", spec=stage_spec(stage, foot)),
            server_functions=[draw],
            apply_default_css=False,
            elem_classes=["pg-stage-view"],
            **kwargs,
        )
        self.stage = stage

    def get_config(self, _cls: Any = None) -> dict[str, Any]:
        """Gradio's config without the declaration of the parts.

        The browser gets what it needs in the script's spec; the rest would reveal memory addresses
        of the server's functions. The config never changes, and Gradio asks for it in each new
        session, so it is computed once.
        """
        if self._config is None:
            self._config = super().get_config()
            for name in ("stage", "drawing", "foot"):
                self._config.pop(name, None)
        return dict(self._config)


def answer(drawing: Drawing, question: Any) -> dict[str, Any]:
    """The answer to a browser's request; an error is an answer, too."""
    try:
        with drawing.turns.turn(*read_turn(question)):
            return drawing.answer(question)
    except OvertakenError:
        return {"overtaken": True}
    except BusyError:
        return {"busy": True}
    except PlaygroundError as error:
        return {"error": str(error)}
    except Exception as error:
        log_fault(error)
        return {"error": fault_words(error)}


def read_turn(question: Any) -> tuple[str, str, int]:
    """The page and the part of a request, and its number.

    Raises:
        InputError: the value is not a valid request.
    """
    given = question if isinstance(question, dict) else {}
    page, part, number = given.get("page"), given.get("part"), given.get("number")
    if not isinstance(page, str) or not isinstance(part, str) or not isinstance(number, int):
        raise unknown_error()
    return page[:MAX_ID_CHARS], part[:MAX_ID_CHARS], number


def stage_spec(stage: StageParts, foot: str = "") -> dict[str, Any]:
    """A stage's spec for stage.js, in the current language."""
    heading = f"## {say(stage.title)}\n\n{say(stage.sentence)}"
    return {
        "events": ["run_stage"],
        "stage": stage.stage,
        "heading": markdown_html(heading),
        "run": say("Run this stage") if stage.runs else "",
        "head": None if stage.head is None else part_spec(stage.head, stage),
        "parts": [{"title": say(part.title), **part_spec(part, stage)} for part in stage.parts],
        "last": None if stage.foot is None else part_spec(stage.foot, stage),
        "foot": foot,
    }


def part_spec(part: Part, stage: StageParts) -> dict[str, Any]:
    """A part's spec for part.js, in the current language."""
    return {
        "shownRun": _shown_run_spec(part, stage),
        "key": part.key,
        "stage": part.stage,
        "requires": required_stage(part) or "",
        "controls": [control.id for control in part.controls],
        "outputs": [
            {
                "name": output.name,
                "kind": output.kind,
                "needs": [part.full_name(need) for need in output.needs],
                "label": say(output.label) if output.label else "",
                "empty": say(output.empty) if output.empty else "",
            }
            for output in part.outputs.values()
        ],
        "experiments": [
            {
                "name": experiment.name,
                "label": say(experiment.label) if experiment.label else "",
                "needs": [part.full_name(need) for need in experiment.needs],
                "auto": experiment.auto,
                "when": [
                    [part.full_name(need), list(values)] for need, values in experiment.when.items()
                ],
                "again": [part.full_name(need) for need in experiment.again],
                "primary": experiment.primary,
                "finding": part.finding_name(experiment),
                "afterwards": {
                    part.full_name(id): raw for id, raw in experiment.afterwards.items()
                },
            }
            for experiment in part.experiments.values()
        ],
        "items": [item_spec(item) for item in (*part.intro_items, *part.items)],
        "plotly": library_address(),
        "language": spoken_language(),
    }


def _shown_run_spec(part: Part, stage: StageParts) -> dict[str, Any] | None:
    shown = stage.shown_run_of(part)
    if shown is None or stage.head is None:
        return None
    control, finding = map(stage.head.full_name, (shown.control, shown.finding))
    return {"control": control, "own": shown.own, "finding": finding}


def item_spec(item: Item) -> Any:
    """One item of a part's layout for part.js."""
    if isinstance(item, Text):
        return {"html": markdown_html(say(item.markdown))}
    if isinstance(item, Heading):
        return {"html": Markup("<h3>{}</h3>").format(say(item.text))}
    if isinstance(item, Fold):
        return {"label": say(item.label), "items": [item_spec(inner) for inner in item.items]}
    return list(item) if isinstance(item, tuple) else item
