"""Machine failures: a clear message, and a correct next run.

    python -m reliability.faults [--times 20]

Out of memory and NaN hit the real model at a random layer of a random request; out of memory and an
exception also hit the drawing of a part. For a full disk, the kernel limits the app to a few bytes
per file. The app is killed while it computes and while it receives an upload, and restarted with
the same folder.
"""

from __future__ import annotations

import argparse
import random
import resource
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from reliability.exclusion import ApiCall
from reliability.faults_in_parts import break_drawing, fill_disk_for_files
from reliability.hostile_files import encode, make_image
from reliability.isolation import differences
from reliability.page_client import PageClient
from reliability.served import Answer, Caller, Server, start_app, stop_app, wait_until_ready

ROOM_BYTES = 2_000  # per file, on the full disk
IMAGE_SIDE = 96  # its file is larger than that
REQUESTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("decoder", {"text": "What is left of the square?"}),
    ("sampling", {"text": "Describe this image.", "settings": [{}], "max_new_tokens": 8}),
    ("vision_tower", {"text": "Describe this image."}),
    ("merge", {"text": "Describe this image."}),
    ("grounding", {"text": "Where is the square? Give its box.", "max_new_tokens": 8}),
    ("cache_reuse", {"first_text": "Hello", "second_text": "Hello you"}),
)
KINDS = ("memory", "nan", "drawing", "disk", "killed")
WORDS = {"memory": "not enough memory", "nan": "NaN", "disk": "disk is full"}


@dataclass
class Report:
    """Results for one kind of fault."""

    kind: str
    struck: int = 0  # requests hit by the fault
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.kind}: struck {self.struck} times, {len(self.problems)} problems"


class Client:
    """Sends known requests and compares with the answers from before the fault."""

    def __init__(self, server: Server, seed: int = 0) -> None:
        self.server = server
        self.rng = random.Random(seed)
        self.caller = Caller(server)
        self.image = encode(make_image(size=(IMAGE_SIDE, IMAGE_SIDE), seed=seed), "PNG")
        self.right = [self.ask(number) for number in range(len(REQUESTS))]

    def ask(self, number: int, uploaded: Any = None) -> Answer:
        """Send one of ``REQUESTS`` with the image."""
        endpoint, body = REQUESTS[number]
        uploaded = uploaded or self.caller.upload("picture.png", self.image)
        if isinstance(uploaded, Answer):
            return uploaded
        return self.caller.call(endpoint, image=uploaded, **body)

    def wrong(self) -> list[str]:
        """Differences from the earlier answers, with a newly uploaded image."""
        return [each for number in range(len(REQUESTS)) for each in self.wrong_once(number)]

    def wrong_once(self, number: int) -> list[str]:
        """The same for one request."""
        answer, endpoint = self.ask(number), REQUESTS[number][0]
        if not answer.ok:
            return [f"{endpoint}: {answer.message}"]
        return list(differences(self.right[number].data, answer.data, endpoint))

    def close(self) -> None:
        """Close the connections."""
        self.caller.close()


def check_message(report: Report, kind: str, answer: Answer) -> None:
    """The message must say what happened, and reveal nothing about the server."""
    if answer.ok:
        report.problems.append("an answer in spite of the fault")
    elif WORDS[kind] not in answer.message or answer.leaks:
        report.problems.append(f"message: {answer.message[:200]!r}")


# ------------------------------------------------------------------------------- the model


def break_model(server: Server, kind: str, times: int) -> Report:
    """``kind`` is "memory" or "nan"; every other time it hits a page's run."""
    report, client = Report(kind), Client(server)
    page = PageClient(server)
    for turn in range(times):
        number = turn // 2 % len(REQUESTS)
        # vision_tower and merge stop before the decoder, where a NaN is noticed.
        if kind == "nan" and REQUESTS[number][0] in ("vision_tower", "merge"):
            number = 1
        uploaded = client.caller.upload("picture.png", client.image)
        server.command("break", kind=kind, after=client.rng.randrange(4))
        if turn % 2:
            page.set_text(f"Question {turn}?")
            pressed = page.press(page.find("run"))
            check_message(report, kind, Answer(pressed.ok, None, pressed.message, 0.0))
        else:
            check_message(report, kind, client.ask(number, uploaded))
        if server.command("repair"):
            report.problems.append(f"turn {turn}: the fault did not strike")
        else:
            report.struck += 1
        report.problems += client.wrong_once(number)
        if turn % 2 and not page.press(page.find("run")).ok:
            report.problems.append("the page's next run failed")
    report.problems += client.wrong()
    page.vanish()
    client.close()
    return report


def break_drawings(server: Server, times: int) -> Report:
    """Inject faults into single outputs of parts."""
    report, rng = Report("drawing"), random.Random(0)
    for turn in range(times):
        struck, problems = break_drawing(server, turn, rng)
        report.struck += struck
        report.problems += problems if struck else ["the fault did not strike"]
    return report


# -------------------------------------------------------------------------------- the disk


