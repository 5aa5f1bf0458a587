"""The advisory scan: what it reads, and what it makes of the answers."""

from __future__ import annotations

import pytest

from scripts import audit


def test_what_the_pins_bring_along_is_looked_up_too() -> None:
    versions = audit.installed_versions()
    assert {each.name.lower().replace("_", "-") for each in audit.direct_requirements()} <= set(
        versions
    )
    assert "pydantic" in versions  # Gradio's, named nowhere in requirements.txt
    assert "+" not in versions["torch"]  # an index knows no local versions


def test_an_index_without_advisories_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    skipped = [{"name": "torch", "skip_reason": "not found"}]
    monkeypatch.setattr(audit, "run_pip_audit", lambda _versions: skipped)
    with pytest.raises(SystemExit) as ended:
        audit.main()
    assert not ended.value.code
    assert capsys.readouterr().out.count("\n") == 1

    def no_answer(_versions: dict[str, str]) -> list[dict[str, object]]:
        raise ValueError("no JSON")

    monkeypatch.setattr(audit, "run_pip_audit", no_answer)
    with pytest.raises(SystemExit) as ended:
        audit.main()
    assert not ended.value.code
    assert "nothing scanned" in capsys.readouterr().out


def test_a_known_vulnerability_fails() -> None:
    found = {"id": "PYSEC-1", "fix_versions": ["2.0"]}
    entries = [
        {"name": "pillow", "version": "1.0", "vulns": [found]},
        {"name": "numpy", "version": "2.4.6", "vulns": []},
        {"name": "own", "skip_reason": "not found"},
    ]
    lines, is_known = audit.report(entries)
    assert is_known
    assert lines == [
        "pillow 1.0: PYSEC-1, mended in 2.0",
        "Advisories: 2 packages looked up, 1 known; 1 not found there.",
    ]
    assert not audit.report(entries[1:])[1]
