"""Faults while a part is drawn, or while a file is made from a run."""

from __future__ import annotations

import random
import secrets
from pathlib import Path
from typing import Any

from reliability.door import MISTAKE, same_drawings
from reliability.page_client import PageClient
from reliability.served import LEAKS, Server

DRAWN = (  # parts whose drawings run steps of the model
    "decoder.attention",
    "vision.attention",
    "decoder.rotation",
    "vision.merger",
    "decoder.layers",
)
WORDS = {"memory": "not enough memory", "mistake": MISTAKE}
DISK_FULL = "disk is full"
STAGES = ("preprocess", "vision", "merge", "decoder")


def break_drawing(server: Server, turn: int, rng: random.Random) -> tuple[bool, list[str]]:
    """One output fails, shows its own message, and is correct when it is requested again.

    Args:
        server: a watched app.
        turn: selects the part and the fault.
        rng: selects the moment.

    Returns:
        whether the fault occurred, and the problems.
    """
    part, kind = DRAWN[turn % len(DRAWN)], ("memory", "mistake")[turn % 2]
    page, other = PageClient(server), PageClient(server)
    text = f"What is this, {secrets.token_hex(4)}?"  # a new run, without drawings
    for each in (page, other):
        each.set_text(text)
        each.press(each.find("run"))
    server.command("break", kind=kind, after=rng.randrange(2), anywhere=True)
    broken = page.draw(part)
    struck = not server.command("repair")
    problems = []
    if struck:
        if not any(WORDS[kind] in words for words in broken.errors.values()):
            problems.append(f"{part}: {broken.errors}")
        if LEAKS.search(" ".join(broken.errors.values())):
            problems.append(f"{part} shows a trace or a path: {broken.errors}")
        if "" in broken.errors or not broken.drawn.keys() - broken.errors.keys():
            problems.append(f"{part}: one fault took all drawings away")
    again, right = page.draw(part), other.draw(part)
    if again.errors or not same_drawings(again, right):
        problems.append(f"{part} is not right afterwards: {again.errors}")
    page.vanish()
    other.vanish()
    return struck, problems


def make_files(page: PageClient) -> dict[str, str]:
    """Request every kind of file; returns the error messages by kind, empty on success."""
    said = {}
    asked: dict[str, tuple[str, dict[str, Any]]] = {
        f"{stage}: {kind}": ("download", {"stage": stage, "kind": kind})
        for stage in STAGES
        for kind in ("JSON", "safetensors")
    }
    asked["report"] = ("report", {})
    for name, (event, more) in asked.items():
        pressed = page.press(page.find_event(event), page.state(**more))
        said[name] = "" if pressed.ok else pressed.message
    said["porters"] = page.experiment("decoder.porters", "written").get("error", "")
    return said


def fill_disk_for_files(server: Server, full: Any) -> tuple[int, list[str]]:
    """Downloads on a full disk; ``full`` is a context manager that fills it.

    Returns:
        how many files failed, and the problems.
    """
    page, problems = PageClient(server), []
    before = made_files(server)
    with full:
        refused = make_files(page)
        drawn = page.draw("decoder.layers")  # needs no disk
    for name, words in refused.items():
        if words and (DISK_FULL not in words or LEAKS.search(words)):
            problems.append(f"{name}: {words[:200]!r}")
    if drawn.errors:
        problems.append(f"drawings: {drawn.errors}")
    whole = sum(not words for words in refused.values())  # small enough
    if len(made_files(server) - before) > whole:
        problems.append(f"left behind: {made_files(server) - before}")
    problems += [f"{name} afterwards: {words}" for name, words in make_files(page).items() if words]
    page.vanish()
    return len(refused) - whole, problems


def made_files(server: Server) -> set[Path]:
    """All files on the server for visitors."""
    return {path for path in server.folder.rglob("*") if path.is_file() and path != server.log}
