"""Look up known vulnerabilities of what the app runs on: the pins and all that they bring along.

``make check`` runs it. It fails for a vulnerability that is known; where the package index gives no
advisories, as many mirrors, it says in one line that nothing was looked up, and passes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 120


def direct_requirements() -> list[Requirement]:
    """What requirements.txt names."""
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line]


def installed_versions() -> dict[str, str]:
    """Names and versions of all that requirements.txt brings along, as installed here."""
    found: dict[str, str] = {}
    todo = direct_requirements()
    while todo:
        wanted = todo.pop()
        name = wanted.name.lower().replace("_", "-")
        if name in found:
            continue
        try:
            found[name] = version(name).partition("+")[0]
        except PackageNotFoundError:
            continue  # of another platform
        children = (Requirement(text) for text in requires(name) or ())
        extras = wanted.extras or {""}
        todo += [
            each
            for each in children
            if each.marker is None
            or any(each.marker.evaluate({"extra": extra}) for extra in extras)
        ]
    return found


def run_pip_audit(versions: dict[str, str]) -> list[dict[str, Any]]:
    """One entry per package: its ``vulns``, or the ``skip_reason`` where it was not looked up."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(f"{name}=={number}\n" for name, number in sorted(versions.items()))
        file.flush()
        command = [sys.executable, "-m", "pip_audit", "--requirement", file.name]
        command += ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    entries: list[dict[str, Any]] = json.loads(result.stdout)["dependencies"]
    return entries


def report(entries: list[dict[str, Any]]) -> tuple[list[str], bool]:
    """Lines to print, and whether a vulnerability is known."""
    looked_up = [entry for entry in entries if "skip_reason" not in entry]
    if not looked_up:
        return [
            "Advisories: none could be looked up at this package index; nothing scanned."
        ], False
    lines = [
        f"{entry['name']} {entry['version']}: {found['id']}, mended in "
        f"{', '.join(found['fix_versions']) or 'no release yet'}"
        for entry in looked_up
        for found in entry["vulns"]
    ]
    skipped = len(entries) - len(looked_up)
    summary = f"Advisories: {len(looked_up)} packages looked up, {len(lines)} known"
    return [*lines, f"{summary}; {skipped} not found there." if skipped else f"{summary}."], bool(
        lines
    )


def main() -> None:
    """Look up, print, and exit with 1 for a known vulnerability."""
    try:
        entries = run_pip_audit(installed_versions())
    except (ValueError, KeyError, subprocess.TimeoutExpired):  # no network, or no answer in time
        entries = []
    lines, is_known = report(entries)
    print("\n".join(lines))
    sys.exit(is_known)


if __name__ == "__main__":
    main()
