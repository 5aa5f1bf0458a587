"""The Chinese page says nothing in English: its components as built, and a run as drawn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gradio as gr
import pytest
from gradio.blocks import Block

from components.chart_view.view import PlotlyView, encode_figure
from components.compute.engine_host import EngineHost
from components.page.layout import Page
from components.page.site import build_site
from components.prompt.examples import load_examples
from components.tabs.open_parts import tabs_around
from playground.engine import Engine
from playground.language import speaking
from tests.components.spoken_words import (
    component_texts,
    english_words,
    figure_texts,
    html_texts,
)

PLACES = ("preprocess", "vision", "merge", "decoder", "sampling", "cache", "model", "panel")


@pytest.fixture(scope="module")
def chinese_page(shipped_engine: Engine) -> Page:
    """The Chinese page with the first example drawn."""
    host = EngineHost("tiny")
    host._engine = shipped_engine
    site = build_site(host)
    site.draw_opening(shipped_engine)
    with speaking("zh"):
        site.pages["zh"].events.draw_opening()
    return site.pages["zh"]


def place_of(block: Block, page: Page) -> str:
    """Which part of the page a block lies in."""
    outermost = [tab for _, tab in tabs_around(block)][-1:]
    if not outermost:
        return "panel"
    if outermost[0].id == "model":
        return "model"
    return page.tabs[int(outermost[0].id) - 1].stage


def blocks_in(place: str, page: Page) -> list[Block]:
    blocks = gr.context.Context.root_block or page.status.parent
    while blocks.parent is not None:
        blocks = blocks.parent
    found: list[Block] = []

    def walk(block: Block) -> None:
        for child in getattr(block, "children", ()):
            found.append(child)
            walk(child)

    walk(blocks)
    return [each for each in found if each.page == "zh" and place_of(each, page) == place]


def drawn_values(place: str, page: Page) -> list[tuple[Block, Any]]:
    """What the first example's run shows there."""
    _, parts = page.parts._opening or (None, {})
    values = list(page.events.opening.items())
    values += [
        pair for part, sent in parts.items() for pair in zip(part.outputs, sent, strict=True)
    ]
    return [(output, value) for output, value in values if place_of(output, page) == place]


def texts_of(output: Block, value: Any) -> list[str]:
    if isinstance(output, PlotlyView):
        if isinstance(value, dict):  # an update, which may hold a figure
            value = value.get("value")
        source = value if isinstance(value, str) else encode_figure(value)
        return list(figure_texts(source)) if source else []
    if isinstance(output, gr.Code | gr.State | gr.Textbox | gr.Dropdown) and isinstance(value, str):
        return []  # code, what people write, and the names that handlers know
    if isinstance(value, str):
        return html_texts(value)
    if isinstance(value, dict) and value.get("__type__") == "update":
        choices = value.get("choices") or ()
        shown = [str(each[0] if isinstance(each, tuple) else each) for each in choices]
        return [value.get(name) or "" for name in ("label", "info")] + shown
    return []


def assert_chinese(texts: Iterable[str]) -> None:
    """None of these has an English word, but for the examples' own; all that do are listed."""
    names = {f"{example.name}: {example.text}" for example in load_examples()}
    left = {text: words for text in texts if text not in names and (words := english_words(text))}
    assert not left, "\n" + "\n".join(f"{words}: {text}" for text, words in left.items())


@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_built_in_english(place: str, chinese_page: Page) -> None:
    built = blocks_in(place, chinese_page)
    assert built
    assert_chinese(text for block in built for text in component_texts(block))


@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_drawn_in_english(place: str, chinese_page: Page) -> None:
    drawn = drawn_values(place, chinese_page)
    assert drawn
    assert_chinese(text for output, value in drawn for text in texts_of(output, value))


def test_english_words_are_found() -> None:
    assert english_words("每层的 norm of each layer") == ["norm", "each", "layer"]
    assert english_words("`input_ids` 的 logits：%{x} model.forward <|im_end|>") == []
    assert html_texts('<p title="Layer">一 <code>two</code><b translate="no">three</b> four') == [
        "Layer",
        "一 ",
        " four",
    ]
