"""One served app, with an observer inside, for all of these tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reliability.served import Server, running_app

QUEUE_SIZE = 10


@pytest.fixture(scope="package")
def server() -> Iterator[Server]:
    """Strangers' limits, and a short queue."""
    with running_app("--public", "--queue-size", str(QUEUE_SIZE), watched=True) as running:
        yield running
