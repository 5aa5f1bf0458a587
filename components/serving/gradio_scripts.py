"""Scripts of Gradio's front end, mended on their way to the browser.

Lost: the server ends a page's stream of messages when it knows of no event under way, and the page
asks for another at its next event.

- An event that joined at that moment, such as a click while a tab is being drawn, had no stream:
  what it did was shown once something else was clicked. The mended page asks for another stream.
- All of a page's streams have one address. Where one is asked for while the browser's cache still
  lets go of the last one, Chromium sends the request twice and reads one answer; what the server
  wrote into the other never came. The mended page's streams keep out of the cache.
- An event whose end came before the answer to its joining counted as under way for ever.

Slow, on a page of this many components:

- When an event is complete, Gradio's page notes for each of the event's inputs that its stream has
  closed, also where nothing was streamed; and at every later message of any event it looks for each
  component that it has a note of among all components. A run reads 130 controls, and so every
  slider and every step of a progress bar after it cost a browser a tenth of a second.
- To look for a component Gradio's page walks through the tree of all components until it comes upon
  it, for each input and each output of each event: a fifth of a second at the start of a run. The
  mended page notes the way to every component when it first looks for one.
- When the page is opened, it looks for the events of each component among the targets of all
  events, and does all this twice: four fifths of the time that it stands still.
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
# `e` is the tree's root, `t` the id; the children's places on the way to each id are kept.
SEARCH = Mend(
    "core-*.js",
    "function Z(e,t){if(e.id===t)return e;if(e.children)for(let n of e.children)"
    "{let e=Z(n,t);if(e)return e}return null}",
    "function Z(e,t){if(t===null)return null;const ways=Z.ways??=new Map,go=()=>{let n=e;"
    "for(const i of ways.get(t)??[])n=n?.children?.[i];return n?.id===t?n:null};"
    "const note=(e,way)=>{ways.set(e.id,way),e.children?.forEach((e,i)=>note(e,[...way,i]))};"
    "return go()??(note(e,[]),go())}",
)
# `e` is a node of the tree, `t` all events; an event counts once for a node, with its first target
# there. A list that has grown is read anew.
LISTENERS = Mend(
    "core-*.js",
    "find_attached_events(e,t){let n=t.filter(t=>t.targets.find(([t])=>t===e.id)).map(t=>"
    "{let n=t.targets.find(([t])=>t===e.id);return n?n[1]:null}).filter(Boolean);"
    "return e.props.shared_props.attached_events=n,e}",
    "find_attached_events(e,t){let n=this.listeners;"
    "if(n?.events!==t||n.length!==t.length){"
    "n=this.listeners={events:t,length:t.length,names:new Map};"
    "for(const e of t){const t=new Set;for(const[r,i]of e.targets)if(!t.has(r)){t.add(r);"
    "if(i)n.names.has(r)?n.names.get(r).push(i):n.names.set(r,[i])}}}"
    "return e.props.shared_props.attached_events=[...n.names.get(e.id)??[]],e}",
)
# `v` counts how often the page was loaded anew: not yet, when it is opened.
RELOAD = Mend(
    "Blocks-*.js",
    "le(()=>{v(),oe(()=>{O.reload(",
    "le(()=>{v()&&oe(()=>{O.reload(",
)
# `t` has the events that are not complete.
CLOSED = Mend(
    "index-*.js",
    "if(s.msg===`close_stream`){wt(r,o.abort_controller);return}",
    "if(s.msg===`close_stream`){wt(r,o.abort_controller),t.size&&o.open_stream();return}",
)
# Here the streams are asked for, `n` being the headers.
TWICE = Mend(
    "index-*.js",
    "headers:n,signal:t.signal}),this.stream_instance}",
    "headers:n,signal:t.signal,cache:`no-store`}),this.stream_instance}",
)
# `E` is the event's id, `g` has the messages of events that have not joined yet, `v` and `y` those
# that are not complete; `t` handles a message.
EARLY = Mend(
    "index-*.js",
    "E in g&&(g[E].forEach(e=>t(e)),delete g[E]),v[E]=t,y.add(E),h.open||await this.open_stream()}",
    "const early=g[E]??[];delete g[E],early.forEach(e=>t(e));"
    "if(!early.some(e=>e.msg===`process_completed`))"
    "v[E]=t,y.add(E),h.open||await this.open_stream()}",
)
MENDS = (CLOSED, TWICE, EARLY, STREAMS, SEARCH, LISTENERS, RELOAD)


def mended_scripts() -> dict[str, str]:
    """The scripts that have a fault, without it: name → content; none in a Gradio without them."""
    scripts: dict[str, str] = {}
    for mend in MENDS:
        for path in ASSETS.glob(mend.name):
            script = scripts.get(path.name) or path.read_text(encoding="utf-8")
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
