"""The small files of a checkpoint: JSON, and stand-ins for the real files.

A stand-in is a Git LFS pointer, or a web page that was saved under the file's name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playground.errors import CheckpointError
from playground.language import mark, say

# How a stand-in starts, what it is, and how to get the real file.
STAND_INS = (
    (
        re.compile(rb"version https://git-lfs"),
        mark("{file} of {source!r} is a Git LFS pointer, not the file itself."),
        mark("In that folder, run: git lfs pull"),
    ),
    (
        re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html)", re.IGNORECASE),
        mark("{file} of {source!r} is a web page, not the file itself."),
        mark("Download it again, from the page's resolve link instead of its blob link."),
    ),
)
HEAD_BYTES = 256

# Small files that a checkpoint is read from. Others in the folder are nobody's business.
SMALL_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "model.safetensors.index.json",
)


def some_of(names: Sequence[str], most: int) -> str:
    """The first names of a list, for a message."""
    return ", ".join(names[:most]) + (" …" if len(names) > most else "")


def refuse_stand_ins(folder: Path, source: str) -> None:
    """Refuse a folder in which a small file is a stand-in.

    Raises:
        CheckpointError: names the first such file and how to get the real one.
    """
    for name in SMALL_FILES:
        path = folder / name
        if path.is_file():
            with path.open("rb") as file:
                refuse_stand_in(file.read(HEAD_BYTES), path, source)


def refuse_stand_in(head: bytes, path: Path, source: str) -> None:
    """Refuse one file by its first ``HEAD_BYTES`` bytes."""
    for start, what, remedy in STAND_INS:
        if start.match(head):
            raise CheckpointError(say(what, file=path.name, source=source), remedy=say(remedy))


def read_json(path: Path, source: str) -> dict[str, Any]:
    """Read a JSON object, or raise an error that names the broken file."""
    cause: Exception | None = None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
        reason = say("it holds a {kind}, not an object", kind=type(content).__name__)
    except OSError as error:
        cause, reason = error, error.strerror or type(error).__name__
    except ValueError as error:  # includes UnicodeDecodeError and JSONDecodeError
        cause, reason = error, say("not valid JSON")
    raise CheckpointError(
        say(
            "{file} of {source!r} cannot be read: {reason}.",
            file=path.name,
            source=source,
            reason=reason,
        ),
        remedy=say("Download or copy that file again."),
    ) from cause
