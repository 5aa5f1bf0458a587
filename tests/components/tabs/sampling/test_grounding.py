"""Boxes and points on the page: read, drawn, measured, misread and chosen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from components.tabs.sampling import grounding, tab
from components.tabs.sampling.grounding_answers import COLUMN, GREEDY, TYPED, ReadAnswer
from components.tabs.sampling.grounding_pictures import (
    BOTH,
    MISREADINGS,
    ORIGINAL,
    RESIZED,
    middle_token,
)
from components.tabs.sampling.lab import Lab
from playground.answer.stage import run_with_answer
from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.grounding.convert import overlap
from playground.grounding.edges import Edge
from playground.grounding.number_tokens import answer_text
from playground.pipeline import Run
from playground.pointer import locate_token
from tests.components.drawings import draw_part, make_drawing
from tests.components.html_reader import Page, read_html
from tests.components.runs import ignore_progress, make_run
from tests.media_samples import make_image, make_video

FENCED = """```json
[
\t{"bbox_2d": [250, 250, 750, 500], "label": "dog"},
\t{"point_2d": [100, 900], "label": "<b>nose"}
]
```"""


def sure_of(value: int) -> Edge:
    return Edge(
        value, ((value - 2, 0.2), (value, 0.6), (value + 10, 0.15)), 0.95, value - 2, value,
        value + 10,
    )  # fmt: skip


SURE = sure_of(250)
DOUBTFUL = Edge(250, ((250, 0.01),), 0.01, 250, 250, 250)


@pytest.fixture(scope="module")
def run(tiny_random_engine: Engine) -> Run:
    """Two images of different shapes: 128 × 96 and 192 × 64."""
    run = make_run(tiny_random_engine, "Where?", make_image(), make_image(192, 64, seed=1))
    run.ensure("decoder")
    return run


def read(run: Run, text: str = FENCED, image: int = 1, answer: str = TYPED) -> list[ReadAnswer]:
    return list(grounding.read(run, ignore_progress, answer, None, None, text, 8, image))


@pytest.fixture(scope="module")
def found(run: Run) -> ReadAnswer:
    return read(run)[-1]


def with_edges(found: ReadAnswer, *edges: Edge | None) -> ReadAnswer:
    """The same with these edges of the first object."""
    first, *others = found.items
    items = (replace(first, edges=edges), *others)
    return ReadAnswer(found.name, replace(found.grounded, items=items))


def boxes_on(page: Page) -> list[str]:
    """The names of the boxes and points that can be clicked."""
    return [each.attrs["aria-label"] for each in page.find("div", role="button")]


# ------------------------------------------------------------------------------------ reading


def test_the_boxes_come_before_they_are_measured(run: Run) -> None:
    first, last = read(run)
    assert [item.edges for item in first.items] == [(), ()]
    assert [len(item.edges) for item in last.items] == [4, 2]
    assert last.grounded.frame.original == (192, 64)
    assert last.items[0].original == (48, 16, 144, 32)
    assert read(run, image=0)[-1].items[0].original == (32, 24, 96, 48)


def test_an_answer_without_a_box_runs_no_search(run: Run) -> None:
    (only,) = read(run, "A dog.")
    words = grounding.words(run, only)
    assert "Your text has no box and no point" in words
    assert "Give its box." in words
    for output in (grounding.pictures, grounding.table, grounding.readings, grounding.sureness):
        needs = (BOTH,) if output is grounding.pictures else ()
        assert output(run, only, None, *needs) == ""
    assert grounding.edges(run, only, None) is None
    assert grounding.files(run, only) == ""
    assert "A dog." in grounding.answer_text(run, only)


def test_the_selected_branch_is_read(run: Run, lab: Lab) -> None:
    second = lab.branches[1]
    *_, found = grounding.read(run, ignore_progress, COLUMN, lab, second.name, "", 8, 0)
    ids = [step.id for step in second.trace.steps]
    assert found.name == second.name
    assert found.grounded.text == answer_text(run_with_answer(run, ids).inputs)
    assert f"{second.name} has no box" in grounding.words(run, found)
    with pytest.raises(InputError, match="no columns for this prompt"):
        read(run, answer=COLUMN)


def test_the_greedy_answer_is_as_long_as_the_slider_says(run: Run) -> None:
    (found,) = read(run, answer=GREEDY)
    assert found.name == GREEDY
    assert "The greedy answer has no box" in grounding.words(run, found)


def test_an_empty_text_is_refused(run: Run) -> None:
    with pytest.raises(InputError, match="The text is empty"):
        read(run, "")


def test_it_can_be_stopped_between_two_forwards(run: Run) -> None:
    def stop(what: str, done: int, _total: int) -> None:
        if what == "coordinate" and done > 1:
            raise StageCancelled

    text = FENCED.replace("250", "123")  # not measured before, so that forwards run
    steps: Iterator[ReadAnswer] = grounding.read(run, stop, TYPED, None, None, text, 8, 1)
    assert len(next(steps).items) == 2
    with pytest.raises(StageCancelled):
        next(steps)


# -------------------------------------------------------------------------------------- words


def test_what_was_found_is_said(run: Run, found: ReadAnswer) -> None:
    words = grounding.words(run, found)
    assert "Your text: 1 box, 1 point." in words
    assert "here it is image 2" in words
    assert "<ul" not in words


def test_what_is_odd_is_said(run: Run) -> None:
    odd = '[{"bbox_2d": [900, 400, 1100, 300], "label": "<i>"}, {"bbox_2d": [1, 2, 3]}, {"bbox_2d":'
    (*_, last) = read(run, odd)
    notices = [each.text for each in read_html(grounding.words(run, last)).find("li")]
    assert len(notices) == 4
    assert "[1, 2, 3]" in notices[0]
    assert "outside 0 to 1,000" in notices[2]
    assert "first corner is not the top left" in notices[3]
    page = read_html(grounding.answer_text(run, last))
    assert [each.text for each in page.find("b")] == ["900, 400, 1100, 300"]
    assert [each.text for each in page.find("u")] == ["[1, 2, 3]"]
    assert page.find("p")[0].text == odd


def test_the_answer_marks_its_coordinates(run: Run, found: ReadAnswer) -> None:
    page = read_html(grounding.answer_text(run, found))
    assert [(each.text, json.loads(each.attrs["data-set"])) for each in page.find("b")] == [
        ("250, 250, 750, 500", {"object": 0}),
        ("100, 900", {"object": 1}),
    ]


# ----------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize(("draw_on", "count"), [(BOTH, 2), (ORIGINAL, 1), (RESIZED, 1)])
def test_every_picture_has_every_object(
    run: Run, found: ReadAnswer, draw_on: str, count: int
) -> None:
    page = read_html(grounding.pictures(run, found, None, draw_on))
    assert len(page.find("figure")) == count
    assert boxes_on(page) == ["1 dog", "2 <b>nose"] * count
    box = page.find(cls="pg-box")[0]
    assert box.attrs["style"].startswith("left:25.000%;top:25.000%;width:50.000%;height:25.000%")
    assert "pg-chosen" in box.classes


def test_the_covered_tokens_are_tinted_on_the_resized_picture(run: Run, found: ReadAnswer) -> None:
    page = read_html(grounding.pictures(run, found, 0, RESIZED))
    assert len(page.find("img", cls="pg-overlay")) == 1
    original = read_html(grounding.pictures(run, found, 0, ORIGINAL))
    assert original.find("img", cls="pg-overlay") == []


def test_a_click_selects_the_token_at_the_middle(run: Run, found: ReadAnswer) -> None:
    box = read_html(grounding.pictures(run, found, 0, ORIGINAL)).find(cls="pg-box")[0]
    row, column = int(box.attrs["data-row"]), int(box.attrs["data-column"])
    grid = run.inputs.spans[1]
    assert (row, column) == (int(0.375 * grid.grid_h), int(0.5 * grid.grid_w))
    middle = middle_token(run, found.grounded, found.items[0])
    there = locate_token(run.inputs, run.positions, middle)
    assert there.span == 1
    assert there.rows is not None
    assert there.columns is not None
    assert there.rows[0] <= row <= there.rows[1]
    assert there.columns[0] <= column <= there.columns[1]
    assert middle in found.items[0].tokens
    row_of_table = read_html(grounding.table(run, found, 0)).find("tr")[1]
    assert row_of_table.attrs["data-start"] == str(middle)
    assert json.loads(row_of_table.attrs["data-set"]) == {"object": 0}


def test_bands_and_ghosts_need_a_model_that_would_write_a_number(
    run: Run, found: ReadAnswer
) -> None:
    sure = with_edges(found, *map(sure_of, (250, 250, 750, 500)))
    page = read_html(grounding.pictures(run, sure, 0, ORIGINAL))
    assert len(page.find(cls="pg-band")) == 4
    left = page.find(cls="pg-band")[0].attrs["style"]
    assert left.startswith("left:24.800%;top:25.000%;width:1.200%")
    ghosts = page.find(cls="pg-ghost")
    assert len(ghosts) == 3
    # A value two thousandths away is too near to be seen, so each ghost has one 10 further.
    places = {ghost.attrs["style"].partition(";--box")[0] for ghost in ghosts}
    assert places <= {
        "left:26.000%;top:25.000%;width:49.000%;height:25.000%",
        "left:25.000%;top:26.000%;width:50.000%;height:24.000%",
        "left:25.000%;top:25.000%;width:51.000%;height:25.000%",
        "left:25.000%;top:25.000%;width:50.000%;height:26.000%",
    }
    other = read_html(grounding.pictures(run, sure, 1, ORIGINAL))
    assert other.find(cls="pg-ghost") == []  # only of the chosen one
    doubtful = with_edges(found, SURE, DOUBTFUL, None, SURE)
    page = read_html(grounding.pictures(run, doubtful, 0, ORIGINAL))
    assert len(page.find(cls="pg-band")) == 2
    assert page.find(cls="pg-ghost") == []
    assert "rather have written no number" in grounding.sureness(run, doubtful, 0)
    chart = grounding.edges(run, doubtful, 0)
    assert chart is not None
    assert [trace.name for trace in chart.data] == ["x1", "y2"]


# ------------------------------------------------------------------------------------- tables


def test_the_table_leads_from_thousandths_to_pixels(run: Run, found: ReadAnswer) -> None:
    headers, box, point = read_html(grounding.table(run, found, 1)).rows()
    width, height = found.grounded.frame.resized
    assert headers[3] == f"Resized image, {width} × {height} px"
    assert headers[4] == "Original, 192 × 64 px"
    assert box[:3] == ["1", "dog", "250, 250, 750, 500"]
    assert box[4] == "48, 16, 144, 32"
    assert box[5].startswith(f"{len(found.items[0].tokens)} tokens, from")
    assert point[:3] == ["▸ 2", "<b>nose", "100, 900"]
    assert point[5] == f"token {found.items[1].tokens[0]}"


def test_an_object_outside_the_image_covers_no_token(run: Run) -> None:
    last = read(run, '{"point_2d": [2000, 10]}')[-1]
    assert "none: it is outside the image" in grounding.table(run, last, 0)
    assert middle_token(run, last.grounded, last.items[0]) < run.inputs.num_tokens


def test_the_numbers_of_each_coordinate(run: Run, found: ReadAnswer) -> None:
    rows = read_html(grounding.sureness(run, with_edges(found, SURE, None, SURE, SURE), 0)).rows()
    assert rows[1] == ["x1", "250", "60.0%", "250", "248–260", "95.0%"]
    assert rows[2] == ["y1", "250", "not measured", "–", "–", "–"]
    unmeasured = read(run)[0]
    assert "Not measured." in grounding.sureness(run, unmeasured, 0)


# ----------------------------------------------------------------------------- wrong readings


def test_each_misreading_is_drawn_with_its_overlap(run: Run, found: ReadAnswer) -> None:
    page = read_html(grounding.readings(run, found, 0))
    assert len(page.find("svg", role="img")) == 1 + len(MISREADINGS)
    assert len(page.find("image")) == 1  # sent once
    badges = [each.text for each in page.find(cls="pg-badge")]
    # Of a square of 192 around 192 × 64, the box is (48, -16, 144, 32).
    assert badges[2] == f"IoU {overlap((48, -16, 144, 32), (48, 16, 144, 32)):.2f}"
    # Of 64 × 192, it is (16, 48, 48, 96): below the right one.
    assert badges[3] == "IoU 0.00"
    point = read_html(grounding.readings(run, found, 1))
    assert [each.text for each in point.find(cls="pg-badge")][2] == "51 px away"


# ------------------------------------------------------------------------- as the page draws it


def test_the_part_as_the_page_draws_it(run: Run, found: ReadAnswer) -> None:
    drawing = make_drawing(tab.TAB)
    findings = {"sampling.grounding.read": found}
    values = {"sampling.grounding.object": 1, "sampling.grounding.draw-on": RESIZED}
    drawn = draw_part(drawing, grounding.PART, run, findings=findings, values=values)
    assert 'aria-pressed="true"' in drawn["choice"].partition("&lt;b&gt;nose")[0]
    assert 'answer = "' in drawn["code"]
    assert "images[1].size" in drawn["code"]
    empty = draw_part(drawing, grounding.PART, run)
    assert not any(empty.values())


def test_a_click_beyond_the_last_object_is_the_last_one(found: ReadAnswer) -> None:
    assert grounding.chosen_number(found, 99) == 1
    assert grounding.chosen_number(None, 0) is None
    for raw in (-1, True, "1", None, 1.5):
        with pytest.raises(InputError):
            grounding.read_number(raw, None)  # type: ignore[arg-type]


def test_the_last_image_is_the_default(run: Run, tiny_random_engine: Engine) -> None:
    control = grounding.PART.control("image")
    assert control is not None
    spec = control.spec(run)
    assert spec is not None
    assert (spec["value"], len(spec["options"])) == (1, 2)
    one = make_run(tiny_random_engine, "Where?", make_image())
    assert control.spec(one) is None
    assert control.parse(None, one) == 0


def test_it_needs_an_image(tiny_random_engine: Engine) -> None:
    assert not grounding.PART.is_shown(make_run(tiny_random_engine, "Hello"))
    assert not grounding.PART.is_shown(make_run(tiny_random_engine, "Hello", video=make_video()))
