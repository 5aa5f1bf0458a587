"""Axe finds nothing serious on any tab, light and dark, and the keyboard reaches what is there."""

from __future__ import annotations

import os

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import PageFactory
from tests.browser.steps import open_part, open_tab, part_names, wait_until_drawn

# All parts take minutes: `AXE_EVERY_PART=1 python -m pytest tests/browser/test_accessibility.py`.
PARTS_LOOKED_AT = None if os.environ.get("AXE_EVERY_PART") else 1
TABS = (
    *("1 Preprocess", "2 Vision tower", "3 Merge", "4 Decoder", "5 Sampling", "6 Cache"),
    *("Compare", "Model"),
)
SERIOUS = ("serious", "critical")


def serious_findings(page: Page, within: str | None = None) -> list[str]:
    """What axe calls serious or critical: rule, element and what is wrong with it.

    Args:
        page: the page.
        within: a selector of the elements that axe looks at; without one, at all.
    """
    # A part is drawn when it is first opened.
    expect(page.locator("[data-part][data-asking]")).to_have_count(0)
    found = Axe().run(page, within, {"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:200]} ({node['failureSummary']})"
        for rule in found
        if rule["impact"] in SERIOUS
        for node in rule["nodes"]
    ]


def what_is_new(tab: str) -> str | None:
    """The whole page for the first tab; what the others have around them is the same."""
    return None if tab == TABS[0] else "[role=tabpanel]"


@pytest.fixture(scope="module")
def light(address: str, module_page: PageFactory) -> Page:
    opened, _ = module_page(address, width=1280)
    wait_until_drawn(opened)
    return opened


@pytest.fixture(scope="module")
def dark(address: str, module_page: PageFactory) -> Page:
    opened, _ = module_page(f"{address}?__theme=dark", width=390)
    wait_until_drawn(opened)
    return opened


@pytest.mark.parametrize("name", TABS)
def test_every_part_is_accessible(light: Page, name: str) -> None:
    panel = open_tab(light, name)
    parts = part_names(panel)[:PARTS_LOOKED_AT]
    for part in parts:
        open_part(panel, part)
        assert serious_findings(light, what_is_new(name)) == [], part
    if not parts:
        assert serious_findings(light, what_is_new(name)) == []


@pytest.mark.parametrize("name", TABS)
def test_every_tab_is_accessible_on_a_dark_phone(dark: Page, name: str) -> None:
    open_tab(dark, name)
    assert serious_findings(dark, what_is_new(name)) == []


def test_axe_would_find_a_fault(light: Page) -> None:
    panel = open_tab(light, TABS[-1])
    panel.evaluate("e => e.insertAdjacentHTML('beforeend', '<button id=\"nameless\"></button>')")
    found = serious_findings(light, what_is_new(TABS[-1]))
    light.evaluate("document.getElementById('nameless').remove()")
    assert [each.split(":")[0] for each in found] == ["button-name"]


def test_the_keyboard_reaches_what_is_on_the_page(light: Page) -> None:
    """From the top, Tab alone comes past the input, the examples, the tabs and their controls."""
    open_tab(light, "1 Preprocess")
    light.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    reached = set()
    for _ in range(90):
        light.keyboard.press("Tab")
        reached.add(
            light.evaluate(
                "(() => { const e = document.activeElement;"
                "return e.id || e.getAttribute('aria-label') || e.textContent.trim().slice(0, 40)"
                "|| e.tagName; })()"
            )
        )
    for wanted in ("Walkthrough", "中文", "run", "Run this stage"):
        assert wanted in reached
    assert any("1 Preprocess" in each for each in reached)
    assert light.evaluate("document.querySelectorAll('.example-card').length") > 0
    assert any("Describe this image." in each for each in reached)


def test_the_walkthrough_goes_through_the_tabs(light: Page) -> None:
    light.get_by_role("button", name="Walkthrough").click()
    card = light.get_by_role("dialog", name="A conversation becomes one prompt")
    card.wait_for()
    seen = []
    while card.is_visible():
        seen.append(light.locator("#tour-title").inner_text())
        selected = light.get_by_role("tab", selected=True).filter(visible=True)
        assert selected.count() >= 1
        light.keyboard.press("Tab") if len(seen) == 1 else None
        light.locator(".tour-next").click()
        card = light.locator(".tour-card")
    assert len(seen) == 17
    assert seen[-1] == "What if the weights had 4 bits?"
    open_part_of = light.get_by_role("tab", name="What if rounded")
    expect(open_part_of).to_have_attribute("aria-selected", "true")
