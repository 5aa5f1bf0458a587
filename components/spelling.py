"""A text taken apart: characters above their bytes above their tokens."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import playground
from components.strips import visible

if TYPE_CHECKING:
    from playground.tokens import Cluster, Spelling

MAX_CLUSTERS = 400  # about 150 kB of HTML


def spelling_html(spelling: Spelling) -> str:
    """The clusters of a text side by side; each one wraps as a whole."""
    clusters = spelling.clusters[:MAX_CLUSTERS]
    items = "".join(_cluster_html(cluster) for cluster in clusters)
    rest = len(spelling.clusters) - len(clusters)
    more = f'<li class="pg-more">… and {rest:,} more</li>' if rest else ""
    names = "".join(f"<span>{name}</span>" for name in ("characters", "bytes", "token ids"))
    return (
        f'<div class="pg-spelling"><div class="pg-spelling-names" aria-hidden="true">{names}</div>'
        f'<ol class="pg-clusters" aria-label="Characters, bytes and tokens">{items}{more}</ol>'
        "</div>"
    )


def _cluster_html(cluster: Cluster) -> str:
    characters = "".join(
        _part("pg-character", len(character.encode()), _character_text(character))
        for character in cluster.characters
    )
    bytes_ = "".join(_part("pg-byte", 1, f"{byte:02X}") for raw in cluster.raws for byte in raw)
    tokens = "".join(
        _part("pg-piece", len(raw), str(token_id))
        for token_id, raw in zip(cluster.ids, cluster.raws, strict=True)
    )
    split = " pg-split" if len(cluster.raws) > 1 else ""
    return (
        f'<li class="pg-cluster{split}" title="{html.escape(_cluster_words(cluster))}" '
        f'style="--bytes:{cluster.num_bytes}">{characters}{bytes_}{tokens}</li>'
    )


def _character_text(character: str) -> str:
    """One code point by itself; those that only change their neighbours can be seen too."""
    if unicodedata.combining(character):
        return f"\N{DOTTED CIRCLE}{character}"
    if character == "\u200d" or "\ufe00" <= character <= "\ufe0f":
        return f"\\u{ord(character):04x}"
    return visible(character)


def _part(name: str, width: int, text: str) -> str:
    """A cell that is as wide as its bytes."""
    span = f' style="grid-column:span {width}"' if width > 1 else ""
    return f'<span class="{name}"{span}>{html.escape(text)}</span>'


def _cluster_words(cluster: Cluster) -> str:
    return (
        f"{visible(cluster.characters)}: {_count(len(cluster.characters), 'character')}, "
        f"{_count(cluster.num_bytes, 'byte')}, {_count(len(cluster.ids), 'token')}"
    )


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}" if number == 1 else f"{number:,} {name}s"


def count_words(spelling: Spelling) -> str:
    """How many characters, bytes and tokens, and which of the two surprises are in it."""
    counts = (
        f"{_count(len(spelling.spelled), 'character')} = "
        f"{_count(spelling.num_bytes, 'byte')} = {_count(len(spelling.ids), 'token')}"
    )
    split = [cluster for cluster in spelling.clusters if len(cluster.raws) > 1]
    joined = [
        cluster
        for cluster in spelling.clusters
        if len(cluster.raws) == 1 and len(cluster.characters) > 1
    ]
    facts = []
    if split:
        most = max(split, key=lambda cluster: len(cluster.raws))
        facts.append(
            f"{visible(most.characters)} takes {len(most.raws)} tokens, none of which is a "
            "character by itself"
            if len(most.characters) == 1
            else f"the tokens of {visible(most.characters)} cut through its characters"
        )
    if joined:
        longest = max(joined, key=lambda cluster: len(cluster.characters))
        facts.append(
            f"{visible(longest.characters)} is one token for {len(longest.characters)} characters"
        )
    return f"{counts}; {' and '.join(facts)}." if facts else f"{counts}."


# ------------------------------------------------------------------------------- the gallery


@dataclass(frozen=True, slots=True)
class Sample:
    """One exhibit."""

    title: str
    texts: tuple[str, ...]
    explain: Callable[[Any, list[Spelling]], str]  # (tokenizer, spellings) → one sentence


def _explain_counts(_tokenizer: Any, spellings: list[Spelling]) -> str:
    return " ".join(count_words(spelling) for spelling in spellings)


def _explain_accents(tokenizer: Any, spellings: list[Spelling]) -> str:
    composed, decomposed = spellings
    form = playground.tokens.normalizer_name(tokenizer)
    same = composed.ids == decomposed.ids
    way = f"This tokenizer's normaliser is {form}" if form else "This tokenizer has no normaliser"
    verdict = "both spellings give the same ids" if same else "the two spellings give other ids"
    typed = len(decomposed.text)
    return (
        f"“é” can be one character (U+00E9) or an e and an accent (U+0065 U+0301). {way}: "
        f"{verdict}. The second text was typed with {typed} characters, its tokens spell "
        f"{len(decomposed.spelled)}."
    )


def _explain_emoji(_tokenizer: Any, spellings: list[Spelling]) -> str:
    family = spellings[-1]
    return (
        f"One picture on the screen may be several characters: the last one is "
        f"{len(family.spelled)} (joined by U+200D), {family.num_bytes} bytes and "
        f"{len(family.ids)} tokens."
    )


def _explain_spaces(_tokenizer: Any, spellings: list[Spelling]) -> str:
    bare, spaced = spellings
    known = bare.ids[0] != spaced.ids[0]
    verdict = "are different tokens" if known else "begin with the same token"
    return (
        f"The space belongs to the word that follows: “image” and “␣image” {verdict} "
        f"({', '.join(map(str, bare.ids))} and {', '.join(map(str, spaced.ids))})."
    )


def _explain_digits(_tokenizer: Any, spellings: list[Spelling]) -> str:
    (number,) = spellings
    digits, tokens = len(number.spelled), len(number.ids)
    way = "a number is read digit by digit" if digits == tokens else "digits are read in groups"
    return f"{digits} digits are {tokens} tokens: {way}."


SAMPLES = (
    Sample("零点几个字: less than a character", ("零点几个字",), _explain_counts),
    Sample("A token of many characters", ("Describe this image.",), _explain_counts),
    Sample("Spaces belong to words", ("image", " image"), _explain_spaces),
    Sample("Emoji", ("🙂", "👩\u200d🚀"), _explain_emoji),
    Sample("Accents", ("caf\u00e9", "cafe\u0301"), _explain_accents),
    Sample("Numbers", ("1024",), _explain_digits),
)


def gallery_html(tokenizer: Any) -> str:
    """The samples, taken apart by this tokenizer."""
    cards = "".join(_sample_html(tokenizer, sample) for sample in SAMPLES)
    return f'<div class="pg-gallery">{cards}</div>'


def _sample_html(tokenizer: Any, sample: Sample) -> str:
    spellings = [playground.tokens.spell_text(tokenizer, text) for text in sample.texts]
    drawn = "".join(spelling_html(spelling) for spelling in spellings)
    words = html.escape(sample.explain(tokenizer, spellings))
    return (
        f'<section class="pg-sample"><h4>{html.escape(sample.title)}</h4>{drawn}'
        f'<p class="pg-fact">{words}</p></section>'
    )
