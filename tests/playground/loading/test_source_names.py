"""What people give to ``--model``: copied addresses, ids of other tools, paths in quotes."""

from __future__ import annotations

from pathlib import Path

import pytest

from playground.errors import CheckpointError
from playground.loading.source_names import Source, parse_source

NAME = "Qwen/Qwen3-VL-2B-Instruct"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("typed", "revision"),
    [
        (NAME, None),
        (f"{NAME}/", None),
        (f" {NAME}\n", None),
        (f'"{NAME}"', None),
        (f"{NAME}@main", "main"),
        (f"{NAME}@{COMMIT}", COMMIT),
        (f"{NAME}@refs/pr/3", "refs/pr/3"),
        (f"hf://{NAME}", None),
        (f"hf://models/{NAME}", None),
        (f"hf://{NAME}@v1.0", "v1.0"),
        (f"hf-hub:{NAME}", None),
        (f"https://huggingface.co/{NAME}", None),
        (f"https://huggingface.co/{NAME}/", None),
        (f"http://www.huggingface.co/{NAME}?library=transformers#use", None),
        (f"huggingface.co/{NAME}", None),
        (f"https://hf.co/{NAME}", None),
        (f"https://hf-mirror.com/{NAME}", None),
        (f"https://huggingface.co/{NAME}/tree/main", "main"),
        (f"https://huggingface.co/{NAME}/tree/{COMMIT}", COMMIT),
        (f"https://huggingface.co/{NAME}/commit/{COMMIT}", COMMIT),
        (f"https://huggingface.co/{NAME}/tree/refs%2Fpr%2F3", "refs/pr/3"),
        (f"https://huggingface.co/{NAME}/blob/main/config.json", "main"),
        (f"https://huggingface.co/{NAME}/resolve/v2/model.safetensors", "v2"),
        (f"https://huggingface.co/{NAME}/discussions/4", None),
    ],
)
def test_the_hub(typed: str, revision: str | None) -> None:
    assert parse_source(typed) == Source("hub", NAME, revision)


@pytest.mark.parametrize(
    ("typed", "revision"),
    [
        (f"modelscope:{NAME}", None),
        (f"modelscope://{NAME}/", None),
        (f"modelscope:{NAME}@v1", "v1"),
        (f"https://modelscope.cn/models/{NAME}", None),
        (f"https://www.modelscope.cn/models/{NAME}/summary", None),
        (f"https://modelscope.cn/models/{NAME}/files", None),
        (f"https://www.modelscope.ai/models/{NAME}", None),
    ],
)
def test_modelscope(typed: str, revision: str | None) -> None:
    assert parse_source(typed) == Source("modelscope", NAME, revision)
    assert str(parse_source(typed)) == f"modelscope:{NAME}" + (f"@{revision}" if revision else "")


def test_a_path_that_exists_is_that_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (NAME, f"{NAME}@main", "huggingface.co/owner/name"):
        assert parse_source(name).kind == "hub"
        Path(name).mkdir(parents=True)
        assert parse_source(name) == Source("folder", name)
    assert parse_source(tmp_path.as_uri()) == Source("folder", str(tmp_path))
    assert parse_source(f"'{tmp_path}'") == Source("folder", str(tmp_path))


@pytest.mark.parametrize(
    "typed", ["Qwen3-VL", "a/b/c", "/data/qwen", "~/qwen", "..", r"C:\models\qwen", ""]
)
def test_what_looks_like_a_path_is_a_folder(typed: str) -> None:
    assert parse_source(typed) == Source("folder", typed)


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("https://github.com/QwenLM/Qwen3-VL", "is no model page of the Hub or of ModelScope"),
        ("https://huggingface.co.example.com/a/b", "is no model page"),
        ("https://huggingface.co/Qwen", "is the address of something other than a model"),
        ("https://huggingface.co/datasets/a/b", "something other than a model"),
        ("https://huggingface.co/spaces/a/b", "something other than a model"),
        ("https://huggingface.co/collections/a/b", "something other than a model"),
        (f"https://huggingface.co/{NAME}/tree/main/onnx", "is a folder inside a repository"),
        ("hf://Qwen3-VL", "names no Hub repository"),
        ("modelscope:Qwen3-VL", "names no ModelScope repository"),
    ],
)
def test_other_addresses_are_told_the_form(typed: str, found: str) -> None:
    with pytest.raises(CheckpointError, match=found) as caught:
        parse_source(typed)
    assert caught.value.remedy
