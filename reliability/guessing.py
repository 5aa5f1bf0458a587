"""Other visitors' runs and findings are unreachable: their keys are secrets.

Guessing reveals nothing: an existing key of someone else and an invented key get the same answer.
With accounts, nothing answers without a login.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from statistics import median

import httpx

from reliability.door import ROUTE, Reply
from reliability.page_client import PageClient
from reliability.served import Server

LABS = (("decoder.what-if", "changed"), ("sampling.side", "columns"))
TRIES = 40  # of each kind of key, interleaved, to compare times
OPEN_PATHS = ("/healthz", "/readyz")  # reveal nothing about visitors
CLOSED_PATHS = (
    "/config",
    "/gradio_api/info",
    "/gradio_api/queue/status",
    "/gradio_api/file=playground/checkpoints/tiny/config.json",
)


def out_of_reach(server: Server) -> list[str]:
    """Two visitors, each with a run and findings; returns what one could get from the other."""
    mine, theirs = PageClient(server), PageClient(server)
    opening = PageClient(server)
    words = {}
    for page in (mine, theirs):
        words[page] = secrets.token_hex(6)
        page.set_text(f"Remember {words[page]}.")
        page.press(page.find("run"))
        for part, name in LABS:
            page.experiment(part, name)
    problems = [*_same_answer(mine, theirs), *_findings_of_others(mine, theirs)]
    for page, other in ((mine, theirs), (theirs, mine), (opening, mine), (opening, theirs)):
        for part, reply in page.door.draw_all(page.run["key"], findings=page.all_findings()):
            if words[other] in reply.text:
                problems.append(f"{part} shows what another visitor wrote")
    for page in (mine, theirs, opening):
        page.vanish()
    return problems


def _same_answer(mine: PageClient, theirs: PageClient) -> Iterator[str]:
    """An almost correct guess gets the same answer as any other."""
    key = theirs.run["key"]
    near = [key[:-1] + ("a" if key[-1] != "a" else "b"), key[:-1], key.swapcase(), key + "="]
    unknown = secrets.token_urlsafe(16)
    known = _words(mine.door.ask("decoder.facts", unknown))
    for guess in (*near, *theirs.all_findings().values()):
        if _words(mine.door.ask("decoder.facts", guess)) != known:
            yield "a wrong key is answered otherwise than one that never was"
    pairs = [
        [mine.door.ask("decoder.facts", each).seconds for each in (near[0], unknown)]
        for _ in range(TRIES)
    ]
    almost, never = (median(each) for each in zip(*pairs, strict=True))
    if not 0.5 < almost / never < 2:
        yield f"guesses take {almost * 1000:.1f} ms where almost right, else {never * 1000:.1f} ms"


def _findings_of_others(mine: PageClient, theirs: PageClient) -> Iterator[str]:
    """With another visitor's key, a finding does not exist."""
    for part, name in LABS:
        full_name = mine.parts[part].experiments[name]["finding"]
        run, outputs = mine.run["key"], mine.parts[part].outputs_of[name]
        keys = {"none": {}, "theirs": {full_name: theirs.findings[full_name]}}
        keys["never given"] = {full_name: secrets.token_urlsafe(16)}
        drawn = {
            who: mine.door.ask(part, run, outputs, findings=each).drawn
            for who, each in keys.items()
        }
        if not drawn["none"] == drawn["theirs"] == drawn["never given"]:
            yield f"{part} tells whether a finding of another's exists"
        own = mine.door.ask(part, run, outputs, findings=mine.findings).drawn
        if own == drawn["none"]:
            yield f"{part} does not draw the visitor's own finding: nothing was compared"


def _words(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.text


def closed_without_login(address: str, user: str, password: str) -> list[str]:
    """An app with accounts, used without one; returns what answered."""
    problems = []
    with httpx.Client(base_url=address, timeout=300) as http:
        question = {"data": {}, "component_id": 1, "fn_name": "draw", "session_hash": "s"}
        posts = (ROUTE, ROUTE + "/", "/gradio_api/queue/join", "/gradio_api/upload")
        statuses = {path: http.post(path, json=question).status_code for path in posts}
        statuses |= {path: http.get(path).status_code for path in CLOSED_PATHS}
        problems += [f"{path}: {code}" for path, code in statuses.items() if code != 401]
        for path in OPEN_PATHS:
            if len(json.dumps(http.get(path).json())) > 200:
                problems.append(f"{path} tells more than whether the server is up")
        wrong = http.post("/login", data={"username": user, "password": password + "x"})
        if wrong.status_code == 200 or http.get("/config").status_code != 401:
            problems.append("a wrong password lets in")
        http.post("/login", data={"username": user, "password": password})
        if http.get("/config").status_code != 200:
            problems.append("the right password does not let in")
        answer = http.post(ROUTE, json=question).status_code
        if answer == 401:
            problems.append("who has logged in cannot ask")
    return problems
