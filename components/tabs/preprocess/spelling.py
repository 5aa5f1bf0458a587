"""A text taken apart: characters above their bytes above their tokens."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import playground
from components.tabs.choices import join_sentences
from components.views.strips import visible
from playground.language import mark, say

if TYPE_CHECKING:
    from playground.tokens import Cluster, Spelling

MAX_CLUSTERS = 400  # about 150 kB of HTML


def spelling_html(spelling: Spelling) -> str:
    """The clusters of a text side by side; each one wraps as a whole."""
    clusters = spelling.clusters[:MAX_CLUSTERS]
    items = "".join(_cluster_html(cluster) for cluster in clusters)
    rest = len(spelling.clusters) - len(clusters)
    more = f'<li class="pg-more">{say("… and {rest:,} more", rest=rest)}</li>' if rest else ""
    names = (say("characters"), say("bytes"), say("token ids"))
    return (
        '<div class="pg-spelling"><div class="pg-spelling-names" aria-hidden="true">'
        + "".join(f"<span>{name}</span>" for name in names)
        + f'</div><ol class="pg-clusters" aria-label="{say("Characters, bytes and tokens")}" '
        f'translate="no">{items}{more}</ol></div>'
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
    return say(
        "{text}: {characters}, {bytes}, {tokens}",
        text=visible(cluster.characters),
        characters=_characters(len(cluster.characters)),
        bytes=_bytes(cluster.num_bytes),
        tokens=_tokens(len(cluster.ids)),
    )


def _characters(count: int) -> str:
    return say("1 character") if count == 1 else say("{count:,} characters", count=count)


def _bytes(count: int) -> str:
    return say("1 byte") if count == 1 else say("{count:,} bytes", count=count)


def _tokens(count: int) -> str:
    return say("1 token") if count == 1 else say("{count:,} tokens", count=count)


def verbatim(text: str) -> str:
    """A piece of text within a sentence, as HTML: the same in every language."""
    return f'<span translate="no">{html.escape(visible(text))}</span>'


def count_words(spelling: Spelling) -> str:
    """How many characters, bytes and tokens, and which of the two surprises are in it, as HTML."""
    counts = (
        f"{_characters(len(spelling.spelled))} = "
        f"{_bytes(spelling.num_bytes)} = {_tokens(len(spelling.ids))}"
    )
    split = [cluster for cluster in spelling.clusters if len(cluster.raws) > 1]
    joined = [
        cluster
        for cluster in spelling.clusters
        if len(cluster.raws) == 1 and len(cluster.characters) > 1
    ]
    facts = []
    if split:
        facts.append(_split_words(max(split, key=lambda cluster: len(cluster.raws))))
    if joined:
        longest = max(joined, key=lambda cluster: len(cluster.characters))
        facts.append(
            say(
                "{text} is one token for {count} characters",
                text=verbatim(longest.characters),
                count=len(longest.characters),
            )
        )
    if not facts:
        return say("{counts}.", counts=counts)
    if len(facts) == 1:
        return say("{counts}; {fact}.", counts=counts, fact=facts[0])
    return say("{counts}; {first} and {second}.", counts=counts, first=facts[0], second=facts[1])


def _split_words(cluster: Cluster) -> str:
    text = verbatim(cluster.characters)
    if len(cluster.characters) > 1:
        return say("the tokens of {text} cut through its characters", text=text)
    return say(
        "{text} takes {count} tokens, none of which is a character by itself",
        text=text,
        count=len(cluster.raws),
    )


# ------------------------------------------------------------------------------- the gallery


@dataclass(frozen=True, slots=True)
class Sample:
    """One exhibit."""

    title: str
    texts: tuple[str, ...]
    explain: Callable[[Any, list[Spelling]], str]  # (tokenizer, spellings) → sentences as HTML


def _explain_counts(_tokenizer: Any, spellings: list[Spelling]) -> str:
    return join_sentences(*[count_words(spelling) for spelling in spellings])


def _explain_accents(tokenizer: Any, spellings: list[Spelling]) -> str:
    composed, decomposed = spellings
    form = playground.tokens.normalizer_name(tokenizer)
    verdict = (
        say("both spellings give the same ids")
        if composed.ids == decomposed.ids
        else say("the two spellings give other ids")
    )
    words = (
        say(
            "“é” can be one character (U+00E9) or an e and an accent (U+0065 U+0301). This "
            "tokenizer's normaliser is {form}: {verdict}.",
            form=form,
            verdict=verdict,
        )
        if form
        else say(
            "“é” can be one character (U+00E9) or an e and an accent (U+0065 U+0301). This "
            "tokenizer has no normaliser: {verdict}.",
            verdict=verdict,
        )
    )
    typed = say(
        "The second text was typed with {typed} characters, its tokens spell {spelled}.",
        typed=len(decomposed.text),
        spelled=len(decomposed.spelled),
    )
    return join_sentences(words, typed)


def _explain_emoji(_tokenizer: Any, spellings: list[Spelling]) -> str:
    family = spellings[-1]
    return say(
        "One picture on the screen may be several characters: the last one is {characters} "
        "(joined by U+200D), {bytes} bytes and {tokens} tokens.",
        characters=len(family.spelled),
        bytes=family.num_bytes,
        tokens=len(family.ids),
    )


def _explain_spaces(_tokenizer: Any, spellings: list[Spelling]) -> str:
    bare, spaced = spellings
    pieces = {
        "bare": verbatim(bare.text),
        "spaced": verbatim(spaced.text),
        "first": say(", ").join(map(str, bare.ids)),
        "second": say(", ").join(map(str, spaced.ids)),
    }
    if bare.ids[0] == spaced.ids[0]:
        return say(
            "The space belongs to the word that follows: “{bare}” and “{spaced}” begin with the "
            "same token ({first} and {second}).",
            **pieces,
        )
    return say(
        "The space belongs to the word that follows: “{bare}” and “{spaced}” are different tokens "
        "({first} and {second}).",
        **pieces,
    )


def _explain_digits(_tokenizer: Any, spellings: list[Spelling]) -> str:
    (number,) = spellings
    digits, tokens = len(number.spelled), len(number.ids)
    if digits == tokens:
        return say(
            "{digits} digits are {tokens} tokens: a number is read digit by digit.",
            digits=digits,
            tokens=tokens,
        )
    return say(
        "{digits} digits are {tokens} tokens: digits are read in groups.",
        digits=digits,
        tokens=tokens,
    )


SAMPLES = (
    Sample(mark("零点几个字: less than a character"), ("零点几个字",), _explain_counts),
    Sample(mark("A token of many characters"), ("Describe this image.",), _explain_counts),
    Sample(mark("Spaces belong to words"), ("image", " image"), _explain_spaces),
    Sample(mark("Emoji"), ("🙂", "👩\u200d🚀"), _explain_emoji),
    Sample(mark("Accents"), ("caf\u00e9", "cafe\u0301"), _explain_accents),
    Sample(mark("Numbers"), ("1024",), _explain_digits),
)


def gallery_html(tokenizer: Any) -> str:
    """The samples, taken apart by this tokenizer."""
    cards = "".join(_sample_html(tokenizer, sample) for sample in SAMPLES)
    return f'<div class="pg-gallery">{cards}</div>'


def _sample_html(tokenizer: Any, sample: Sample) -> str:
    spellings = [playground.tokens.spell_text(tokenizer, text) for text in sample.texts]
    drawn = "".join(spelling_html(spelling) for spelling in spellings)
    words = sample.explain(tokenizer, spellings)
    return (
        f'<section class="pg-sample"><h4>{html.escape(say(sample.title))}</h4>{drawn}'
        f'<p class="pg-fact">{words}</p></section>'
    )
