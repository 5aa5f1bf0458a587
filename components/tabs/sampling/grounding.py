"""Boxes and points: what an answer's coordinates mean, and how sure the model is of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import plotly.graph_objects as go

import playground
from components.charts.sampling_boxes import plot_edges
from components.charts.token_labels import media_name
from components.compute.gpu_process import on_gpu
from components.parts.compound_controls import Clicked
from components.parts.controls import Choice, Option, Slider, TextField
from components.parts.part import Part
from components.snippets.scripts import write_snippet
from components.tabs.sampling.grounding_answers import (
    COLUMN,
    GREEDY,
    TYPED,
    ReadAnswer,
    choose_answer,
    run_of_answer,
)
from components.tabs.sampling.grounding_pictures import (
    BOTH,
    LEAST_MASS,
    ORIGINAL,
    RESIZED,
    pictures_html,
    readings_html,
)
from components.tabs.sampling.grounding_words import (
    answer_html,
    answer_words,
    edges_html,
    files_html,
    found_html,
    item_name,
    objects_table_html,
)
from components.tabs.sampling.lab import Lab
from components.views.boxes import COORDINATES, object_color
from components.views.picks import picks_html
from playground.errors import InputError
from playground.language import mark, say
from playground.pipeline import Run
from playground.records import Progress

# The red circle of the first example.
EXAMPLE = '```json\n[\n\t{"bbox_2d": [49, 254, 473, 674], "label": "red circle"}\n]\n```'
MAX_CHARS = 8192  # sampling.score.MAX_SCORED_CHARS, without torch
NEW_TOKENS = 128
MOST_NEW_TOKENS = 512


def images_of(run: Run) -> list[Option]:
    """The images of a prompt: name, and index into ``Prompt.images``."""
    spans = (span for span in run.inputs.spans if span.kind == "image")
    return [(media_name(span), span.media_index) for span in spans]


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
            info=mark(
                "Taken if “your text” is chosen. The model reads it as if it had generated it."
            ),
            value=EXAMPLE,
            lines=2,
            max_chars=MAX_CHARS,
        ),
        Choice(
            id="image",
            label=mark("Image that the coordinates refer to"),
            options=images_of,
            value=lambda run: len(images_of(run)) - 1,
            shown=lambda run: len(images_of(run)) > 1,
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
        "answer",
        "text",
        ("length", "image", "draw-on"),
        ("read",),
        "words",
        "answer_text",
        "choice",
        "pictures",
        "table",
        "sureness",
        "edges",
        "readings",
        "files",
        "code",
    ),
    shown=lambda run: bool(images_of(run)),
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
) -> Iterator[ReadAnswer]:
    """Read the answer's boxes and points, then measure the coordinates of each of them."""
    name, ids = choose_answer(run, progress, answer, lab, branch, text, length)
    own = run_of_answer(run, answer, lab, branch)
    answered = playground.answer.stage.run_with_answer(own, ids, progress=progress)
    grounded = playground.grounding.locate.locate_answer(answered, image)
    yield ReadAnswer(name, grounded)
    if grounded.items:
        measured = playground.grounding.locate.with_edges(answered, grounded, progress=progress)
        yield ReadAnswer(name, measured)


def chosen_number(found: ReadAnswer | None, number: int | None) -> int | None:
    """The number of the object that was clicked, or of the first; None if there is none."""
    if found is None or not found.items:
        return None
    return min(number or 0, len(found.items) - 1)


# -------------------------------------------------------------------------------------- outputs


@PART.html(needs=("read",), live=True)
def words(run: Run, found: ReadAnswer | None) -> str:
    """What the answer has, and what cannot be read."""
    return "" if found is None else found_html(run, found)


@PART.html(needs=("read",), live=True)
def answer_text(_run: Run, found: ReadAnswer | None) -> str:
    """The answer, with its boxes and points in their colours."""
    return "" if found is None else answer_html(found.grounded)


@PART.html(needs=SHOWN, live=True)
def choice(_run: Run, found: ReadAnswer | None, number: int | None) -> str:
    """Choice among several objects."""
    chosen = chosen_number(found, number)
    if found is None or chosen is None or len(found.items) < 2:
        return ""
    options = [(item_name(each, item), each) for each, item in enumerate(found.items)]
    return picks_html(say("Box or point"), options, chosen, "object")


@PART.html(needs=(*SHOWN, "draw-on"), live=True)
def pictures(run: Run, found: ReadAnswer | None, number: int | None, draw_on: str) -> str:
    """The boxes and points on the image."""
    chosen = chosen_number(found, number)
    if found is None or chosen is None:
        return ""
    return pictures_html(run, found.grounded, chosen, draw_on)


@PART.html(needs=SHOWN)
def table(run: Run, found: ReadAnswer | None, number: int | None) -> str:
    """Each object in thousandths, in pixels of both images, and in tokens."""
    chosen = chosen_number(found, number)
    if found is None or chosen is None:
        return ""
    return objects_table_html(run, found.grounded, chosen)


@PART.html(needs=SHOWN)
def sureness(_run: Run, found: ReadAnswer | None, number: int | None) -> str:
    """The chosen object's coordinates in numbers."""
    chosen = chosen_number(found, number)
    if found is None or chosen is None:
        return ""
    return edges_html(chosen, found.items[chosen])


@PART.chart(mark("Probability of each coordinate"), needs=SHOWN)
def edges(_run: Run, found: ReadAnswer | None, number: int | None) -> go.Figure | None:
    """The distribution of each coordinate of the chosen object."""
    chosen = chosen_number(found, number)
    if found is None or chosen is None:
        return None
    item = found.items[chosen]
    names = COORDINATES[item.found.kind]
    known = {
        name: edge
        for name, edge in zip(names, item.edges, strict=False)
        if edge is not None and edge.mass >= LEAST_MASS
    }
    return plot_edges(known, item_name(chosen, item), object_color(chosen)) if known else None


@PART.html(needs=SHOWN)
def readings(run: Run, found: ReadAnswer | None, number: int | None) -> str:
    """The chosen object as it is meant, and as it is misread."""
    chosen = chosen_number(found, number)
    if found is None or chosen is None:
        return ""
    return readings_html(run, found.grounded, chosen)


@PART.html(needs=("read",))
def files(_run: Run, found: ReadAnswer | None) -> str:
    """Downloads of all boxes and points."""
    return files_html() if found is not None and found.items else ""


@PART.code(mark("Show the code"), needs=("read", "length"))
def code(run: Run, found: ReadAnswer | None, length: int) -> str:
    """The script that reads the boxes of this answer."""
    if found is None:
        return ""
    answer = None if found.name == GREEDY else answer_words(found.grounded)
    return write_snippet(
        "grounding", run, answer=answer, image=found.grounded.image, max_new_tokens=length
    )
