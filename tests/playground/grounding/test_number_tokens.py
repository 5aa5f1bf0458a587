"""Characters of an answer, bytes and tokens; and the digits of a vocabulary."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from playground.engine import Engine
from playground.grounding.number_tokens import (
    answer_text,
    answer_tokens,
    digit_tokens,
    find_byte,
)
from playground.records import Token
from tests.playground.grounding.conftest import BOX, answer_with

PIECES = st.lists(
    st.one_of(
        st.binary(max_size=4),
        st.text(alphabet="零🙂1,", max_size=2).map(str.encode),
        st.text(alphabet="零🙂é", min_size=1, max_size=1).map(lambda each: each.encode()[:1]),
    ),
    max_size=12,
)


def make_tokens(raws: list[bytes]) -> list[Token]:
    return [
        Token(index, index, "", raw, False, "assistant", "text", 0, 0)
        for index, raw in enumerate(raws)
    ]


@given(PIECES)
def test_every_ascii_character_is_found(raws: list[bytes]) -> None:
    """Also after bytes that are no UTF-8, and in a character of several tokens."""
    tokens, data = make_tokens(raws), b"".join(raws)
    bytes_of_characters = [place for place, byte in enumerate(data) if byte < 128]
    text = data.decode("utf-8", errors="replace")
    characters = [place for place, character in enumerate(text) if character < "\x80"]
    assert len(characters) == len(bytes_of_characters)
    for character, expected in zip(characters, bytes_of_characters, strict=True):
        number, offset = find_byte(tokens, character)
        assert raws[number][offset : offset + 1].decode() == text[character]
        assert sum(map(len, raws[:number])) + offset == expected


def test_the_tokens_of_an_answer(shipped_engine: Engine) -> None:
    answered, (box,) = answer_with(shipped_engine, "零 " + BOX)
    text, tokens = answer_text(answered.inputs), answer_tokens(answered.inputs)
    assert text == f"零 {BOX}"
    for coordinate in box.coordinates:
        written = text[coordinate.start : coordinate.end]
        for place, digit in enumerate(written, coordinate.start):
            number, offset = find_byte(tokens, place)
            assert (tokens[number].text, offset) == (digit, 0)


def test_the_digits_of_a_vocabulary(shipped_engine: Engine) -> None:
    found = digit_tokens(shipped_engine.tokenizer)
    assert [token.digits for token in found] == list("0123456789")
    assert all(token.is_open for token in found)
    for token in found:
        assert shipped_engine.tokenizer.decode([token.id]) == token.digits
    assert digit_tokens(shipped_engine.tokenizer, b"no such lead") == ()
