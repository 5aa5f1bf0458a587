"""The cache tab in a real browser: opening examples, the wrong image's answer, a conversation."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import PageFactory
from tests.browser.steps import RUN_TIMEOUT_MS, open_part, open_tab, wait_until_drawn


@pytest.fixture(scope="module")
def opened(address: str, module_page: PageFactory) -> Page:
    """A page that all tests share: loading it is most of the work."""
    page, _ = module_page(address, width=1280)
    wait_until_drawn(page)
    return page


@pytest.fixture
def panel(opened: Page) -> Locator:
    return open_tab(opened, "6 Cache reuse")


def part_of(panel: Locator, title: str, key: str) -> Locator:
    open_part(panel, title)
    return panel.locator(f'[data-part="cache.{key}"]')


def reused_tokens(part: Locator) -> list[int]:
    """How many tokens each request reused, counted on its strip."""
    return [
        sum(
            int(chip.get_attribute("data-end") or 0) - int(chip.get_attribute("data-start") or 0)
            for chip in request.locator('li[data-start][data-label="reused"]').all()
        )
        for request in part.locator(".pg-request").all()
    ]


def test_opening_examples(panel: Locator) -> None:
    part = part_of(panel, "Hit or miss", "requests")
    # “你好” → “你好世界。” is there when the page opens: <|im_start|>, user, line end, 你好.
    expect(part.locator(".pg-request")).to_have_count(2)
    assert reused_tokens(part) == [0, 4]
    expect(part.locator('.chart-box[data-state="drawn"]')).to_have_count(1)
    part.get_by_role("button", name="Same image, different question").click()
    second = part.locator('.pg-request[data-request="2"]')
    expect(second).to_contain_text("How", timeout=RUN_TIMEOUT_MS)
    expect(second.locator(".pg-badge-hit")).to_be_visible()
    image = second.locator('li.pg-image[data-label="reused"]')
    expect(image).to_have_count(1)  # the whole image comes from the cache
    texts = part.locator('[data-control="requests"] textarea')
    expect(texts.nth(1)).to_have_value("How many shapes are there?")


def test_requests_that_were_changed_are_shown(panel: Locator) -> None:
    part = part_of(panel, "Hit or miss", "requests")
    part.get_by_role("button", name="Duplicate Request 1").click()
    expect(part.locator('[data-control="requests"] textarea')).to_have_count(3)
    expect(part.locator(".pg-changed")).to_be_visible()
    part.locator('[data-experiment="serve"]').click()
    expect(part.locator(".pg-request")).to_have_count(3, timeout=RUN_TIMEOUT_MS)
    expect(part.locator(".pg-changed")).to_have_count(0, timeout=RUN_TIMEOUT_MS)


def test_the_wrong_image_lesson(panel: Locator) -> None:
    lab = part_of(panel, "Policy lab", "policy")
    lab.get_by_role("button", name="The wrong image").click()
    expect(lab.get_by_text("Wrong image", exact=True)).to_be_visible(timeout=RUN_TIMEOUT_MS)
    expect(lab.get_by_label("Hash the images too")).not_to_be_checked()
    expect(lab.get_by_alt_text("Asked about: heart")).to_be_visible()
    expect(lab.get_by_alt_text("Answered from: star")).to_be_visible()
    lab.get_by_label("Hash the images too").check()  # back by hash and size: no lesson left
    expect(lab.get_by_text("Wrong image", exact=True)).to_have_count(0)
    lab.get_by_role("button", name="Replay with the model").click()
    expect(lab.get_by_text("All correct")).to_be_visible(timeout=RUN_TIMEOUT_MS)


def test_a_log_takes_effect_when_it_is_left(panel: Locator) -> None:
    lab = part_of(panel, "Policy lab", "policy")
    log, rows = lab.locator('[data-control="log"] textarea'), lab.locator("tbody tr")
    expect(rows).to_have_count(3)
    log.fill("A | moon | Hi")
    expect(rows).to_have_count(3)
    log.blur()
    expect(lab.locator(".pg-problem:visible")).to_contain_text(["no image named 'moon'"])
    log.fill("A | star | Hi")
    log.blur()
    expect(rows).to_have_count(1)
    expect(lab.locator(".pg-problem:visible")).to_have_count(0)


def test_a_conversation_goes_on_and_starts_anew(panel: Locator) -> None:
    talk = part_of(panel, "Conversation", "conversation")
    message, asked = talk.get_by_label("Your message"), talk.locator(".pg-role-user")
    expect(message).to_have_value("Describe this image.")
    talk.get_by_role("button", name="Send").click()
    expect(asked).to_have_count(1, timeout=RUN_TIMEOUT_MS)
    expect(message).to_have_value("")
    message.fill("What color is it?")
    message.press("Enter")
    expect(asked).to_have_count(2, timeout=RUN_TIMEOUT_MS)
    expect(asked.nth(1).locator(".pg-badge-hit")).to_be_visible()
    expect(message).to_have_value("")
    talk.get_by_role("button", name="New conversation").click()
    expect(asked).to_have_count(0)
    expect(message).to_have_value("Describe this image.")
    expect(talk.get_by_text("No messages yet")).to_be_visible()
