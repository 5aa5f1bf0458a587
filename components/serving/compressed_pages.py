"""The pages, compressed: Gradio compresses what has a file's ending, and they have none."""

from __future__ import annotations

from gradio.brotli_middleware import BrotliMiddleware
from starlette.types import Scope

from components.serving.language_switch import PATHS, page_path

COMPRESSED = {*PATHS.values(), "config"}  # paths; the latter is what API clients read first


class CompressedPages(BrotliMiddleware):
    """ASGI middleware: a page of 365 kB, the description of its components, becomes 42 kB."""

    def _is_compressible_file_type(self, scope: Scope) -> bool:
        return page_path(scope) in COMPRESSED
