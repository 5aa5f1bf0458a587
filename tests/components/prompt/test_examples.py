"""The example gallery shows what is shipped, and escapes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.prompt.examples import Example, cards_html, load_examples
from components.prompt.reader import read_prompt
from playground.engine import Engine
from playground.preprocess.stage import run_preprocess
from tests.components.html_reader import read_html


def test_every_kind_of_prompt_is_there() -> None:
    examples = load_examples()
    counts = {len(example.images) for example in examples}
    assert {0, 1, 2} <= counts
    assert any(example.video for example in examples)
    assert any("\u4e00" <= character <= "\u9fff" for e in examples for character in e.text)
    assert any(not example.images and not example.video for example in examples)
    assert any(example.earlier for example in examples)


def test_the_opening_example_has_an_image() -> None:
    first = load_examples()[0]
    assert len(first.images) == 1
    assert Path(first.images[0]).is_file()


@pytest.mark.parametrize("example", load_examples(), ids=lambda example: example.name)
def test_every_example_can_be_read(shipped_engine: Engine, example: Example) -> None:
    prompt = read_prompt(
        shipped_engine,
        images=list(example.images),
        video=example.video,
        text=example.text,
        system=example.system,
        max_pixels=None,
        earlier=example.earlier,
    )
    inputs = run_preprocess(shipped_engine, prompt)
    assert len(inputs.media) == len(example.images) + (example.video is not None)
    assert inputs.notices == ()


def test_one_button_a_card_with_its_images() -> None:
    examples = load_examples()
    html = cards_html(examples)
    read_html(html)  # refuses tags that do not close
    assert html.count("<button") == len(examples)
    assert html.count("<img") == sum(len(e.images) for e in examples if not e.video)
    for index in range(len(examples)):
        assert f'data-example="{index}"' in html


def test_texts_are_escaped() -> None:
    html = cards_html((Example("x", (), None, "<b>bold</b>", 'a "note"'),))
    assert "<b>" not in html
    assert "&lt;b&gt;bold" in html
    assert "a &#34;note&#34;" in html
