"""Many users at once: each gets an answer, or is told at once that the queue is full.

python -m reliability.load [--users 100] [--requests 500]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import quantiles

import httpx

from reliability.hostile_files import encode, make_image
from reliability.served import Answer, Caller, Server, running_app

QUEUE_FULL = "queue is full"
ENDPOINTS = ("preprocess", "merge", "decoder", "vision_tower")


@dataclass(frozen=True)
class Report:
    """How the requests ended."""

    answers: tuple[Answer, ...]
    seconds: float

    @property
    def kinds(self) -> Counter[str]:
        """Answered, refused as the queue was full, or failed."""
        return Counter(
            "answered"
            if answer.ok
            else "queue full"
            if QUEUE_FULL in answer.message.lower()
            else f"failed: {answer.message[:80]}"
            for answer in self.answers
        )


def press(server: Server, users: int, requests: int) -> Report:
    """All users together send this many requests, each one after another."""
    picture = encode(make_image(), "PNG")
    shares = [requests // users + (index < requests % users) for index in range(users)]

    def use(index: int) -> list[Answer]:
        caller = Caller(server)
        try:
            uploaded = caller.upload("picture.png", picture)
            if isinstance(uploaded, Answer):
                return [uploaded]
            return [
                caller.call(ENDPOINTS[(index + turn) % 4], image=uploaded, text=f"Question {index}")
                for turn in range(shares[index])
            ]
        except httpx.HTTPError as error:
            return [Answer(False, None, type(error).__name__, 0.0)]
        finally:
            caller.close()

    start = time.perf_counter()
    with ThreadPoolExecutor(users) as pool:
        answers = [answer for some in pool.map(use, range(users)) for answer in some]
    return Report(tuple(answers), time.perf_counter() - start)


def main() -> int:
    """Run and print; 1 where a request failed otherwise than by an honest refusal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--requests", type=int, default=500)
    options = parser.parse_args()
    with running_app("--public") as server:
        report = press(server, options.users, options.requests)
    times = [answer.seconds for answer in report.answers if answer.ok]
    print(f"{options.users} users, {options.requests} requests in {report.seconds:.0f} s: ", end="")
    print(dict(report.kinds), end="; ")
    print(
        f"answered after {quantiles(times, n=20)[9]:.1f} s (p95 {quantiles(times, n=20)[18]:.1f})"
    )
    return any(kind.startswith("failed") for kind in report.kinds)


if __name__ == "__main__":
    sys.exit(main())
