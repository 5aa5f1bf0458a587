"""The notebook example of docs/python.md runs as it is written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

ROOT = Path(__file__).resolve().parent.parent


def test_the_notebook_example(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(ROOT)
    variables: dict[str, Any] = {}
    exec(compile(code, "python.md", "exec"), variables)
    run, figure = variables["run"], variables["figure"]
    assert isinstance(figure, go.Figure)
    probs = list(figure.data[0].x)
    assert len(probs) == 5
    assert probs == sorted(probs, reverse=True)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == str(run.inputs.image_grid_thw)
    assert printed[-1] == f"torch.Size([{run.engine.facts.vocab_size}])"
