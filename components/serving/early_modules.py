"""Load the page's own modules while Gradio's are still loading.

A stage's script is imported when Gradio mounts the stage, its imports once it has arrived, and so
on: four round trips before the first part can request its drawings. A ``Link`` header on the pages
names all modules at once.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

from components.serving.browser_module import FOLDER, file_address, page_files
from components.serving.language_switch import PATHS, page_path

FIRST = "stage.js"
PAGES = {"", *PATHS.values()}


class EarlyModules:
    """ASGI middleware: a header on the pages lets browsers preload the page's modules."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._links = ", ".join(
            # Relative, like Gradio's own URLs in the page: a proxy may serve it under a path.
            f"<.{FOLDER}{file_address(*page_files(path.name))}>; rel=modulepreload"
            for path in page_files(FIRST)
            if path.suffix == ".js"
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or page_path(scope) not in PAGES:
            await self._app(scope, receive, send)
            return

        async def send_with_links(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                MutableHeaders(scope=message).append("Link", self._links)
            await send(message)

        await self._app(scope, receive, send_with_links)
