"""The cache tab in a real browser: both opening examples, and the wrong image's answer."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import PageFactory
from tests.browser.steps import RUN_TIMEOUT_MS, open_part, open_tab, wait_until_drawn


@pytest.fixture(scope="module")
def panel(address: str, module_page: PageFactory) -> Locator:
    """The tab on a page that both tests share: loading it is most of the work."""
    opened, _ = module_page(address, width=1280)
    wait_until_drawn(opened)
    return open_tab(opened, "6 Cache reuse")


def reused_tokens(panel: Locator) -> list[int]:
    """How many tokens each request took over, counted on its strip."""
    return [
        sum(
            int(chip.get_attribute("data-end") or 0) - int(chip.get_attribute("data-start") or 0)
            for chip in request.locator('li[data-start][data-label="reused"]').all()
        )
        for request in panel.locator(".pg-request").all()
    ]


def test_opening_examples(panel: Locator) -> None:
    # “你好” → “你好世界。” is there when the page opens: <|im_start|>, user, line end, 你好.
    expect(panel.locator(".pg-request")).to_have_count(2)
    assert reused_tokens(panel) == [0, 4]
    expect(panel.locator('.chart-box[data-state="drawn"]')).to_have_count(1)
    panel.get_by_role("button", name="Same image, other question").click()
    second = panel.locator('.pg-request[data-request="2"]')
    expect(second).to_contain_text("How", timeout=RUN_TIMEOUT_MS)
    expect(second.locator(".pg-badge-hit")).to_be_visible()
    image = second.locator('li.pg-image[data-label="reused"]')
    expect(image).to_have_count(1)  # the whole picture comes from the cache
    expect(panel.get_by_label("Request 2", exact=True)).to_have_value("How many shapes are there?")


def test_the_wrong_image_lesson(panel: Locator) -> None:
    lab = open_part(panel, "Policy lab")
    lab.get_by_role("button", name="The wrong image").click()
    expect(lab.get_by_text("Wrong picture")).to_be_visible(timeout=RUN_TIMEOUT_MS)
    expect(lab.get_by_label("Hash the pictures too")).not_to_be_checked()
    expect(lab.get_by_alt_text("Asked about: heart")).to_be_visible()
    expect(lab.get_by_alt_text("Answered from: star")).to_be_visible()
    lab.get_by_label("Hash the pictures too").check()  # back by name and size: no lesson left
    expect(lab.get_by_text("Wrong picture")).to_have_count(0)
    lab.get_by_role("button", name="Replay with the model").click()
    expect(lab.get_by_text("All right")).to_be_visible(timeout=RUN_TIMEOUT_MS)
