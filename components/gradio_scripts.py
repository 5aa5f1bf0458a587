"""Scripts of Gradio's front end, mended on their way to the browser.

When an event is complete, Gradio's page notes for each of the event's inputs that its stream has
closed, also where nothing was streamed; and at every later message of any event it looks for each
component that it has a note of among all components. A run reads 130 controls, and so every slider
and every step of a progress bar after it cost a browser a tenth of a second.

To look for a component Gradio's page walks through the tree of all components until it comes upon
it, for each input and each output of each event: a fifth of a second at the start of a run. The
mended page goes the way on which it found the component the last time, and searches where that
leads elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gradio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

ASSETS = Path(gradio.__file__).with_name("templates") / "frontend" / "assets"
AN_HOUR = "public, max-age=3600"


@dataclass(frozen=True)
class Mend:
    """What is wrong in the scripts of this name, and what stands there instead."""

    name: str
    fault: str
    mended: str


STREAMS = Mend(
    "Blocks-*.js",
    "if(s.stage===`complete`){n=`closed`,",
    "if(s.stage===`complete`){n=r.connection_type===`stream`?`closed`:null,",
)
# `e` is the tree's root, `t` the id; the children's places on the way are kept per id.
SEARCH = Mend(
    "core-*.js",
    "function Z(e,t){if(e.id===t)return e;if(e.children)for(let n of e.children)"
    "{let e=Z(n,t);if(e)return e}return null}",
    "function Z(e,t){const ways=Z.ways??=new Map;let n=e;"
    "for(const i of ways.get(t)??[])n=n?.children?.[i];if(n?.id===t)return n;"
    "const way=[],find=e=>{if(e.id===t)return e;let i=0;for(const n of e.children??[])"
    "{way.push(i++);const e=find(n);if(e)return e;way.pop()}return null};"
    "return n=find(e),n&&ways.set(t,way),n}",
)
MENDS = (STREAMS, SEARCH)


def mended_scripts() -> dict[str, str]:
    """The scripts that have a fault, without it: name → content; none in a Gradio without them."""
    scripts: dict[str, str] = {}
    for mend in MENDS:
        for path in ASSETS.glob(mend.name):
            script = path.read_text(encoding="utf-8")
            if mend.fault in script:
                scripts[path.name] = script.replace(mend.fault, mend.mended)
    return scripts


def mended_routes() -> list[Route]:
    """Routes that answer in the place of Gradio's; they must come before it."""
    return [_route(name, content) for name, content in mended_scripts().items()]


def _route(name: str, content: str) -> Route:
    async def serve(_request: Request) -> Response:
        headers = {"Cache-Control": AN_HOUR}
        return Response(content, media_type="text/javascript", headers=headers)

    return Route(f"/assets/{name}", serve)
