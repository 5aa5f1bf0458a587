"""The checkpoint loads behind the page, and every end of it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.compute.engine_host import EngineHost
from playground.errors import PlaygroundError
from playground.language import translation


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
    assert "bert" in status.what
    with pytest.raises(PlaygroundError, match="bert"):
        _ = host.engine


def test_an_unexpected_error_ends_the_waiting(
    tiny_random_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_engine: object) -> None:
        raise RuntimeError("secret detail")

    host = EngineHost(str(tiny_random_folder), device="cpu", dtype="float32")
    host.start(then=fail)
    status = host.wait(60)
    assert status.phase == "failed"
    assert status.what == "Loading failed; the server's log says why."
    assert "加载失败" in translation(status.what, "zh")
    assert "secret detail" in caplog.text
