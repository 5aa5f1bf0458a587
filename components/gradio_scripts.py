"""One script of Gradio's front end, mended on its way to the browser.

When an event is complete, Gradio's page notes for each of the event's inputs that its stream has
closed, also where nothing was streamed; and at every later message of any event it looks for each
component that it has a note of among all components. A run reads 130 controls, and so every slider
and every step of a progress bar after it cost a browser a tenth of a second.
"""

from __future__ import annotations

from pathlib import Path

import gradio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

ASSETS = Path(gradio.__file__).with_name("templates") / "frontend" / "assets"
NAME = "Blocks-*.js"
FAULT = "if(s.stage===`complete`){n=`closed`,"
MENDED = "if(s.stage===`complete`){n=r.connection_type===`stream`?`closed`:null,"
AN_HOUR = "public, max-age=3600"


def mended_scripts() -> dict[str, str]:
    """The scripts that have the fault, without it: name → content; none in a Gradio without it."""
    scripts = {path.name: path.read_text(encoding="utf-8") for path in ASSETS.glob(NAME)}
    return {
        name: script.replace(FAULT, MENDED) for name, script in scripts.items() if FAULT in script
    }


def mended_routes() -> list[Route]:
    """Routes that answer in the place of Gradio's; they must come before it."""
    return [_route(name, content) for name, content in mended_scripts().items()]


def _route(name: str, content: str) -> Route:
    async def serve(_request: Request) -> Response:
        headers = {"Cache-Control": AN_HOUR}
        return Response(content, media_type="text/javascript", headers=headers)

    return Route(f"/assets/{name}", serve)
