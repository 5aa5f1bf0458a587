"""Links as text: what is written comes back, and what strangers write does no harm."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any
from urllib.parse import parse_qsl

import gradio as gr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.links.controls import check_value, fits, name_controls, slug
from components.share.link import (
    LINK_CHARS,
    MAX_TEXT_BYTES,
    Link,
    read_link,
    read_value,
    write_link,
)
from components.tabs.choices import carry_state
from components.tabs.updates import read_update, same_value
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
        tabs=("sampling", "sampling.one-step"),
        place=(0, 3, 4),
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
    with pytest.raises(InputError, match=r"The link would have .* Shorten the system prompt\."):
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
        ({"pixels": "9" * 5000}, "max_pixels", None),
        ({"images": "../../etc/passwd," + HASH}, "images", (HASH,)),
        ({"images": HASH.upper()}, "images", ()),
        ({"video": "http://example.com/x.mp4"}, "video", None),
        ({"at": "-1"}, "place", ()),
        ({"at": "1.2"}, "place", ()),
        ({"at": "٣"}, "place", ()),
        ({"at": "9" * 30}, "place", ()),
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


# ------------------------------------------------------------------------------------ controls


@pytest.fixture(scope="module")
def root() -> gr.Blocks:
    with gr.Blocks(analytics_enabled=False) as demo, gr.Tabs():
        with gr.Tab("1 First", id="1"):
            gr.Slider(0, 10, 5, step=1, label="How many")
            with gr.Tabs():
                with gr.Tab("A part"):
                    gr.Textbox("x", label="Word", max_length=5)
                    gr.Textbox("x", label="Word")
                    gr.Dropdown([("one", 1), ("two", 2)], value=1, label="Which")
                    gr.State(None)
                with gr.Tab("B part"), gr.Column(elem_id="card-a"):
                    gr.Dropdown([], value=[], multiselect=True, label="Several")
                    gr.Checkbox(False, label="On")
                    gr.Number(1, label="Any number")
                    carry_state(gr.State(2), "Count", lambda value: [1, 2, 3].index(value) + 1)
        with gr.Tab("2 Zweites"):
            gr.Radio(["yes", "no"], value="yes", label="问题")
            gr.HTML("no control")
            gr.Textbox(label="shown", interactive=False)
    return demo


def test_controls_are_named_by_their_tabs_and_labels(root: gr.Blocks) -> None:
    names = name_controls(root)
    assert list(names.controls) == [
        "first.how-many",
        "first.a-part.word",
        "first.a-part.word-2",
        "first.a-part.which",
        "first.card-a.several",
        "first.card-a.on",
        "first.card-a.any-number",
        "first.card-a.count",
        "zweites.x",
    ]
    assert list(names.tabs) == ["first", "first.a-part", "first.b-part", "zweites"]
    assert [tab.id for tab in names.tabs.values()] == [
        "1",
        "first.a-part",
        "first.b-part",
        "zweites",
    ]
    assert names.rows[names.tabs["first.b-part"]] is names.rows[names.tabs["first.a-part"]]


def test_another_page_takes_the_names_over(root: gr.Blocks) -> None:
    names = name_controls(root)
    with gr.Blocks(analytics_enabled=False) as other, gr.Tabs(), gr.Tab("第一"):
        slider = gr.Slider(0, 10, 5, label="多少")
    with gr.Blocks(analytics_enabled=False) as one, gr.Tabs(), gr.Tab("First"):
        gr.Slider(0, 10, 5, label="How many")
    again = name_controls(other, name_controls(one))
    assert again.controls == {"first.how-many": slider}
    with pytest.raises(ValueError, match="zip"):
        name_controls(other, names)


def test_slugs() -> None:
    assert slug("4 Decoder") == "decoder"
    assert slug("Block size (tokens)") == "block-size-tokens"
    assert slug("1-D") == "d"
    assert slug("3") == "3"


@pytest.mark.parametrize(
    ("name", "value", "checked"),
    [
        ("first.how-many", 7, 7),
        ("first.how-many", 70, 70),  # whether it fits is known only once the model has run
        ("first.a-part.word", "ab", "ab"),
        ("first.a-part.word", 12, "12"),
        ("first.a-part.which", 2, 2),
        ("first.card-a.several", ["1:2", 3], ["1:2", 3]),
        ("first.card-a.on", True, True),
        ("first.card-a.any-number", None, None),
        ("first.card-a.count", 3, 3),
        ("zweites.x", "no", "no"),
    ],
)
def test_values_of_a_controls_own_kind_pass(
    root: gr.Blocks, name: str, value: Any, checked: Any
) -> None:
    assert check_value(name_controls(root).controls[name], value) == checked


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("first.how-many", "7"),
        ("first.how-many", None),
        ("first.how-many", True),
        ("first.how-many", float("nan")),
        ("first.how-many", float("inf")),
        ("first.how-many", 10**400),
        ("first.a-part.word", "abcdef"),
        ("first.a-part.word-2", "a" * (LINK_CHARS + 1)),
        ("first.a-part.which", "two"),
        ("first.a-part.which", [1]),
        ("first.a-part.which", {"__type__": "update", "visible": False}),
        ("first.card-a.several", "1:2"),
        ("first.card-a.several", [[1]]),
        ("first.card-a.several", [1] * 65),
        ("first.card-a.on", 1),
        ("first.card-a.any-number", "1"),
        ("first.card-a.count", 10**9),
        ("zweites.x", {"a": 1}),
        ("zweites.x", "y" * 201),
    ],
)
def test_values_of_another_kind_do_not(root: gr.Blocks, name: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        check_value(name_controls(root).controls[name], value)


def test_bounds_may_come_with_a_run(root: gr.Blocks) -> None:
    controls = name_controls(root).controls
    slider, several = controls["first.how-many"], controls["first.card-a.several"]
    assert fits(slider, 10)
    assert not fits(slider, 11)
    assert fits(slider, 11, {"maximum": 12})
    assert not fits(several, [3])
    assert fits(several, [3], {"choices": [("three", 3)]})
    assert fits(several, [3], {"choices": [3]})
    assert fits(controls["first.a-part.which"], 2)
    assert fits(controls["first.card-a.on"], True)


def test_updates_are_read_in_every_form() -> None:
    assert read_update(3) == {"value": 3}
    assert read_update(gr.skip()) == {}
    assert read_update(gr.update(maximum=4, value=2)) == {"maximum": 4, "value": 2}
    changed = read_update(gr.Slider(maximum=9))
    assert changed["maximum"] == 9
    assert "value" not in changed
    assert read_update({"a": 1}) == {"value": {"a": 1}}


def test_values_are_the_same_as_a_browser_sends_them() -> None:
    assert same_value(1, 1.0)
    assert same_value((1, 2), [1, 2])
    assert same_value(None, "")
    assert not same_value(0, None)
    assert not same_value([1], [2])
    assert json.loads(json.dumps(1.0)) == 1
