"""The page, the docs and the docstrings use the field's terms, not a private dialect."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.test_import_rules import python_files
from tests.test_language import marked_templates

ROOT = Path(__file__).parents[1]
# A pattern, and what to write instead.
BANNED = {
    r"\blikel(y|ier|iest) words?\b|\blikeliest\b": "most likely token",
    r"\bwords? of (the|its|a) vocabulary\b|\bvocabulary of [\d,]+ words\b": "tokens",
    r"\b(token|query|patch|head|layer|position)s? looks? at\b": "attends to",
    r"\bno longer held\b": "has expired",
    r"\bas it came\b": "original",
    r"\bleast recently used goes\b": "evict the least recently used",
    r"\bfor porters\b": "check a port",
    r"\bpatch a state\b": "activation patching",
    r"\bplaceholders?['’]s? seats?\b": "placeholder tokens",
    r"\bwhat of (a|the|your)\b": "a noun",
    r"\bwhoever\b": "anyone who, or a noun",
    r"\banew\b": "again",
    r"\bthe winner['’]s settings\b": "these settings",
}


def docs() -> Iterator[tuple[str, str]]:
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        yield path.name, path.read_text(encoding="utf-8")


def docstrings() -> Iterator[tuple[str, str]]:
    for path in python_files("playground", "components", "app.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
            if isinstance(node, kinds) and (text := ast.get_docstring(node)):
                yield f"{path.relative_to(ROOT)}:{getattr(node, 'name', 'module')}", text


def templates() -> Iterator[tuple[str, str]]:
    for template, location in marked_templates().items():
        yield location, template


@pytest.mark.parametrize("source", [templates, docs, docstrings])
def test_no_banned_phrase_is_left(source: Callable[[], Iterator[tuple[str, str]]]) -> None:
    found = [
        f"{location}: “{match.group()}”: write “{instead}”"
        for location, text in source()
        for pattern, instead in BANNED.items()
        for match in re.finditer(pattern, text, re.IGNORECASE)
    ]
    assert found == []


@pytest.mark.parametrize("pattern", BANNED)
def test_a_pattern_finds_something(pattern: str) -> None:
    """A list of patterns that match nothing would keep nothing out."""
    examples = (
        "the likeliest token", "a vocabulary of 1,024 words", "a token looks at", "no longer held",
        "as it came", "least recently used goes", "For porters", "Patch a state",
        "the placeholders’ seats", "what of a visit", "whoever opens", "drawn anew",
        "Take the winner's settings along",
    )  # fmt: skip
    assert any(re.search(pattern, example, re.IGNORECASE) for example in examples)
