from __future__ import annotations

from pathlib import Path

import pytest

from tests.playground.loading.edits import copy_checkpoint


@pytest.fixture
def brought(tiny_random_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the random checkpoint, in the current folder as ``brought``."""
    monkeypatch.chdir(tmp_path)
    copy_checkpoint(tiny_random_folder, tmp_path / "brought")
    return Path("brought")
