"""Which page the site's own address leads to."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from components.serving.language_switch import PreferredLanguage


@pytest.fixture(scope="module")
def client() -> TestClient:
    pages = [Route(path, lambda _: PlainTextResponse("page")) for path in ("/", "/zh")]
    return TestClient(Starlette(routes=pages, middleware=[Middleware(PreferredLanguage)]))


@pytest.mark.parametrize(
    ("address", "accepted", "led_to"),
    [
        ("/", "en-US,en;q=0.9", None),
        ("/", "", None),
        ("/", "fr, *;q=0.1", None),
        ("/", "zh-CN,zh;q=0.9,en;q=0.8", "./zh"),
        ("/", "en;q=0.5, zh-TW", "./zh"),
        ("/", "en, zh;q=nonsense", None),
        ("/?text=a%20b", "zh", "./zh?text=a%20b"),
        ("/?lang=en", "zh", None),
        ("/?lang=zh&tab=merge", "en", "./zh?lang=zh&tab=merge"),
        ("/?lang=xx", "zh", "./zh?lang=xx"),
        ("/?lang=xx", "en", None),
        ("/zh", "en", None),
        ("/zh?lang=en", "zh", None),
    ],
)
def test_where_a_visitor_is_led(
    client: TestClient, address: str, accepted: str, led_to: str | None
) -> None:
    answer = client.get(address, headers={"accept-language": accepted}, follow_redirects=False)
    assert answer.headers.get("location") == led_to
    assert answer.status_code == (200 if led_to is None else 302)
