"""How an HTML component loads its JavaScript module: from this server, renewed with its files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from urllib.parse import quote


def file_address(*paths: Path) -> str:
    """Where the page finds the first path, below the address that the app is served under.

    A browser may keep a file for days, so a change in any of the files makes a new address.
    """
    content = b"".join(path.read_bytes() for path in paths)
    version = hashlib.sha256(content).hexdigest()[:12]
    return f"/file={quote(paths[0].as_posix())}?v={version}"


def mount_script(*paths: Path, arguments: tuple[str, ...] = ()) -> str:
    """The `js_on_load` of a component whose module exports `mount`.

    Args:
        paths: the module, and the files that it loads from beside it.
        arguments: addresses on this server that `mount` gets after Gradio's four.
    """
    more = "".join(f", base + {json.dumps(address)}" for address in arguments)
    # The root is asked for in the page: behind a proxy the server does not know it at start-up.
    return f"""
const {{ root = "", api_prefix = "" }} = window.gradio_config ?? {{}};
const base = new URL(root.replace(/\\/$/, "") + api_prefix, document.baseURI).href;
import(base + {json.dumps(file_address(*paths))})
  .then((module) => module.mount({{ element, props, trigger, watch }}{more}))
  .catch((error) => {{ element.textContent = "Could not be loaded: " + error; }});
"""
