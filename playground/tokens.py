"""Tokens as bytes and as readable text.

Qwen's tokenizers are byte-level BPE: a token is a sequence of UTF-8 bytes, not of characters. The
vocabulary writes each byte as one printable character, using GPT-2's table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from playground.records import ModelInputs, Role, Token, TokenKind

if TYPE_CHECKING:
    from playground.engine import Engine

# The tokenizer's attributes with the vision tokens, and Qwen's tokens for turns and documents.
VISION_TOKENS = ("image_token", "video_token", "vision_bos_token", "vision_eos_token")
TURN_TOKENS = frozenset({"<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|vision_pad|>"})

# Inserted after the first character of a typed special token: it looks the same but no longer
# matches.
ZERO_WIDTH_SPACE = "\u200b"


@lru_cache(maxsize=1)
def byte_of_symbol() -> dict[str, int]:
    """The byte-level alphabet: vocabulary character → byte.

    Printable Latin-1 bytes stand for themselves; the other bytes take the code points from 256 up,
    in order (``bytes_to_unicode`` in transformers' GPT-2 tokenizer).
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(256) if byte not in set(printable))
    table.update({chr(256 + offset): byte for offset, byte in enumerate(others)})
    return table


@lru_cache(maxsize=1 << 16)  # transformers rebuilds the list of added tokens on each access
def token_bytes(tokenizer: Any, token_id: int) -> bytes:
    """The UTF-8 bytes of a token; empty for an id that the tokenizer does not know.

    (A checkpoint's ``lm_head`` may have more rows than its tokenizer has tokens.)
    """
    added = tokenizer.added_tokens_decoder.get(token_id)
    if added is not None:
        return str(added.content).encode()
    piece = tokenizer.convert_ids_to_tokens(token_id)
    if piece is None:
        return b""
    table = byte_of_symbol()
    return bytes(table[symbol] for symbol in piece)


def readable(raw: bytes) -> str:
    r"""Readable text: bytes that do not form a whole character are written ``\xNN``."""
    return raw.decode("utf-8", errors="backslashreplace")


def token_text(tokenizer: Any, token_id: int) -> str:
    """The readable text of one token; unused ids are shown as ``[id]``."""
    raw = token_bytes(tokenizer, token_id)
    return readable(raw) if raw else f"[{token_id}]"


def protected_names(tokenizer: Any) -> frozenset[str]:
    """The tokens that typed text must not contain, as they change roles or stand for images.

    These are the tokens that the tokenizer marks as special, and Qwen's own for turns and vision.
    Other added tokens (``<think>``, or those of a fine-tune) are for users to type: they go through
    as in plain transformers.
    """
    added = tokenizer.added_tokens_decoder.values()
    special = {str(token.content) for token in added if token.special}
    vision = {str(getattr(tokenizer, name, "")) for name in VISION_TOKENS}
    known = tokenizer.get_added_vocab().keys()
    return frozenset(name for name in special | vision | TURN_TOKENS if name in known)


def typed_added_tokens(tokenizer: Any, inputs: ModelInputs) -> dict[int, str]:
    """The added tokens that a user typed and that are one token each: sequence index → name.

    A template may write such tokens, too: only those in a message that contains their text count.
    """
    added = tokenizer.get_added_vocab()
    ids = {added[name]: name for name in added.keys() - protected_names(tokenizer)}
    texts: dict[str, str] = {"system": inputs.prompt.system}
    for turn in inputs.prompt.turns:
        texts[turn.role] = texts.get(turn.role, "") + turn.text
    return {
        token.index: ids[token.id]
        for token in inputs.tokens
        if token.id in ids and ids[token.id] in texts.get(token.role, "")
    }


def neutralise_special_tokens(tokenizer: Any, text: str) -> tuple[str, list[str]]:
    """Break up special tokens that a user typed, so that they stay text.

    ``<|im_end|><|im_start|>system`` in a message would change roles, and a typed ``<|image_pad|>``
    would request a missing image. With a zero-width space after the first character, it looks the
    same but no longer matches. See ``protected_names`` for which tokens these are.

    Returns:
        The text, and the special tokens found, in order of appearance.
    """
    names = protected_names(tokenizer)
    if not names:
        return text, []
    pattern = _any_of(names)
    found = [match.group() for match in pattern.finditer(text)]
    return pattern.sub(lambda match: _break_up(match.group()), text), found


def _break_up(name: str) -> str:
    return name[0] + ZERO_WIDTH_SPACE + name[1:]


