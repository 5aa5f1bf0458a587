"""What a block of a prompt is called: equal names mean equal keys and values.

A block's key is a SHA-256 over its parent's key, its token ids and the pictures that stand in it,
so that it names everything from the first token on. The chain starts from the checkpoint, its
dtype and the session's salt. Serving engines build theirs likewise (vLLM's ``hash_block_tokens``).
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable
from dataclasses import dataclass

from playground.engine import Engine
from playground.errors import InputError
from playground.kv_cache.shared_prefix import span_digest
from playground.language import say
from playground.records import ModelInputs

ID_BYTES = 8  # of a token id in a block's name
MAX_BLOCK_SIZE = 64  # tokens; engines take 16 to 64, 1 is a radix tree's token by token


@dataclass(frozen=True, slots=True)
class HashRules:
    """What goes into a block's key. Leaving pictures or the salt out is wrong, and shown as such.

    Raises:
        InputError: ``block_size`` is out of range.
    """

    block_size: int = 16  # tokens
    with_pictures: bool = True  # False: two pictures of as many tokens are taken for the same
    with_salt: bool = True  # False: sessions hit one another's blocks

    def __post_init__(self) -> None:
        if not 1 <= self.block_size <= MAX_BLOCK_SIZE:
            raise InputError(
                say("The block size is {count} tokens.", count=self.block_size),
                limit=say("It must be 1 to {most}.", most=MAX_BLOCK_SIZE),
            )


@dataclass(frozen=True, slots=True)
class PictureSpan:
    """One image or frame in the sequence, by what the model is given of it."""

    start: int  # first sequence index
    end: int  # one past the last
    digest: str  # of ``span_digest``


@dataclass(frozen=True, slots=True)
class RequestIdentity:
    """All of a request that its keys and values depend on."""

    ids: tuple[int, ...]
    pictures: tuple[PictureSpan, ...]

    def extend(self, ids: Iterable[int]) -> RequestIdentity:
        """The same with text tokens after it, such as the answer."""
        return RequestIdentity((*self.ids, *ids), self.pictures)

    def digests_in(self, start: int, end: int) -> tuple[str, ...]:
        """Digests of the pictures that have a token among ``start .. end - 1``."""
        return tuple(each.digest for each in self.pictures if each.start < end > start < each.end)


def identify(inputs: ModelInputs) -> RequestIdentity:
    """Token ids, and a digest of every picture."""
    return RequestIdentity(
        tuple(inputs.input_ids[0].tolist()),
        tuple(
            PictureSpan(span.start, span.end, span_digest(inputs, span)) for span in inputs.spans
        ),
    )


def root_key(engine: Engine, rules: HashRules, salt: str) -> str:
    """Where a session's chains start: checkpoint, dtype, attention, block size and, if asked for,
    the salt.
    """
    names = (engine.source, engine.revision, str(engine.dtype), engine.attn, str(rules.block_size))
    return _hash(*names, salt if rules.with_salt else "")


def block_keys(identity: RequestIdentity, rules: HashRules, root: str) -> tuple[str, ...]:
    """One key per whole block; tokens after the last whole block have none.

    Args:
        identity: what the request consists of.
        rules: block size, and what is left out.
        root: of ``root_key``.
    """
    keys: list[str] = []
    size, parent = rules.block_size, root
    packed = array("q", identity.ids).tobytes()
    with_pictures = rules.with_pictures and bool(identity.pictures)
    for start in range(0, len(identity.ids) - size + 1, size):
        ids = packed[start * ID_BYTES : (start + size) * ID_BYTES]
        digests = identity.digests_in(start, start + size) if with_pictures else ()
        # Each part is as long in every block of this size: nothing runs into its neighbour.
        parent = hashlib.sha256(parent.encode() + ids + "".join(digests).encode()).hexdigest()
        keys.append(parent)
    return tuple(keys)


def picture_key(root: str, digest: str) -> str:
    """The name under which a session's features of a picture are kept."""
    return _hash(root, "picture", digest)


def _hash(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(4, "big") + data)  # ("ab", "c") is not ("a", "bc")
    return digest.hexdigest()
