"""How an HTML component loads its JavaScript module from this server, with cache-busting URLs.

The files have a separate route: Gradio's `/file=` would reveal their path on the server, and it
compresses a file again for each visitor.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import mimetypes
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import brotli
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

FILES: dict[str, Path] = {}
"""All files that the page may load, by name; filled by ``file_address``."""
FIRST_LINES: dict[str, str] = {}
"""What stands before a file's content, by its name."""

FOLDER = "/page-files"  # in URLs
# The browser shows this message by itself: the server may be down by then.
FAILED = {"en": "Could not be loaded: ", "zh": "无法加载："}
A_YEAR = "public, max-age=31536000, immutable"  # the URL changes with the content


def file_address(*paths: Path, first_line: str = "") -> str:
    """The URL of the first path, below ``FOLDER``.

    Browsers cache files for long, so a change in any of the files gives a new URL.

    Args:
        paths: the file, and the files in the same folder that it loads.
        first_line: put before the first file's content.

    Raises:
        ValueError: another file of this name is served already.
    """
    for path in paths:
        if FILES.setdefault(path.name, path) != path:
            raise ValueError(f"Two files are named {path.name}: {FILES[path.name]} and {path}.")
    FIRST_LINES[paths[0].name] = first_line
    # Sorted, so that all files have the same version, whichever is requested first: a module that
    # two others load must be the same one.
    content = first_line.encode() + b"".join(path.read_bytes() for path in sorted(paths))
    version = hashlib.sha256(content).hexdigest()[:12]
    return f"/{version}/{quote(paths[0].name)}"


async def serve_page_file(request: Request) -> Response:
    """Serve a registered file under any version; pages opened before an update ask for old ones."""
    path = FILES.get(request.path_params["name"])
    if path is None:
        return PlainTextResponse("There is no such file.", status_code=404)
    accepted = request.headers.get("Accept-Encoding", "")
    encoding = next((name for name in ("br", "gzip") if name in accepted), "")
    # In a thread: compressing plotly.js takes a quarter of a second.
    version = FIRST_LINES.get(path.name, ""), path.stat().st_mtime_ns
    content = await run_in_threadpool(_encode, path, version, encoding)
    headers = {"Cache-Control": A_YEAR, "Vary": "Accept-Encoding"}
    if encoding:
        headers["Content-Encoding"] = encoding
    return Response(content, headers=headers, media_type=mimetypes.guess_type(path.name)[0])


@lru_cache(maxsize=64)
def _encode(path: Path, version: tuple[str, int], encoding: str) -> bytes:
    """Content of a file with its first line, compressed once for all visitors.

    Args:
        path: the file.
        version: its first line, and when the file changed.
        encoding: ``br``, ``gzip`` or none.
    """
    content = version[0].encode() + path.read_bytes()
    if encoding == "br":
        compressed: bytes = brotli.compress(content, quality=5)
        return compressed
    return gzip.compress(content, compresslevel=6) if encoding else content


PAGE_FILES_ROUTE = Route(FOLDER + "/{version}/{name}", serve_page_file)
"""Must be among the routes of every app that shows such a component."""


BROWSER = Path(__file__).resolve().parents[1] / "browser"


def page_module(name: str, *, calls: str = "mount", spec: Any = None) -> str:
    """The `js_on_load` of a component whose module is a file in ``BROWSER``.

    Args:
        name: the file's name.
        calls: the exported function, which gets Gradio's six arguments and ``spec``.
        spec: any JSON value.
    """
    more = ""
    if spec is not None:
        more = ", " + json.dumps(spec, ensure_ascii=False, separators=(",", ":"))
    # The script reads the root in the page and uses only its path. Host, port and scheme are the
    # page's: behind a proxy, the server may know different ones or none.
    return f"""
const {{ root }} = window.gradio_config ?? {{}};
const path = root ? new URL(root, location.href).pathname.replace(/\\/$/, "") : "";
const base = location.origin + path + {json.dumps(FOLDER)};
import(base + {json.dumps(file_address(*page_files(name)))})
  .then((module) => module.{calls}({{ element, props, trigger, watch, server, upload }}{more}))
  .catch((error) => {{
    const words = {json.dumps(FAILED)};
    const language = document.documentElement.lang.split("-")[0];
    element.textContent = (words[language] ?? words.en) + error;
  }});
"""


def page_files(name: str) -> tuple[Path, ...]:
    """All files in ``BROWSER``, this one first; they import one another."""
    first = BROWSER / name
    others = sorted(path for path in BROWSER.iterdir() if path.suffix in (".js", ".css"))
    return (first, *(path for path in others if path != first))
