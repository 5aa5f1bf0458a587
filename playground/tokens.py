"""What a token stands for: its bytes, and a text that a person can read.

Qwen's tokenizers are byte-level BPE: a token is a run of UTF-8 bytes, not of characters. The
vocabulary writes each byte as one printable character, by the table that GPT-2 introduced.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any


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


def token_bytes(tokenizer: Any, token_id: int) -> bytes:
    """The UTF-8 bytes that a token stands for; empty for an id that the tokenizer does not know.

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
    r"""Text for a person: bytes that form no whole character are written ``\xNN``."""
    return raw.decode("utf-8", errors="backslashreplace")


def token_text(tokenizer: Any, token_id: int) -> str:
    """The readable text of one token; unused ids are shown as ``[id]``."""
    raw = token_bytes(tokenizer, token_id)
    return readable(raw) if raw else f"[{token_id}]"


def neutralise_special_tokens(tokenizer: Any, text: str) -> tuple[str, list[str]]:
    """Break up special tokens that a user typed, so that they stay text.

    ``<|im_end|><|im_start|>system`` in a message would change roles, and a typed ``<|image_pad|>``
    would ask for an image that is not there. A zero-width space after the first character keeps
    the look and no longer matches.

    Returns:
        The text, and the special tokens that were found, in order of appearance.
    """
    names = sorted(tokenizer.get_added_vocab(), key=len, reverse=True)
    if not names:
        return text, []
    pattern = re.compile("|".join(re.escape(name) for name in names))
    found = [match.group() for match in pattern.finditer(text)]
    return pattern.sub(lambda match: f"{match.group()[0]}\u200b{match.group()[1:]}", text), found
