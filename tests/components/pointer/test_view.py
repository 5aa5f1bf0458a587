"""What the page is told about a run, and what it may report back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.pointer.selection import read_selection
from components.pointer.view import MAX_TEXT_CHARS, write_layout
from playground.engine import Engine
from playground.errors import InputError
from playground.pipeline import Run
from playground.pointer import locate_patch, locate_token
from tests.components.runs import make_run
from tests.media_samples import make_image, make_video


@pytest.fixture(scope="module")
def run(tiny_random_engine: Engine) -> Run:
    """Two images, one of them wide."""
    return make_run(tiny_random_engine, "零 <b>?", make_image(), make_image(192, 64))


def test_the_layout_says_where_everything_stands(run: Run) -> None:
    layout = json.loads(write_layout(run))
    assert layout["positions"] == run.positions.tolist()
    assert layout["patchSize"] == 16
    assert [span["name"] for span in layout["spans"]] == ["image 1", "image 2"]
    for written, span in zip(layout["spans"], run.inputs.spans, strict=True):
        assert (written["start"], written["end"]) == (span.start, span.end)
        assert (written["gridH"], written["gridW"]) == (span.grid_h, span.grid_w)
        assert written["patchStart"] == span.patch_start
    text = [token for token in run.inputs.tokens if token.kind in ("text", "special")]
    assert {int(index) for index in layout["texts"]} == {token.index for token in text}
    assert layout["texts"]["0"] == "<|im_start|>"


def test_the_layout_may_hold_a_selection(run: Run) -> None:
    plain = json.loads(write_layout(run))
    assert "selection" not in plain
    assert json.loads(write_layout(run, (5,))) == plain | {"selection": {"index": 5}}
    patch = {"span": 1, "row": 2, "column": 3}
    assert json.loads(write_layout(run, (1, 2, 3))) == plain | {"selection": patch}


def test_long_tokens_are_cut(tiny_random_engine: Engine) -> None:
    layout = json.loads(write_layout(make_run(tiny_random_engine, "x" * 500)))
    assert max(len(text) for text in layout["texts"].values()) <= MAX_TEXT_CHARS


def test_frames_are_named_by_their_time(tiny_random_engine: Engine) -> None:
    video = make_video()
    layout = json.loads(write_layout(make_run(tiny_random_engine, "?", video=video)))
    assert [span["name"] for span in layout["spans"]] == ["video 1, 0.2 s", "video 1, 1.2 s"]


def test_a_reported_selection_is_located_anew(run: Run) -> None:
    assert read_selection(run, {"index": 7}) == locate_token(run.inputs, run.positions, 7)
    reported = {"span": 1, "row": 2, "column": 3, "index": 999}
    assert read_selection(run, reported) == locate_patch(run.inputs, run.positions, 1, 2, 3)
    assert read_selection(run, None) is None
    assert read_selection(run, {}) is None
    assert read_selection(run, {"index": None}) is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"index": "7"}, "not a whole number"),
        ({"index": 7.5}, "not a whole number"),
        ({"index": True}, "not a whole number"),
        ({"index": -1}, "no token -1"),
        ({"index": 10**30}, "no token"),
        ({"span": 0, "row": 1}, "not a whole number"),
        ({"span": 9, "row": 1, "column": 1}, "no image 10"),
        ({"span": 0, "row": 1, "column": 10**9}, "no patch"),
        ([1, 2], "no valid selection"),
        ("x", "no valid selection"),
    ],
)
def test_nonsense_is_refused(run: Run, data: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_selection(run, data)
