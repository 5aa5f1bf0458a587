"""URLs of the page's files, relative to the page's own host.

Gradio builds them from the request's ``Host`` and scheme. A proxy may send the host without its
port and no scheme at all; the browser then found no image and no download.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from gradio import processing_utils

_add_root_url = processing_utils.add_root_url


def add_root_path(data: Any, root_url: str, previous_root_url: str | None) -> Any:
    """Like Gradio's ``add_root_url``, with only the root's path: ``/qwen/gradio_api/file=…``."""
    previous = None if previous_root_url is None else root_path(previous_root_url)
    return _add_root_url(data, root_path(root_url), previous)


def root_path(root_url: str) -> str:
    """``http://host/qwen`` → ``/qwen``; empty for the root."""
    return urlsplit(root_url).path.rstrip("/")


def make_file_addresses_relative() -> None:
    """Make Gradio send the page URLs without a host."""
    processing_utils.add_root_url = add_root_path
