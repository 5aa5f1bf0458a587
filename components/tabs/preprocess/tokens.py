"""Preprocess, the text: the rendered template, the tokens, and what a token is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

import playground
from components.prompt.checks import check_text
from components.tabs.choices import fact_html, fact_markup
from components.tabs.preprocess.spelling import count_words, gallery_html, spelling_html, verbatim
from components.tabs.stage_tab import App, Section
from components.views.html_view import build_html_view
from components.views.strips import template_html
from components.views.tables import tokens_table
from playground.errors import InputError
from playground.language import say

if TYPE_CHECKING:
    from playground.pipeline import Run
    from playground.records import ModelInputs

MAX_FREE_CHARS = 200
FREE_TEXT = "A naïve 🦜 says 零点几个字, <|im_end|>"


def build_text_section(app: App) -> Section:
    """Build the template and the token table; nothing in them can be set."""
    del app
    words = build_html_view()
    gr.Markdown("### " + say("The rendered template"))
    template = build_html_view()
    gr.Markdown("### " + say("The tokens"))
    tokens = build_html_view()

    def draw(run: Run) -> tuple[Any, ...]:
        inputs = run.inputs
        typed = playground.tokens.find_typed_specials(run.engine.tokenizer, inputs.expanded_prompt)
        return text_words(inputs), template_html(inputs, typed), tokens_table(inputs, typed)

    return Section((), (words, template, tokens), draw)


def text_words(inputs: ModelInputs) -> str:
    """The way from messages to the sequence, in this prompt's numbers."""
    words = say(
        "The chat template writes {messages} messages into one text of {characters:,} characters; "
        "the last one is left open for the answer. The tokenizer cuts it into "
        "<strong>{tokens:,} tokens</strong>.",
        messages=inputs.rendered_prompt.count("<|im_start|>"),
        characters=len(inputs.rendered_prompt),
        tokens=inputs.num_tokens,
    )
    visual = sum(facts.num_tokens for facts in inputs.media)
    if not visual:
        return fact_markup(words)
    return fact_markup(
        words,
        say(
            "Each picture is written as one placeholder and then repeated: {visual:,} of the "
            "tokens stand for pixels.",
            visual=visual,
        ),
    )


def build_spelling_section(app: App) -> Section:
    """Build the gallery and the box to try one's own text."""
    gr.Markdown(
        say(
            "The tokenizer works on bytes. It joins those that often stand together, so a token "
            "may be a whole word, or **less than one character**. Each text below is cut up by "
            "the loaded tokenizer: its characters, under them their UTF-8 bytes, under those the "
            "token ids. Pieces that cut through a character are dashed."
        )
    )
    text = gr.Textbox(
        value=FREE_TEXT,
        label=say("Try your own"),
        info=say(
            "Up to {limit} characters, taken apart as you type; special tokens are kept as text, "
            "as in a message.",
            limit=MAX_FREE_CHARS,
        ),
        max_length=MAX_FREE_CHARS,
        lines=1,
    )
    spelled = build_html_view()
    gallery = build_html_view()

    def draw(run: Run, typed: Any) -> tuple[str, str]:
        return draw_spelling(run, typed), gallery_html(run.engine.tokenizer)

    app.on_view(text.input, draw_spelling, [text], [spelled])
    return Section((text,), (spelled, gallery), draw)


def draw_spelling(run: Run, text: Any) -> str:
    """A text of the user's, taken apart.

    Raises:
        InputError: it is no text, too long, or holds half of a surrogate pair.
    """
    text = check_text(say("The text"), text)
    if len(text) > MAX_FREE_CHARS:
        raise InputError(
            say("The text has {count:,} characters.", count=len(text)),
            limit=say("At most {limit} are taken apart.", limit=MAX_FREE_CHARS),
            remedy=say("Shorten it."),
        )
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
                names=say(", ").join(verbatim(name) for name in dict.fromkeys(found)),
                mark=verbatim(chr(0x200B)),
            )
        )
    return spelling_html(spelling) + fact_markup(*notes)
