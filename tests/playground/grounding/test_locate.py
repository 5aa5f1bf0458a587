"""Boxes and points on an image: pixels, patches and tokens, against the pointer."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.engine import Engine
from playground.errors import InputError
from playground.grounding import locate
from playground.grounding.locate import choose_span, locate_answer, with_edges
from playground.grounding.number_tokens import answer_text
from playground.language import speaking
from playground.pipeline import Run
from playground.pointer import locate_patch, locate_token
from tests.playground.grounding.conftest import BOX, answer_with
from tests.playground.sampling_prefills import PROMPTS


def test_a_box_by_hand(tiny_random_engine: Engine) -> None:
    answered, _ = answer_with(tiny_random_engine, BOX)
    found = locate_answer(answered)
    assert found.text == answer_text(answered.inputs)
    assert (found.image, found.span, found.unread) == (0, 0, ())
    assert found.frame.original == (128, 128)
    width, height = found.frame.resized
    (box,) = found.boxes
    assert found.points == ()
    assert box.found.label == "red circle"
    assert box.original == pytest.approx((27.776, 14.336, 117.76, 122.368))
    expected = (0.217 * width, 0.112 * height, 0.92 * width, 0.956 * height)
    assert box.resized == pytest.approx(expected)
    assert box.edges == ()


@pytest.fixture(scope="module")
def two_images(tiny_random_engine: Engine) -> Run:
    run = Run(tiny_random_engine, PROMPTS["two images"])
    run.positions  # noqa: B018 - computed before the examples are timed
    return run


COORDINATES = st.one_of(st.integers(-100, 1200), st.sampled_from((0, 250, 500, 1000)))


@given(st.lists(COORDINATES, min_size=4, max_size=4), st.booleans())
def test_the_patches_and_tokens_are_those_of_the_pointer(
    two_images: Run, values: list[int], is_box: bool
) -> None:
    """Each patch that shares pixels with the box, and the tokens of these patches."""
    run, span = two_images, two_images.inputs.spans[1]
    key = "bbox_2d" if is_box else "point_2d"
    written = values if is_box else values[:2]
    (found,) = locate.read_grounding(json.dumps({key: written})).found
    facts = run.inputs.media[1]
    frame = locate.Frame(facts.original_size, facts.resized_size, 1, 1)
    item = locate._locate(found, frame, span, run.inputs.patch_size)
    ends = values if is_box else [*values[:2], *values[:2]]
    tokens, patches = set(), set()
    for row in range(span.grid_h):
        for column in range(span.grid_w):
            if _meets(ends[0::2], column, span.grid_w) and _meets(ends[1::2], row, span.grid_h):
                there = locate_patch(run.inputs, run.positions, 1, row, column)
                tokens.add(there.index)
                place = (row % 2) * 2 + column % 2
                assert there.pixel_rows is not None
                patches.add(there.pixel_rows[place])
    assert item.tokens == tuple(sorted(tokens))
    assert item.patches == tuple(sorted(patches))
    for index in item.tokens:
        assert locate_token(run.inputs, run.positions, index).span == 1


def _meets(ends: list[int], number: int, count: int) -> bool:
    """Whether patch ``number`` of ``count`` shares an interval with the ends, in thousandths."""
    if max(ends) < 0 or min(ends) > 1000:
        return False
    low, high = (min(max(end, 0), 1000) * count for end in (min(ends), max(ends)))
    start, end = number * 1000, (number + 1) * 1000
    if low < high:
        return low < end and high > start
    # A border between two patches belongs to the second one, and the image's end to the last one.
    return start <= low < end or (low == end == count * 1000)


def test_which_image(tiny_random_engine: Engine) -> None:
    answered, _ = answer_with(tiny_random_engine, BOX, "two images")
    last, first = locate_answer(answered), locate_answer(answered, 0)
    assert (last.image, first.image) == (1, 0)
    assert (last.frame.original, first.frame.original) == ((192, 64), (128, 96))
    spans = answered.inputs.spans
    for found, span in ((last, spans[1]), (first, spans[0])):
        assert all(span.start <= token < span.end for token in found.boxes[0].tokens)
    with pytest.raises(InputError, match="no image 3"):
        locate_answer(answered, 2)
    mixed = Run(tiny_random_engine, PROMPTS["image and video"]).inputs
    assert mixed.spans[choose_span(mixed)].kind == "image"
    with pytest.raises(InputError, match="which frame"):
        choose_span(Run(tiny_random_engine, PROMPTS["video"]).inputs)
    with pytest.raises(InputError, match="has no image"):
        choose_span(Run(tiny_random_engine, PROMPTS["text"]).inputs)


def test_what_cannot_be_read_is_said(tiny_random_engine: Engine) -> None:
    text = '[{"bbox_2d": [1, 2, 3]}, {"point_2d": "left"}, {"point_2d": [5, 6]}, {"bbox_2d": [1, 2'
    answered, _ = answer_with(tiny_random_engine, text)
    found = locate_answer(answered)
    (point,) = found.points
    assert point.found.values == (5, 6)
    assert found.unread[0] == "A box has 4 numbers and a point has 2, unlike this: [1, 2, 3]"
    assert found.unread[1].startswith("Not a list of coordinates: ")
    assert found.unread[2].startswith("The answer ends inside a box or point: [1, 2")
    with speaking("zh"):
        assert "不是坐标列表" in locate_answer(answered).unread[1]


def test_an_answer_in_words(tiny_random_engine: Engine) -> None:
    answered, _ = answer_with(tiny_random_engine, "There is none.")
    found = locate_answer(answered)
    assert found.items == found.unread == ()
    assert with_edges(answered, found) == found


def test_edges_of_the_first_items(shipped_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "MAX_MEASURED", 2)
    text = '[{"point_2d": [1, 2]}, {"bbox_2d": [1, 2, 3.5, 4]}, {"point_2d": [3, 4]}]'
    answered, _ = answer_with(shipped_engine, text)
    steps: list[tuple[int, int]] = []
    found = with_edges(
        answered,
        locate_answer(answered),
        progress=lambda _what, done, total: steps.append((done, total)),
    )
    assert [len(item.edges) for item in found.items] == [2, 4, 0]
    assert [edge is None for edge in found.items[1].edges] == [False, False, True, False]
    assert {total for _, total in steps} == {6}
    assert sorted({done for done, _ in steps}) == [0, 1, 2, 3, 5]  # 4 is not measured
