"""The titles under the charts fit on a phone, in every language."""

from __future__ import annotations

import ast
import re
import unicodedata

import pytest

from playground.language import LANGUAGES, Language, translation
from tests.test_import_rules import python_files

#: On a page 390 pixels wide a plot has some 235 for its title, of 5.4 a letter.
MOST_LETTERS = 43
#: A Chinese sign is as wide as two letters and a bit.
WIDE = 2.2


def titles() -> dict[str, str]:
    """Every template that is given as an ``x_title``, with its place."""
    found = {}
    for path in python_files("components"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.keyword) or node.arg != "x_title":
                continue
            for part in ast.walk(node.value):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    found[part.value] = f"{path.name}:{node.value.lineno}"
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_titles_below_a_chart_fit_on_a_phone(language: Language) -> None:
    found = titles()
    assert len(found) > 20
    too_wide = {}
    for title, location in found.items():
        text = re.sub(r"\{[^}]*\}", "00", translation(title, language))
        width = sum(WIDE if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)
        if width > MOST_LETTERS:
            too_wide[location] = (text, round(width))
    assert not too_wide
