"""A text split into tokens: characters, their bytes below them, and the token ids below those."""

from __future__ import annotations

import html
import unicodedata
from typing import TYPE_CHECKING

from components.views.facts import count_tokens
from components.views.text import verbatim_html, visible
from playground.language import say

if TYPE_CHECKING:
    from playground.tokens import Cluster, Spelling

MAX_CLUSTERS = 400  # about 150 kB of HTML


def spelling_html(spelling: Spelling) -> str:
    """The clusters of a text side by side; a line break never splits a cluster."""
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
    """One code point; combining marks, joiners and variation selectors are made visible."""
    if unicodedata.combining(character):
        return f"\N{DOTTED CIRCLE}{character}"
    if character == "\u200d" or "\ufe00" <= character <= "\ufe0f":
        return f"\\u{ord(character):04x}"
    return visible(character)


def _part(name: str, width: int, text: str) -> str:
    """A cell as wide as its number of bytes."""
    span = f' style="grid-column:span {width}"' if width > 1 else ""
    return f'<span class="{name}"{span}>{html.escape(text)}</span>'


def _cluster_words(cluster: Cluster) -> str:
    return say(
        "{text}: {characters}, {bytes}, {tokens}",
        text=visible(cluster.characters),
        characters=_characters(len(cluster.characters)),
        bytes=_bytes(cluster.num_bytes),
        tokens=count_tokens(len(cluster.ids)),
    )


def _characters(count: int) -> str:
    return say("1 character") if count == 1 else say("{count:,} characters", count=count)


def _bytes(count: int) -> str:
    return say("1 byte") if count == 1 else say("{count:,} bytes", count=count)


def spelling_counts(spelling: Spelling) -> str:
    """Counts of characters, bytes and tokens, and any split or multi-character tokens, as HTML."""
    counts = (
        f"{_characters(len(spelling.spelled))} = "
        f"{_bytes(spelling.num_bytes)} = {count_tokens(len(spelling.ids))}"
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
                "{text} is one token of {count} characters",
                text=verbatim_html(visible(longest.characters)),
                count=len(longest.characters),
            )
        )
    if not facts:
        return say("{counts}.", counts=counts)
    if len(facts) == 1:
        return say("{counts}; {fact}.", counts=counts, fact=facts[0])
    return say("{counts}; {first} and {second}.", counts=counts, first=facts[0], second=facts[1])


def _split_words(cluster: Cluster) -> str:
    text = verbatim_html(visible(cluster.characters))
    if len(cluster.characters) > 1:
        return say("the tokens of {text} split its characters", text=text)
    return say(
        "{text} takes {count} tokens, each only part of the character",
        text=text,
        count=len(cluster.raws),
    )
