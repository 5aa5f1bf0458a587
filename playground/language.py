"""What the page says, in the reader's language.

English sentences stand in the code, where they are read: ``say("{num} tokens", num=3)``. Other
languages look them up in ``languages/<language>/*.json``, which map the English template to theirs.
A template that is missing there is said in English; ``tests/test_language.py`` finds it.
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

# Gradio's workers copy the context of the event that they answer, so every thread has its own.
_spoken: ContextVar[Language] = ContextVar("language", default="en")


def say(template: str, /, **values: Any) -> str:
    """A sentence in the language that is being spoken.

    Args:
        template: in English, as in ``str.format`` with named fields; without values it is said as
            it stands, braces and all. A literal, or what ``mark`` has marked: the test that looks
            for missing translations reads the source.
        values: of the fields.
    """
    spoken = translation(template, _spoken.get())
    return spoken.format(**values) if values else spoken


def mark(template: str, /) -> str:
    """Mark an English sentence that is said later, such as one in a constant: ``say(TITLE)``."""
    return template


def translation(template: str, language: Language) -> str:
    """A template in another language; itself where there is none."""
    return template if language == "en" else read_catalogs(language).get(template, template)


def spoken_language() -> Language:
    """The language that ``say`` speaks here."""
    return _spoken.get()


@contextmanager
def speaking(language: Language) -> Iterator[None]:
    """Speak a language while the block runs; not for a block that yields to another context."""
    token = _spoken.set(language)
    try:
        yield
    finally:
        _spoken.reset(token)


@cache
def read_catalogs(language: Language) -> dict[str, str]:
    """Every template of a language, by its English one.

    Raises:
        ValueError: two catalogs translate the same template differently.
    """
    entries: dict[str, str] = {}
    for path in sorted((CATALOGS / language).glob("*.json")):
        for english, spoken in json.loads(path.read_text(encoding="utf-8")).items():
            if entries.setdefault(english, spoken) != spoken:
                raise ValueError(f"{path.name}: another catalog translates {english!r} otherwise.")
    return entries
