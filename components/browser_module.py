"""How an HTML component loads its JavaScript module: from this server, renewed with its files.

The files have a route of their own. Gradio's `/file=` would show visitors where they lie on the
server's disk.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

FILES: dict[str, Path] = {}
"""All files that the page may load, by name; filled by ``file_address``."""

FOLDER = "/page-files"  # in addresses
# Said by the browser alone: the server may be gone by then.
FAILED = {"en": "Could not be loaded: ", "zh": "无法加载："}
A_YEAR = "public, max-age=31536000, immutable"  # the address changes with the content


def file_address(*paths: Path) -> str:
    """Where the page finds the first path, below ``FOLDER``.

    A browser may keep a file for long, so a change in any of the files makes a new address.

    Raises:
        ValueError: another file of this name is served already.
    """
    for path in paths:
        if FILES.setdefault(path.name, path) != path:
            raise ValueError(f"Two files are named {path.name}: {FILES[path.name]} and {path}.")
    content = b"".join(path.read_bytes() for path in paths)
    version = hashlib.sha256(content).hexdigest()[:12]
    return f"/{version}/{quote(paths[0].name)}"


async def serve_page_file(request: Request) -> Response:
    """A registered file under any version; a page that was opened before an update asks for an
    older one."""
    path = FILES.get(request.path_params["name"])
    if path is None:
        return PlainTextResponse("There is no such file.", status_code=404)
    return FileResponse(path, headers={"Cache-Control": A_YEAR})


PAGE_FILES_ROUTE = Route(FOLDER + "/{version}/{name}", serve_page_file)
"""Must be among the routes of every app that shows such a component."""


def mount_script(*paths: Path, arguments: tuple[str, ...] = (), calls: str = "mount") -> str:
    """The `js_on_load` of a component whose module exports what it `calls`.

    Args:
        paths: the module, and the files that it loads from beside it.
        arguments: addresses on this server that it gets after Gradio's four.
        calls: the exported function.
    """
    more = "".join(f", base + {json.dumps(address)}" for address in arguments)
    # The root is asked for in the page: behind a proxy the server does not know it at start-up.
    return f"""
const {{ root = "" }} = window.gradio_config ?? {{}};
const base = new URL(root.replace(/\\/$/, "") + {json.dumps(FOLDER)}, document.baseURI).href;
import(base + {json.dumps(file_address(*paths))})
  .then((module) => module.{calls}({{ element, props, trigger, watch }}{more}))
  .catch((error) => {{
    const words = {json.dumps(FAILED)};
    const language = document.documentElement.lang.split("-")[0];
    element.textContent = (words[language] ?? words.en) + error;
  }});
"""
