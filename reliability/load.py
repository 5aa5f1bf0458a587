"""Many users at once: each gets an answer, or immediately the message that the queue is full.

python -m reliability.load [--users 100] [--requests 500] [--questions 1000]

Then many pages request drawings at once: each request is answered, overtaken by a later one of the
same page, or refused as busy, while events are still answered.
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

from reliability.door import Door, Reply
from reliability.hostile_files import encode, make_image
from reliability.page_client import PageClient
from reliability.served import Answer, Caller, Server, running_app

QUEUE_FULL = "queue is full"
THREADS = 48  # concurrent requests: more than may wait
ENDPOINTS = ("preprocess", "merge", "decoder", "vision_tower")


@dataclass(frozen=True)
class Report:
    """The outcomes of the requests."""

    answers: tuple[Answer, ...]
    seconds: float

    @property
    def kinds(self) -> Counter[str]:
        """Answered, refused because the queue was full, or failed."""
        return Counter(
            "answered"
            if answer.ok
            else "queue full"
            if QUEUE_FULL in answer.message.lower()
            else f"failed: {answer.message[:80]}"
            for answer in self.answers
        )


def press(server: Server, users: int, requests: int) -> Report:
    """All users together send this many requests; each user sends one at a time."""
    image = encode(make_image(), "PNG")
    shares = [requests // users + (index < requests % users) for index in range(users)]

    def use(index: int) -> list[Answer]:
        caller = Caller(server)
        try:
            uploaded = caller.upload("picture.png", image)
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


@dataclass(frozen=True)
class Crowd:
    """Outcomes of the requests to parts, and of events at the same time."""

    replies: tuple[Reply, ...]
    last: tuple[Reply, ...]  # each page's last request for a part, which nothing overtakes
    events: tuple[Answer, ...]  # one after another, during the requests
    after: Reply  # one more request, at the end

    @property
    def kinds(self) -> Counter[str]:
        """Drawn, overtaken, busy, or failed."""
        return Counter(map(_kind, self.replies))

    @property
    def problems(self) -> list[str]:
        """What is wrong with it; empty if nothing."""
        found = [fault for reply in self.replies for fault in reply.faults]
        found += [f"an event failed: {each.message[:80]}" for each in self.events if not each.ok]
        found += ["a page's last question was overtaken"] * sum(
            "overtaken" in each.content for each in self.last
        )
        if _kind(self.after) != "drawn":
            found.append(f"afterwards: {self.after.text[:80]}")
        return found


def _kind(reply: Reply) -> str:
    waits = [name for name in ("busy", "overtaken") if name in reply.content]
    return waits[0] if waits else "failed" if reply.errors or reply.faults else "drawn"


def crowd(server: Server, pages: int, questions: int) -> Crowd:
    """This many pages request one part, each with several requests at once."""
    visitor = PageClient(server)
    run, part = visitor.run["key"], "decoder.attention"
    doors = [Door(server, visitor.parts) for _ in range(pages)]

    def ask(index: int) -> Reply:
        # Numbered in order, but they may arrive in any order.
        door, values = doors[index % pages], {f"{part}.layer": index % 4}
        return door.ask(part, run, values=values, number=index + 1)

    def press() -> list[Answer]:
        caller, answers = Caller(server), []
        while not over:
            answers.append(caller.call("preprocess", image=None, text="Hello"))
        caller.close()
        return answers

    over: list[bool] = []
    with ThreadPoolExecutor(THREADS + 1) as pool:
        events = pool.submit(press)
        replies = list(pool.map(ask, range(questions)))
        over.append(True)
        answered = tuple(events.result())
    after = doors[0].ask(part, run, number=questions + 1)
    for door in doors:
        door.close()
    visitor.vanish()
    return Crowd(tuple(replies), tuple(replies[-pages:]), answered, after)


def main() -> int:
    """Run and print; returns 1 if a request failed other than by a clear refusal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--questions", type=int, default=1000)
    options = parser.parse_args()
    with running_app("--public") as server:
        report = press(server, options.users, options.requests)
        drawn = crowd(server, THREADS // 4, options.questions)
    times = [answer.seconds for answer in report.answers if answer.ok]
    print(f"{options.users} users, {options.requests} requests in {report.seconds:.0f} s: ", end="")
    print(dict(report.kinds), end="; ")
    print(
        f"answered after {quantiles(times, n=20)[9]:.1f} s (p95 {quantiles(times, n=20)[18]:.1f})"
    )
    longest = max(each.seconds for each in drawn.events)
    print(f"{len(drawn.replies)} questions: {dict(drawn.kinds)}; beside them ", end="")
    print(f"{len(drawn.events)} events, the slowest after {longest:.1f} s")
    print("\n".join(drawn.problems[:20]) or "no problems")
    return any(kind.startswith("failed") for kind in report.kinds) or bool(drawn.problems)


if __name__ == "__main__":
    sys.exit(main())
