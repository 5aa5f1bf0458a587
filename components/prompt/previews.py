"""Previews of uploaded files that a browser cannot show, although *Run* reads them.

The gallery shows a WebP in place of a HEIC; *Run* still reads the HEIC itself. A video keeps its
place, with a sentence below it where the browser fails to play it.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

import playground
from components.prompt.uploads import read_upload
from components.serving.browser_module import page_module
from playground.errors import InputError
from playground.language import say

# Beside the original. Uploads lie directly in a folder named after their hash, so that no upload
# can be mistaken for a preview.
FOLDER = "browser-preview"

GalleryItem = str | tuple[str, str | None]
"""A path, or a path and its caption, as ``gr.Gallery(type="filepath")`` gives them."""


def original_of(path: str) -> str:
    """The file that a visitor uploaded, from its own path or from that of its preview.

    Raises:
        InputError: the original has been deleted.
    """
    preview = Path(path)
    if preview.parent.name != FOLDER:
        return path
    return str(read_upload(preview.parent.parent / preview.stem))


def show_previews(items: list[GalleryItem] | None) -> Any:
    """Replace the images that browsers do not show; nothing changes if there are none."""
    items = items or []
    shown = [_show_preview(item) for item in items]
    return shown if shown != items else gr.skip()


def _show_preview(item: GalleryItem) -> GalleryItem:
    path, *caption = [item] if isinstance(item, str) else item
    original = Path(str(path))
    if original.parent.name == FOLDER:
        return item
    try:
        content = playground.preprocess.preview.preview_image(original)
    except InputError:  # Run says why
        return item
    if content is None:
        return item
    preview = original.parent / FOLDER / f"{original.name}.webp"
    preview.parent.mkdir(exist_ok=True)
    preview.write_bytes(content)
    return (str(preview), *caption) if caption else str(preview)


def describe_video(path: str | None) -> str:
    """What the page says of a video that the browser fails to play, as HTML."""
    if path is None:
        return ""
    try:
        playground.preprocess.preview.check_video(Path(path))
    except InputError as error:
        return f"<p>{escape(str(error))}</p>"
    words = say("This browser cannot preview this file; Run reads it.")
    return f"<p>{escape(words)}</p>"


def build_video_note() -> gr.HTML:
    """The sentence below the video; the style sheet shows it once the browser has failed."""
    return gr.HTML("", elem_id="video-note", js_on_load=page_module("previews.js"))


def wire_previews(images: gr.Gallery, video: gr.Video, note: gr.HTML) -> None:
    """Look at each upload, and at a video that a link brings, too."""
    images.upload(show_previews, images, images, api_visibility="private")
    video.change(describe_video, video, note, api_visibility="private", show_progress="hidden")
