"""A link restores what a page shows: image, words, tabs, settings, the pointer."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import PageFactory, PageLog
from tests.browser.steps import (
    RUN_TIMEOUT_MS,
    open_part,
    open_tab,
    run_and_wait,
    type_number,
    wait_until_drawn,
)
from tests.media_samples import make_image

OF_AN_UPLOAD = "Method not implemented."  # what Gradio's client says once an upload is done
COPIES = 100  # of a link; nobody would try as often
TEXT = "这张图片里有什么？“红色”还是蓝色……"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image of the visitor's own."""
    path = tmp_path / "mine.png"
    Image.fromarray(make_image(96, 64, seed=5).pixels).save(path)
    return path


def copy_link(page: Page) -> str:
    """Press the button; returns the link that the page shows."""
    page.get_by_role("button", name="Copy link").click()
    box = page.locator("#link-box textarea, #link-box input")
    expect(box).to_have_value(re.compile(r"^http:.*\?"), timeout=RUN_TIMEOUT_MS)
    return box.input_value()


def open_link(page: PageFactory, link: str, **options: object) -> tuple[Page, PageLog]:
    """Open a link in a context of its own, and wait for its run."""
    opened, log = page(link, **options)
    expect(opened.locator("[data-chip='last run']")).to_be_visible(timeout=RUN_TIMEOUT_MS)
    return opened, log


def upload(page: Page, path: Path) -> None:
    """Put one image in place of the example's."""
    gallery = page.locator("#input-images")
    gallery.get_by_role("button", name="Clear").first.click()
    gallery.locator("input[type=file]").first.set_input_files(path)
    expect(gallery.locator("img").first).to_be_visible()


def move_two_controls(page: Page) -> None:
    """Move two controls of the merge tab, in two of its parts."""
    panel = open_tab(page, "3 Merge")
    part = open_part(panel, "Embeddings")
    part.locator("[data-control=shown]").get_by_role("radio", name="Unscaled embeddings").check()
    part = open_part(panel, "Compared with 1-D RoPE")
    part.locator("[data-control=quantity]").get_by_role(
        "radio", name="Similarity of the rotations"
    ).check()


def test_a_link_gives_the_same_page_to_somebody_else(
    address: str, page: PageFactory, image: Path
) -> None:
    mine, log = page(f"{address}?lang=en", width=1280)
    wait_until_drawn(mine)
    upload(mine, image)
    mine.locator("#input-text textarea").fill(TEXT)
    run_and_wait(mine)
    move_two_controls(mine)
    part = mine.locator("[data-part='merge.distances']")
    titles = part.locator(".chart-title")
    expect(titles.first).to_contain_text("similarity of the rotations")
    shown = titles.all_inner_texts()
    link = copy_link(mine)
    given = parse_qs(urlsplit(link).query)
    assert given["text"] == [TEXT]
    assert given["merge.distances.quantity"] == ["likeness"]
    assert given["merge.embeddings.shown"] == ["embeddings"]
    assert given["tab"] == ["merge,merge.distances"]
    assert len(given["images"][0]) == 64

    theirs, other_log = open_link(page, link, width=390)  # on a phone
    part = theirs.locator("[data-part='merge.distances']")
    expect(part.locator(".chart-title").first).to_be_visible()
    assert part.locator(".chart-title").all_inner_texts() == shown
    expect(part.get_by_role("radio", name="Similarity of the rotations")).to_be_checked()
    expect(theirs.locator("#input-text textarea")).to_have_value(TEXT)
    uploaded = theirs.locator("#input-images img").first
    assert uploaded.evaluate("each => [each.naturalWidth, each.naturalHeight]") == [96, 64]
    tab = theirs.get_by_role("tab", name="3 Merge")
    expect(tab).to_have_attribute("aria-selected", "true")
    part = open_part(theirs.get_by_role("tabpanel").filter(visible=True).first, "Embeddings")
    expect(part.get_by_role("radio", name="Unscaled embeddings")).to_be_checked()
    assert parse_qs(urlsplit(copy_link(theirs)).query) == {**given, "tab": ["merge"]}
    expect(theirs.locator("#link-notice p")).to_have_count(0)
    assert not set(log.problems) - {OF_AN_UPLOAD}
    assert not other_log.problems


def test_settings_that_do_not_fit_are_counted(address: str, page: PageFactory) -> None:
    """One that no part has, and one that its part does not offer on this run."""
    link = f"{address}?lang=en&text=Hello&tab=merge&nobody.knows.this=1"
    opened, log = open_link(page, f"{link}&merge.embeddings.shown=nonsense", width=1280)
    notice = opened.locator("#link-notice")
    expect(notice).to_contain_text("2 settings in the link do not apply here and were ignored.")
    part = opened.locator("[data-part='merge.embeddings']")
    expect(part.get_by_role("radio", name="Directions only")).to_be_checked()
    assert "shown" not in copy_link(opened)
    assert not log.problems


def test_the_pointer_and_a_part_of_a_tab_come_back(address: str, page: PageFactory) -> None:
    mine, _ = page(f"{address}?lang=en", width=1280)
    wait_until_drawn(mine)
    panel = open_tab(mine, "4 Decoder")
    part = open_part(panel, "Attention")
    image = part.locator(".pg-picture-frame[data-span]").first
    expect(image).to_be_visible()  # with the part's own choice of a layer
    type_number(part, "Decoder layer", "1")
    expect(part.get_by_text("Layer 1,").first).to_be_visible()
    image.click(position={"x": 20, "y": 20})
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


def test_an_image_that_is_gone_is_asked_for(address: str, page: PageFactory) -> None:
    link = f"{address}?lang=en&images={'0' * 64}&text=Where%3F&tab=merge"
    link += "&merge.embeddings.shown=embeddings"
    opened, log = page(link, width=1280)
    notice = opened.locator("#link-notice")
    expect(notice).to_contain_text("no longer on the server", timeout=RUN_TIMEOUT_MS)
    expect(opened.locator("#input-text textarea")).to_have_value("Where?")
    expect(opened.get_by_role("tab", name="3 Merge")).to_have_attribute("aria-selected", "true")
    expect(opened.locator("#parity-badge")).to_have_count(0)  # nothing was run
    run_and_wait(opened)  # the question alone
    part = open_part(open_tab(opened, "3 Merge"), "Embeddings")
    expect(part.get_by_role("radio", name="Unscaled embeddings")).to_be_checked()
    assert not log.problems
