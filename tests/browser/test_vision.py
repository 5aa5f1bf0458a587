"""The vision tab in a real browser: the play button, cells that select a head, the image menu."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import PageFactory, PageLog
from tests.browser.steps import open_part, open_tab, run_and_wait, wait_until_drawn
from tests.media_samples import make_image


@pytest.fixture(scope="module")
def opened(address: str, module_page: PageFactory) -> tuple[Page, PageLog]:
    """The page with the first example, for all tests: loading it is most of the work."""
    page, log = module_page(address)
    wait_until_drawn(page)
    return page, log


def part_of(page: Page, name: str) -> Locator:
    """One part of the tab."""
    return page.locator(f'[data-part="vision.{name}"]')


def test_the_blocks_play_to_the_end(opened: tuple[Page, PageLog]) -> None:
    page, log = opened
    open_tab(page, "2 Vision tower")
    part = part_of(page, "blocks")
    features = part.locator('[data-control="source"] select')
    features.select_option(index=2)
    colours = part.locator("figcaption").nth(1)
    expect(colours).to_contain_text("Tokens of DeepStack tap 1")
    slider = part.locator('[data-control="state"] input[type=range]')
    slider.focus()
    slider.press("Home")
    expect(features).to_have_value("0")  # the slider is about the patches
    expect(colours).to_contain_text("before the blocks")
    last = slider.get_attribute("max") or ""
    part.get_by_role("button", name="Play").click()
    expect(slider).to_have_value(last)
    expect(colours).to_contain_text(f"after {last} of {last} blocks")
    expect(part.get_by_role("button", name="Play")).to_be_visible()
    assert log.problems == []


def test_a_cell_of_the_heads_chooses_its_head(opened: tuple[Page, PageLog]) -> None:
    page, log = opened
    open_part(open_tab(page, "2 Vision tower"), "Attention")
    part = part_of(page, "attention")
    plot = part.locator(".chart-plot .nsewdrag").first
    plot.scroll_into_view_if_needed()
    expect(part.locator(".chart-plot .hm, .chart-plot image").first).to_be_attached()
    box = plot.bounding_box()
    assert box
    plot.click(position={"x": box["width"] - 8, "y": 8})  # the last head of the last block
    block = part.locator('[data-control="block"] input[type=range]')
    expect(block).to_have_value(block.get_attribute("max") or "")
    head = part.locator('[data-control="head"] select')
    last = head.locator("option").count() - 2  # heads count from 0, after the mean
    expect(head.locator("option:checked")).to_have_text(f"head {last}")
    expect(part.locator("figcaption").first).to_contain_text(f", head {last}: attention from")
    assert log.problems == []


def test_the_image_menu_follows_the_selection(opened: tuple[Page, PageLog], tmp_path: Path) -> None:
    page, _ = opened
    paths = [tmp_path / f"{number}.png" for number in (1, 2)]
    for path, size in zip(paths, ((64, 64), (128, 64)), strict=True):
        Image.fromarray(make_image(*size).pixels).save(path)
    page.locator("#input-column").get_by_label("Clear").first.click()
    page.locator("#input-column input[type=file]").first.set_input_files(paths)
    thumbnails = page.locator("#input-column img[alt], #input-column .thumbnail-item")
    expect(thumbnails).not_to_have_count(0)
    run_and_wait(page)
    open_part(open_tab(page, "2 Vision tower"), "Blocks")
    chooser = part_of(page, "head").locator("select")
    image = part_of(page, "blocks").locator("figcaption").first
    expect(image).to_contain_text("image 1")
    chooser.select_option(label="image 2")
    expect(image).to_contain_text("image 2")
    open_part(open_tab(page, "3 Merge"), "Embeddings")
    chips = page.locator('[data-part="merge.embeddings"] [data-pointer] [data-start]')
    chips.first.click()  # text: it chooses no image
    expect(chooser).to_have_value("1")
    chips.filter(has_text="image_pad").first.click()
    expect(chooser).to_have_value("0")
    open_tab(page, "2 Vision tower")
    expect(image).to_contain_text("image 1")
