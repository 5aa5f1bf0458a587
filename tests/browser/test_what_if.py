"""The decoder's experiments in a browser: what if, masking by clicks, influence, a file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import PageFactory
from tests.browser.steps import RUN_TIMEOUT_MS, open_part, open_tab, wait_until_drawn

GRID = 7  # tokens down and across in the first example's image


@pytest.fixture(scope="module")
def opened(address: str, module_page: PageFactory) -> Page:
    """The page with the decoder tab open; the tests use one part each."""
    page, _ = module_page(address, width=1280)
    wait_until_drawn(page)
    open_tab(page, "4 Decoder")
    return page


def open_decoder_part(page: Page, name: str, part: str) -> Locator:
    open_part(open_tab(page, "4 Decoder"), name)
    return page.locator(f"[data-part='decoder.{part}']")


def click_token(image: Locator, row: int, column: int) -> None:
    """Click the middle of a merged token of the first example's image."""
    box = image.bounding_box()
    assert box is not None
    step = box["width"] / GRID
    image.click(position={"x": (column + 0.5) * step, "y": (row + 0.5) * step})


def test_the_first_preset_has_run_already(opened: Page) -> None:
    part = open_decoder_part(opened, "What if", "what-if")
    answers = part.locator(".pg-generated")
    expect(answers).to_have_count(2, timeout=RUN_TIMEOUT_MS)
    expect(answers.first).to_contain_text("circle")
    fact = part.locator(".pg-fact")
    expect(fact).to_have_text("Changes in this run: DeepStack gains 0, 0, 0.")
    expect(part.locator(".pg-verdict")).not_to_contain_text("= 0 nats")
    for tap in (1, 2, 3):
        slider = part.locator(f"[data-control='gain-{tap}'] input[type=range]")
        expect(slider).to_have_value("0")
    part.get_by_role("button", name="1-D RoPE").click()
    expect(fact).to_have_text("Changes in this run: 1-D RoPE.", timeout=RUN_TIMEOUT_MS)
    expect(part.get_by_label("1-D RoPE")).to_be_checked()
    expect(part.locator("[data-control='gain-1'] input[type=range]")).to_have_value("1")
    part.locator("[data-control='gain-1'] input[type=number]").fill("0.5")
    part.locator("[data-control='gain-1'] input[type=number]").press("Tab")
    expect(fact).to_contain_text("have changed since")
    part.get_by_role("button", name="Run with changes").click()
    expect(fact).to_contain_text("DeepStack gains 0.5, 1, 1; 1-D RoPE", timeout=RUN_TIMEOUT_MS)
    expect(fact).not_to_contain_text("have changed since")


def test_a_click_masks_and_a_second_one_unmasks(opened: Page) -> None:
    part = open_decoder_part(opened, "What if", "what-if")
    caption = part.locator("figcaption").filter(has_text="tokens masked")
    image = part.locator(".pg-picture-frame[data-span='0']")
    expect(caption).to_contain_text("0 of 49")
    click_token(image, 5, 5)
    expect(caption).to_contain_text("9 of 49")
    click_token(image, 5, 1)
    expect(caption).to_contain_text("18 of 49")
    click_token(image, 5, 5)
    expect(caption).to_contain_text("9 of 49")
    part.get_by_role("button", name="Unmask all").click()
    expect(caption).to_contain_text("0 of 49")
    part.get_by_label("1 token", exact=True).check()
    click_token(image, 0, 0)
    expect(caption).to_contain_text("1 of 49")
    part.get_by_role("button", name=re.compile("Unmask token")).click()
    expect(caption).to_contain_text("0 of 49")
    part.get_by_label("Mask tokens on click").uncheck()
    click_token(image, 3, 3)
    # The selected token is marked and named by the button; nothing is masked.
    expect(part.get_by_role("button", name=re.compile(r"Mask token \d"))).to_be_visible()
    expect(caption).to_contain_text("0 of 49")


def test_another_word_is_measured_by_a_click(opened: Page) -> None:
    part = open_decoder_part(opened, "Occlusion", "influence")
    part.get_by_role("button", name="Run occlusion").click()
    fact = part.locator(".pg-fact").first
    expect(fact).to_contain_text("has probability", timeout=RUN_TIMEOUT_MS)
    part.locator(".pg-tag").filter(has_text="square").click()
    expect(fact).to_contain_text("“square” has probability", timeout=RUN_TIMEOUT_MS)
    expect(part.locator(".pg-tag[aria-pressed=true]")).to_have_text("square")
    part.get_by_role("button", name="Mask the most important part").click()
    expect(part.locator(".pg-generated")).to_have_count(2, timeout=RUN_TIMEOUT_MS)
    expect(part.locator(".chart-title").last).to_contain_text("drops most")
    caption = part.locator("figcaption").filter(has_text="tokens masked")
    expect(caption).to_contain_text(re.compile(r"[469] of 49"))  # a corner, an edge, the middle
    expect(part.locator("img.pg-overlay")).to_have_count(4)  # three maps and the cover


def test_a_run_is_saved_and_compared_with_itself(opened: Page, tmp_path: Path) -> None:
    part = open_decoder_part(opened, "Check a port", "porters")
    part.get_by_role("button", name="Prepare the download").click()
    with opened.expect_download() as download:
        part.locator("a[data-file]").click(timeout=RUN_TIMEOUT_MS)
    saved = tmp_path / download.value.suggested_filename
    download.value.save_as(saved)
    assert saved.name == "qwen3-vl-run.safetensors"
    part.get_by_label("File of your implementation").set_input_files(saved)
    expect(part.locator(".pg-verdict")).to_contain_text("in the file match", timeout=RUN_TIMEOUT_MS)
