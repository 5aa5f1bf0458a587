"""Launch the server: options from the command line, and settings that never change."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from components.compute.engine_host import EngineHost
from components.look.theme import build_theme
from components.serving.browser_module import PAGE_FILES_ROUTE
from components.serving.compressed_pages import CompressedPages
from components.serving.early_modules import EarlyModules
from components.serving.file_addresses import make_file_addresses_relative
from components.serving.health import health_routes
from components.serving.language_switch import PreferredLanguage
from components.serving.made_files import MADE_FILES_ROUTE
from components.serving.web_guard import WebGuard

AUTH_VARIABLE = "PLAYGROUND_AUTH"
PAGE_SCRIPT = Path(__file__).with_name("page.js")


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Where the page is served, and for whom."""

    host: str = "127.0.0.1"
    port: int | None = 7860  # None: the first free one
    share: bool = False
    auth: tuple[tuple[str, str], ...] = ()  # (user, password) of each account
    root_path: str = ""  # the path under which a proxy serves the page
    queue_size: int = 64  # runs that may wait
    mcp: bool = False  # offer the endpoints as MCP tools
    max_file_mb: int = 50  # of one uploaded file
    session_capacity: int = 1_000  # pages whose state is kept

    @classmethod
    def for_public(cls, **chosen: Any) -> ServerOptions:
        """Tighter limits for a public page; values in ``chosen`` override them."""
        return cls(**{"queue_size": 32, "max_file_mb": 20, "session_capacity": 200} | chosen)


def read_accounts(value: str | None) -> tuple[tuple[str, str], ...]:
    """User names and passwords from the command line, a file or the environment.

    Args:
        value: ``user:password``; ``@path`` of a file with one pair per line; None reads either form
            from the environment variable ``PLAYGROUND_AUTH``.

    Raises:
        ValueError: a pair has no colon or an empty half; the message does not repeat it.
    """
    value = value or os.environ.get(AUTH_VARIABLE) or ""
    if not value:
        return ()
    text = Path(value[1:]).read_text(encoding="utf-8") if value.startswith("@") else value
    pairs = [line.strip().partition(":") for line in text.splitlines() if line.strip()]
    if not pairs or not all(user and password for user, _, password in pairs):
        raise ValueError("Accounts are written as user:password, in a file one a line.")
    return tuple((user, password) for user, _, password in pairs)


def app_options(
    options: ServerOptions | None = None, host: EngineHost | None = None
) -> dict[str, Any]:
    """Gradio's ``app_kwargs``: the routes and middleware that the app needs.

    Args:
        options: the options from the command line.
        host: reported by ``/readyz``; without it there is no such route.
    """
    options = options or ServerOptions()
    guard = Middleware(
        WebGuard,
        max_file_bytes=options.max_file_mb << 20,
        framed_by_hub="SPACE_ID" in os.environ,
    )
    return {
        "routes": [PAGE_FILES_ROUTE, MADE_FILES_ROUTE, *(health_routes(host) if host else ())],
        "middleware": [
            guard,
            Middleware(PreferredLanguage),
            Middleware(CompressedPages),
            Middleware(EarlyModules),
        ],
    }


def launch(
    demo: gr.Blocks,
    css: str,
    options: ServerOptions,
    *,
    host: EngineHost | None = None,
    quiet: bool = False,
) -> str:
    """Serve the page from a background thread; returns its local URL.

    Args:
        demo: the built page.
        css: its styles.
        options: the options from the command line.
        host: the engine's host, for ``/readyz``.
        quiet: print nothing.
    """
    make_file_addresses_relative()
    # Close routes that bypass the queue: they would bypass its limits too.
    demo.queue(max_size=options.queue_size, api_open=False)
    _, address, _ = demo.launch(
        server_name=options.host,
        server_port=options.port,
        share=options.share,
        mcp_server=options.mcp,
        auth=list(options.auth) or None,
        root_path=options.root_path or None,
        theme=build_theme(),
        css=css,
        js=PAGE_SCRIPT.read_text(encoding="utf-8"),
        footer_links=["api", "settings"],
        show_error=False,
        max_file_size=options.max_file_mb << 20,
        state_session_capacity=options.session_capacity,
        enable_monitoring=False,
        run_history=False,
        ssr_mode=False,
        prevent_thread_lock=True,
        quiet=quiet,
        app_kwargs=app_options(options, host),
    )
    return address
