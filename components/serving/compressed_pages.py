"""Compress the pages: Gradio only compresses URLs with a file extension, and pages have none."""

from __future__ import annotations

from gradio.brotli_middleware import BrotliMiddleware
from starlette.types import Scope

from components.serving.language_switch import PATHS, page_path

COMPRESSED = {*PATHS.values(), "config"}  # paths; API clients request the config first


class CompressedPages(BrotliMiddleware):
    """ASGI middleware: compresses a page, the description of its components, from 365 to 42 kB."""

    def _is_compressible_file_type(self, scope: Scope) -> bool:
        return page_path(scope) in COMPRESSED
