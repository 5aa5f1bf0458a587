"""The decoder tab's part for porters."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import save_file

from components.tabs.decoder.porters import comparison_html, stream_comparison, stream_file
from playground.dump import compare_dump, dump_tensors
from playground.errors import InputError
from playground.pipeline import Run
from tests.components.html_reader import read_html
from tests.components.runs import ignore_progress


def test_a_file_is_written_and_compared(run: Run, tmp_path: Path) -> None:
    file = stream_file(run, ignore_progress)
    path = Path(next(file)["value"])
    (answer,) = stream_comparison(run, ignore_progress, str(path))
    assert "steps in the file agree" in answer
    assert list(file) == []
    assert not path.exists()
    dump = {name: tensor.clone() for name, tensor in dump_tensors(run).items()}
    dump["merge.position_ids"] = dump["merge.position_ids"][[0, 2, 1]]
    save_file(dump, tmp_path / "x.safetensors")
    page = comparison_html(compare_dump(run, tmp_path / "x.safetensors"))
    assert "first step that differs: merge.position_ids" in page
    assert "h and w are swapped" in page
    rows = read_html(page).find("tr")
    assert len(rows) == 1 + len(dump)
    with pytest.raises(InputError, match="no file"):
        list(stream_comparison(run, ignore_progress, None))
