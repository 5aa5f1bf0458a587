"""The whole page on the shipped checkpoint, as a person uses it."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PageFactory, PageLog
from tests.browser.steps import (
    RUN_TIMEOUT_MS,
    open_part,
    open_tab,
    part_names,
    run_and_wait,
    wait_until_drawn,
)

# Charts that the first example fills, by tab and part; an empty name: the tab has no parts.
CHARTS: dict[str, dict[str, int]] = {
    "1 Preprocess": {
        "Template and tokens": 0,
        "What is a token?": 0,
        "Pixels to rows": 4,
        "Video": 0,
        "Tensors": 1,
        "Token budget": 1,
    },
    "2 Vision tower": {
        "Blocks": 2,
        "Attention": 2,
        "Position grid": 3,
        "RoPE": 6,
        "Merger and DeepStack taps": 4,
    },
    "3 Merge": {
        "Embeddings": 3,
        "Positions": 2,
        "Compared with 1-D RoPE": 2,
        "Frequencies": 2,
        "DeepStack": 1,
    },
    "4 Decoder": {
        "Layers": 6,
        "Attention": 3,
        "M-RoPE": 3,
        "DeepStack": 0,
        "Occlusion": 0,
        "What if": 2,
        "Activation patching": 0,
        "Experts": 0,
        "KV cache": 0,
        "Check a port": 0,
    },
    "5 Sampling": {
        "Side by side": 2,
        "One step": 2,
        "Sweep": 0,
        "Branch": 0,
        "Score a text": 0,
        "Boxes and points": 0,
        "Loops": 1,
        "Thinking": 0,
    },
    "6 Cache reuse": {"Hit or miss": 1, "Cache contents": 1, "Policy lab": 2, "Conversation": 0},
    "Compare": {
        "Weights": 1,
        "One run through both": 4,
        "One stage of the second in the first": 1,
        "What if rounded": 0,
    },
    "Model": {"": 1},
}


@pytest.fixture(scope="module")
def opened(address: str, module_page: PageFactory) -> tuple[Page, PageLog]:
    """A page for questions of one's own, at an address with a parameter that is not ours."""
    page, log = module_page(f"{address}?from=elsewhere")
    wait_until_drawn(page)
    return page, log


def test_an_address_with_parameters_that_are_not_ours_opens_the_first_example(
    opened: tuple[Page, PageLog],
) -> None:
    page, log = opened
    expect(page.locator("#input-text textarea")).to_have_value("Describe this image.")
    expect(page.locator("#parity-badge")).to_contain_text("max |Δ logits| = 0,")
    assert log.problems == []


def test_every_part_is_drawn_on_a_phone_without_sideways_scrolling(
    address: str, page: PageFactory
) -> None:
    """In the dark, too. ``test_everything.py`` opens every part in a wide window."""
    opened, log = page(f"{address}?__theme=dark", width=390, height=844)
    wait_until_drawn(opened)
    width = "document.documentElement.scrollWidth"
    for name, parts in CHARTS.items():
        panel = open_tab(opened, name)
        assert part_names(panel) == [part for part in parts if part]
        for part, num_charts in parts.items():
            shown = open_part(panel, part) if part else panel
            charts = shown.locator('.chart-box[data-state="drawn"]')
            expect(charts).to_have_count(num_charts)
            for index in range(num_charts):
                expect(charts.nth(index).locator("svg.main-svg, canvas").first).to_be_visible()
            expect(shown.locator('.chart-box[data-state="error"]')).to_have_count(0)
            assert opened.evaluate(width) <= 390, (name, part)
    assert log.problems == []
    assert log.hosts() == {address.split("/")[2]}  # nothing is requested from anywhere else


@pytest.mark.parametrize("path", ["?lang=en", "zh"])
def test_a_page_comes_compressed(address: str, path: str) -> None:
    answer = httpx.get(f"{address.rstrip('/')}/{path}", headers={"accept-encoding": "br, gzip"})
    assert answer.headers["content-encoding"] in ("br", "gzip")
    assert "window.gradio_config" in answer.text


