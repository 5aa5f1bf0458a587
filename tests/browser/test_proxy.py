"""The page behind a real nginx: everything that it loads lies where the visitor found the page."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PageFactory, serve_app
from tests.browser.nginx_proxy import Site, find_nginx, serve_through_nginx
from tests.browser.steps import RUN_TIMEOUT_MS, open_part, open_tab, run_and_wait, wait_until_drawn

PREFIX = "/qwen"
# What many a proxy sends, which has lost the port and says nothing of https.
BARE = (("Host", "$host"), ("X-Forwarded-Proto", ""))
# Each pair of scheme, path and headers once.
SITES = {
    "http-root-bare": ("", False, BARE),
    "http-prefix-documented": (PREFIX, False, ()),
    "https-root-documented": ("", True, ()),
    "https-prefix-bare": (PREFIX, True, BARE),
}


@pytest.fixture(scope="module")
def addresses(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What a visitor types, by the names of ``SITES``."""
    find_nginx()
    with serve_app(root_path=PREFIX) as below:
        apps = {"": address, PREFIX: below}
        sites = {
            name: Site(apps[path], path, https, headers)
            for name, (path, https, headers) in SITES.items()
        }
        with serve_through_nginx(sites, tmp_path_factory.mktemp("nginx")) as served:
            yield served


@pytest.mark.slow
@pytest.mark.parametrize("name", SITES)
def test_the_page_is_whole_behind_a_proxy(
    name: str, addresses: dict[str, str], page: PageFactory
) -> None:
    opened, log = page(f"{addresses[name]}?lang=en", width=1280, ignore_https_errors=True)
    wait_until_drawn(opened)
    expect(opened.get_by_role("button", name="Walkthrough")).to_be_visible()
    image = opened.locator("#input-images img").first
    expect(image).to_be_visible()
    assert image.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
    run_and_wait(opened)
    panel = open_tab(opened, "1 Preprocess")
    panel.locator(".pg-table tr[data-start]").first.click()
    expect(opened.locator(".pg-pointer-words")).to_contain_text("Token 0")
    charts = open_part(panel, "Pixels to rows").locator('.chart-box[data-state="drawn"]')
    expect(charts).to_have_count(4)
    panel.locator(".pg-downloads summary").click()
    with opened.expect_download(timeout=RUN_TIMEOUT_MS) as download:
        panel.get_by_role("button", name="JSON", exact=True).click()
    assert download.value.suggested_filename == "qwen3-vl-preprocess.json"
    if PREFIX in addresses[name]:  # where a link may lead away from the path
        opened.get_by_role("link", name="中文").click()
        expect(opened.locator("html")).to_have_attribute("lang", "zh-CN")
        wait_until_drawn(opened)
        expect(opened.locator('.chart-box[data-state="error"]')).to_have_count(0)
    asked = {urlsplit(url)[:2] for url in log.urls if url.startswith("http")}
    assert asked == {urlsplit(addresses[name])[:2]}
    assert log.problems == []
