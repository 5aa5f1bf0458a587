"""A stage's numbers and the run report, fetched by a click as a visitor does."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page

from tests.browser.conftest import PageFactory, PageLog
from tests.browser.steps import RUN_TIMEOUT_MS, open_tab, wait_until_drawn


@pytest.fixture(scope="module")
def opened(address: str, module_page: PageFactory) -> tuple[Page, PageLog]:
    page, log = module_page(f"{address}?lang=en", width=1280)
    wait_until_drawn(page)
    return page, log


def fetch(page: Page, button: Locator) -> tuple[str, bytes]:
    """Press a button; returns the name and the content of the file that comes."""
    with page.expect_download(timeout=RUN_TIMEOUT_MS) as download:
        button.click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


@pytest.mark.parametrize(
    ("kind", "name", "begins", "holds"),
    [
        ("JSON", "qwen3-vl-preprocess.json", b"{", b"image_grid_thw"),
        ("CSV", "qwen3-vl-preprocess.csv.zip", b"PK", b".csv"),
        ("safetensors", "qwen3-vl-preprocess.safetensors", b"", b"pixel_values"),
    ],
)
def test_a_stage_is_fetched(
    opened: tuple[Page, PageLog], kind: str, name: str, begins: bytes, holds: bytes
) -> None:
    page, log = opened
    panel = open_tab(page, "1 Preprocess")
    button = panel.get_by_role("button", name=kind, exact=True)
    if not button.is_visible():
        panel.locator(".pg-downloads summary").click()
    arrived, content = fetch(page, button)
    assert arrived == name
    assert content.startswith(begins)
    assert holds in content
    assert not log.problems


def test_the_report_is_fetched_and_opens_without_a_network(
    opened: tuple[Page, PageLog], page: PageFactory, tmp_path: Path
) -> None:
    mine, log = opened
    name, content = fetch(mine, mine.get_by_role("button", name="Run report"))
    assert name.endswith(".html")
    assert len(content) < 8_000_000
    (tmp_path / name).write_bytes(content)
    report, their_log = page((tmp_path / name).as_uri(), width=390, offline=True)
    assert "Describe this image." in report.locator("body").inner_text()
    assert report.evaluate("document.documentElement.scrollWidth") <= 390
    assert not log.problems
    assert not their_log.problems
