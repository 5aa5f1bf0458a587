"""Preprocess, the text: the rendered template, the tokens, and what a token is."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import gradio as gr

import playground
from components.html_view import build_html_view
from components.prompt_reader import check_text
from components.spelling import count_words, gallery_html, spelling_html
from components.stage_tab import App, Section
from components.strips import template_html, visible
from components.tables import tokens_table
from playground.errors import InputError

if TYPE_CHECKING:
    from playground.pipeline import Run
    from playground.records import ModelInputs

MAX_FREE_CHARS = 200
FREE_TEXT = "A naïve 🦜 says 零点几个字, <|im_end|>"


def build_text_section(app: App) -> Section:
    """Build the template and the token table; nothing in them can be set."""
    del app
    words = build_html_view()
    gr.Markdown("### The rendered template")
    template = build_html_view()
    gr.Markdown("### The tokens")
    tokens = build_html_view()

    def draw(run: Run) -> tuple[Any, ...]:
        inputs = run.inputs
        typed = playground.tokens.find_typed_specials(run.engine.tokenizer, inputs.expanded_prompt)
        return text_words(inputs), template_html(inputs, typed), tokens_table(inputs, typed)

    return Section((), (words, template, tokens), draw)


def text_words(inputs: ModelInputs) -> str:
    """The way from messages to the sequence, in this prompt's numbers."""
    blocks = inputs.rendered_prompt.count("<|im_start|>")
    visual = sum(facts.num_tokens for facts in inputs.media)
    pictures = ""
    if visual:
        pictures = (
            f" Each picture is written as one placeholder and then repeated: {visual:,} of the "
            "tokens stand for pixels."
        )
    return (
        f'<p class="pg-fact">The chat template writes {blocks} messages into one text of '
        f"{len(inputs.rendered_prompt):,} characters; the last one is left open for the answer. "
        f"The tokenizer cuts it into <strong>{inputs.num_tokens:,} tokens</strong>.{pictures}</p>"
    )


def build_spelling_section(app: App) -> Section:
    """Build the gallery and the box to try one's own text."""
    gr.Markdown(
        "The tokenizer works on bytes. It joins those that often stand together, so a token may "
        "be a whole word, or **less than one character**. Each text below is cut up by the loaded "
        "tokenizer: its characters, under them their UTF-8 bytes, under those the token ids. "
        "Pieces that cut through a character are dashed."
    )
    text = gr.Textbox(
        value=FREE_TEXT,
        label="Try your own",
        info=f"Up to {MAX_FREE_CHARS} characters, taken apart as you type; special tokens are kept "
        "as text, as in a message.",
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
    text = check_text("The text", text)
    if len(text) > MAX_FREE_CHARS:
        raise InputError(
            f"The text has {len(text):,} characters.",
            limit=f"At most {MAX_FREE_CHARS} are taken apart.",
            remedy="Shorten it.",
        )
    if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        raise InputError("The text holds half of a surrogate pair, which is no character.")
    if not text:
        return '<p class="pg-fact">Nothing to take apart yet.</p>'
    tokenizer = run.engine.tokenizer
    safe, found = playground.tokens.neutralise_special_tokens(tokenizer, text)
    spelling = playground.tokens.spell_text(tokenizer, safe)
    notes = []
    if spelling.spelled != safe:
        form = playground.tokens.normalizer_name(tokenizer) or "The tokenizer"
        notes.append(f"{form} rewrote {len(safe)} characters as {len(spelling.spelled)}.")
    if found:
        names = ", ".join(dict.fromkeys(found))
        notes.append(f"{names} stays text: see the zero-width space {visible(chr(0x200B))} in it.")
    words = html.escape(" ".join([count_words(spelling), *notes]))
    return f'{spelling_html(spelling)}<p class="pg-fact">{words}</p>'
