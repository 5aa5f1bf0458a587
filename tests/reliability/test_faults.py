"""Short form of ``reliability/faults.py``: the next run after a fault is right."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reliability.faults import (
    Report,
    break_drawings,
    break_model,
    check_message,
    fill_disk,
    half_written,
)
from reliability.hostile_files import encode, make_image
from reliability.served import Answer, Server


@pytest.mark.parametrize("kind", ["memory", "nan"])
def test_a_model_that_fails_is_right_again(server: Server, kind: str) -> None:
    report = break_model(server, kind, times=2)
    assert report.problems == []
    assert report.struck == 2


def test_a_drawing_that_fails_is_right_again(server: Server) -> None:
    report = break_drawings(server, times=2)
    assert report.problems == []
    assert report.struck == 2


def test_a_full_disk_leaves_nothing_half_written(server: Server) -> None:
    report = fill_disk(server, times=2)
    assert report.problems == []
    assert report.struck > 2  # downloads, too


# ------------------------------------------------------------------- the checks can fail


def test_an_answer_a_silent_error_and_a_path_are_problems() -> None:
    clear = "The server's disk is full: nothing was written."
    answers = [
        Answer(True, {}, "", 0.1),
        Answer(False, None, "", 0.1),
        Answer(False, None, f'{clear} File "app.py"', 0.1),
        Answer(False, None, clear, 0.1),
    ]
    report = Report("disk")
    for answer in answers:
        check_message(report, "disk", answer)
    assert len(report.problems) == 3


def test_an_image_that_ends_early_is_found(tmp_path: Path) -> None:
    whole = encode(make_image(), "PNG")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "whole.png").write_bytes(whole)
    (tmp_path / "files" / "half.png").write_bytes(whole[: len(whole) // 2])
    server: Any = SimpleNamespace(folder=tmp_path)
    assert [path.name for path in half_written(server)] == ["half.png"]
