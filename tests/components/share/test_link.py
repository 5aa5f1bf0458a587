"""Links as text: what is written comes back, and what others write does no harm."""

from __future__ import annotations

import base64
import zlib
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.share.link import (
    LINK_CHARS,
    MAX_TEXT_BYTES,
    Link,
    read_link,
    read_value,
    write_link,
)
from playground.errors import InputError

HASH = "ab" * 32


def there_and_back(link: Link) -> Link | None:
    query = write_link(link)
    assert query.startswith("?")
    assert query.isascii()
    return read_link(dict(parse_qsl(query[1:], keep_blank_values=True)))


def test_all_of_a_link_comes_back() -> None:
    link = Link(
        images=(HASH, "cd" * 32),
        video="ef" * 32,
        text="What?\n“红色” 100% & = + # <b>",
        system="",
        earlier="User: a\nAssistant: b",
        max_pixels=4096,
        video_fps=0.5,
        video_frames=8,
        video_start=1.25,
        video_end=60,
        thinking="off",
        tabs=("sampling", "sampling.one-step"),
        selection=(0, 3, 4),
        checkpoint="tiny@0123,float32",
        settings={"a.number": 0.25, "a.flag": True, "a.none": None, "a.list": [1, 2], "a.b": "12"},
    )
    assert there_and_back(link) == link


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_every_text_comes_back(text: str) -> None:
    link = there_and_back(Link(text=text, settings={"a.b": text}))
    assert link is not None
    assert (link.text, link.settings["a.b"]) == (text, text)


def test_a_long_text_is_packed_and_a_longer_one_refused() -> None:
    text = "这张图片里有什么？" * 300  # 24 kB if it were written out
    assert there_and_back(Link(text=text)) == Link(text=text)
    assert len(write_link(Link(text=text))) < 400
    random = "".join(chr(0x4E00 + 7919 * each % 20_000) for each in range(6_000))
    with pytest.raises(InputError, match=r"The link would be .* Shorten the system prompt\."):
        write_link(Link(text="short", system=random))


def test_an_address_without_a_link_is_none() -> None:
    assert read_link({}) is None
    assert read_link({"__theme": "dark", "lang": "zh", "utm": "x"}) is None


def test_an_address_with_only_a_tab_is_about_the_first_example() -> None:
    link = read_link({"tab": "decoder"})
    assert link == Link(tabs=("decoder",))
    assert not link.has_prompt


@pytest.mark.parametrize(
    ("query", "name", "value"),
    [
        ({"pixels": "NaN"}, "max_pixels", None),
        ({"pixels": "1e999"}, "max_pixels", None),
        ({"pixels": "true"}, "max_pixels", None),
        ({"thinking": "perhaps"}, "thinking", None),
        ({"pixels": "9" * 5000}, "max_pixels", None),
        ({"fps": "[2]"}, "video_fps", None),
        ({"start": "-Infinity"}, "video_start", None),
        ({"images": "../../etc/passwd," + HASH}, "images", (HASH,)),
        ({"images": HASH.upper()}, "images", ()),
        ({"video": "http://example.com/x.mp4"}, "video", None),
        ({"at": "-1"}, "selection", ()),
        ({"at": "1.2"}, "selection", ()),
        ({"at": "٣"}, "selection", ()),
        ({"at": "9" * 30}, "selection", ()),
        ({"ztext": "no base64!"}, "text", None),
        ({"ztext": "AAAA"}, "text", None),
        ({"ztext": base64.urlsafe_b64encode(zlib.compress(b"\xff")).decode()}, "text", None),
        ({"A.b": "1", "a..b": "1", ".a": "1", "tab": "x"}, "settings", {}),
    ],
)
def test_what_cannot_be_read_is_left_out(query: dict[str, str], name: str, value: Any) -> None:
    link = read_link(query)
    assert link is not None
    assert getattr(link, name) == value


def test_a_packed_bomb_is_cut_short() -> None:
    bomb = base64.urlsafe_b64encode(zlib.compress(b"a" * 5_000_000, 9)).decode()
    assert len(bomb) < LINK_CHARS
    link = read_link({"ztext": bomb})
    assert link is not None
    assert len(link.text or "") == MAX_TEXT_BYTES


def test_a_longer_address_is_refused() -> None:
    with pytest.raises(InputError, match="too long"):
        read_link({"text": "a" * LINK_CHARS})


@pytest.mark.parametrize("text", ["[" * 5000, "{", "NaN", "-Infinity", "\x00", "1" * 5000])
def test_no_value_is_too_strange_to_read(text: str) -> None:
    read_value(text)


@pytest.mark.parametrize(
    "value", [0, -1, 0.25, 1.5, True, None, "", "a b", "12", "null", [1, 2], {"a": [1.5]}, [{}]]
)
def test_every_value_of_a_control_comes_back(value: Any) -> None:
    link = there_and_back(Link(settings={"a.b": value}))
    assert link is not None
    assert link.settings["a.b"] == value
    assert type(link.settings["a.b"]) is type(value)


def test_whole_numbers_are_the_same_however_a_browser_sends_them() -> None:
    assert write_link(Link(settings={"a.b": 3.0})) == write_link(Link(settings={"a.b": 3}))
