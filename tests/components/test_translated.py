"""The Chinese page says nothing in English: its components as built, and a run as drawn."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from components.chart_view.figures import write_json
from components.compute.engine_host import EngineHost
from components.page.site import build_site
from components.parts.all_parts import Parts
from components.parts.drawing import Drawing
from components.parts.part import StageParts
from components.parts.run_events import Opening, RunEvents
from components.parts.stage_view import StageView, part_spec
from components.prompt.examples import load_examples
from components.tabs import STAGE_TABS
from playground.engine import Engine
from playground.language import say, speaking
from tests.components.spoken_words import (
    component_texts,
    english_words,
    figure_texts,
    html_texts,
)
from tests.components.visits import make_events

ALL = Parts(STAGE_TABS)
PARTS = ALL.by_key
TEXTS = Path(__file__).parents[2] / "components" / "browser" / "texts.js"


@pytest.fixture(scope="module")
def chinese_blocks() -> list[gr.blocks.Block]:
    """The components of the Chinese page, but for its stages."""
    with speaking("zh"):
        demo = build_site(EngineHost("tiny")).demo
    found = [each for each in demo.blocks.values() if each.page == "zh"]
    return [each for each in found if not isinstance(each, StageView)]


@pytest.fixture(scope="module")
def events(shipped_pair: Engine) -> RunEvents:
    """A site with the first example drawn for Chinese readers."""
    events = make_events(shipped_pair)
    with speaking("zh"):
        events.compute_opening(shipped_pair)
    return events


@pytest.fixture(scope="module")
def opening(events: RunEvents) -> Opening:
    assert events.opening is not None
    return events.opening


def assert_chinese(texts: Iterable[str]) -> None:
    """None of these has an English word, but for the examples' own; all that do are listed."""
    names = {f"{example.name}: {example.text}" for example in load_examples()}
    left = {text: words for text in texts if text not in names and (words := english_words(text))}
    assert not left, "\n" + "\n".join(f"{words}: {text}" for text, words in left.items())


def test_nothing_is_built_in_english(chinese_blocks: list[gr.blocks.Block]) -> None:
    assert len(chinese_blocks) > 20
    assert_chinese(text for block in chinese_blocks for text in component_texts(block))


def spec_texts(items: Iterable[Any]) -> Iterator[str]:
    """What stands between a part's outputs."""
    for item in items:
        if isinstance(item, dict):
            yield from html_texts(re.sub(r"<code>.*?</code>", " ", item.get("html", "")))
            yield item.get("label", "")
            yield from spec_texts(item.get("items", ()))


@pytest.mark.parametrize("name", PARTS)
def test_no_part_is_declared_in_english(name: str) -> None:
    with speaking("zh"):
        spec = part_spec(PARTS[name], ALL.stage_of[name])
    labels = [each[name] for each in spec["outputs"] for name in ("label", "empty")]
    labels += [each["label"] for each in spec["experiments"]]
    assert_chinese([*labels, *spec_texts(spec["items"])])


@pytest.mark.parametrize("stage", STAGE_TABS, ids=lambda stage: stage.stage)
def test_no_tab_is_named_in_english(stage: StageParts) -> None:
    with speaking("zh"):
        said = [say(stage.label), say(stage.title), say(stage.sentence)]
        said += [say(part.title) for part in stage.parts]
    assert_chinese(re.sub(r"`[^`]*`", " ", text) for text in said)


def control_texts(spec: dict[str, Any]) -> Iterator[str]:
    """What a control says. Options that name tokens or the visitor's files are the run's own."""
    yield from (str(spec.get(name) or "") for name in ("label", "info", "placeholder", "add"))
    yield from spec.get("names", ())
    yield from spec.get("words", {}).values()
    for option in (*spec.get("options", ()), *spec.get("presets", ())):
        yield str(option[0])
    for field in spec.get("fields", ()):
        yield from control_texts(field)


def drawn_texts(kind: str, drawn: dict[str, Any]) -> Iterator[str]:
    if kind == "html":
        yield from html_texts(drawn["html"])
    elif kind == "chart" and drawn["figure"] is not None:
        yield from figure_texts(write_json(drawn["figure"]))


@pytest.mark.parametrize("name", PARTS)
def test_nothing_is_drawn_in_english(name: str, events: RunEvents, opening: Opening) -> None:
    part, drawing = PARTS[name], events.drawing
    with speaking("zh"):
        answer = ask(drawing, opening, name)
    texts = [answer.get("absent", "")]
    for spec in answer.get("controls", ()):
        texts += control_texts(spec)
    for output, drawn in answer["outputs"].items():
        assert "error" not in drawn, (output, drawn)
        texts += drawn_texts(part.outputs[output].kind, drawn)
    assert_chinese(texts)


def ask(drawing: Drawing, opening: Opening, name: str) -> dict[str, Any]:
    asked = {"run": opening.key, "part": name, "outputs": list(PARTS[name].outputs)}
    return drawing.answer({**asked, "controls": True, "findings": opening.findings})


def test_the_scripts_say_the_same_in_both_languages() -> None:
    source = TEXTS.read_text(encoding="utf-8")
    english, chinese = source.split("  zh: {")
    keys = [re.findall(r"^ +(\w+):", half, re.MULTILINE) for half in (english, chinese)]
    assert keys[0][1:] == keys[1]  # after "en"
    said = re.findall(r"""["`]([^"`]*)["`]""", chinese)
    assert len(said) > 10
    assert_chinese(re.sub(r"\$\{\w+\}", " ", text) for text in said)


def test_english_words_are_found() -> None:
    assert english_words("每层的 norm of each layer") == ["norm", "each", "layer"]
    assert english_words("`input_ids` 的 logits：%{x} model.forward <|im_end|>") == []
    assert html_texts('<p title="Layer">一 <code>two</code><b translate="no">three</b> four') == [
        "Layer",
        "一 ",
        " four",
    ]
