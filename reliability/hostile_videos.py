"""Hostile videos, sent by a page: the endpoints accept no video."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from reliability.hostile_files import File, video_files
from reliability.page_client import PageClient
from reliability.served import Answer, Caller


def send_video(caller: Caller, file: File) -> Answer:
    """Upload a video on a new page and run the first stage, which decodes it."""
    uploaded = caller.upload(file.name, file.content)
    if isinstance(uploaded, Answer):
        return uploaded
    page = PageClient(caller.server)
    page.set_images([])
    page.set_video(uploaded)
    start = time.perf_counter()
    pressed = page.press(page.find_run_button("preprocess"))
    seconds = time.perf_counter() - start
    page.vanish()
    return Answer(pressed.ok, None, pressed.message, seconds)


def all_videos() -> Iterator[tuple[str, bool | None, Any]]:
    """``(name, accepted, send)`` of each."""
    for file in video_files():

        def send(caller: Caller, file: File = file) -> Answer:
            return send_video(caller, file)

        yield f"video: {file.name}", file.accepted, send
