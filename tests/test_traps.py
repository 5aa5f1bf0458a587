"""The traps that the engine is written around are those of the installed libraries."""

from __future__ import annotations

from scripts.traps import CHECKS, find_traps


def test_every_trap_still_holds() -> None:
    """One that no longer does is code that can become simpler: see what it measured."""
    findings = find_traps()
    assert len(findings) == len(CHECKS)
    assert [each for each in findings if not each.holds] == []
