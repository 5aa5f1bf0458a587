"""Files have addresses below the page's own host, and a path where a proxy gives one."""

from __future__ import annotations

from typing import Any

import pytest

from components.serving.file_addresses import add_root_path


def a_file(url: str) -> dict[str, Any]:
    return {"path": "a.png", "url": url, "meta": {"_type": "gradio.FileData"}}


@pytest.mark.parametrize(
    ("root", "begins"),
    [
        ("http://127.0.0.1", ""),
        ("https://host:8443/", ""),
        ("http://host/qwen", "/qwen"),
        ("https://host/a/b/", "/a/b"),
    ],
)
def test_only_the_path_of_the_root_is_added(root: str, begins: str) -> None:
    data = add_root_path([a_file("/gradio_api/file=a.png")], root, None)
    assert data[0]["url"] == f"{begins}/gradio_api/file=a.png"


def test_another_root_takes_the_place_of_the_one_before() -> None:
    first = add_root_path([a_file("/gradio_api/file=a.png")], "http://one/qwen", None)
    data = add_root_path(first, "https://two:8443/qwen", "http://one/qwen")
    assert data[0]["url"] == "/qwen/gradio_api/file=a.png"


def test_an_address_elsewhere_stays() -> None:
    data = add_root_path([a_file("https://example.com/a.png")], "http://host/qwen", None)
    assert data[0]["url"] == "https://example.com/a.png"
