"""Addresses of files that the page shows: below the page's own host, whatever the server was told.

Gradio makes them from the request's ``Host``, which a proxy may have sent without its port, and
from a scheme that it may not have sent at all: the browser then found no picture and no download.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from gradio import processing_utils

_add_root_url = processing_utils.add_root_url


def add_root_path(data: Any, root_url: str, previous_root_url: str | None) -> Any:
    """As Gradio's ``add_root_url``, with the root's path alone: ``/qwen/gradio_api/file=…``."""
    previous = None if previous_root_url is None else root_path(previous_root_url)
    return _add_root_url(data, root_path(root_url), previous)


def root_path(root_url: str) -> str:
    """``http://host/qwen`` → ``/qwen``; empty for the root of a host."""
    return urlsplit(root_url).path.rstrip("/")


def make_file_addresses_relative() -> None:
    """Have Gradio give the page addresses without a host."""
    processing_utils.add_root_url = add_root_path
