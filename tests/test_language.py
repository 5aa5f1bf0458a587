"""The languages of the page: nothing missing, nothing left over, every field kept.

The templates are read from the source: the first argument of each ``say`` and ``mark``.
"""

from __future__ import annotations

import ast
import json
import pickle
import re
from collections import Counter
from string import Formatter

import pytest

from components.prompt.examples import load_examples
from playground.language import (
    CATALOGS,
    LANGUAGES,
    mark,
    read_catalogs,
    say,
    say_again,
    speaking,
    spoken_language,
    translation,
)
from tests.test_import_rules import python_files

OTHERS = [language for language in LANGUAGES if language != "en"]


def marked_templates() -> dict[str, str]:
    """Every template in the source and in the examples' notes, with the place of its first use."""
    found = {example.note: f"example {example.name}" for example in load_examples()}
    for path in python_files("playground", "components", "app.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id not in ("say", "mark") or not node.args:
                continue
            location = f"{path.name}:{node.lineno}"
            template = node.args[0]
            if isinstance(template, ast.Constant) and isinstance(template.value, str):
                found.setdefault(template.value, location)
                if node.func.id == "say" and not node.keywords:
                    continue
                check_fields(template.value, location, node)
            else:
                # A name, an attribute or a lookup holds what was marked elsewhere; anything that
                # is put together on the spot can be in no catalog.
                assert not isinstance(template, ast.JoinedStr | ast.BinOp), (
                    f"{location}: a template must be a literal; give the values as fields."
                )
    return found


def fields(template: str) -> Counter[str]:
    """The names of a template's fields, as often as they occur."""
    return Counter(name for _, name, _, _ in Formatter().parse(template) if name is not None)


def check_fields(template: str, location: str, call: ast.Call) -> None:
    """Every field is named and has a value where the sentence is said on the spot."""
    given = {keyword.arg for keyword in call.keywords}
    names = {name.split(".")[0].split("[")[0] for name in fields(template)}
    assert "" not in names, f"{location}: fields must have names"
    if given and None not in given:
        assert names == given, f"{location}: fields {names}, values {given}"


@pytest.fixture(scope="module")
def templates() -> dict[str, str]:
    return marked_templates()


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_is_translated(templates: dict[str, str], language: str) -> None:
    known = read_catalogs(language)
    missing = {location: text for text, location in templates.items() if text not in known}
    assert not missing


@pytest.mark.parametrize("language", OTHERS)
def test_no_translation_is_left_over(templates: dict[str, str], language: str) -> None:
    assert sorted(set(read_catalogs(language)) - set(templates)) == []


@pytest.mark.parametrize("language", OTHERS)
def test_translations_keep_every_field(templates: dict[str, str], language: str) -> None:
    """A translation may repeat a field, but neither drop one nor name one that has no value."""
    known = read_catalogs(language)
    for template in set(templates) & set(known):
        if "{" in template:
            theirs = fields(known[template])
            assert set(theirs) == set(fields(template)), templates[template]


@pytest.mark.parametrize("language", OTHERS)
def test_translations_are_in_the_language(language: str) -> None:
    """Chinese has Chinese characters, except where a name or a number is all there is."""
    bare = [
        english
        for english, spoken in read_catalogs(language).items()
        if spoken == english and len(english.split()) > 3
    ]
    assert not bare


@pytest.mark.parametrize("language", OTHERS)
def test_stress_in_translations_is_rendered(language: str) -> None:
    """Markdown ends no stress at a punctuation mark that a letter follows: **so：**not."""
    stress = re.compile(r"(\w?)(\*\*?)(?=\S)([^*]+)(?<=\S)\2(?!\*)(\w?)")
    broken = [
        spoken
        for spoken in read_catalogs(language).values()
        for before, _, stressed, after in stress.findall(spoken)
        if (before and not stressed[0].isalnum()) or (after and not stressed[-1].isalnum())
    ]
    assert not broken


def test_catalogs_have_no_key_twice() -> None:
    """JSON keeps the last of two equal keys without a word."""

    def refuse(pairs: list[tuple[str, str]]) -> dict[str, str]:
        repeated = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        assert not repeated
        return dict(pairs)

    for path in CATALOGS.rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=refuse)


def test_say_speaks_the_language_of_the_block() -> None:
    english = "Stopped."
    assert say(english) == english
    with speaking("zh"):
        assert spoken_language() == "zh"
        assert say(english) == translation(english, "zh") != english
    assert say(english) == english


def test_say_fills_in_values_only_where_there_are_any() -> None:
    assert say("{a} of {b:,}", a=1, b=2000) == "1 of 2,000"
    assert say("{a}") == "{a}"
    assert mark("{a}") == "{a}"


def test_unknown_sentences_stay_english() -> None:
    with speaking("zh"):
        assert say("No catalog has this one: {n}", n=3) == "No catalog has this one: 3"


def test_a_sentence_can_be_said_again_in_another_language() -> None:
    inner = say("{done:,} of {total:,}", done=3, total=9)
    sentence = say("The checkpoint is still loading ({what}).", what=inner)
    with speaking("zh"):
        assert say_again(sentence) == say(
            "The checkpoint is still loading ({what}).",
            what=say("{done:,} of {total:,}", done=3, total=9),
        )
    assert say_again(sentence) == sentence
    assert say_again("a text from elsewhere") == "a text from elsewhere"
    assert pickle.loads(pickle.dumps(sentence)).template == sentence.template
