"""A served page that holds nothing but the endpoints, and a client of it."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gradio_client import Client, handle_file
from PIL import Image

from components.api.endpoints import add_api
from components.serving.page_blocks import PageBlocks
from playground.engine import Engine
from playground.prompt import PromptImage
from tests.components.api.calls import TEXT
from tests.components.visits import ready_host


@pytest.fixture(scope="package")
def url(tiny_random_engine: Engine) -> Iterator[str]:
    """A served page that holds nothing but the endpoints."""
    host = ready_host(tiny_random_engine)
    with PageBlocks() as demo:
        add_api(host)
    demo.queue(api_open=False)
    _, address, _ = demo.launch(
        prevent_thread_lock=True, quiet=True, show_error=False, server_name="127.0.0.1"
    )
    yield address.rstrip("/")
    demo.close(verbose=False)
    with warnings.catch_warnings():  # collected here, they cannot fail another file's test
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="package")
def client(url: str) -> Iterator[Client]:
    client = Client(url, verbose=False)
    yield client
    client.close()


@pytest.fixture(scope="package")
def call(client: Client) -> Callable[..., Any]:
    """``call("/merge", text=...)``: the answer, with the text and no image where none is given."""

    def predict(api_name: str, **arguments: Any) -> Any:
        if api_name != "/cache_reuse":
            arguments = {"image": None, "text": TEXT} | arguments
        return client.predict(api_name=api_name, **arguments)

    return predict


@pytest.fixture(scope="package")
def file(tmp_path_factory: pytest.TempPathFactory, image: PromptImage) -> Any:
    """The image as a client's upload."""
    path = tmp_path_factory.mktemp("client") / "picture.png"
    Image.fromarray(image.pixels).save(path)
    return handle_file(path)
