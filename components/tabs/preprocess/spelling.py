"""Preprocess, what a token is: the reader's own text and a gallery, split into tokens."""

from __future__ import annotations

import playground
from components.parts.controls import TextField
from components.parts.part import Part
from components.tabs.preprocess.gallery import gallery_html
from components.tabs.preprocess.spelling_words import spelling_counts, spelling_html
from components.views.facts import fact_html, fact_markup
from components.views.text import verbatim_html, visible
from playground.errors import InputError
from playground.language import mark, say
from playground.pipeline import Run

OWN_TEXT = TextField(
    id="own-text",
    label=mark("Try your own text"),
    info=mark(
        "Up to 200 characters, split into tokens as you type. Special tokens are treated as text, "
        "as in a message."
    ),
    value="A naïve 🦜 says 零点几个字, <|im_end|>",
    max_chars=200,
)
PART = Part(
    "spelling",
    mark("What is a token?"),
    stage="preprocess",
    intro=mark(
        "The tokenizer works on bytes. It merges bytes that often occur together, so a token can "
        "be a whole word or **less than one character**. The loaded tokenizer splits each text "
        "below: the characters, their UTF-8 bytes, and the token ids. A character that "
        "takes several tokens has a dashed border."
    ),
    controls=(OWN_TEXT,),
)


@PART.html(needs=("own-text",))
def spelled(run: Run, text: str) -> str:
    """The reader's own text, split into tokens.

    Raises:
        InputError: the text contains an unpaired surrogate.
    """
    if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        raise InputError(
            say("The text contains an unpaired surrogate, which is not a valid character.")
        )
    if not text:
        return fact_html(say("There is no text yet."))
    tokenizer = run.engine.tokenizer
    safe, found = playground.tokens.neutralise_special_tokens(tokenizer, text)
    spelling = playground.tokens.spell_text(tokenizer, safe)
    notes = [spelling_counts(spelling)]
    if spelling.spelled != safe:
        notes.append(
            say(
                "{form} normalised {before} characters to {after}.",
                form=playground.tokens.normalizer_name(tokenizer) or say("The tokenizer"),
                before=len(safe),
                after=len(spelling.spelled),
            )
        )
    if found:
        notes.append(
            say(
                "Treated as text: {names}. Note the zero-width space {mark}.",
                names=say(", ").join(verbatim_html(visible(name)) for name in dict.fromkeys(found)),
                mark=verbatim_html(visible(chr(0x200B))),
            )
        )
    return spelling_html(spelling) + fact_markup(*notes)


@PART.html()
def gallery(run: Run) -> str:
    """Six sample texts, split into tokens by this tokenizer."""
    return gallery_html(run.engine.tokenizer)
