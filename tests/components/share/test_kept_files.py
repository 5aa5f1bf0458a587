"""Files of permalinks: found by their whole hash only, for their days, under their budget."""

from __future__ import annotations

import os
import shutil
import time
from hashlib import sha256
from pathlib import Path

import pytest

from components.share.kept_files import KeptFiles, default_folder
from playground.errors import InputError

DAY_S = 86_400


@pytest.fixture
def kept(tmp_path: Path) -> KeptFiles:
    return KeptFiles(tmp_path / "kept", days=7, max_bytes=1_000)


def write(folder: Path, content: bytes, name: str = "upload.PNG") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def age(found: Path, days: float) -> None:
    """Make a file as if it had last been used days ago."""
    then = time.time() - days * DAY_S
    os.utime(found.parent, (then, then))


def test_a_file_comes_back_by_its_hash(kept: KeptFiles, tmp_path: Path) -> None:
    name = kept.keep(write(tmp_path, b"bytes"), "picture")
    assert name == sha256(b"bytes").hexdigest()
    found = kept.find(name)
    assert found is not None
    assert found.read_bytes() == b"bytes"
    assert found.name == "picture.png"
    assert kept.keep(write(tmp_path, b"bytes", "other.png"), "picture") == name


@pytest.mark.parametrize(
    "asked", ["", "a" * 64, "../kept", "..", "/etc/passwd", "A" * 64, "0" * 63 + "\n", "new-x"]
)
def test_nothing_else_is_found(kept: KeptFiles, tmp_path: Path, asked: str) -> None:
    whole = kept.keep(write(tmp_path, b"bytes"), "picture")
    assert kept.find(asked) is None
    for part in (whole[:-1], whole.upper(), whole + "0", f"./{whole}", whole[:32]):
        assert part == whole or kept.find(part) is None


def test_a_file_goes_days_after_its_last_use(kept: KeptFiles, tmp_path: Path) -> None:
    name = kept.keep(write(tmp_path, b"bytes"), "picture")
    found = kept.find(name)
    assert found is not None
    age(found, 6.9)
    assert kept.find(name) == found  # opening it is a use
    age(found, 7.1)
    assert kept.find(name) is None
    assert not found.exists()


def test_the_longest_unused_files_make_room(kept: KeptFiles, tmp_path: Path) -> None:
    names = [kept.keep(write(tmp_path, bytes([each]) * 400), "picture") for each in range(2)]
    first = kept.find(names[0])
    assert first is not None
    age(first, 1)
    newest = kept.keep(write(tmp_path, b"new" * 100), "picture")
    assert kept.find(names[0]) is None
    assert kept.find(names[1]) is not None
    assert kept.find(newest) is not None
    with pytest.raises(InputError, match="cannot keep"):
        kept.keep(write(tmp_path, b"x" * 1_001), "picture")


def test_what_is_too_old_goes_with_the_next_file(kept: KeptFiles, tmp_path: Path) -> None:
    old = kept.find(kept.keep(write(tmp_path, b"old"), "picture"))
    assert old is not None
    age(old, 8)
    kept.keep(write(tmp_path, b"new"), "picture")
    assert not old.exists()


def test_a_changed_file_is_not_given_out(kept: KeptFiles, tmp_path: Path) -> None:
    name = kept.keep(write(tmp_path, b"bytes"), "picture")
    found = kept.find(name)
    assert found is not None
    found.write_bytes(b"byte")
    assert kept.find(name) is None


def test_a_full_disk_leaves_nothing_half_written(
    kept: KeptFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(_source: Path, target: Path) -> None:
        target.write_bytes(b"by")
        raise OSError(28, "No space left on device")

    path = write(tmp_path, b"bytes")
    monkeypatch.setattr(shutil, "copyfile", fill)
    with pytest.raises(InputError, match="cannot keep"):
        kept.keep(path, "picture")
    assert kept.find(sha256(b"bytes").hexdigest()) is None
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "kept").symlink_to(tmp_path / "theirs")
    kept = KeptFiles(tmp_path / "kept")
    with pytest.raises(InputError, match="cannot keep"):
        kept.keep(write(tmp_path, b"bytes"), "picture")


def test_the_usual_folder_is_outside_of_what_gradio_serves() -> None:
    from gradio.utils import get_upload_folder

    assert not default_folder().is_relative_to(get_upload_folder())
