"""Files from visitors and API clients: only uploaded files are opened."""

from __future__ import annotations

import base64
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from playground.errors import InputError
from playground.language import say

# An image inside the request itself, for clients that cannot upload: RFC 2397, which allows
# parameters such as ``charset=utf-8`` or ``name=a.png`` before the data, and capital letters.
INLINE = re.compile(r"data:[^,;]{0,99}(;[^,;]{0,199}){0,9};base64,", re.IGNORECASE)


def refuse_addresses(component: Any) -> None:
    """Keep Gradio from fetching a URL that a client sends instead of an upload."""
    move = component.async_move_resource_to_block_cache

    async def move_uploads_only(path: str | Path | None) -> str | None:
        if "://" in str(path):
            raise _not_uploaded(say("a URL"))
        moved: str | None = await move(path)
        return moved

    component.async_move_resource_to_block_cache = move_uploads_only


@contextmanager
def received_image(file: Any) -> Iterator[str | None]:
    """The path of an image that a client uploaded, or sent inline as ``data:…;base64,…``.

    The file of an inline image is deleted after the block. Its content is checked when it is read.

    Raises:
        InputError: the value is neither.
    """
    head = INLINE.match(file) if isinstance(file, str) else None
    if head is None:
        yield uploaded_path(file)
        return
    try:
        content = base64.b64decode(file[head.end() :], validate=True)
    except ValueError as error:  # binascii.Error, or a character that is not ASCII
        raise InputError(
            say("The image's base64 data is invalid."),
            remedy=say("Encode the whole file, without line breaks."),
        ) from error
    with tempfile.NamedTemporaryFile(prefix="picture-") as kept:
        kept.write(content)
        kept.flush()
        yield kept.name


def uploaded_path(file: Any) -> str | None:
    """The path of a file that a client uploaded.

    Gradio passes ``gr.api`` functions the value that the client sent. It has checked that an object
    with its ``meta`` key is an upload, but it has not checked strings and other objects.

    Raises:
        InputError: the value is not such an object, or the file is not in the upload folder.
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
    """The file that a part's ``Upload`` has sent; the browser sends back its path.

    Raises:
        InputError: the file was not uploaded, or has been deleted.
    """
    found = _find_upload(path)
    if found is None:
        raise InputError(say("The uploaded file no longer exists."), remedy=say("Upload it again."))
    return found


def _find_upload(path: Any) -> Path | None:
    """An existing file in the upload folder, or None; the path may be written in any form."""
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
