"""A link to what a page shows: its content, and its form as the query string of a URL.

Query parameters, all optional: ``example`` (its name) or ``images`` and ``video`` (hashes of kept
files), ``text``, ``system``, ``earlier``, ``pixels``, ``thinking``; ``fps``, ``frames``, ``start``,
``end`` (which frames of the video); ``tab`` (the selected tabs that are not the first of their
row); ``at`` (the selected token or patch); ``model`` (the checkpoint that the link was made with);
and one parameter for each control that is not at its default, under the control's name, which
always contains a dot. Long texts are compressed, under their name with the prefix ``z``. Links are
untrusted: anything that cannot be read is ignored, and every value is checked like a value from the
page.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from components.share.kept_files import HASH
from playground.errors import InputError
from playground.language import say

LINK_CHARS = 8_000  # longest query; servers and messengers truncate URLs not far above this
READABLE_CHARS = 400  # longest plain text in a URL; longer texts are compressed
MAX_TEXT_BYTES = 200_000  # of a decompressed text; the prompt's own limit is far lower
MAX_SETTINGS = 400
MAX_MEDIA = 64  # hashes; the prompt's own limit is lower
MAX_NUMBER = 2**53  # the largest whole number that JavaScript keeps

TEXTS = ("text", "system", "earlier")
# Numbers of the input panel, and the parameters that carry them.
NUMBERS = {
    "max_pixels": "pixels",
    "video_fps": "fps",
    "video_frames": "frames",
    "video_start": "start",
    "video_end": "end",
}
PROMPT = ("example", "images", "video", *TEXTS, *(f"z{name}" for name in TEXTS), *NUMBERS.values())
OTHERS = ("thinking", "tab", "at", "model")
SETTING = re.compile(r"[a-z0-9][a-z0-9-]*(\.[a-z0-9-]+)+")


@dataclass(frozen=True, slots=True)
class Link:
    """The content of a link; None means the example's value, or nothing if there is no example."""

    example: str | None = None
    images: tuple[str, ...] | None = None  # hashes of kept files
    video: str | None = None
    text: str | None = None
    system: str | None = None
    earlier: str | None = None
    max_pixels: float | None = None
    video_fps: float | None = None
    video_frames: float | None = None
    video_start: float | None = None  # seconds
    video_end: float | None = None
    thinking: str | None = None  # "on" or "off"
    tabs: tuple[str, ...] = ()
    selection: tuple[int, ...] = ()  # an index, or span, row and column
    checkpoint: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)  # by the control's name

    @property
    def has_prompt(self) -> bool:
        """Whether the link contains a prompt; otherwise it refers to the first example."""
        given = (self.example, self.images, self.video, self.text, self.earlier)
        return any(value is not None for value in given)


# ----------------------------------------------------------------------------------- writing


def write_link(link: Link) -> str:
    """The query string of a link, with its question mark.

    Raises:
        InputError: the query would be longer than ``LINK_CHARS``.
    """
    given: dict[str, str] = {}
    if link.example is not None:
        given["example"] = link.example
    if link.images is not None:
        given["images"] = ",".join(link.images)
    if link.video is not None:
        given["video"] = link.video
    for name in TEXTS:
        if (text := getattr(link, name)) is not None:
            given.update([_write_text(name, text)])
    for name, parameter in NUMBERS.items():
        if (number := getattr(link, name)) is not None:
            given[parameter] = write_value(number)
    if link.thinking is not None:
        given["thinking"] = link.thinking
    given.update((name, write_value(value)) for name, value in link.settings.items())
    if link.tabs:
        given["tab"] = ",".join(link.tabs)
    if link.selection:
        given["at"] = ".".join(map(str, link.selection))
    if link.checkpoint is not None:
        given["model"] = link.checkpoint
    query = "?" + urlencode(given, quote_via=quote, safe=",.:/@~")
    if len(query) > LINK_CHARS:
        longest = max(TEXTS, key=lambda name: len(getattr(link, name) or ""))
        what = {
            "text": say("the text"),
            "system": say("the system prompt"),
            "earlier": say("the earlier turns"),
        }[longest]
        raise InputError(
            say("The link would be {count:,} characters long.", count=len(query)),
            limit=say("Only links of up to {most:,} characters work everywhere.", most=LINK_CHARS),
            remedy=say("Shorten {what}.", what=what),
        )
    return query


def _write_text(name: str, text: str) -> tuple[str, str]:
    """The parameter for a text: plain, or compressed if that is shorter."""
    plain = quote(text, safe="")
    if len(plain) > READABLE_CHARS:
        squeezed = zlib.compress(text.encode("utf-8", errors="replace"), 9)
        packed = base64.urlsafe_b64encode(squeezed).decode("ascii").rstrip("=")
        if len(packed) < len(plain):
            return f"z{name}", packed
    return name, text.encode("utf-8", errors="replace").decode("utf-8")


def write_value(value: Any) -> str:
    """Write a control's value as JSON, or as plain text if that cannot be mistaken for JSON."""
    if isinstance(value, str) and not _is_json(value):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < MAX_NUMBER:
        value = int(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


# ----------------------------------------------------------------------------------- reading


def read_link(query: Mapping[str, str]) -> Link | None:
    """Read a link from URL parameters; None if they contain none of ours.

    Args:
        query: the decoded parameters.

    Raises:
        InputError: the link is longer than any link of this page.
    """
    settings = [name for name in query if SETTING.fullmatch(name)]
    if not settings and not any(name in query for name in (*PROMPT, *OTHERS)):
        return None
    if sum(len(name) + len(value) for name, value in query.items()) > LINK_CHARS:
        raise InputError(
            say("This link is too long and was not opened."),
            limit=say("Links to this page have at most {most:,} characters.", most=LINK_CHARS),
        )
    panel: dict[str, Any] = {name: _read_text(query, name) for name in TEXTS}
    panel |= {name: _read_number(query.get(parameter)) for name, parameter in NUMBERS.items()}
    return Link(
        example=query.get("example"),
        images=_read_hashes(query["images"]) if "images" in query else None,
        video=next(iter(_read_hashes(query.get("video", ""))), None),
        **panel,
        thinking=thinking if (thinking := query.get("thinking")) in ("on", "off") else None,
        tabs=tuple(query.get("tab", "").split(",")) if query.get("tab") else (),
        selection=_read_selection(query.get("at", "")),
        checkpoint=query.get("model"),
        settings={name: read_value(query[name]) for name in settings[:MAX_SETTINGS]},
    )


def _read_text(query: Mapping[str, str], name: str) -> str | None:
    packed = query.get(f"z{name}")
    if packed is None:
        return query.get(name)
    try:
        data = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
        # A small text can decompress to gigabytes, so limit the output.
        unpacked = zlib.decompressobj().decompress(data, MAX_TEXT_BYTES)
        return unpacked.decode("utf-8")
    except (ValueError, zlib.error):  # UnicodeDecodeError is a ValueError
        return None


def _read_hashes(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",")[:MAX_MEDIA] if HASH.fullmatch(name))


def _read_selection(text: str) -> tuple[int, ...]:
    """An index, or span, row and column."""
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9}\.\d{1,9})?", text, re.ASCII):
        return ()
    return tuple(int(part) for part in text.split("."))


def read_value(text: str) -> Any:
    """Read a control's value as written by ``write_value``; anything that is not JSON is text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _read_number(text: str | None) -> float | None:
    value = None if text is None else read_value(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) <= MAX_NUMBER else None  # None for NaN
