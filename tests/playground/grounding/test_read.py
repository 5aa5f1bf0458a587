"""Boxes and points in answers: the published forms, cut off anywhere, and any other text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.grounding.read import read_grounding

DOG = '[\n\t{"bbox_2d": [128, 304, 512, 987], "label": "dog"}\n]'


def boxes(text: str) -> list[tuple[str, tuple[float, ...]]]:
    return [(each.label, each.values) for each in read_grounding(text).found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (DOG, [("dog", (128, 304, 512, 987))]),
        (f"```json\n{DOG}\n```", [("dog", (128, 304, 512, 987))]),
        (f"Here it is:\n{DOG}\nIs there more?", [("dog", (128, 304, 512, 987))]),
        ('{"label": "a", "bbox_2d": [1, 2, 3, 4]}', [("a", (1, 2, 3, 4))]),
        ('{"bbox_2d": [1, 2, 3, 4]}', [("", (1, 2, 3, 4))]),
        (
            '[{"bbox_2d": [1, 2, 3, 4], "label": "a"}, {"bbox_2d": [5, 6, 7, 8], "label": "b"}]',
            [("a", (1, 2, 3, 4)), ("b", (5, 6, 7, 8))],
        ),
        ('[{"point_2d": [12, 34], "label": "the cat\'s eye"}]', [("the cat's eye", (12, 34))]),
        ("{'point_2d': [12, 34], 'label': 'it\\'s'}", [("it's", (12, 34))]),
        ('{"bbox_2d": [1.5, 2, 3e1, 4], "label": "狗"}', [("狗", (1.5, 2, 30, 4))]),
        ('{"bbox_2d": ["1", "2", "3", "4"]}', [("", (1, 2, 3, 4))]),
        ('{"bbox_2d": [[1, 2], [3, 4]]}', [("", (1, 2, 3, 4))]),
        (
            '{"bbox_2d": [[1, 2, 3, 4], [5, 6, 7, 8]], "label": "a"}',
            [("a", (1, 2, 3, 4)), ("a", (5, 6, 7, 8))],
        ),
        ("<|box_start|>(1,2),(3,4)<|box_end|>", [("", (1, 2, 3, 4))]),
        (
            "<|object_ref_start|>the dog<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|>",
            [("the dog", (1, 2, 3, 4))],
        ),
        ('{"bbox_2d": [1, 2, 3, 4], "label": "a \\"b\\" \\u00e9"}', [('a "b" é', (1, 2, 3, 4))]),
        ("No dog, no box.", []),
        ('The key "label": "x" alone.', []),
    ],
)
def test_published_forms(text: str, expected: list[Any]) -> None:
    reading = read_grounding(text)
    assert boxes(text) == expected
    assert reading.unread == ()
    for each in reading.found:
        for coordinate in each.coordinates:
            assert float(text[coordinate.start : coordinate.end]) == coordinate.value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[{"bbox_2d": [128, 304, 51', "cut off"),
        ('[{"bbox_2d": [128, 304, 512, 987', "cut off"),  # 987 may be the start of a longer one
        ('[{"bbox_2d": ', "cut off"),
        ('[{"bbox_2d": [1, 2, 3]}]', "wrong count"),
        ('[{"point_2d": [1, 2, 3]}]', "wrong count"),
        ('[{"bbox_2d": null}]', "no number"),
        ('[{"bbox_2d": []}]', "no number"),
        ('[{"bbox_2d": [1, 2, x, 4]}]', "no number"),
        ('[{"bbox_2d": [1, 2, NaN, 4]}]', "no number"),
        ('[{"bbox_2d": [1, 2, 1e999, 4]}]', "no number"),
        ("<|box_start|>(1,2),(3", "cut off"),
        ("<|box_start|>nowhere<|box_end|>", "no number"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, reason: str) -> None:
    reading = read_grounding(text)
    assert reading.found == ()
    (unread,) = reading.unread
    assert unread.reason == reason
    assert 0 <= unread.start <= unread.end <= len(text)


def test_odd_values_stay_as_they_are_written() -> None:
    (found,) = read_grounding('{"bbox_2d": [1200, -3, 10, 20]}').found
    assert found.values == (1200, -3, 10, 20)
    assert found.is_outside
    assert found.is_swapped


numbers = st.one_of(st.integers(0, 1000), st.floats(0, 1000).map(lambda value: round(value, 2)))
objects = st.one_of(
    st.fixed_dictionaries(
        {"bbox_2d": st.lists(numbers, min_size=4, max_size=4), "label": st.text(max_size=12)}
    ),
    st.fixed_dictionaries(
        {"point_2d": st.lists(numbers, min_size=2, max_size=2), "label": st.text(max_size=12)}
    ),
)


def plain(label: str) -> str:
    """A label that is no key or brace itself."""
    return "".join(character for character in label if character not in "{}\"'<|>")


@given(st.lists(objects, max_size=5), st.booleans(), st.sampled_from([None, 2]), st.data())
def test_any_list_is_read_back_and_any_start_of_it_gives_a_start(
    written: list[dict[str, Any]], fenced: bool, indent: int | None, data: st.DataObject
) -> None:
    written = [{**each, "label": plain(each["label"])} for each in written]
    text = json.dumps(written, ensure_ascii=False, indent=indent)
    text = f"```json\n{text}\n```" if fenced else text
    expected = [(each["label"], tuple(each.get("bbox_2d") or each["point_2d"])) for each in written]
    assert boxes(text) == expected
    cut = boxes(text[: data.draw(st.integers(0, len(text)))])
    assert [values for _, values in cut] == [values for _, values in expected[: len(cut)]]


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    read_grounding(text)
    read_grounding('{"bbox_2d": [' + text)
    read_grounding("<|box_start|>" + text)
