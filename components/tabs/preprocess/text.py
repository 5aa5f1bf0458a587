"""Preprocess, text: the rendered template and its tokens."""

from __future__ import annotations

import playground
from components.parts.part import Heading, Part
from components.views.facts import fact_markup
from components.views.tables import tokens_table
from components.views.template import template_html
from playground.language import mark, say
from playground.pipeline import Run
from playground.tokens import TypedSpecial

PART = Part(
    "text",
    mark("Template and tokens"),
    stage="preprocess",
    layout=(
        "words",
        Heading(mark("Rendered template")),
        "template",
        Heading(mark("Token table")),
        "tokens",
    ),
)


@PART.html()
def words(run: Run) -> str:
    """From messages to the token sequence, with this prompt's counts."""
    inputs = run.inputs
    text = say(
        "The chat template renders {messages} messages as one string of {characters:,} characters "
        "and leaves the last message open for the answer. The tokenizer splits the string into "
        "<strong>{tokens:,} tokens</strong>.",
        messages=inputs.rendered_prompt.count("<|im_start|>"),
        characters=len(inputs.rendered_prompt),
        tokens=inputs.num_tokens,
    )
    visual = sum(facts.num_tokens for facts in inputs.media)
    if not visual:
        return fact_markup(text)
    return fact_markup(
        text,
        say(
            "The template writes one placeholder for each image or video, and the processor "
            "repeats it: {visual:,} of the tokens are placeholder tokens.",
            visual=visual,
        ),
    )


@PART.html()
def template(run: Run) -> str:
    """The string that the chat template renders, message by message."""
    return template_html(run.inputs, typed_specials(run))


@PART.html()
def tokens(run: Run) -> str:
    """One row per token; the tokens of an image share one row."""
    added = playground.tokens.typed_added_tokens(run.engine.tokenizer, run.inputs)
    return tokens_table(run.inputs, typed_specials(run), added)


def typed_specials(run: Run) -> tuple[TypedSpecial, ...]:
    """Special tokens that the user typed; they are treated as text."""
    return playground.tokens.find_typed_specials(run.engine.tokenizer, run.inputs.expanded_prompt)
