"""Boxes and points as models write them: read what can be read, and say what cannot.

Qwen3-VL answers with JSON, ``[{"bbox_2d": [x1, y1, x2, y2], "label": "dog"}]`` or ``point_2d``, in
a code fence or bare; earlier models with ``<|box_start|>(x1,y1),(x2,y2)<|box_end|>``. An answer may
be cut off anywhere, so that it is scanned for keys instead of parsed as JSON. Coordinates are given
as they are written: nothing is clipped, swapped or scaled here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

FULL_SCALE = 1000  # coordinates are in thousandths of the image's width and height
LARGEST = 1e9  # a number beyond this is no coordinate of an image

Kind = Literal["box", "point"]
Reason = Literal["cut off", "wrong count", "no number"]

NUM_COORDINATES: dict[Kind, int] = {"box": 4, "point": 2}
KEY = re.compile(r"""(?P<quote>["'])(?P<key>bbox_2d|bbox|point_2d|point)(?P=quote)\s*:\s*""")
LABEL = re.compile(r"""["']label["']\s*:\s*(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""")
TAGGED = re.compile(
    r"(?:<\|object_ref_start\|>(?P<label>.*?)<\|object_ref_end\|>\s*)?"
    r"<\|box_start\|>(?P<inside>.*?)(?P<end><\|box_end\|>|$)",
    re.DOTALL,
)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
# The next bracket or number of a list; numbers may stand in quotation marks.
ITEM = re.compile(
    r"""[\s,]*(?:(?P<open>\[)|(?P<close>\])|["']?(?P<number>-?[\d.][^\s,\]"']*)["']?)"""
)


@dataclass(frozen=True, slots=True)
class Coordinate:
    """One number of a box or point, as it is written."""

    value: float
    start: int  # first character in the text
    end: int  # one past the last


@dataclass(frozen=True, slots=True)
class Found:
    """A box (x1, y1, x2, y2) or a point (x, y) in an answer."""

    kind: Kind
    coordinates: tuple[Coordinate, ...]
    label: str  # empty if there is none

    @property
    def values(self) -> tuple[float, ...]:
        """The coordinates as numbers."""
        return tuple(coordinate.value for coordinate in self.coordinates)

    @property
    def is_outside(self) -> bool:
        """Whether a coordinate lies outside 0 to 1000."""
        return any(not 0 <= value <= FULL_SCALE for value in self.values)

    @property
    def is_swapped(self) -> bool:
        """Whether a box's first corner is not its top left one."""
        return self.kind == "box" and (
            self.values[0] > self.values[2] or self.values[1] > self.values[3]
        )


@dataclass(frozen=True, slots=True)
class Unread:
    """A place where a box or point should be and cannot be read."""

    start: int  # characters in the text
    end: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything in an answer that looks like a box or a point, in order."""

    found: tuple[Found, ...]
    unread: tuple[Unread, ...]


def read_grounding(text: str) -> Reading:
    """Read the boxes and points in an answer.

    Args:
        text: of the answer; it may end anywhere.
    """
    read = sorted((*_read_keys(text), *_read_tags(text)), key=_first_character)
    return Reading(
        tuple(item for item in read if isinstance(item, Found)),
        tuple(item for item in read if isinstance(item, Unread)),
    )


def _first_character(item: Found | Unread) -> int:
    return item.start if isinstance(item, Unread) else item.coordinates[0].start


# ------------------------------------------------------------------------------------- JSON


def _read_keys(text: str) -> Iterator[Found | Unread]:
    for match in KEY.finditer(text):
        kind: Kind = "box" if match["key"].startswith("bbox") else "point"
        start = match.end()
        lists, end, is_whole = _scan_lists(text, start)
        if lists is None:
            yield Unread(start, end, "no number" if is_whole else "cut off")
            continue
        label = _label_near(text, match.start(), end)
        for coordinates in _join_corners(lists, kind):
            yield from _make(kind, coordinates, label, (start, end), is_whole=is_whole)


def _scan_lists(text: str, start: int) -> tuple[list[list[Coordinate]] | None, int, bool]:
    """The innermost lists of numbers, the character after the value, and whether it is closed.

    None in place of the lists if the value is no list of numbers.
    """
    lists: list[list[Coordinate]] = []
    depth, at = 0, start
    while (match := ITEM.match(text, at)) is not None:
        at = match.end()
        if match["open"]:
            depth += 1
            lists.append([])
        elif match["close"]:
            depth -= 1
            if depth <= 0:
                return [each for each in lists if each] or None, at, True
        elif depth == 0 or not NUMBER.fullmatch(match["number"]):
            return None, at, True
        else:
            lists[-1].append(Coordinate(float(match["number"]), *match.span("number")))
    if at < len(text.rstrip()):  # something else than numbers
        return None, at, True
    return [each for each in lists if each] or None, len(text), False


def _join_corners(lists: list[list[Coordinate]], kind: Kind) -> list[list[Coordinate]]:
    """``[[x1, y1], [x2, y2]]`` is one box."""
    if kind == "box" and len(lists) == 2 and all(len(each) == 2 for each in lists):
        return [[*lists[0], *lists[1]]]
    return lists


def _label_near(text: str, start: int, end: int) -> str:
    """The label in the same object as a key; it may stand before or after."""
    opening = text.rfind("{", 0, start)
    closing = text.find("}", end)
    inside = text[opening + 1 : closing if closing >= 0 else len(text)]
    match = LABEL.search(inside)
    return "" if match is None else _unquote(match["text"])


def _unquote(quoted: str) -> str:
    """The content of a JSON string, or of one in single quotes."""
    inner = quoted[1:-1]
    if quoted.startswith("'"):
        inner = inner.replace("\\'", "'").replace('"', '\\"')
    try:
        return str(json.loads(f'"{inner}"', strict=False))
    except json.JSONDecodeError:  # an escape that JSON does not have
        return inner


# ------------------------------------------------------------------------------------- tags


def _read_tags(text: str) -> Iterator[Found | Unread]:
    for match in TAGGED.finditer(text):
        span, label = match.span("inside"), (match["label"] or "").strip()
        numbers = [
            Coordinate(float(number.group()), *number.span())
            for number in NUMBER.finditer(text, *span)
        ]
        is_whole = bool(match["end"])
        yield from _make("box", numbers, label, span, is_whole=is_whole)


def _make(
    kind: Kind,
    coordinates: list[Coordinate],
    label: str,
    span: tuple[int, int],
    *,
    is_whole: bool,
) -> Iterator[Found | Unread]:
    """A box or point from its numbers; the last number of a cut-off text may go on."""
    needed = NUM_COORDINATES[kind]
    is_sane = all(abs(each.value) <= LARGEST for each in coordinates)
    if is_whole and len(coordinates) == needed and is_sane:
        yield Found(kind, tuple(coordinates), label)
    elif not is_whole:
        yield Unread(*span, "cut off")
    else:
        yield Unread(*span, "wrong count" if is_sane and coordinates else "no number")
