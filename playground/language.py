"""The page's strings in the reader's language.

English sentences are in the code, where they are used: ``say("{num} tokens", num=3)``. Other
languages look them up in ``languages/<language>/*.json``, which map the English template to the
translation. A missing template is shown in English; ``tests/test_language.py`` finds it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

CATALOGS = Path(__file__).with_name("languages")

# Gradio's workers copy the context of their event, so every thread has its own language.
_spoken: ContextVar[Language] = ContextVar("language", default="en")


class Sentence(str):
    """What ``say`` returns: a text that knows its template, so that ``say_again`` can translate it
    for another reader."""

    __slots__ = ("template", "values")
    template: str
    values: dict[str, Any]


def say(template: str, /, **values: Any) -> str:
    """Translate a sentence into the current language and fill in its fields.

    Args:
        template: an English template for ``str.format`` with named fields; without values it is
            returned unformatted. It must be a literal or marked with ``mark``: the test for missing
            translations reads the source.
        values: the values of the fields.
    """
    spoken = translation(template, _spoken.get())
    sentence = Sentence(spoken.format(**values) if values else spoken)
    sentence.template, sentence.values = template, values
    return sentence


def say_again(text: str) -> str:
    """A sentence, and the sentences in its fields, in the current language; other text as it is."""
    if not isinstance(text, Sentence):
        return text
    values = {
        name: say_again(value) if isinstance(value, str) else value
        for name, value in text.values.items()
    }
    return say(text.template, **values)


def mark(template: str, /) -> str:
    """Mark an English sentence that is translated later, such as a constant: ``say(TITLE)``."""
    return template


def translation(template: str, language: Language) -> str:
    """A template in another language; itself if there is no translation."""
    return template if language == "en" else read_catalogs(language).get(template, template)


def spoken_language() -> Language:
    """The current language of ``say``."""
    return _spoken.get()


@contextmanager
def speaking(language: Language) -> Iterator[None]:
    """Set the language while the block runs; not for a block that yields to another context."""
    token = _spoken.set(language)
    try:
        yield
    finally:
        _spoken.reset(token)


@cache
def read_catalogs(language: Language) -> dict[str, str]:
    """All translations of a language, by English template.

    Raises:
        ValueError: two catalogs translate the same template differently.
    """
    entries: dict[str, str] = {}
    for path in sorted((CATALOGS / language).glob("*.json")):
        for english, spoken in json.loads(path.read_text(encoding="utf-8")).items():
            if entries.setdefault(english, spoken) != spoken:
                raise ValueError(f"{path.name}: another catalog translates {english!r} otherwise.")
    return entries
