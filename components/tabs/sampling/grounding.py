"""Boxes and points: what an answer's coordinates mean, and how sure the model is of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

import playground
from components.charts.sampling_boxes import plot_edges
from components.charts.token_labels import media_name
from components.compute.gpu_process import on_gpu
from components.parts.compound_controls import Clicked
from components.parts.controls import Choice, Option, Slider, TextField
from components.parts.part import Heading, Part, Text
from components.tabs.sampling.grounding_answers import COLUMN, GREEDY, TYPED, choose_answer
from components.tabs.sampling.grounding_pictures import (
    BOTH,
    ORIGINAL,
    RESIZED,
    pictures_html,
    readings_html,
)
from components.tabs.sampling.grounding_words import (
    COORDINATES,
    answer_html,
    edges_html,
    files_html,
    found_html,
    objects_table_html,
)
from components.tabs.sampling.lab import Lab
from components.tabs.sampling.placed import Grounding, PlacedObject, place_objects
from components.views.boxes import object_color, object_name
from components.views.picks import picks_html
from playground.errors import InputError
from playground.language import mark, say
from playground.pipeline import Run
from playground.records import Progress

if TYPE_CHECKING:
    from playground.grounding.edges import Edge
    from playground.records import VisualSpan

# The red circle of the first example.
EXAMPLE = '```json\n[\n\t{"bbox_2d": [49, 254, 473, 674], "label": "red circle"}\n]\n```'
MAX_CHARS = 8192  # sampling.score.MAX_SCORED_CHARS, without torch
MAX_OBJECTS = 64  # whose coordinates are measured
NEW_TOKENS = 128
MOST_NEW_TOKENS = 512


def image_spans(run: Run) -> dict[int, VisualSpan]:
    """The images of a prompt, by their index in ``ModelInputs.spans``."""
    return {number: span for number, span in enumerate(run.inputs.spans) if span.kind == "image"}


def _image_options(run: Run) -> list[Option]:
    return [(media_name(span), number) for number, span in image_spans(run).items()]


def read_number(raw: Any, _run: Run) -> int:
    """The number of an object of the answer, from 0.

    Raises:
        InputError: not a valid number.
    """
    if type(raw) is int and raw >= 0:
        return raw
    raise InputError(say("The page sent no valid number."), remedy=say("Reload the page."))


PART = Part(
    "grounding",
    mark("Boxes and points"),
    stage="sampling",
    intro=mark(
        "Qwen3-VL writes where something is as text: `bbox_2d` for a box, `point_2d` for a point, "
        "in thousandths of the image’s width and height. Here an answer’s boxes are drawn, "
        "measured and, on purpose, misread. The text can also be one from elsewhere: paste it as "
        "“your text”."
    ),
    controls=(
        Choice(
            id="answer",
            label=mark("Answer"),
            options=(
                (mark("greedy answer"), GREEDY),
                (mark("selected column or branch"), COLUMN),
                (mark("your text"), TYPED),
            ),
        ),
        Slider(
            id="length",
            label=mark("Max new tokens"),
            info=mark("Of the greedy answer; each digit of a coordinate is a token."),
            low=1,
            high=lambda run: run.engine.limits.at_most(MOST_NEW_TOKENS),
            value=NEW_TOKENS,
        ),
        TextField(
            id="text",
            label=mark("Your text as the answer"),
            info=mark("The model reads it as if it had generated it."),
            value=EXAMPLE,
            lines=2,
            max_chars=MAX_CHARS,
        ),
        Choice(
            id="image",
            label=mark("Image that the coordinates refer to"),
            options=_image_options,
            value=lambda run: max(image_spans(run), default=None),
            shown=lambda run: len(image_spans(run)) > 1,
            compact=True,
        ),
        Choice(
            id="draw-on",
            label=mark("Draw on"),
            options=(
                (mark("both images"), BOTH),
                (mark("the original"), ORIGINAL),
                (mark("the resized image"), RESIZED),
            ),
        ),
        Clicked(id="object", read=read_number),
    ),
    layout=(
        ("answer", "length"),
        "text",
        ("image", "draw-on"),
        ("read",),
        "words",
        "answer_text",
        "choice",
        "pictures",
        "table",
        Heading(mark("How sure is each coordinate?")),
        "sureness",
        "edges",
        Heading(mark("Wrong readings")),
        Text(
            mark(
                "The same numbers, read as software for other models reads them. The solid "
                "box is right, the dashed one is where the misreading ends up. IoU is the overlap "
                "of the two boxes divided by their union."
            )
        ),
        "readings",
        "files",
    ),
    shown=lambda run: bool(image_spans(run)),
    absent=mark("This prompt has no image, so there is nothing to draw a box on."),
)
SHOWN = ("read", "object")


# ----------------------------------------------------------------------------------- the answer


@PART.experiment(
    mark("Read the boxes"),
    needs=("answer", "side.columns", "side.branch", "text", "length", "image"),
    again=("answer", "side.branch", "text", "image"),
    auto=True,
    early=False,
    primary=True,
    afterwards={"object": None},
)
@on_gpu
def read(
    run: Run,
    progress: Progress,
    answer: str,
    lab: Lab | None,
    branch: str | int | None,
    text: str,
    length: int,
    image: int,
) -> Iterator[Grounding]:
    """Read the answer's boxes and points, then measure the coordinates of each of them."""
    name, ids = choose_answer(run, progress, answer, lab, branch, text, length)
    answered = playground.answer.stage.run_with_answer(run, ids, progress=progress)
    written = playground.grounding.number_tokens.answer_text(answered.inputs)
    reading = playground.grounding.read.read_grounding(written)
    measured: list[tuple[Edge | None, ...]] = []
    yield place_objects(run, image, name, written, reading, measured)
    for found in reading.found[:MAX_OBJECTS]:
        measured.append(
            playground.grounding.edges.measure_edges(answered, found, progress=progress)
        )
        yield place_objects(run, image, name, written, reading, measured)


