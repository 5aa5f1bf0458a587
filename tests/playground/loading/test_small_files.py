"""Small files that stand in for the real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from playground.errors import CheckpointError
from playground.loading.load import load_engine

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 11421896\n"
PAGE = "\n<!DOCTYPE html>\n<html><body>tokenizer.json · Qwen/Qwen3-VL</body></html>"
FILES = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "chat_template.jinja",
    "model.safetensors.index.json",
    "model.safetensors",
)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (POINTER, "is a Git LFS pointer, not the file itself. In that folder, run: git lfs pull"),
        (PAGE, "is a web page, not the file itself. Download it again"),
    ],
)
def test_a_stand_in_is_named(brought: Path, name: str, content: str, message: str) -> None:
    (brought / name).write_text(content)
    with pytest.raises(CheckpointError) as caught:
        load_engine("brought", device="cpu")
    assert str(caught.value).startswith(f"{name} of 'brought' {message}")


def test_a_stand_in_that_nobody_reads_does_no_harm(brought: Path) -> None:
    (brought / "training_args.bin").write_text(POINTER)
    (brought / "all_results.json").write_text(POINTER)
    assert load_engine("brought", device="cpu").source == "brought"
