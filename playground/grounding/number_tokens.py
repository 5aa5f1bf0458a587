"""Which tokens of an answer write a number, and which tokens of a vocabulary could.

A token is a sequence of bytes: it may hold one digit, several, what stands before a number, or what
follows it. Nothing here assumes that digits are tokens of their own.
"""

from __future__ import annotations

import codecs
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

from playground.records import ModelInputs, Token
from playground.tokens import TURN_TOKENS, byte_of_symbol

DIGITS = frozenset("0123456789")


def answer_tokens(inputs: ModelInputs) -> tuple[Token, ...]:
    """The answer's tokens, without those that end it; empty without an answer."""
    tokens = inputs.tokens[inputs.num_prompt_tokens :]
    while tokens and tokens[-1].text in TURN_TOKENS:
        tokens = tokens[:-1]
    return tokens


def answer_text(inputs: ModelInputs) -> str:
    """The text of ``answer_tokens``, with its special tokens, which may mark boxes."""
    return _join(answer_tokens(inputs)).decode("utf-8", errors="replace")


def _join(tokens: Sequence[Token]) -> bytes:
    return b"".join(token.raw for token in tokens)


def find_byte(tokens: Sequence[Token], character: int) -> tuple[int, int]:
    """The token that writes an ASCII character of the joined text, and the byte in it.

    Bytes that are no UTF-8 count as ``bytes.decode(errors="replace")`` counts them, so that the
    characters after them are found, too.

    Args:
        tokens: one after another.
        character: index into their text.

    Returns:
        Index into ``tokens``, and into the token's bytes.
    """
    reader = codecs.getincrementaldecoder("utf-8")("replace")
    written = list(
        accumulate(len(reader.decode(bytes([byte]))) for byte in _join(tokens))
    )  # characters after each byte
    at = bisect_right(written, character)
    ends = list(accumulate(len(token.raw) for token in tokens))
    number = bisect_right(ends, at)
    return number, at - (ends[number] - len(tokens[number].raw))


@dataclass(frozen=True, slots=True)
class DigitToken:
    """A token that writes digits, perhaps after a lead and before something else."""

    id: int
    digits: str
    is_open: bool  # the token ends with the digits, so that the number may go on


@lru_cache(maxsize=8)  # one pass over the vocabulary each
def digit_tokens(tokenizer: Any, lead: bytes = b"") -> tuple[DigitToken, ...]:
    """All tokens that write these bytes and then at least one ASCII digit.

    Args:
        tokenizer: a byte-level tokenizer, such as Qwen's.
        lead: what stands in the same token before the number, such as a space.
    """
    table, added = byte_of_symbol(), tokenizer.get_added_vocab()
    pattern = re.compile(re.escape(lead) + rb"(?P<digits>[0-9]+)(?P<rest>.*)", re.DOTALL)
    found = []
    for piece, token_id in tokenizer.get_vocab().items():
        raw = piece.encode() if piece in added else bytes(table[symbol] for symbol in piece)
        match = pattern.fullmatch(raw)
        if match is not None:
            found.append(DigitToken(token_id, match["digits"].decode(), not match["rest"]))
    return tuple(sorted(found, key=lambda token: token.id))
