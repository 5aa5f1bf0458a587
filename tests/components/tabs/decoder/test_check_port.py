"""The decoder tab's check of a port."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from components.prompt import uploads
from components.serving.made_files import MADE_FILES
from components.tabs.decoder import check_port
from playground.dump import compare_dump, dump_tensors
from playground.errors import InputError
from playground.pipeline import Run
from tests.components.html_reader import read_html
from tests.components.runs import ignore_progress


@pytest.fixture
def upload_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for what browsers send."""
    monkeypatch.setattr(uploads, "get_upload_folder", lambda: str(tmp_path))
    return tmp_path


def test_a_run_is_written_and_linked(run: Run) -> None:
    (made,) = check_port.written(run, ignore_progress)
    path = MADE_FILES.find(made.key)
    assert path is not None
    assert set(load_file(path)) == set(dump_tensors(run))
    assert path.stat().st_size == made.num_bytes
    (link,) = read_html(check_port.file(run, made)).find("a")
    assert link.attrs["data-file"] == f"/{made.key}/{check_port.FILE_NAME}"
    (found,) = check_port.compared(run, ignore_progress, path)
    assert "steps in the file match" in check_port.result(run, found)
    assert check_port.file(run, None) == check_port.result(run, None) == ""


def test_the_first_step_that_differs_is_named(run: Run, tmp_path: Path) -> None:
    dump = {name: tensor.clone() for name, tensor in dump_tensors(run).items()}
    dump["merge.position_ids"] = dump["merge.position_ids"][[0, 2, 1]]
    save_file(dump, tmp_path / "x.safetensors")
    page = check_port.result(run, compare_dump(run, tmp_path / "x.safetensors"))
    assert "First step that differs: merge.position_ids" in page
    assert "h and w are swapped" in page
    assert len(read_html(page).find("tr")) == 1 + len(dump)
    with pytest.raises(InputError, match="No file"):
        list(check_port.compared(run, ignore_progress, None))


def test_only_what_was_uploaded_is_opened(run: Run, upload_folder: Path) -> None:
    sent = upload_folder / "folder" / "x.safetensors"
    sent.parent.mkdir()
    sent.write_bytes(b"x")
    assert check_port.DUMP.parse(str(sent), run) == sent
    assert check_port.DUMP.parse(None, run) is None
    for bad in (__file__, f"{sent.parent}/../../{Path(__file__).name}", "x", str(sent.parent), 7):
        with pytest.raises(InputError, match="no longer exists"):
            check_port.DUMP.parse(bad, run)
    assert not check_port.DUMP.carried
