"""Downloads of boxes and points: the record's own numbers, in three forms."""

from __future__ import annotations

import csv
import io
import json

import pytest

from components.share.downloads.panel import FOUND, make_file
from components.share.view import run_report
from components.tabs import STAGE_TABS
from components.tabs.sampling.grounding import read
from components.tabs.sampling.grounding_answers import TYPED, ReadAnswer
from components.tabs.sampling.grounding_words import files_html
from components.views.boxes import BOX_FILES
from playground.engine import Engine
from playground.errors import InputError
from playground.pipeline import Run
from tests.components.drawings import make_drawing
from tests.components.html_reader import read_html
from tests.components.runs import ignore_progress, make_run
from tests.media_samples import make_image

TEXT = (
    '[{"bbox_2d": [750, 250, 250, 500], "label": "=dog"}, {"point_2d": [100, 12.5], "label": "鼻"},'
    ' {"bbox_2d": [0, 0, 1000, 1000], "label": "=dog"}, {"bbox_2d": [1'
)


@pytest.fixture(scope="module")
def run(tiny_random_engine: Engine) -> Run:
    run = make_run(tiny_random_engine, "Where?", make_image(192, 64))
    run.ensure("decoder")
    return run


@pytest.fixture(scope="module")
def found(run: Run) -> ReadAnswer:
    *_, last = read(run, ignore_progress, TYPED, None, None, TEXT, 8, 0)
    return last


def test_json_has_everything(run: Run, found: ReadAnswer) -> None:
    name, content = make_file("JSON", "grounding", run, found)
    assert name == "qwen3-vl-grounding.json"
    document = json.loads(content)
    record = document["record"]
    assert document["prompt"]["turns"][0]["text"] == "Where?"
    assert record["text"] == found.grounded.text
    assert record["original_size"] == [192, 64]
    assert record["unread"] == list(found.grounded.unread)
    box, point, _ = record["objects"]
    assert box["thousandths"] == [750, 250, 250, 500]
    assert box["original"] == [144, 16, 48, 32]
    assert box["tokens"] == list(found.items[0].tokens)
    edge = found.items[0].edges[0]
    assert edge is not None
    assert box["edges"][0]["values"] == [list(each) for each in edge.values]
    assert (box["edges"][0]["written"], box["edges"][0]["mass"]) == (750, edge.mass)
    assert point["edges"][1] is None  # 12.5 is not measured


def test_csv_has_a_row_for_each_coordinate(run: Run, found: ReadAnswer) -> None:
    name, content = make_file("CSV", "grounding", run, found)
    assert name == "qwen3-vl-grounding.csv"
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    box = ["x1", "y1", "x2", "y2"]
    assert [row["coordinate"] for row in rows] == [*box, "x", "y", *box]
    assert (rows[0]["label"], rows[4]["label"]) == ("'=dog", "鼻")  # no formula
    assert [float(row["original_px"]) for row in rows[:6]] == pytest.approx(
        [144, 16, 48, 32, 19.2, 0.8]
    )
    assert rows[5]["prob"] == ""
    edge = found.items[0].edges[0]
    assert edge is not None
    assert float(rows[0]["prob"]) == edge.written_prob


def test_coco_has_boxes_in_pixels_of_the_original(run: Run, found: ReadAnswer) -> None:
    name, content = make_file("COCO", "grounding", run, found)
    assert name == "qwen3-vl-grounding.coco.json"
    document = json.loads(content)
    assert document["images"] == [
        {"id": 1, "file_name": run.prompt.images[0].name, "width": 192, "height": 64}
    ]
    assert [each["name"] for each in document["categories"]] == ["=dog", "鼻"]
    box, point, whole = document["annotations"]
    assert box["bbox"] == [48, 16, 96, 16]  # x, y, width, height
    assert box["area"] == 96 * 16
    assert whole["bbox"] == [0, 0, 192, 64]
    assert [each["category_id"] for each in document["annotations"]] == [1, 2, 1]
    assert point["keypoints"] == pytest.approx([19.2, 0.8, 2])
    assert document["categories"][1]["keypoints"] == ["point"]
    assert "keypoints" not in document["categories"][0]


def test_there_is_a_button_for_each_file(run: Run, found: ReadAnswer) -> None:
    buttons = read_html(files_html()).find("button")
    kinds = [button.attrs["data-download"].removeprefix("grounding:") for button in buttons]
    assert tuple(kinds) == BOX_FILES
    for kind in kinds:
        assert make_file(kind, "grounding", run, found)[1]
    for kind, stage in (("safetensors", "grounding"), ("COCO", "sampling"), (["CSV"], "grounding")):
        with pytest.raises(InputError, match="no such file"):
            make_file(kind, stage, run, found)


def test_the_report_has_the_boxes_even_without_columns(run: Run, found: ReadAnswer) -> None:
    drawing = make_drawing(*STAGE_TABS)
    key = drawing.findings.add(run, FOUND["grounding"], found)
    sent = {"run": drawing.runs.add(run), "values": {"sampling.grounding.answer": TYPED}}
    without = run_report(drawing, run, sent).decode()
    report = run_report(drawing, run, {**sent, "findings": {FOUND["grounding"]: key}}).decode()
    assert 'aria-label="1 =dog"' in report
    assert 'aria-label="1 =dog"' not in without
