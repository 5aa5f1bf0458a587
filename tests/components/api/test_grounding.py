"""Boxes and points as JSON, from answers that hold some."""

from __future__ import annotations

import json

import pytest

from components.api.grounding import grounding_answer
from playground.answer.stage import run_with_answer
from playground.engine import Engine
from playground.grounding.edges import measure_edges
from playground.grounding.locate import locate_answer, with_edges
from playground.pipeline import Run
from playground.prompt import Prompt, PromptImage, Turn
from playground.sampling.score import read_answer

TEXT = (
    '```json\n[\n\t{"bbox_2d": [217, 112, 920, 956], "label": "red circle"},\n'
    '\t{"point_2d": [500, -12.5], "label": "点"}, {"bbox_2d": [1, 2, 3'
)


def test_boxes_points_and_the_rest(tiny_random_engine: Engine, wide_image: PromptImage) -> None:
    run = Run(tiny_random_engine, Prompt((Turn("user", "Where?", (wide_image,)),)))
    answered = run_with_answer(run, read_answer(tiny_random_engine, TEXT))
    found = with_edges(answered, locate_answer(answered))
    answer = json.loads(json.dumps(grounding_answer(found)))
    assert answer["text"] == TEXT
    (box,), (point,) = answer["boxes"], answer["points"]
    assert (box["label"], point["label"]) == ("red circle", "点")
    assert box["bbox_2d"] == [217, 112, 920, 956]
    assert point["point_2d"] == [500, -12.5]
    # 192 by 64 pixels
    assert box["original"] == pytest.approx([41.664, 7.168, 176.64, 61.184])
    assert point["original"] == pytest.approx([96, -0.8])
    width, height = run.inputs.media[0].resized_size
    assert point["resized"] == pytest.approx([width / 2, -0.0125 * height])
    measured = measure_edges(answered, found.boxes[0].found)
    assert [(each["low"], each["high"], each["mass"]) for each in box["edges"]] == [
        (edge.low, edge.high, edge.mass) for edge in measured if edge is not None
    ]
    assert point["edges"][1] is None
    assert point["edges"][0]["low"] <= point["edges"][0]["high"]
    assert answer["unread"] == ["The answer ends inside a box or point: [1, 2, 3"]
