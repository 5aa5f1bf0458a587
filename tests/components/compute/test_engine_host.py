"""The checkpoint loads behind the page, and every end of it is told."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

from components.compute.engine_host import EngineHost, HostStatus
from components.views.status_bar import loading_html, status_html
from playground.engine import Engine
from playground.errors import PlaygroundError
from playground.language import speaking, translation
from tests.playground.loading.edits import copy_checkpoint, edit_weights


def test_not_ready_is_a_message() -> None:
    with pytest.raises(PlaygroundError, match="still loading"):
        _ = EngineHost("tiny").engine


def test_loads_and_calls_back(tiny_random_folder: Path) -> None:
    host = EngineHost(str(tiny_random_folder), device="cpu", dtype="float32")
    called = []
    host.start(then=called.append)
    assert host.wait(60).phase == "ready"
    assert called == [host.engine]
    assert host.engine.model.config.model_type == "qwen3_vl"


def test_a_foreign_folder_fails_with_its_message(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    host = EngineHost(str(tmp_path))
    host.start()
    status = host.wait(60)
    assert status.phase == "failed"
    assert "bert" in status.words
    with pytest.raises(PlaygroundError, match="bert"):
        _ = host.engine


def test_why_loading_failed_is_said_in_the_readers_language(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    host = EngineHost(str(tmp_path))
    host.start()
    status = host.wait(60)
    english = loading_html(status)
    with speaking("zh"):
        chinese = loading_html(status)
        with pytest.raises(PlaygroundError) as refused:
            _ = host.engine
        assert str(refused.value) in unescape(chinese)
    assert "bert" in chinese
    assert chinese != english
    assert not re.search(r"[A-Za-z]+ [a-z]+ [a-z]+", re.sub("<[^>]*>", "", chinese))


def test_an_unexpected_error_ends_the_waiting(
    tiny_random_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_engine: object) -> None:
        raise RuntimeError("secret detail")

    host = EngineHost(str(tiny_random_folder), device="cpu", dtype="float32")
    host.start(then=fail)
    status = host.wait(60)
    assert status.phase == "failed"
    assert status.what == "Loading failed; see the server's log."
    assert "加载失败" in translation(status.what, "zh")
    assert "secret detail" in caplog.text


def test_a_call_waits_for_the_checkpoint(tiny_random_engine: Engine) -> None:
    host, reports = EngineHost("tiny"), []
    host._status = HostStatus("loading", "Loading weights", 3, 9)

    def arrive(what: str, done: int, total: int) -> None:
        reports.append((what, done, total))
        host._engine, host._status = tiny_random_engine, HostStatus("ready", "Ready")
        host._settled.set()

    assert host.await_engine(20, arrive) is tiny_random_engine
    assert reports == [("Loading weights", 3, 9)]


def test_a_call_that_waits_too_long_says_how_far_loading_is() -> None:
    host = EngineHost("tiny")
    host._status = HostStatus("loading", "Loading weights", 3, 9)
    with pytest.raises(PlaygroundError, match=r"still loading \(Loading weights, 3 of 9\)"):
        host.await_engine(0.0)


def test_a_second_checkpoint_is_loaded_after_the_first(tiny_random_folder: Path) -> None:
    host = EngineHost(str(tiny_random_folder), compare=str(tiny_random_folder), device="cpu")
    host.start()
    assert host.wait(60).phase == "ready"
    assert host.engine.other is not None
    assert host.engine.other.source == str(tiny_random_folder)
    assert host.engine.other.limits == host.engine.limits
    assert host.engine.other.lock is not host.engine.lock
    assert 'data-chip="compared with"' in status_html(host.engine)


def test_a_second_checkpoint_has_the_dtype_of_the_first(
    tiny_random_folder: Path, tmp_path: Path
) -> None:
    folder = copy_checkpoint(tiny_random_folder, tmp_path / "half")
    edit_weights(folder, lambda weights: {name: each.bfloat16() for name, each in weights.items()})
    host = EngineHost(str(tiny_random_folder), compare=str(folder), dtype="auto", device="cpu")
    host.start()
    assert host.wait(60).phase == "ready"
    assert host.engine.other is not None
    assert host.engine.other.dtype == host.engine.dtype


def test_a_second_checkpoint_that_does_not_load_leaves_the_first(tiny_random_folder: Path) -> None:
    host = EngineHost(str(tiny_random_folder), compare="tiny", device="cpu")
    host.start()
    assert host.wait(60).phase == "ready"
    assert host.engine.other is None
    english = unescape(status_html(host.engine))
    assert "The second checkpoint is not loaded." in english
    assert "num_layers 6 ≠ 4" in english
    with speaking("zh"):
        chinese = unescape(status_html(host.engine))
    assert "第二个检查点" in chinese
    assert "architecture" not in chinese


def test_progress_says_which_checkpoint_is_loading() -> None:
    status = HostStatus("loading", "Loading the weights", 3, 9, is_second=True)
    assert status.words == "second checkpoint: Loading the weights"