def test_a_chinese_question_runs_through_all_tabs(opened: tuple[Page, PageLog]) -> None:
    page, log = opened
    page.locator("#input-text textarea").fill("描述这张图片。零点几个字")
    run_and_wait(page)
    expect(open_tab(page, "1 Preprocess")).to_contain_text("零点几个字")
    expect(open_tab(page, "1 Preprocess").locator("table").first).to_contain_text("E7")
    assert log.problems == []


def test_typed_special_tokens_stay_text(opened: tuple[Page, PageLog]) -> None:
    page, _ = opened
    page.locator("#input-text textarea").fill("<|im_end|><b id=injected>bold</b>")
    run_and_wait(page)
    panel = open_tab(page, "1 Preprocess")
    expect(panel).to_contain_text("was treated as text")
    assert page.locator("#injected").count() == 0


def test_the_block_slider_redraws_its_image_only(opened: tuple[Page, PageLog]) -> None:
    page, _ = opened
    panel = open_tab(page, "2 Vision tower")
    images = panel.locator("figure.pg-picture img").filter(visible=True)
    expect(images).to_have_count(3)  # what the model is given, colours, likeness
    before = [images.nth(index).get_attribute("src") for index in range(3)]
    titles = panel.locator(".chart-title").filter(visible=True)
    summary = titles.nth(1).inner_text()
    slider = panel.get_by_role("slider", name=re.compile("Blocks"))
    slider.focus()
    slider.press("Home")
    expect(images.nth(1)).not_to_have_attribute("src", before[1] or "")
    expect(images.nth(2)).not_to_have_attribute("src", before[2] or "")
    expect(titles.nth(0)).to_contain_text("before the blocks")
    assert images.nth(0).get_attribute("src") == before[0]
    assert titles.nth(1).inner_text() == summary


def test_an_example_fills_the_input_and_runs(opened: tuple[Page, PageLog]) -> None:
    page, _ = opened
    card = page.locator(".example-card").filter(has_text="你好")
    run_and_wait(page, card.first)
    expect(page.locator("#input-text textarea")).to_have_value("你好")
    expect(open_tab(page, "2 Vision tower")).to_contain_text("no image or video")
    panel = open_tab(page, "3 Merge")
    expect(open_part(panel, "Positions")).to_contain_text("rope_deltas")


def test_the_rest_of_the_input_changes_nothing_until_it_is_filled_in(
    address: str, page: PageFactory
) -> None:
    """What is mounted late comes back as it was sent: an empty number as nothing, not as 0.

    A wrong one is explained, and nothing is lost.
    """
    opened, log = page(address)
    wait_until_drawn(opened)
    opened.get_by_role("button", name=re.compile("System prompt")).click()
    pixels = opened.get_by_label("Max pixels")
    expect(pixels).to_have_value("")
    run_and_wait(opened)
    toast = opened.locator(".toast-wrap, [data-testid='toast-body']")
    expect(opened.locator("[data-testid='toast-body']")).to_have_count(0)
    assert log.problems == []

    question = "What colour is the circle?"
    opened.locator("#input-text textarea").fill(question)
    pixels.fill("-5")
    opened.locator("#run").click()
    expect(toast.first).to_contain_text("max pixels is -5", timeout=RUN_TIMEOUT_MS)
    expect(toast.first).to_contain_text("between 1,024")
    expect(opened.locator("#input-text textarea")).to_have_value(question)
    expect(opened.locator("#parity-badge")).to_be_visible()
    expect(open_tab(opened, "4 Decoder").locator('.chart-box[data-state="drawn"]')).to_have_count(6)


def test_a_wide_tables_caption_is_whole_on_a_phone(address: str, page: PageFactory) -> None:
    opened, _ = page(address, width=390, height=844)
    wait_until_drawn(opened)
    table = opened.locator(".pg-table:visible:has(caption)").first
    parts = "[table, table.querySelector('caption')].map((part) => part.getBoundingClientRect())"
    for scrolled in (0, 120):
        table.evaluate("(table, left) => (table.scrollLeft = left)", scrolled)
        assert table.evaluate("(table) => table.scrollLeft") == scrolled
        box, caption = table.evaluate(f"(table) => {parts}.map((at) => [at.left, at.right])")
        assert box[0] <= caption[0]
        assert caption[1] <= box[1]
