"""A guard between the network and Gradio: size limits, closed routes, headers.

Gradio limits the size of one uploaded file, but not of a request or a JSON body. It also has routes
that fetch URLs for a visitor, which this page does not need.
"""

from __future__ import annotations

import logging
import re

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.serving.faults import fault_words, is_disk_full, is_out_of_memory
from components.serving.language_switch import language_of
from playground.language import say, speaking

logger = logging.getLogger(__name__)

UNREADABLE = (
    "The request cannot be read. Each endpoint takes a JSON object with its own argument names; "
    "/gradio_api/info lists them."
)
MAX_JSON_BYTES = 4 << 20  # the page itself sends far less
MAX_FILES_PER_UPLOAD = 8

# Routes that fetch URLs for a visitor, list other people's runs, or help Gradio developers.
CLOSED_ROUTES = re.compile(
    r"/gradio_api/(proxy=|file=\W*https?:|run-history|runs\b|vibe|profiling|process_recording"
    r"|deep_link|dev/)|/monitoring\b",
    re.IGNORECASE,
)
UPLOADS = re.compile(r"/gradio_api/upload/?$")  # the only route that accepts files
HOSTED_FRAMES = "https://huggingface.co https://*.hf.space"  # where a Space embeds its page

# Gradio builds functions from strings and sets style attributes; otherwise only this host.
CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)


class WebGuard:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, *, max_file_bytes: int, framed_by_hub: bool = False) -> None:
        """Wrap an app.

        Args:
            app: the app to wrap.
            max_file_bytes: limit for one uploaded file; a request may contain
                ``MAX_FILES_PER_UPLOAD`` files.
            framed_by_hub: True if the Hub embeds the page in a frame.
        """
        self._app = app
        self._max_upload_bytes = max_file_bytes * MAX_FILES_PER_UPLOAD
        policy = CONTENT_POLICY + (f" {HOSTED_FRAMES}" if framed_by_hub else "")
        self._headers = [
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"same-origin"),
            (b"content-security-policy", policy.encode()),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = self._with_headers(send)
        if CLOSED_ROUTES.search(scope["path"]):
            await _refuse(404, "This address is closed.", scope, receive, send)
            return
        if scope["method"] == "HEAD" and scope["path"] == "/":
            # Gradio requests its own page at start-up and waits 3 s. A busy machine may not have
            # built the page by then, which is most of the work.
            await Response(media_type="text/html")(scope, receive, send)
            return
        await self._limited(scope, receive, send)

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = self._max_upload_bytes if _is_upload(scope) else MAX_JSON_BYTES
        if _declared_bytes(scope) > limit:
            await _refuse(413, _too_large_words(scope, limit), scope, receive, send)
            return
        body = _CountedBody(receive, limit)
        answer = _Answer(send, body)
        try:
            await self._app(scope, body.receive, answer.send)
        except _TooLargeError:
            pass
        except Exception as error:
            if answer.started:
                raise
            # Gradio's body parser fails on bodies that its own client never sends. Log only the
            # kind: a message may quote a visitor's input.
            logger.warning("%s: %s", scope["path"], type(error).__name__)
            if is_disk_full(error) or is_out_of_memory(error):
                with speaking(language_of(scope)):
                    words = fault_words(error)
                await _refuse(507, words, scope, receive, send)
                return
            await _refuse(400, UNREADABLE, scope, receive, send)
            return
        if body.too_large and not answer.started:
            await _refuse(413, _too_large_words(scope, limit), scope, receive, send)

    def _with_headers(self, send: Send) -> Send:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._headers]
            await send(message)

        return send_with_headers


class _TooLargeError(Exception):
    """A body exceeded the limit."""


class _CountedBody:
    """A request's body, counted, since a client may send no length."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive, self._left = receive, limit

    @property
    def too_large(self) -> bool:
        return self._left < 0

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self.too_large:
                raise _TooLargeError
        return message


class _Answer:
    """The app's answer; dropped once the body was cut off, which the app reports as broken."""

    def __init__(self, send: Send, body: _CountedBody) -> None:
        self._send, self._body, self.started = send, body, False

    async def send(self, message: Message) -> None:
        if self.started or not self._body.too_large:
            self.started = True
            await self._send(message)


def _is_upload(scope: Scope) -> bool:
    return UPLOADS.search(scope["path"]) is not None and scope["method"] == "POST"


def _declared_bytes(scope: Scope) -> int:
    length = dict(scope["headers"]).get(b"content-length", b"0")
    return int(length) if length.isdigit() else 0


def _too_large_words(scope: Scope, limit: int) -> str:
    with speaking(language_of(scope)):
        return say("The request exceeds the limit of {limit} MB.", limit=limit >> 20)


async def _refuse(code: int, words: str, scope: Scope, receive: Receive, send: Send) -> None:
    await JSONResponse({"detail": words}, status_code=code)(scope, receive, send)
