"""The command line, and the page that comes up before torch."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import app
from components.serving.server import ServerOptions
from playground.limits import Limits

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in a Space, wherever the tests run."""
    monkeypatch.delenv("SPACE_ID", raising=False)


def test_defaults() -> None:
    options = app.parse_arguments([])
    assert vars(options) == {
        "model": "tiny",
        "compare": "tiny-swapped-colors",
        "adapter_scale": 1.0,
        "device": "auto",
        "dtype": "auto",
        "attn": "sdpa",
        "host": "127.0.0.1",
        "port": 7860,
        "share": False,
        "public": False,
        "mcp": False,
        "auth": None,
        "root_path": "",
        "queue_size": None,
        "max_image_pixels": None,
        "max_new_tokens": None,
    }


@pytest.mark.parametrize(
    ("arguments", "compared"),
    [
        (["--compare", "none"], None),
        (["--compare", "folder"], "folder"),
        (["--model", "folder"], None),
        (["--model", "folder", "--compare", "tiny"], "tiny"),
    ],
)
def test_only_the_shipped_checkpoint_has_one_to_compare_with(
    arguments: list[str], compared: str | None
) -> None:
    assert app.parse_arguments(arguments).compare == compared


def serve_options(*arguments: str) -> ServerOptions:
    return app.read_server_options(app.parse_arguments(arguments))


def test_a_page_for_public_has_tighter_limits_and_what_was_chosen() -> None:
    alone, public = serve_options(), serve_options("--public")
    assert public.queue_size < alone.queue_size
    assert public.max_file_mb < alone.max_file_mb
    assert serve_options("--public", "--queue-size", "5", "--port", "80") == replace(
        public, queue_size=5, port=80
    )


def test_the_limits_are_those_of_the_command_line() -> None:
    def limits(*arguments: str) -> Limits:
        return app.read_limits(app.parse_arguments(arguments))

    assert limits() == Limits()
    assert limits("--public") == Limits.for_public()
    chosen = limits("--public", "--max-new-tokens", "7", "--max-image-pixels", "1000000")
    assert chosen == Limits(max_image_pixels=1_000_000, max_new_tokens=7)
    with pytest.raises(SystemExit, match=r"^--max-new-tokens is 0"):
        limits("--max-new-tokens", "0")


@pytest.mark.parametrize(
    "arguments", [["--auth", "nobody"], ["--auth", "@missing"], ["--queue-size", "0"]]
)
def test_what_cannot_be_served_ends_with_a_message(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match=f"^{arguments[0]}: "):
        serve_options(*arguments)


def test_a_hosted_space_starts_without_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "somebody/playground")
    options = app.parse_arguments([])
    assert (options.model, options.host, options.public) == ("tiny", "0.0.0.0", True)
    assert options.device == "auto"
    monkeypatch.setenv("PLAYGROUND_MODEL", "Qwen/Qwen3-VL-2B-Instruct")
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    options = app.parse_arguments([])
    assert (options.model, options.device) == ("Qwen/Qwen3-VL-2B-Instruct", "cpu")
    assert app.parse_arguments(["--host", "127.0.0.1"]).host == "127.0.0.1"
    monkeypatch.setenv("PLAYGROUND_MODEL", "somebody/else")
    with pytest.raises(SystemExit, match=r"^--model: 'somebody/else' is not offered"):
        app.parse_arguments([])


@pytest.mark.parametrize(
    ("source", "is_known"),
    [
        ("tiny", True),
        (".", True),
        ("Qwen/Qwen3-VL-30B-A3B-Thinking", True),
        ("modelscope:Qwen/Qwen3-VL-8B-Instruct", True),
        ("Qwen/Qwen3-VL-30B-A3B-Thinking-FP8", True),
        ("Qwen/Qwen3-VL-8B-Instruct-FP8", True),
        ("Qwen/Qwen3-VL-8B-Instruct-GGUF", False),
        ("Qwen/Qwen3-VL-2B-Instruct/../../x", False),
        ("someone/Qwen3-VL-2B-Instruct", False),
        ("https://huggingface.co/Qwen/Qwen3-VL-2B-Instruct", True),
        ("Qwen/Qwen3-VL-2B-Instruct/", True),
        ("https://modelscope.cn/models/Qwen/Qwen3-VL-2B-Instruct/summary", True),
        ("https://huggingface.co/someone/Qwen3-VL-2B-Instruct", False),
        ("Qwen/Qwen3-VL-2B-Instruct@refs/pr/1", False),  # written by anybody
        ("https://huggingface.co/Qwen/Qwen3-VL-2B-Instruct/tree/refs%2Fpr%2F1", False),
        ("https://example.com/Qwen/Qwen3-VL-2B-Instruct", False),
    ],
)
def test_visitors_get_known_checkpoints_only(source: str, is_known: bool) -> None:
    assert app.parse_arguments(["--model", source]).model == source
    if is_known:
        assert app.parse_arguments(["--model", source, "--public"]).model == source
    else:
        with pytest.raises(SystemExit, match=r"^--model: "):
            app.parse_arguments(["--model", source, "--public"])
        with pytest.raises(SystemExit, match=r"^--compare: "):
            app.parse_arguments(["--compare", source, "--public"])


@pytest.mark.parametrize(
    "arguments",
    [["--dtype", "int8"], ["--attn", "x"], ["--port", "http"], ["--adapter-scale", "nan"]],
)
def test_wrong_arguments_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        app.parse_arguments(arguments)


@pytest.mark.parametrize(
    ("sources", "offline"),
    [
        (["tiny"], True),
        (["."], True),
        (["Qwen/Qwen3-VL-2B-Instruct"], False),
        (["tiny", "."], True),
        (["tiny", "Qwen/Qwen3-VL-2B-Instruct"], False),
    ],
)
def test_only_a_named_download_may_use_the_network(
    monkeypatch: pytest.MonkeyPatch, sources: list[str], offline: bool
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "")
    app.stay_offline(*sources)
    assert (os.environ["HF_HUB_OFFLINE"] == "1") is offline
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"


def test_the_page_is_built_before_torch_is_imported() -> None:
    code = (
        "import sys\n"
        "from components.page.site import build_site\n"
        "from components.compute.engine_host import EngineHost\n"
        "build_site(EngineHost('tiny'))\n"
        "assert 'gradio' in sys.modules\n"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"
