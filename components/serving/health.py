"""Health checks for containers and proxies: the server is up, and a run would succeed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from playground.language import speaking

if TYPE_CHECKING:
    from components.compute.engine_host import EngineHost


def health_routes(host: EngineHost) -> list[Route]:
    """The routes ``/healthz`` (200 once the server is up) and ``/readyz`` (200 once it can run).

    Until the checkpoint is loaded, ``/readyz`` answers 503 with the loading progress. Neither needs
    a login: they reveal no secrets.
    """

    async def answer_healthz(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def answer_readyz(_request: Request) -> JSONResponse:
        status = host.status
        with speaking("en"):
            answer: dict[str, str | int] = {"status": status.phase, "what": status.words}
        if status.total:
            answer |= {"done": status.done, "total": status.total}
        return JSONResponse(answer, status_code=200 if status.phase == "ready" else 503)

    return [Route("/healthz", answer_healthz), Route("/readyz", answer_readyz)]
