"""Files of API clients: only what they have uploaded is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from components.stage_tab import user_messages
from playground.errors import InputError
from playground.language import say


def refuse_addresses(component: Any) -> None:
    """Keep Gradio from fetching an address that a client sends in place of an upload."""
    move = component.async_move_resource_to_block_cache

    async def move_uploads_only(path: str | Path | None) -> str | None:
        if "://" in str(path):
            with user_messages(as_html=False):
                raise _not_uploaded(say("an address"))
        moved: str | None = await move(path)
        return moved

    component.async_move_resource_to_block_cache = move_uploads_only


def uploaded_path(file: Any) -> str | None:
    """The path of a file that a client has uploaded.

    Gradio hands ``gr.api`` functions what the client sent: an object with Gradio's ``meta`` key was
    checked to be an upload, but texts and other objects were not.

    Raises:
        InputError: it is not such an object, or the file lies elsewhere.
    """
    if file is None:
        return None
    meta = file.get("meta") if isinstance(file, dict) else None
    if not isinstance(meta, dict) or meta.get("_type") != "gradio.FileData":
        raise _not_uploaded(
            say("a text") if isinstance(file, str) else say("a {type}", type=type(file).__name__)
        )
    path = Path(str(file.get("path"))).resolve()
    if not path.is_relative_to(Path(get_upload_folder()).resolve()) or not path.is_file():
        raise _not_uploaded(say("something else"))
    return str(path)


def _not_uploaded(found: str) -> InputError:
    return InputError(
        say("The image is no uploaded file but {found}.", found=found),
        limit=say("Paths on the server are not opened and addresses are not fetched."),
        remedy=say("Upload the picture: with gradio_client, pass handle_file('picture.png')."),
    )
