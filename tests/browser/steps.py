"""What a person does on the page, for the tests of the whole app."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

expect.set_options(timeout=30_000)
LOAD_TIMEOUT_MS = 120_000
RUN_TIMEOUT_MS = 120_000


def wait_until_drawn(page: Page) -> None:
    """Wait for the first example's run: its badge comes with its drawings."""
    expect(page.locator("#parity-badge")).to_be_visible(timeout=LOAD_TIMEOUT_MS)


def open_tab(page: Page, name: str) -> Locator:
    """Open a tab; returns its panel."""
    tab = page.get_by_role("tab", name=name)
    tab.click()
    expect(tab).to_have_attribute("aria-selected", "true")
    # A tab's own parts are tabs too: the outer panel comes first.
    panel = page.get_by_role("tabpanel").filter(visible=True).first
    panel.locator(".pg-stage").wait_for()
    return panel


def open_part(panel: Locator, name: str) -> Locator:
    """Open a part of a tab; returns its panel."""
    tab = panel.get_by_role("tab", name=name, exact=True)
    tab.click()
    expect(tab).to_have_attribute("aria-selected", "true")
    return panel.get_by_role("tabpanel").filter(visible=True).first


def part_names(panel: Locator) -> list[str]:
    """The parts that a tab has; none for one that is all in sight."""
    tabs = panel.get_by_role("tab").filter(visible=True)
    return [name.strip() for name in tabs.all_inner_texts()]


def finished_at(page: Page) -> str:
    """When the page's latest run ended; empty before the first."""
    chip = page.locator("[data-chip='last run']")
    return (chip.get_attribute("title") or "") if chip.count() else ""


def run_and_wait(page: Page, start: Locator | None = None) -> None:
    """Press Run, or whatever starts a run, and wait for its end."""
    before = finished_at(page)
    (start or page.locator("#run")).click()
    chip = page.locator(f"[data-chip='last run']:not([title='{before}'])")
    expect(chip).to_be_visible(timeout=RUN_TIMEOUT_MS)
    expect(page.locator("#parity-badge")).to_be_visible()


def type_number(card: Locator, label: str, value: str) -> None:
    """Type into a card's number, or into a slider's."""
    field = card.get_by_label(label, exact=False).and_(card.locator("input[type=number]")).first
    field.fill(value)
    field.press("Tab")
