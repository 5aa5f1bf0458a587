"""Every example of docs/api.md, run against a served page."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from playground.prompt import PromptImage

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]

PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text(encoding="utf-8")
WRITTEN_FOR = "http://127.0.0.1:7860"


def examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(autouse=True)
def beside_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: PromptImage) -> None:
    Image.fromarray(image.pixels).save(tmp_path / "image.png")
    monkeypatch.chdir(tmp_path)


def test_the_python_client(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    first, errors = examples("python")
    variables: dict[str, Any] = {}
    exec(compile(first.replace(WRITTEN_FOR, url), "api.md", "exec"), variables)
    assert len(variables["step"]["next_token"]) == 3
    assert len(variables["written"]["runs"]) == 2
    assert variables["reuse"]["hit"]
    assert variables["located"]["boxes"] == []  # random weights write none
    variables["client"].close()
    capsys.readouterr()
    exec(compile(errors.replace(WRITTEN_FOR, url), "api.md", "exec"), variables)
    variables["client"].close()
    assert "top_k is 1,000" in capsys.readouterr().out


def test_curl(url: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    shell = [each for each in examples("sh") if "curl" in each]
    assert len(shell) == 2
    for code, name in zip(shell, ("rendered_prompt", "norms"), strict=True):
        result = subprocess.run(
            ["bash", "-c", code.replace(WRITTEN_FOR, url)],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert "event: complete" in result.stdout
        assert f'"{name}"' in result.stdout


def test_every_endpoint_and_argument_is_named(url: str) -> None:
    endpoints = httpx.get(f"{url}/gradio_api/info").json()["named_endpoints"]
    assert len(endpoints) == 7
    for name, endpoint in endpoints.items():
        assert f"`{name}`" in PAGE
        for parameter in endpoint["parameters"]:
            assert f"`{parameter['parameter_name']}`" in PAGE, (name, parameter)
