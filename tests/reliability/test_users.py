"""Short form of ``benchmarks/users.py``, which needs a served app, too."""

from __future__ import annotations

from benchmarks.users import measure_memory, measure_users
from reliability.served import Server


def test_users_and_what_their_pages_hold_are_measured(server: Server) -> None:
    pages, said = measure_memory(server, most=2, runs=1)
    growth = measure_users(server, pages, (1, 2), alone=0.1)
    for page in pages:
        page.vanish()
    assert [users for users, _, _ in growth.points] == [1, 2]
    assert all(0 < took < 60 for _, took, _ in growth.points)
    assert said[0].startswith("A page opened: ")
    assert "; idle: " in said[0]
    assert "second and third 1 runs: " in said[1]
