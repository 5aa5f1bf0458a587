"""The site describes its pages to Gradio once, and rightly."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr
import pytest

from components.engine_host import EngineHost
from components.site import Site, build_site


@pytest.fixture(scope="module")
def site() -> Site:
    return build_site(EngineHost("tiny"))


def as_json(described: Any) -> str:
    return json.dumps(described, default=str, sort_keys=True)


def test_what_is_served_is_what_gradio_would_describe(site: Site) -> None:
    served = site.demo.get_config_file()
    config = site.demo.default_config
    described = type(config).get_config(config)
    assert set(described["page"]) == {"", "zh"}
    for part, expected in described.items():
        assert as_json(served[part]) == as_json(expected), part


def test_components_are_described_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight times while it starts took most of the start."""
    asked = []
    monkeypatch.setattr(gr.blocks.Block, "get_config", lambda *_: asked.append(1))
    assert len(site.demo.get_config_file()["components"]) > 1_000
    assert not asked
