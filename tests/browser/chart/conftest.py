"""Pages full of charts, for the tests of charts in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import fastapi
import gradio as gr
import pytest
import uvicorn
from gradio.http_server import Server
from playwright.sync_api import Page

from components.serving.server import app_options
from tests.browser.chart.charts import bars, build_3d_demo, build_demo
from tests.browser.chart.component import ChartView
from tests.browser.conftest import AppServer, PageFactory


@pytest.fixture(scope="module")
def flat_url(module_app_server: AppServer) -> str:
    return module_app_server(build_demo)


@pytest.fixture(scope="module")
def solid_url(module_app_server: AppServer) -> str:
    return module_app_server(build_3d_demo)


@pytest.fixture(scope="module")
def shared(module_page: PageFactory, flat_url: str) -> Page:
    """One page for the tests that change nothing which another of them looks at."""
    opened, _ = module_page(flat_url, accept_downloads=True)
    return opened


@pytest.fixture
def prefixed_url() -> Iterator[str]:
    """The app below a path, as behind a proxy."""
    with gr.Blocks() as demo:
        ChartView(bars(), elem_id="bars")
    app = gr.mount_gradio_app(fastapi.FastAPI(), demo, path="/some/path", app_kwargs=app_options())
    server = Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    server.run_in_thread()
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/some/path/"
    server.close()