@contextmanager
def full_disk(server: Server) -> Iterator[None]:
    """Limit the bytes that the app may write per file, as on a full disk."""
    soft, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (ROOM_BYTES, hard))
    try:
        yield
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (soft, hard))


def fill_disk(server: Server, times: int) -> Report:
    """Uploads fail in the middle; the same image, sent again later, is complete."""
    report, client = Report("disk"), Client(server)
    before = set(half_written(server))  # what visitors have sent before
    for turn in range(times):
        side = IMAGE_SIDE + turn  # another file each time: names depend on the contents
        client.image = encode(make_image(size=(side, side), seed=turn), "PNG")
        number = turn % len(REQUESTS)
        with full_disk(server):
            refused = client.caller.upload("picture.png", client.image)
            if isinstance(refused, Answer):
                report.struck += 1
                check_message(report, "disk", refused)
            else:
                report.problems.append("an upload succeeded in spite of the full disk")
            # Whatever needs no disk still works.
            answer = client.caller.call("merge", image=None, text="Hello")
            if not answer.ok:
                report.problems.append(f"text alone: {answer.message[:200]}")
        again, other = client.ask(number), Caller(server)
        named = other.upload("another name.png", client.image)
        other.close()
        same = client.ask(number, named)
        if not (again.ok and same.ok):
            report.problems.append(f"afterwards: {again.message} {same.message}")
        else:
            report.problems += list(differences(again.data, same.data))
        left = set(half_written(server)) - before
        report.problems += [f"left behind: {path.name}" for path in left]
    client.image = encode(make_image(size=(IMAGE_SIDE, IMAGE_SIDE), seed=0), "PNG")
    report.problems += client.wrong()
    client.close()
    num_refused, problems = fill_disk_for_files(server, full_disk(server))
    report.struck += num_refused
    report.problems += problems if num_refused else ["every file was made on the full disk"]
    return report


def half_written(server: Server) -> list[Path]:
    """Truncated images in the server's folder that a visitor could get."""
    images = (server.folder / "files").rglob("*.png")
    return [path for path in images if not path.read_bytes().endswith(b"IEND\xaeB`\x82")]


# ------------------------------------------------------------------------------- the process


def kill_and_restart(server: Server, folder: Path, times: int) -> tuple[Report, Server]:
    """Send SIGKILL during a run or an upload; returns the last server started."""
    report, client = Report("killed"), Client(server)
    config = httpx.get(f"{server.address}/config").json()
    right, image = client.right, client.image
    for turn in range(times):
        uploaded = client.caller.upload("picture.png", image)
        threads: list[threading.Thread] = []
        if turn % 2:
            threads.append(_in_background(_send_slowly, server))
        body = {"image": uploaded, "text": "Describe this image.", "max_new_tokens": 200}
        call = ApiCall(server, config, "sampling", **body)
        call.done.wait(client.rng.random() * 0.5)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        report.struck += not call.done.is_set()
        call.close()
        client.close()
        for thread in threads:
            thread.join()
        stop_app(server)
        server = restart(folder)
        client.server, client.caller = server, Caller(server)
        client.right = right
        number = turn % len(REQUESTS)
        report.problems += client.wrong_once(number)
        report.problems += [f"left behind: {path.name}" for path in half_written(server)]
    report.problems += client.wrong()
    client.close()
    return report, server


def restart(folder: Path) -> Server:
    """Restart the app; on a busy machine, Gradio's first request to itself may time out."""
    for left in (2, 1, 0):
        server = start_app(folder, "--public", watched=True)
        try:
            wait_until_ready(server)
            return server
        except RuntimeError:
            stop_app(server)
            if not left:
                raise
    raise AssertionError


def _in_background(function: Callable[[Server], None], server: Server) -> threading.Thread:
    thread = threading.Thread(target=function, args=(server,), daemon=True)
    thread.start()
    return thread


def _send_slowly(server: Server) -> None:
    """An upload that is still running when the app is killed."""
    content = encode(make_image(size=(600, 600), seed=9), "PNG")

    def parts() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        for start in range(0, len(content), 20_000):
            yield content[start : start + 20_000]
            threading.Event().wait(0.1)
        yield b"\r\n--x--\r\n"

    with suppress(httpx.HTTPError, OSError):
        httpx.post(
            f"{server.address}/gradio_api/upload",
            content=parts(),
            headers={"content-type": "multipart/form-data; boundary=x"},
        )


def main() -> int:
    """Run and print; returns 1 if a fault has lasting effects."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=20, help="of each fault")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    options = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as name:
        server = restart(Path(name))
        try:
            for kind in options.kinds:
                if kind == "killed":
                    report, server = kill_and_restart(server, Path(name), options.times)
                elif kind == "drawing":
                    report = break_drawings(server, options.times)
                elif kind == "disk":
                    report = fill_disk(server, options.times)
                else:
                    report = break_model(server, kind, options.times)
                print(report, *report.problems[:10], sep="\n", flush=True)
                failed |= bool(report.problems) or not report.struck
        finally:
            stop_app(server)
    return failed


if __name__ == "__main__":
    sys.exit(main())
