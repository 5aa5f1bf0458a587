"""Hashes of prompt blocks: equal hashes mean equal keys and values.

A block's key is a SHA-256 over its parent's key, its token ids and the digests of its images, so it
identifies the whole prefix up to the block's end. The chain starts from the checkpoint, its dtype
and the session's salt. This is the block hashing of vLLM (``hash_block_tokens``), whose blocks come
from PagedAttention (Kwon et al. 2023).
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

ID_BYTES = 8  # bytes of a token id in a block's hash
MAX_BLOCK_SIZE = 64  # tokens; engines use 16 to 64; 1 gives a radix tree over tokens


@dataclass(frozen=True, slots=True)
class HashRules:
    """What a block's key covers. Leaving out images or the salt is wrong; the page shows why.

    Raises:
        InputError: ``block_size`` is out of range.
    """

    block_size: int = 16  # tokens
    with_images: bool = True  # False: images with equally many tokens count as equal
    with_salt: bool = True  # False: sessions hit each other's blocks

    def __post_init__(self) -> None:
        if not 1 <= self.block_size <= MAX_BLOCK_SIZE:
            raise InputError(
                say("The block size is {count} tokens.", count=self.block_size),
                limit=say("It must be 1 to {most}.", most=MAX_BLOCK_SIZE),
            )


@dataclass(frozen=True, slots=True)
class ImageSpan:
    """One image or frame in the sequence, identified by its pixel values."""

    start: int  # first sequence index
    end: int  # one past the last
    digest: str  # from ``span_digest``


@dataclass(frozen=True, slots=True)
class RequestIdentity:
    """Everything that a request's keys and values depend on."""

    ids: tuple[int, ...]
    images: tuple[ImageSpan, ...]

    def extend(self, ids: Iterable[int]) -> RequestIdentity:
        """This request followed by text tokens, such as the answer."""
        return RequestIdentity((*self.ids, *ids), self.images)

    def digests_in(self, start: int, end: int) -> tuple[str, ...]:
        """Digests of the images with a token in ``start .. end - 1``."""
        return tuple(image.digest for image in self.images if image.start < end > start < image.end)


def identify(inputs: ModelInputs) -> RequestIdentity:
    """Token ids, and a digest of every image."""
    return RequestIdentity(
        tuple(inputs.input_ids[0].tolist()),
        tuple(ImageSpan(span.start, span.end, span_digest(inputs, span)) for span in inputs.spans),
    )


def root_key(engine: Engine, rules: HashRules, salt: str) -> str:
    """Root of a session's hash chains: checkpoint, dtype, attention implementation, block size and,
    with ``rules.with_salt``, the salt.
    """
    names = (engine.source, engine.revision, str(engine.dtype), engine.attn, str(rules.block_size))
    return _hash(*names, salt if rules.with_salt else "")


def block_keys(identity: RequestIdentity, rules: HashRules, root: str) -> tuple[str, ...]:
    """One key per full block; tokens after the last full block have none.

    Args:
        identity: of the request.
        rules: block size, and what the keys cover.
        root: from ``root_key``.
    """
    keys: list[str] = []
    size, parent = rules.block_size, root
    packed = array("q", identity.ids).tobytes()
    with_images = rules.with_images and bool(identity.images)
    for start in range(0, len(identity.ids) - size + 1, size):
        ids = packed[start * ID_BYTES : (start + size) * ID_BYTES]
        digests = identity.digests_in(start, start + size) if with_images else ()
        # Every part has a fixed length for this block size, so different parts cannot collide.
        parent = hashlib.sha256(parent.encode() + ids + "".join(digests).encode()).hexdigest()
        keys.append(parent)
    return tuple(keys)


def image_key(root: str, digest: str) -> str:
    """The key under which a session's image features are stored."""
    return _hash(root, "picture", digest)


def _hash(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(4, "big") + data)  # ("ab", "c") is not ("a", "bc")
    return digest.hexdigest()
