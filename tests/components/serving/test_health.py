"""What containers and proxies ask: while the checkpoint loads, once it is there, if it fails."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from components.compute.engine_host import EngineHost, HostStatus
from components.serving.health import health_routes


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (HostStatus("loading", "Loading weights", 3, 9), 503, {"done": 3, "total": 9}),
        (HostStatus("ready", "Ready"), 200, {"status": "ready", "what": "Ready"}),
        (HostStatus("failed", "No such folder."), 503, {"what": "No such folder."}),
    ],
)
def test_ready_once_a_run_would_succeed(status: HostStatus, code: int, expected: dict) -> None:
    host = EngineHost("tiny")
    host._status = status
    client = TestClient(Starlette(routes=health_routes(host)))
    assert client.get("/healthz").json() == {"status": "ok"}
    answer = client.get("/readyz")
    assert answer.status_code == code
    assert expected.items() <= answer.json().items()
