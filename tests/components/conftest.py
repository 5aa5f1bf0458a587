"""What the tests of the page share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import gradio as gr
import pytest

from components.engine_host import EngineHost
from components.stage_tab import App, StageTab
from playground.pipeline import RunStore

TabBuilder = Callable[[App], StageTab]


@pytest.fixture
def build_tab() -> Callable[[TabBuilder], StageTab]:
    """Build one tab on a page of its own; nothing is loaded or launched."""

    def build(builder: TabBuilder) -> StageTab:
        async def build_on_a_loop() -> StageTab:
            with gr.Blocks(analytics_enabled=False):
                return builder(App(EngineHost("tiny"), RunStore(), gr.State(None)))

        # Where no loop is running, `gr.Blocks` makes two of its own and never closes them.
        return asyncio.run(build_on_a_loop())

    return build
