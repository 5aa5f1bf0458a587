"""The page's own Markdown as HTML."""

from __future__ import annotations

from markdown_it import MarkdownIt
from markupsafe import Markup

_MARKDOWN = MarkdownIt("commonmark", {"html": False})


def markdown_html(text: str) -> Markup:
    """The text as HTML; tags in it are escaped."""
    return Markup(_MARKDOWN.render(text))