def chosen_object(found: Grounding | None, number: int | None) -> PlacedObject | None:
    """The object that was clicked, or the first one; None if the answer has none."""
    if found is None or not found.objects:
        return None
    return found.objects[min(number or 0, len(found.objects) - 1)]


# -------------------------------------------------------------------------------------- outputs


@PART.html(needs=("read",), live=True)
def words(run: Run, found: Grounding | None) -> str:
    """What the answer has, and what cannot be read."""
    return "" if found is None else found_html(run, found)


@PART.html(needs=("read",), live=True)
def answer_text(_run: Run, found: Grounding | None) -> str:
    """The answer, with its boxes and points in their colours."""
    return "" if found is None else answer_html(found)


@PART.html(needs=SHOWN, live=True)
def choice(_run: Run, found: Grounding | None, number: int | None) -> str:
    """Choice among several objects."""
    chosen = chosen_object(found, number)
    if found is None or chosen is None or len(found.objects) < 2:
        return ""
    options = [(object_name(each.number, each.found.label), each.number) for each in found.objects]
    return picks_html(say("Box or point"), options, chosen.number, "object")


@PART.html(needs=(*SHOWN, "draw-on"), live=True)
def pictures(run: Run, found: Grounding | None, number: int | None, draw_on: str) -> str:
    """The boxes and points on the image."""
    chosen = chosen_object(found, number)
    if found is None or chosen is None:
        return ""
    return pictures_html(run, found, chosen, draw_on)


@PART.html(needs=SHOWN)
def table(_run: Run, found: Grounding | None, number: int | None) -> str:
    """Each object in thousandths, in pixels of both images, and in tokens."""
    chosen = chosen_object(found, number)
    if found is None or chosen is None:
        return ""
    return objects_table_html(found, chosen)


@PART.html(needs=SHOWN)
def sureness(_run: Run, found: Grounding | None, number: int | None) -> str:
    """The chosen object's coordinates in numbers."""
    chosen = chosen_object(found, number)
    return edges_html(chosen)


@PART.chart(mark("Probability of each coordinate"), needs=SHOWN)
def edges(_run: Run, found: Grounding | None, number: int | None) -> go.Figure | None:
    """The distribution of each coordinate of the chosen object."""
    chosen = chosen_object(found, number)
    if chosen is None:
        return None
    names = COORDINATES[chosen.found.kind]
    known = {name: edge for name, edge in zip(names, chosen.edges, strict=False) if edge}
    name = object_name(chosen.number, chosen.found.label)
    return plot_edges(known, name, object_color(chosen.number)) if known else None


@PART.html(needs=SHOWN)
def readings(run: Run, found: Grounding | None, number: int | None) -> str:
    """The chosen object as it is meant, and as it is misread."""
    chosen = chosen_object(found, number)
    return "" if found is None or chosen is None else readings_html(run, found, chosen)


@PART.html(needs=("read",))
def files(_run: Run, found: Grounding | None) -> str:
    """Downloads of all boxes and points."""
    return files_html() if found is not None and found.objects else ""
