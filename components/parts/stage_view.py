"""A stage of the page as one Gradio component, which holds all its parts.

Its scripts (stage.js, part.js) show the controls as native form elements, and ask for drawings
through the component's server function. What runs the model is an event of Gradio's, see
experiments.py.
"""

from __future__ import annotations

from typing import Any

import gradio as gr
from markupsafe import Markup
from starlette.responses import Response

from components.chart_view.figures import write_json
from components.chart_view.library import library_address
from components.parts.drawing import Drawing, required_stage, unknown_error
from components.parts.part import Fold, Heading, Item, Part, StageParts, Text
from components.parts.turns import BusyError, OvertakenError
from components.serving.browser_module import page_module
from components.serving.faults import fault_words, log_fault
from components.views.markdown import markdown_html
from playground.errors import PlaygroundError
from playground.language import say, speaking, spoken_language

MAX_ID_CHARS = 64


class StageView(gr.HTML):
    """A stage's tab: its heading with *Run this stage* (the event ``run_stage``), its parts behind
    tabs of their own, and what stands at its foot."""

    _config: dict[str, Any] | None = None

    def __init__(
        self, stage: StageParts, drawing: Drawing, *, foot: str = "", **kwargs: Any
    ) -> None:
        """Build it in the language that is being spoken.

        Args:
            stage: what to show.
            drawing: answers its parts.
            foot: HTML below everything.
            kwargs: what Gradio gives where an event leaves a component as it is.
        """
        language = spoken_language()

        def draw(question: dict[str, Any]) -> Response:
            with speaking(language):
                return Response(
                    write_json(answer(drawing, question)), media_type="application/json"
                )

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
        """As Gradio's, without the declaration: what the browser needs of it is in the script's
        spec, and the rest would tell where the server's functions lie in memory.

        It never changes, and Gradio asks for it whenever a page or a program begins a session.
        """
        if self._config is None:
            self._config = super().get_config()
            for name in ("stage", "drawing", "foot"):
                self._config.pop(name, None)
        return dict(self._config)


def answer(drawing: Drawing, question: Any) -> dict[str, Any]:
    """The answer to a browser's question; a refusal is an answer, too."""
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
    """Which page asks about which part, and the number of the question.

    Raises:
        InputError: it is no question.
    """
    given = question if isinstance(question, dict) else {}
    page, part, number = given.get("page"), given.get("part"), given.get("number")
    if not isinstance(page, str) or not isinstance(part, str) or not isinstance(number, int):
        raise unknown_error()
    return page[:MAX_ID_CHARS], part[:MAX_ID_CHARS], number


def stage_spec(stage: StageParts, foot: str = "") -> dict[str, Any]:
    """What stage.js knows of a stage, in the language that is being spoken."""
    heading = f"## {say(stage.title)}\n\n{say(stage.sentence)}"
    return {
        "events": ["run_stage"],
        "stage": stage.stage,
        "heading": markdown_html(heading),
        "run": say("Run this stage") if stage.runs else "",
        "head": None if stage.head is None else part_spec(stage.head),
        "parts": [{"title": say(part.title), **part_spec(part)} for part in stage.parts],
        "last": None if stage.foot is None else part_spec(stage.foot),
        "foot": foot,
    }


def part_spec(part: Part) -> dict[str, Any]:
    """What part.js knows of a part, in the language that is being spoken."""
    return {
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
                "name": each.name,
                "label": say(each.label) if each.label else "",
                "needs": [part.full_name(need) for need in each.needs],
                "auto": each.auto,
                "when": [[part.full_name(need), value] for need, value in each.when.items()],
                "again": [part.full_name(need) for need in each.again],
                "primary": each.primary,
                "finding": part.finding_name(each),
                "afterwards": {part.full_name(id): raw for id, raw in each.afterwards.items()},
            }
            for each in part.experiments.values()
        ],
        "items": [item_spec(item) for item in (*part.intro_items, *part.items)],
        "plotly": library_address(),
        "language": spoken_language(),
    }


def item_spec(item: Item) -> Any:
    """One item of a part's layout as part.js takes it."""
    if isinstance(item, Text):
        return {"html": markdown_html(say(item.markdown))}
    if isinstance(item, Heading):
        return {"html": Markup("<h3>{}</h3>").format(say(item.text))}
    if isinstance(item, Fold):
        return {"label": say(item.label), "items": [item_spec(each) for each in item.items]}
    return list(item) if isinstance(item, tuple) else item
