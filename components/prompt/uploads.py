"""Files of visitors and API clients: only what they have uploaded is opened."""

from __future__ import annotations

import base64
import binascii
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from playground.errors import InputError
from playground.language import say

# A picture inside the request itself, as clients without uploads send it.
INLINE = re.compile(r"data:[\w.+/-]*;base64,")


def refuse_addresses(component: Any) -> None:
    """Keep Gradio from fetching an address that a client sends in place of an upload."""
    move = component.async_move_resource_to_block_cache

    async def move_uploads_only(path: str | Path | None) -> str | None:
        if "://" in str(path):
            raise _not_uploaded(say("a URL"))
        moved: str | None = await move(path)
        return moved

    component.async_move_resource_to_block_cache = move_uploads_only


@contextmanager
def received_picture(file: Any) -> Iterator[str | None]:
    """The path of a picture that a client has uploaded, or sent inline as ``data:…;base64,…``.

    An inline one is gone after the block. What is in it is checked when it is read.

    Raises:
        InputError: it is neither.
    """
    head = INLINE.match(file) if isinstance(file, str) else None
    if head is None:
        yield uploaded_path(file)
        return
    try:
        content = base64.b64decode(file[head.end() :], validate=True)
    except binascii.Error as error:
        raise InputError(
            say("The image's base64 data is invalid."),
            remedy=say("Encode the whole file, without line breaks."),
        ) from error
    with tempfile.NamedTemporaryFile(prefix="picture-") as kept:
        kept.write(content)
        kept.flush()
        yield kept.name


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
            say("text") if isinstance(file, str) else say("a {type}", type=type(file).__name__)
        )
    path = _find_upload(file.get("path"))
    if path is None:
        raise _not_uploaded(say("an unknown file"))
    return str(path)


def read_upload(path: Any) -> Path:
    """The file that a part's ``Upload`` has sent; its path comes back from the browser.

    Raises:
        InputError: it is no uploaded file, or has been deleted since.
    """
    found = _find_upload(path)
    if found is None:
        raise InputError(say("The uploaded file no longer exists."), remedy=say("Upload it again."))
    return found


def _find_upload(path: Any) -> Path | None:
    """An existing file below the folder of uploads, however its path is written."""
    found = Path(str(path)).resolve()
    return found if found.is_relative_to(_upload_folder()) and found.is_file() else None


def _upload_folder() -> Path:
    return Path(get_upload_folder()).resolve()


def _not_uploaded(found: str) -> InputError:
    return InputError(
        say("The image must be an uploaded file, not {found}.", found=found),
        limit=say("Paths on the server are not opened and URLs are not fetched."),
        remedy=say("Upload the image: with gradio_client, pass handle_file('image.png')."),
    )
