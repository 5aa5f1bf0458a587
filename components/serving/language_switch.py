"""The page's language: first the browser's, then the visitor's choice."""

from __future__ import annotations

import re

import gradio as gr
from starlette.datastructures import URL, QueryParams
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from playground.language import LANGUAGES, Language, spoken_language

PATHS: dict[Language, str] = {"en": "", "zh": "zh"}  # of the pages, below the site's root
NAMES: dict[Language, str] = {"en": "English", "zh": "中文"}
TAGS: dict[Language, str] = {"en": "en", "zh": "zh-CN"}  # as HTML names them
CHOSEN = "lang"  # query parameter of the switch's links

# Screen readers choose their voice by `lang`; Gradio always sets English.
SET_LANGUAGE = 'document.documentElement.lang = "LANGUAGE";'


def build_language_switch() -> gr.HTML:
    """A link to the page in each other language."""
    spoken = spoken_language()
    links = "".join(
        f'<span aria-current="true">{NAMES[language]}</span>'
        if language == spoken
        else f'<a href="./{PATHS[language]}?{CHOSEN}={language}" lang="{TAGS[language]}" '
        f'hreflang="{TAGS[language]}">{NAMES[language]}</a>'
        for language in LANGUAGES
    )
    return gr.HTML(
        f'<nav class="language-switch" aria-label="Language / 语言" translate="no">{links}</nav>',
        elem_id="language-switch",
        js_on_load=SET_LANGUAGE.replace("LANGUAGE", TAGS[spoken]),
    )


class PreferredLanguage:
    """ASGI middleware that redirects the site's root to the page in the browser's language.

    ``?lang=``, which the switch sets, overrides the browser; nothing is stored.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = _path_for(scope)
        if path is None:
            await self._app(scope, receive, send)
            return
        query = URL(scope=scope).query
        # Relative, since only the browser knows the URL under which a proxy serves this.
        await RedirectResponse(f"./{path}" + (f"?{query}" if query else ""), 302)(
            scope, receive, send
        )


def _path_for(scope: Scope) -> str | None:
    """The page to redirect a visitor of the site's root to; None to stay."""
    if scope["type"] != "http" or scope["method"] != "GET":
        return None
    if page_path(scope) != "":
        return None
    chosen = QueryParams(scope["query_string"]).get(CHOSEN)
    return PATHS[chosen if chosen in PATHS else language_of(scope)] or None


def page_path(scope: Scope) -> str:
    """The path of a request below the site's root; empty for the root itself."""
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return path.strip("/")


def language_of(scope: Scope) -> Language:
    """The language of the visitor's browser."""
    accepted = dict(scope["headers"]).get(b"accept-language", b"")
    return preferred_language(accepted.decode("latin-1"))


def preferred_language(accepted: str) -> Language:
    """The best available language for an ``Accept-Language`` header; English by default."""
    best: Language = "en"
    highest = 0.0
    for item in accepted.split(","):
        tag, _, rest = item.strip().partition(";")
        quality = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", rest)
        weight = float(quality[1]) if quality else 0.0 if rest else 1.0
        language = tag.split("-")[0].lower()
        if language in LANGUAGES and weight > highest:
            best, highest = language, weight
    return best
