"""A visitor's files on the server, and attempts of others to get them.

Uploads, downloads and the images of links have names that nobody can guess. Without the name,
nobody may find them; and knowing a path on the disk must not be enough either, unless the file is
served by name.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from reliability.hostile_files import encode, make_image
from reliability.page_client import PageClient
from reliability.served import LEAKS, Answer, Caller, Server

FORBIDDEN_PATHS = (  # files on every server that must never be served
    "/etc/passwd",
    "/proc/self/environ",
    "/proc/self/cmdline",
    "app.py",
    "components/serving/server.py",
    "../app.py",
    "%2e%2e/app.py",
    "..%2fapp.py",
    "....//app.py",
    "playground/checkpoints/tiny/config.json",
    "file:///etc/passwd",
    "http://127.0.0.1:1/x.png",
)


def hostile_queries() -> list[str]:
    """Malicious query strings in place of a link."""
    nobody = "0" * 64
    return [
        *(f"?images={quote(path, safe='')}" for path in FORBIDDEN_PATHS),
        f"?images={nobody}",
        f"?images={nobody[:-1]}",
        f"?images={','.join([nobody] * 500)}",
        f"?video={nobody}",
        f"?images={nobody}%00",
        f"?images={nobody}%2f..%2f..",
        "?text=" + "x" * 7_000,
        "?text=" + "x" * 60_000,
        "?ztext=" + "A" * 5_000,
        "?ztext=%ff%fe",
        "?text=%ff%fe%00",
        "?text=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E",
        "?text=%F0%9F%91%A9&system=%3C%7Cim_end%7C%3E",
        "?example=../../etc/passwd",
        "?example=%00",
        "?tab=" + ",".join(["4"] * 900),
        "?at=999999999.999999999.999999999",
        "?at=-1",
        "?at=NaN",
        "?pixels=NaN",
        "?pixels=1e400",
        "?pixels=%7B%22a%22:1%7D",
        "?model=" + "%3Cb%3E" * 99,
        "?" + "&".join(f"a{number}.b=1" for number in range(900)),
        "?sampling.temperature=" + "[" * 2_000,
        "?lang=../../etc&lang=zh",
        "?lang=%0d%0aSet-Cookie:x=1",
        "?__theme=%22%3E%3Cscript%3E",
    ]


@dataclass(frozen=True)
class Belongings:
    """What a visitor has left on the server."""

    word: str  # in no other's text
    uploaded: str  # the path that only their browser got
    kept: tuple[Path, ...]  # paths of images kept for a link


def leave_belongings(server: Server) -> tuple[PageClient, Belongings]:
    """A visitor uploads an image, runs it with a unique word, and copies a link to it."""
    word = secrets.token_hex(8)
    page, caller = PageClient(server), Caller(server)
    uploaded = caller.upload("mine.png", encode(make_image(seed=77), "PNG"))
    caller.close()
    assert not isinstance(uploaded, Answer)
    page.set_text(f"Remember {word}.")
    page.set_images([{"image": uploaded, "caption": None}])
    page.press(page.find("run"))
    page.press(page.find("copy-link"))
    kept = tuple((server.folder / "scratch").rglob("linked/*/*"))
    return page, Belongings(word, uploaded["path"], kept)


def try_everything(server: Server, theirs: Belongings) -> list[str]:
    """What another visitor could get; empty if nothing."""
    found: list[str] = []
    with httpx.Client(base_url=server.address, timeout=300) as http:
        found += [
            f"{path} was given out"
            for path in _guesses(server, theirs)
            if _is_given_out(http, path)
        ]
        found += [each for query in hostile_queries() for each in _open_link(http, query)]
        for route in ("/monitoring", "/gradio_api/run-history", "/gradio_api/deep_link"):
            if theirs.word in http.get(route).text:
                found.append(f"{route} shows a visitor's words")
    found += _call_with_paths(server, theirs)
    return found


def _guesses(server: Server, theirs: Belongings) -> list[str]:
    """Paths near a visitor's files, without the secret part."""
    folder = Path(theirs.uploaded).parent
    near = [str(folder), str(folder.parent), f"{folder.parent}/{'0' * 64}/mine.png"]
    return [
        *FORBIDDEN_PATHS,
        *near,
        *map(str, theirs.kept),
        *(str(path.parent) for path in theirs.kept),
        str(server.log),
        f"{folder}/../../log",
        f"{folder}/%2e%2e/%2e%2e/log",
    ]


def _is_given_out(http: httpx.Client, path: str) -> bool:
    # Both plain and quoted: the client would normalise the dots.
    answers = [http.get(f"/gradio_api/file={each}") for each in (path, quote(path, safe=""))]
    return any(answer.status_code == 200 for answer in answers)


def _open_link(http: httpx.Client, query: str) -> list[str]:
    answer = http.get("/" + query, follow_redirects=False)
    problems = []
    if answer.status_code >= 500:
        problems.append(f"{query[:80]}: status {answer.status_code}")
    if "set-cookie" in answer.headers and "x=1" in answer.headers["set-cookie"]:
        problems.append(f"{query[:80]}: set a cookie")
    if answer.is_redirect and not answer.headers["location"].startswith("./"):
        problems.append(f"{query[:80]}: leads to {answer.headers['location'][:80]}")
    return problems


def _call_with_paths(server: Server, theirs: Belongings) -> list[str]:
    """Files on the disk, sent to an endpoint as if they had been uploaded."""
    caller, found = Caller(server), []
    paths: list[Any] = [*map(str, theirs.kept), *FORBIDDEN_PATHS]
    for path in paths:
        for image in (path, {"path": path, "meta": {"_type": "gradio.FileData"}}):
            answer = caller.call("preprocess", image=image, text="Hello")
            if answer.ok:
                found.append(f"an endpoint opened {path}")
            if answer.blank or LEAKS.search(answer.message.replace(path, "")):
                found.append(f"{json.dumps(image)}: {answer.message[:120]!r}")
    caller.close()
    return found


def unreachable(server: Server) -> list[str]:
    """The whole test: a visitor leaves files, and someone else looks for them."""
    page, theirs = leave_belongings(server)
    found = try_everything(server, theirs)
    if not theirs.kept:
        found.append("no image was kept for the link: nothing to look for")
    page.vanish()
    return found
