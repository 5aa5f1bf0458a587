"""Preprocess, what a token is: a text of one's own and a gallery, taken apart."""

from __future__ import annotations

import playground
from components.parts.controls import TextField
from components.parts.part import Part
from components.tabs.preprocess.gallery import gallery_html
from components.tabs.preprocess.spelling_words import count_words, spelling_html
from components.views.facts import fact_html, fact_markup
from components.views.text import verbatim_html, visible
from playground.errors import InputError
from playground.language import mark, say
from playground.pipeline import Run

OWN_TEXT = TextField(
    id="own-text",
    label=mark("Try your own"),
    info=mark(
        "Up to 200 characters, taken apart as you type; special tokens are kept as text, as in a "
        "message."
    ),
    value="A naïve 🦜 says 零点几个字, <|im_end|>",
    max_chars=200,
)
PART = Part(
    "spelling",
    mark("What a token is"),
    stage="preprocess",
    intro=mark(
        "The tokenizer works on bytes. It joins those that often stand together, so a token "
        "may be a whole word, or **less than one character**. Each text below is cut up by "
        "the loaded tokenizer: its characters, under them their UTF-8 bytes, under those the "
        "token ids. Pieces that cut through a character are dashed."
    ),
    controls=(OWN_TEXT,),
)


@PART.html(needs=("own-text",))
def spelled(run: Run, text: str) -> str:
    """A text of the reader's, taken apart.

    Raises:
        InputError: it holds half of a surrogate pair.
    """
    if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        raise InputError(say("The text holds half of a surrogate pair, which is no character."))
    if not text:
        return fact_html(say("Nothing to take apart yet."))
    tokenizer = run.engine.tokenizer
    safe, found = playground.tokens.neutralise_special_tokens(tokenizer, text)
    spelling = playground.tokens.spell_text(tokenizer, safe)
    notes = [count_words(spelling)]
    if spelling.spelled != safe:
        notes.append(
            say(
                "{form} rewrote {before} characters as {after}.",
                form=playground.tokens.normalizer_name(tokenizer) or say("The tokenizer"),
                before=len(safe),
                after=len(spelling.spelled),
            )
        )
    if found:
        notes.append(
            say(
                "{names} stays text: see the zero-width space {mark} in it.",
                names=say(", ").join(verbatim_html(visible(name)) for name in dict.fromkeys(found)),
                mark=verbatim_html(visible(chr(0x200B))),
            )
        )
    return spelling_html(spelling) + fact_markup(*notes)


@PART.html()
def gallery(run: Run) -> str:
    """Six samples of what a token may be, taken apart by this tokenizer."""
    return gallery_html(run.engine.tokenizer)
