"""A link restores what a page shows: picture, words, tabs, columns and seeds, the pointer."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import PageFactory, PageLog
from tests.browser.steps import (
    RUN_TIMEOUT_MS,
    open_part,
    open_tab,
    run_and_wait,
    type_number,
    wait_until_drawn,
)
from tests.media_samples import make_picture

OF_AN_UPLOAD = "Method not implemented."  # what Gradio's client says once an upload is done
COPIES = 100  # of a link; nobody would try as often
TEXT = "这张图片里有什么？“红色”还是蓝色……"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture of the visitor's own."""
    path = tmp_path / "mine.png"
    Image.fromarray(make_picture(96, 64, seed=5).pixels).save(path)
    return path


def copy_link(page: Page) -> str:
    """Press the button; returns the link that the page shows."""
    page.get_by_role("button", name="Copy link").click()
    box = page.locator("#link-box textarea, #link-box input")
    expect(box).to_have_value(re.compile(r"^http:.*\?"), timeout=RUN_TIMEOUT_MS)
    return box.input_value()


def tokens(panel: Locator) -> list[list[str]]:
    """The tokens of each column, in order, as the page shows them."""
    columns = panel.locator(".pg-columns .pg-column")
    return [
        columns.nth(at).locator("[data-step]").all_inner_texts() for at in range(columns.count())
    ]


def open_link(page: PageFactory, link: str, **options: object) -> tuple[Page, PageLog]:
    """Open a link in a context of its own, and wait for its run."""
    opened, log = page(link, **options)
    expect(opened.locator("[data-chip='last run']")).to_be_visible(timeout=RUN_TIMEOUT_MS)
    return opened, log


def upload(page: Page, path: Path) -> None:
    """Put one picture in place of the example's."""
    gallery = page.locator("#input-images")
    gallery.get_by_role("button", name="Clear").first.click()
    gallery.locator("input[type=file]").first.set_input_files(path)
    expect(gallery.locator("img").first).to_be_visible()


@pytest.mark.parametrize("width", [1280, 390])
def test_a_link_gives_the_same_page_to_somebody_else(
    address: str, page: PageFactory, picture: Path, width: int
) -> None:
    mine, log = page(f"{address}?lang=en", width=width)
    wait_until_drawn(mine)
    upload(mine, picture)
    mine.locator("#input-text textarea").fill(TEXT)
    panel = open_tab(mine, "5 Sampling")
    for letter, seed in (("a", "41"), ("b", "42")):
        card = mine.locator(f"#column-{letter}")
        type_number(card, "Temperature", "1.4")
        type_number(card, "Seed", seed)
    panel.get_by_role("button", name="Add a column").click()
    expect(mine.locator("#column-c")).to_be_visible()
    run_and_wait(mine)
    expect(panel.locator(".pg-columns .pg-column")).to_have_count(3)
    written = tokens(panel)
    link = copy_link(mine)
    given = parse_qs(urlsplit(link).query)
    assert given["text"] == [TEXT]
    assert given["sampling.column-a.seed"] == ["41"]
    assert len(given["images"][0]) == 64

    theirs, other_log = open_link(page, link, width=width)
    panel = theirs.get_by_role("tabpanel").filter(visible=True).first
    expect(panel.locator(".pg-columns .pg-column")).to_have_count(3)
    expect(panel.locator(".pg-column [data-step]")).to_have_count(sum(map(len, written)))
    assert tokens(panel) == written
    expect(theirs.locator("#input-text textarea")).to_have_value(TEXT)
    shown = theirs.locator("#input-images img").first
    assert shown.evaluate("each => [each.naturalWidth, each.naturalHeight]") == [96, 64]
    tab = theirs.get_by_role("tab", name="5 Sampling")
    expect(tab).to_have_attribute("aria-selected", "true")
    seed = theirs.locator("#column-b").get_by_label("Seed").first
    expect(seed).to_have_value("42")
    expect(theirs.locator("#column-c")).to_be_visible()
    assert copy_link(theirs) == link
    assert not set(log.problems) - {OF_AN_UPLOAD}
    assert not other_log.problems


def test_the_pointer_and_a_part_of_a_tab_come_back(address: str, page: PageFactory) -> None:
    mine, _ = page(f"{address}?lang=en", width=1280)
    wait_until_drawn(mine)
    panel = open_tab(mine, "4 Decoder")
    part = open_part(panel, "Attention")
    picture = part.locator(".pg-picture-frame[data-span]").first
    expect(picture).to_be_visible()  # with the part's own choice of a layer
    type_number(part, "Decoder layer", "1")
    expect(part.get_by_text("Layer 1,").first).to_be_visible()
    picture.click(position={"x": 20, "y": 20})
    words = mine.locator(".pg-pointer-words")
    expect(mine.locator(".pg-pointer-pinned")).to_contain_text("patch at row")
    said = words.inner_text()
    for _ in range(COPIES):  # the click has to reach the server
        link = copy_link(mine)
        if "&at=" in link:
            break
        mine.wait_for_timeout(200)
    assert "&at=0.0.0" in link

    theirs, log = open_link(page, link, width=1280)
    expect(theirs.locator(".pg-pointer-words")).to_have_text(said)
    shown = theirs.get_by_role("tabpanel").filter(visible=True).first
    expect(shown.get_by_text("Layer 1,").first).to_be_visible()
    assert not log.problems


def test_a_picture_that_is_gone_is_asked_for(address: str, page: PageFactory) -> None:
    link = f"{address}?lang=en&images={'0' * 64}&text=Where%3F&tab=merge&sampling.column-a.seed=9"
    opened, log = page(link, width=1280)
    notice = opened.locator("#link-notice")
    expect(notice).to_contain_text("no longer on the server", timeout=RUN_TIMEOUT_MS)
    expect(opened.locator("#input-text textarea")).to_have_value("Where?")
    expect(opened.get_by_role("tab", name="3 Merge")).to_have_attribute("aria-selected", "true")
    expect(opened.locator("#parity-badge")).to_have_count(0)  # nothing was run
    run_and_wait(opened)  # the question alone
    open_tab(opened, "5 Sampling")
    expect(opened.locator("#column-a").get_by_label("Seed").first).to_have_value("9")
    assert not log.problems
