"""Images that a program sends: uploads, inline data, and what is refused."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gradio_client import handle_file
from gradio_client.exceptions import AppError

from components.prompt.uploads import received_image, uploaded_path
from playground.errors import InputError
from playground.prompt import PromptImage
from tests.components.api.calls import PIXELS, TEXT, raw_answer
from tests.media_samples import make_image

# Gradio and its client leave sockets and an event loop to the garbage collector, and Gradio sets
# an option that pandas 3 is about to drop.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]

META = {"_type": "gradio.FileData"}


def test_an_image_may_come_inline(call: Callable[..., Any], url: str, file: Any) -> None:
    """As clients do that cannot upload; it is read like an upload, and not kept."""
    content = Path(file["path"]).read_bytes()
    inline = "data:image/png;base64," + base64.b64encode(content).decode()
    event, sent = raw_answer(url, "preprocess", [inline, TEXT, "", PIXELS, None])
    assert event == "complete"
    assert json.loads(sent)[0] == call("/preprocess", image=file, max_pixels=PIXELS)
    for head in ("data:image/png;charset=utf-8;base64,", "data:;name=a.png;BASE64,"):
        other = head + inline.partition(",")[2]
        assert raw_answer(url, "preprocess", [other, TEXT, "", PIXELS, None]) == (event, sent)
    broken_ones = (
        (inline[:-2], "base64 data is invalid"),
        ("data:image/png;base64,红红", "base64 data is invalid"),
        ("data:;base64,AA==", "image"),
    )
    for broken, words in broken_ones:
        event, sent = raw_answer(url, "preprocess", [broken, TEXT, "", None, None])
        assert event == "error"
        assert words in sent
    before = set(Path(tempfile.gettempdir()).glob("picture-*"))
    with received_image(inline) as path:
        assert Path(path or "").read_bytes() == content
    assert set(Path(tempfile.gettempdir()).glob("picture-*")) == before


@pytest.mark.parametrize(
    "image",
    [
        "/etc/passwd",
        "http://127.0.0.1:9/picture.png",
        {"path": "/etc/passwd"},
        {"path": "/etc/passwd", "meta": META},
        {"path": "http://127.0.0.1:9/picture.png", "meta": META},
        {"path": "https://example.com/picture.png", "url": "https://example.com", "meta": META},
        {"path": "https://example.com/picture.png", "is_stream": True, "meta": META},
        {"path": "file:///etc/passwd", "meta": META},
        [{"path": "/etc/passwd", "meta": META}],
    ],
)
def test_only_uploads_are_opened(
    url: str, image: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from gradio import processing_utils

    from playground.preprocess import media

    touched = []

    async def fetch(address: str, **_: Any) -> str:
        touched.append(address)
        return str(tmp_path)

    def read(path: str, **_: Any) -> PromptImage:
        touched.append(path)
        return make_image()

    monkeypatch.setattr(processing_utils, "async_ssrf_protected_download", fetch)
    monkeypatch.setattr(media, "read_image", read)
    event, sent = raw_answer(url, "preprocess", [image, "Hello", "", None, None])
    assert event == "error"
    assert touched == []
    assert "root:" not in sent


def test_a_path_as_text_is_explained(call: Callable[..., Any]) -> None:
    with pytest.raises(AppError, match="pass handle_file"):
        call("/preprocess", image="/etc/passwd")
    with pytest.raises(AppError, match="URLs are not fetched"):
        call("/preprocess", image=handle_file("http://127.0.0.1:9/picture.png"))


def test_uploads_of_the_server_itself_lie_in_its_folder(tmp_path: Path) -> None:
    outside = tmp_path / "picture.png"
    outside.write_bytes(b"")
    with pytest.raises(InputError, match="must be an uploaded file"):
        uploaded_path({"path": str(outside), "meta": META})
    assert uploaded_path(None) is None
