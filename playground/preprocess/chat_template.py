"""The checkpoint's own chat template, which may be any Jinja that somebody has published.

Source: ``ProcessorMixin.apply_chat_template``, transformers 5.24.
"""

from __future__ import annotations

import re
from typing import Any

from playground.engine import Engine
from playground.errors import InputError
from playground.language import say
from playground.prompt import Prompt

ENABLE_THINKING = "enable_thinking"  # the argument of Qwen3's templates
MAX_QUOTE = 200  # characters of a template's or transformers' own message
Message = dict[str, Any]


def render_messages(engine: Engine, prompt: Prompt, messages: list[Message]) -> str:
    """Render the messages as plain transformers does.

    A template of a text-only model takes ``content`` as a string, and fails on a list of parts or
    prints it as Python does. If every message has text alone, it gets strings.

    Raises:
        InputError: the template fails, leaves out an image or video, or takes no
            ``enable_thinking`` that the prompt sets.
    """
    if prompt.enable_thinking is not None and not knows_thinking(engine):
        raise InputError(
            say("The checkpoint's chat template takes no {name}.", name=ENABLE_THINKING),
            remedy=say("Leave the thinking as the template has it."),
        )
    try:
        rendered = _render(engine, prompt, messages)
        failed = None
    except Exception as error:  # a template can raise anything: TemplateError, TypeError, KeyError
        rendered, failed = "", error
    is_printed = any(str(message["content"]) in rendered for message in messages)
    if (failed is not None or is_printed) and not prompt.images and not prompt.videos:
        try:
            flat = [_flatten(message) for message in messages]
            rendered, failed = _render(engine, prompt, flat), None
        except Exception as error:
            failed = failed or error
    if failed is not None:
        raise _template_error(prompt, failed) from failed
    _check_placeholders(engine, prompt, rendered)
    return rendered


def knows_thinking(engine: Engine) -> bool:
    """Whether the chat template takes ``enable_thinking``; any other ignores it without a word."""
    source = engine.processor.chat_template
    return isinstance(source, str) and re.search(rf"\b{ENABLE_THINKING}\b", source) is not None


def _render(engine: Engine, prompt: Prompt, messages: list[Message]) -> str:
    arguments: dict[str, Any] = {}
    if prompt.enable_thinking is not None:
        arguments[ENABLE_THINKING] = prompt.enable_thinking
    rendered: str = engine.processor.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True, **arguments
    )
    return rendered


def _flatten(message: Message) -> Message:
    """The message with its text as ``content``."""
    return message | {"content": "".join(part["text"] for part in message["content"])}


def _template_error(prompt: Prompt, error: Exception) -> InputError:
    """The template's own words, and what to try."""
    remedy = say("Use the chat_template.jinja that was published with the model.")
    if prompt.system:
        remedy = say("Leave the system prompt empty: some templates refuse it.")
    elif prompt.images or prompt.videos:
        remedy = say("Ask without an image or video: some templates take text only.")
    words = " ".join(str(error).split())[:MAX_QUOTE].rstrip(".") or type(error).__name__
    return InputError(
        say("The checkpoint's chat template cannot render this prompt: {words}.", words=words),
        remedy=remedy,
    )


def _check_placeholders(engine: Engine, prompt: Prompt, rendered: str) -> None:
    """Refuse a template that has written more or fewer placeholders than there are images."""
    processor: Any = engine.processor
    pairs = ((processor.image_token, prompt.images), (processor.video_token, prompt.videos))
    for token, media in pairs:
        if rendered.count(token) != len(media):
            raise InputError(
                say(
                    "The checkpoint's chat template wrote {token} {count} times for {media} "
                    "images or videos.",
                    token=token,
                    count=rendered.count(token),
                    media=len(media),
                ),
                remedy=say("Use the chat_template.jinja that was published with the model."),
            )
