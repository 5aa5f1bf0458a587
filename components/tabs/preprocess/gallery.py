"""Example texts, split into tokens by the loaded tokenizer."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import playground
from components.tabs.preprocess.spelling_words import spelling_counts, spelling_html
from components.views.facts import fact_markup, join_sentences
from components.views.text import verbatim_html, visible
from playground.language import mark, say

if TYPE_CHECKING:
    from playground.tokens import Spelling


@dataclass(frozen=True, slots=True)
class Sample:
    """One example of the gallery."""

    title: str
    texts: tuple[str, ...]
    explain: Callable[[Any, list[Spelling]], str]  # (tokenizer, spellings) → sentences as HTML


def _explain_counts(_tokenizer: Any, spellings: list[Spelling]) -> str:
    return join_sentences(*[spelling_counts(spelling) for spelling in spellings])


def _explain_accents(tokenizer: Any, spellings: list[Spelling]) -> str:
    composed, decomposed = spellings
    form = playground.tokens.normalizer_name(tokenizer)
    verdict = (
        say("both spellings give the same ids")
        if composed.ids == decomposed.ids
        else say("the two spellings give different ids")
    )
    words = (
        say(
            "“é” can be one character (U+00E9) or an e followed by a combining accent (U+0065 "
            "U+0301). This tokenizer normalises text with {form}: {verdict}.",
            form=form,
            verdict=verdict,
        )
        if form
        else say(
            "“é” can be one character (U+00E9) or an e followed by a combining accent (U+0065 "
            "U+0301). This tokenizer does not normalise text: {verdict}.",
            verdict=verdict,
        )
    )
    typed = say(
        "The second text has {typed} characters as typed; its tokens decode to {spelled}.",
        typed=len(decomposed.text),
        spelled=len(decomposed.spelled),
    )
    return join_sentences(words, typed)


def _explain_emoji(_tokenizer: Any, spellings: list[Spelling]) -> str:
    family = spellings[-1]
    return say(
        "One emoji on screen can be several characters: the last one has {characters} (joined by "
        "U+200D), {bytes} bytes and {tokens} tokens.",
        characters=len(family.spelled),
        bytes=family.num_bytes,
        tokens=len(family.ids),
    )


def _explain_spaces(_tokenizer: Any, spellings: list[Spelling]) -> str:
    bare, spaced = spellings
    pieces = {
        "bare": verbatim_html(visible(bare.text)),
        "spaced": verbatim_html(visible(spaced.text)),
        "first": say(", ").join(map(str, bare.ids)),
        "second": say(", ").join(map(str, spaced.ids)),
    }
    if bare.ids[0] == spaced.ids[0]:
        return say(
            "A space belongs to the word after it: “{bare}” and “{spaced}” start with the same "
            "token ({first} and {second}).",
            **pieces,
        )
    return say(
        "A space belongs to the word after it: “{bare}” and “{spaced}” are different tokens "
        "({first} and {second}).",
        **pieces,
    )


def _explain_digits(_tokenizer: Any, spellings: list[Spelling]) -> str:
    (number,) = spellings
    digits, tokens = len(number.spelled), len(number.ids)
    if digits == tokens:
        return say(
            "{digits} digits are {tokens} tokens: every digit is a token.",
            digits=digits,
            tokens=tokens,
        )
    return say(
        "{digits} digits are {tokens} tokens: digits are grouped.",
        digits=digits,
        tokens=tokens,
    )


SAMPLES = (
    Sample(mark("零点几个字: less than one character"), ("零点几个字",), _explain_counts),
    Sample(mark("A token of many characters"), ("Describe this image.",), _explain_counts),
    Sample(mark("Spaces belong to words"), ("image", " image"), _explain_spaces),
    Sample(mark("Emoji"), ("🙂", "👩\u200d🚀"), _explain_emoji),
    Sample(mark("Accents"), ("caf\u00e9", "cafe\u0301"), _explain_accents),
    Sample(mark("Numbers"), ("1024",), _explain_digits),
)


def gallery_html(tokenizer: Any) -> str:
    """The samples, split into tokens by this tokenizer."""
    cards = "".join(_sample_html(tokenizer, sample) for sample in SAMPLES)
    return f'<div class="pg-gallery">{cards}</div>'


def _sample_html(tokenizer: Any, sample: Sample) -> str:
    spellings = [playground.tokens.spell_text(tokenizer, text) for text in sample.texts]
    split = "".join(spelling_html(spelling) for spelling in spellings)
    words = sample.explain(tokenizer, spellings)
    return (
        f'<section class="pg-sample"><h4>{html.escape(say(sample.title))}</h4>{split}'
        f"{fact_markup(words)}</section>"
    )
