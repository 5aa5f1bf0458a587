"""What is done to the pages on their way out: compressed, and with the modules that they need."""

from __future__ import annotations

import re

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from components.serving.browser_module import BROWSER, FOLDER, PAGE_FILES_ROUTE, page_module
from components.serving.compressed_pages import CompressedPages
from components.serving.early_modules import EarlyModules

WORDS = "a page of many words " * 500


def answer(_request: Request) -> PlainTextResponse:
    return PlainTextResponse(WORDS)


@pytest.fixture
def client() -> TestClient:
    routes = [Route(path, answer) for path in ("/", "/zh", "/config", "/other")]
    middleware = [Middleware(CompressedPages), Middleware(EarlyModules)]
    return TestClient(Starlette(routes=[*routes, PAGE_FILES_ROUTE], middleware=middleware))


@pytest.mark.parametrize("path", ["/", "/zh"])
def test_a_page_names_its_modules(client: TestClient, path: str) -> None:
    links = re.findall(r"<\.(/[^>]+)>; rel=modulepreload", client.get(path).headers["link"])
    assert {"part.js", "run.js", "controls.js"} <= {link.rpartition("/")[2] for link in links}
    for link in links:
        sent = client.get(link)
        assert sent.text == (BROWSER / link.rpartition("/")[2]).read_text(encoding="utf-8")
    # A module under another address would be loaded, and run, a second time.
    assert any(f'"{link.removeprefix(FOLDER)}"' in page_module("part.js") for link in links)
    assert len({link.split("/")[2] for link in links}) == 1


@pytest.mark.parametrize("path", ["/config", "/other", "/nothing"])
def test_nothing_else_does(client: TestClient, path: str) -> None:
    assert "link" not in client.get(path).headers


@pytest.mark.parametrize(("path", "is_small"), [("/", True), ("/config", True), ("/other", False)])
def test_what_has_no_ending_is_compressed(client: TestClient, path: str, is_small: bool) -> None:
    sent = client.get(path, headers={"Accept-Encoding": "br"})
    assert sent.text == WORDS
    assert (int(sent.headers.get("content-length", "0")) < 1000) == is_small
    assert (sent.headers.get("content-encoding") == "br") == is_small