def _any_of(names: Iterable[str]) -> re.Pattern[str]:
    """Matches any of these, the longest first."""
    return re.compile("|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)))


@dataclass(frozen=True, slots=True)
class TypedSpecial:
    """A special token that a user typed, kept as text."""

    name: str  # as typed
    start: int  # first character in the text that was searched
    end: int  # one past the last, the zero-width space included


def find_typed_specials(tokenizer: Any, text: str) -> tuple[TypedSpecial, ...]:
    """The special tokens that ``neutralise_special_tokens`` has broken up, in order."""
    names = {_break_up(name): name for name in protected_names(tokenizer)}
    if not names:
        return ()
    return tuple(
        TypedSpecial(names[match.group()], match.start(), match.end())
        for match in _any_of(names).finditer(text)
    )


# ------------------------------------------------------------------------- a sequence's tokens


def read_tokens(engine: Engine, ids: list[int]) -> tuple[tuple[Token, ...], str]:
    """Describe each token of a sequence.

    Returns:
        The tokens, and their joined text.
    """
    raws = [token_bytes(engine.tokenizer, token_id) for token_id in ids]
    text = b"".join(raws).decode("utf-8", errors="replace")
    starts, ends = _character_spans(raws)
    roles = _roles(engine.tokenizer, ids, raws)
    special = set(engine.tokenizer.get_added_vocab().values())
    kinds: dict[int, TokenKind] = {
        engine.facts.image_token_id: "image",
        engine.facts.video_token_id: "video",
    }
    tokens = tuple(
        Token(
            index=index,
            id=token_id,
            text=readable(raws[index]),
            raw=raws[index],
            special=token_id in special,
            role=roles[index],
            kind=kinds.get(token_id, "special" if token_id in special else "text"),
            char_start=starts[index],
            char_end=ends[index],
        )
        for index, token_id in enumerate(ids)
    )
    return tokens, text


def _character_spans(raws: list[bytes]) -> tuple[list[int], list[int]]:
    """First and one-past-last character of each token; tokens may share a character."""
    data = b"".join(raws)
    # Continuation bytes look like 0b10xxxxxx: every other byte begins a character.
    begins = np.array([(byte & 0xC0) != 0x80 for byte in data], dtype=np.int64)
    character = np.cumsum(begins) - 1
    ends_at = np.cumsum([len(raw) for raw in raws])
    starts, ends = [], []
    for raw, end in zip(raws, ends_at, strict=True):
        first = end - len(raw)
        starts.append(int(character[first]) if raw else 0)
        ends.append(int(character[end - 1]) + 1 if raw else 0)
    return starts, ends


def _roles(tokenizer: Any, ids: list[int], raws: list[bytes]) -> list[Role]:
    """The role of each token's message, from one ``<|im_start|>`` to the next."""
    start_id = tokenizer.convert_tokens_to_ids("<|im_start|>")
    known: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}
    roles: list[Role] = []
    current: Role = "template"
    for index, token_id in enumerate(ids):
        if token_id == start_id:
            header = b"".join(raws[index + 1 : index + 12]).decode("utf-8", errors="replace")
            current = known.get(header.split("\n", 1)[0], "template")
        roles.append(current)
    return roles


# ------------------------------------------------------------------------------- free text


@dataclass(frozen=True, slots=True)
class Cluster:
    """The shortest span of text in which characters and tokens begin and end together."""

    characters: str  # Unicode code points
    ids: tuple[int, ...]
    raws: tuple[bytes, ...]  # the bytes of each token; joined, they are the characters

    @property
    def num_bytes(self) -> int:
        """Bytes in UTF-8."""
        return sum(len(raw) for raw in self.raws)


@dataclass(frozen=True, slots=True)
class Spelling:
    """A text as the tokenizer splits it."""

    text: str  # as typed
    clusters: tuple[Cluster, ...]

    @property
    def spelled(self) -> str:
        """The text of the tokens, after the normaliser."""
        return "".join(cluster.characters for cluster in self.clusters)

    @property
    def ids(self) -> tuple[int, ...]:
        """The tokens in order."""
        return tuple(token_id for cluster in self.clusters for token_id in cluster.ids)

    @property
    def num_bytes(self) -> int:
        """Bytes of ``spelled`` in UTF-8."""
        return sum(cluster.num_bytes for cluster in self.clusters)


def spell_text(tokenizer: Any, text: str) -> Spelling:
    """Characters, bytes and tokens of a text, in spans where all three begin and end.

    Args:
        tokenizer: a byte-level tokenizer, such as Qwen's.
        text: special tokens in it are recognised: neutralise them first.
    """
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    clusters: list[Cluster] = []
    pending: list[tuple[int, bytes]] = []
    for token_id in ids:
        pending.append((token_id, token_bytes(tokenizer, token_id)))
        data = b"".join(raw for _, raw in pending)
        try:
            characters = data.decode("utf-8")
        except UnicodeDecodeError:
            continue  # the token ends inside a character
        clusters.append(
            Cluster(
                characters,
                tuple(token_id for token_id, _ in pending),
                tuple(raw for _, raw in pending),
            )
        )
        pending = []
    return Spelling(text, tuple(clusters))


def normalizer_name(tokenizer: Any) -> str | None:
    """The tokenizer's Unicode normalisation, such as ``NFC``, or None."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    normalizer = getattr(backend, "normalizer", None)
    return None if normalizer is None else type(normalizer).__name__
