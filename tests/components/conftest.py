"""What the tests of the page share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import gradio as gr
import pytest

from components.engine_host import EngineHost
from components.stage_tab import App, StageTab
from playground.pipeline import RunStore

TabBuilder = Callable[[App], StageTab]


@pytest.fixture(scope="session", autouse=True)
def event_loop_of_blocks() -> Iterator[None]:
    """`gr.Blocks` asks asyncio for the thread's loop and never closes the one that it gets."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture
def build_tab() -> Callable[[TabBuilder], StageTab]:
    """Build one tab on a page of its own; nothing is loaded or launched."""

    def build(builder: TabBuilder) -> StageTab:
        with gr.Blocks(analytics_enabled=False):
            return builder(App(EngineHost("tiny"), RunStore(), gr.State(None)))

    return build
