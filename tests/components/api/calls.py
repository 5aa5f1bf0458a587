"""What the tests of the endpoints send."""

from __future__ import annotations

from typing import Any

import httpx

TEXT = "描述这张图片。 What is 'this'?"
PIXELS = 16_384


def raw_answer(url: str, api_name: str, data: list[Any]) -> tuple[str, str]:
    """The last event and its data, from a client that writes its requests itself."""
    address = f"{url}/gradio_api/call/{api_name}"
    event_id = httpx.post(address, json={"data": data}).json()["event_id"]
    lines = httpx.get(f"{address}/{event_id}", timeout=60).text.split("\n")
    event = [line for line in lines if line.startswith("event:")][-1].removeprefix("event: ")
    sent = [line for line in lines if line.startswith("data:")][-1].removeprefix("data: ")
    return event, sent
