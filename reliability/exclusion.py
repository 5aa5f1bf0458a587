"""Only one thread is in the model at a time, and work stops when nobody waits for it.

    python -m reliability.exclusion [--requests 500] [--cancels 100] [--disconnects 100]

Requests use every route: a page's Run, every experiment of its parts, the parts' drawings, the six
endpoints, and calls that bypass the queue, which must be refused. Many are stopped or lose their
connection at a random moment. Hooks on the real model record who is inside, and when each request's
last layer ended.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx

from reliability.door import WAIT_S
from reliability.hostile_files import encode, make_image
from reliability.page_client import PageClient, Stream
from reliability.served import ENDPOINTS, Caller, Server, running_app

USERS = 8  # concurrent users: more than the queue lets in
IDLE_S = 1.0  # after a cancel, the model must be idle within this time plus one token
TOKEN_S = 0.5  # one token of the shipped checkpoint on a busy machine; the current step may finish
LONGEST_DELAY_S = 1.5  # before a cancel

FATES = ("finish", "stop", "vanish")
LONG_SAMPLING: dict[str, Any] = {
    "text": "Describe this image in detail.",
    "settings": [{"temperature": 1.0, "seed": seed} for seed in range(8)],
    "max_new_tokens": 200,
}


@dataclass(frozen=True)
class Ended:
    """A running request that was cancelled or lost its client."""

    route: str
    fate: str
    event_id: str
    when: float


@dataclass
class Tally:
    """Totals over all users."""

    routes: Counter[str] = field(default_factory=Counter)
    fates: Counter[str] = field(default_factory=Counter)
    ended: list[Ended] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, route: str, fate: str, ended: Ended | None) -> None:
        """Count one request."""
        with self.lock:
            self.routes[route] += 1
            self.fates[fate] += 1
            if ended is not None:
                self.ended.append(ended)


class ApiCall:
    """One call of an endpoint, which can be cancelled or disconnected."""

    def __init__(self, server: Server, config: dict[str, Any], endpoint: str, **body: Any) -> None:
        self.http = httpx.Client(base_url=server.address, timeout=WAIT_S)
        self.done = threading.Event()
        self._function = next(
            each["id"] for each in config["dependencies"] if each["api_name"] == endpoint
        )
        reply = self.http.post(f"/gradio_api/call/v2/{endpoint}", json=body)
        self.event_id = reply.json().get("event_id", "")
        self._stream = Stream(server.address, f"/gradio_api/call/{endpoint}/{self.event_id}")
        if self.event_id:
            self._stream.start(self._take)
        else:  # refused, for example because the queue is full
            self.done.set()

    def _take(self, line: str) -> bool:
        if line in ("event: complete", "event: error"):
            self.done.set()
        return False

    def stop(self) -> float:
        """Cancel as Gradio's client does."""
        when = time.monotonic()
        body = {
            "session_hash": self.event_id,
            "fn_index": self._function,
            "event_id": self.event_id,
        }
        self.http.post("/gradio_api/cancel", json=body)
        return when

    def vanish(self) -> float:
        """Lose the connection."""
        when = time.monotonic()
        self._stream.cut()
        return when

    def close(self) -> None:
        """Close the connections."""
        self._stream.cut()
        self.http.close()


class User:
    """A user with a page, who uses one route after another."""

    def __init__(self, server: Server, tally: Tally, seed: int) -> None:
        self.server, self.tally, self.rng = server, tally, random.Random(seed)
        self.page = PageClient(server)
        self.config = self.page.config
        parts = self.page.parts
        self.labs = [(key, name) for key, part in parts.items() for name in part.experiments]
        self.drawn = list(parts)
        self.run = self.page.find("run")
        caller = Caller(server)
        content = encode(make_image(size=(320, 240), seed=self.rng.randrange(99)), "PNG")
        self.image = caller.upload("picture.png", content)
        caller.close()

    def use(self, turn: int, fate: str) -> None:
        """One request on the next route."""
        kind = turn % 5
        if kind == 0:
            self.page.set_text(f"Question {turn} about the picture?")
            self._press("page: Run", self.run, fate)
        elif kind == 1:
            self.experiment(turn // 5, fate)
        elif kind == 2:
            self._call(ENDPOINTS[turn // 5 % 6], fate)
        elif kind == 3:
            self._draw(self.drawn[turn // 5 % len(self.drawn)])
        else:
            self._call_directly(ENDPOINTS[turn // 5 % 6])

    def experiment(self, turn: int, fate: str) -> None:
        """One of the parts' experiments."""
        part, name = self.labs[turn % len(self.labs)]
        pressed = self.page.start_experiment(part, name)
        route = "page: experiments"
        self._end(route, fate, pressed, self.page.stop, self.page.vanish, f"{route}, {part}.{name}")
        self._renew(fate)

    def close(self) -> None:
        """Close the page."""
        self.page.vanish()

    def _end(
        self, route: str, fate: str, under_way: Any, stop: Any, vanish: Any, name: str = ""
    ) -> None:
        """Let it finish, or end it after a while; ``fate`` counts only if it was still running."""
        ended = None
        if fate != "finish":
            delay = LONGEST_DELAY_S * self.rng.random() ** 2
            if not under_way.done.wait(delay):
                when = stop() if fate == "stop" else vanish()
                ended = Ended(name or route, fate, under_way.event_id, when)
        if fate != "vanish" and not under_way.done.wait(WAIT_S):
            self.tally.problems.append(f"{route} has not ended")
        self.tally.note(route, fate if ended or fate == "finish" else "finish", ended)

    def _press(self, route: str, index: int, fate: str) -> None:
        pressed = self.page.start(index)
        name = f"{route}, {self.page.label(index)}"
        self._end(route, fate, pressed, self.page.stop, self.page.vanish, name)
        self._renew(fate)

    def _renew(self, fate: str) -> None:
        if fate == "vanish":
            self.page.vanish()
            self.page = PageClient(self.server, self.config)

    def _draw(self, part: str) -> None:
        """A part's drawings, some of which run steps of the model."""
        if self.page.run["key"] is None:
            return
        reply = self.page.draw(part)
        if not reply.waits:
            self.tally.problems += [f"drawing of {part}: {fault}" for fault in reply.faults]
        self.tally.note("page: drawings", "finish", None)

    def _call(self, endpoint: str, fate: str) -> None:
        body: dict[str, Any] = {"image": self.image, "text": "What is this?"}
        if endpoint == "sampling":
            body |= LONG_SAMPLING
        if endpoint == "cache_reuse":
            body = {"image": self.image, "first_text": "Hello", "second_text": "Hello you"}
        call = ApiCall(self.server, self.config, endpoint, **body)
        self._end(f"api: {endpoint}", fate, call, call.stop, call.vanish)
        call.close()

    def _call_directly(self, endpoint: str) -> None:
        """Call the model while bypassing the queue, which must be impossible."""
        body = {"data": [None, "Hello", "", None, 0, 10][:4]}
        reply = httpx.post(
            f"{self.server.address}/gradio_api/run/{endpoint}", json=body, timeout=WAIT_S
        )
        if reply.status_code != 404:
            self.tally.problems.append(f"direct call of {endpoint}: {reply.status_code}")
        self.tally.note("direct, refused", "finish", None)


def crowd(server: Server, requests: int, seed: int = 0) -> Tally:
    """Many users on all routes at once; two thirds of the requests are stopped or lost."""
    tally = Tally()
    turns = iter(range(requests))

    def work(number: int) -> None:
        user = User(server, tally, seed + number)
        try:
            while True:
                with tally.lock:
                    turn = next(turns, None)
                if turn is None:
                    return
                user.use(turn, user.rng.choice(FATES))
        except Exception as error:
            tally.problems.append(f"user {number}: {type(error).__name__}: {error}")
        finally:
            user.close()

    with ThreadPoolExecutor(USERS) as pool:
        list(pool.map(work, range(USERS)))
    return tally


def end_many(server: Server, fate: str, count: int, seed: int = 0) -> Tally:
    """One user, whose running requests all end this way."""
    tally = Tally()
    user = User(server, tally, seed)
    long_calls: list[Callable[[int], None]] = [
        lambda _: user._call("sampling", fate),
        lambda turn: user.use(5 * turn, fate),
        lambda turn: user.experiment(turn // 3, fate),
    ]
    for turn in range(6 * count):
        if len(tally.ended) >= count:
            break
        long_calls[turn % 3](turn)
    user.close()
    return tally


def lateness(server: Server, ended: list[Ended]) -> list[tuple[float, Ended]]:
    """How long each request stayed in the model after its end; 0 if it was not in it."""
    time.sleep(2 * IDLE_S)
    last = server.command("forwards")["last"]
    return [(max(0.0, last.get(each.event_id, 0.0) - each.when), each) for each in ended]


def _print_lateness(name: str, late: list[tuple[float, Ended]]) -> None:
    ordered = sorted(seconds for seconds, _ in late)
    print(f"{name}: {len(ordered)} ended under way; the last layer ", end="")
    print(f"{ordered[len(ordered) // 2]:.3f} s later (median), {ordered[-1]:.3f} s (longest)")
    for seconds, ended in late:
        if seconds > TOKEN_S + IDLE_S:
            print(f"  {ended.route}, {ended.fate}: {seconds:.2f} s", flush=True)


def main() -> int:
    """Run and print; returns 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--cancels", type=int, default=100)
    parser.add_argument("--disconnects", type=int, default=100)
    options = parser.parse_args()
    with running_app("--public", watched=True) as server:
        start = time.monotonic()
        tally = crowd(server, options.requests)
        late = {"in the crowd": lateness(server, tally.ended)}
        print(f"{sum(tally.routes.values())} requests in {time.monotonic() - start:.0f} s: ")
        print(f"  {dict(tally.routes)}\n  {dict(tally.fates)}", flush=True)
        _print_lateness("in the crowd", late["in the crowd"])
        for fate, count in (("stop", options.cancels), ("vanish", options.disconnects)):
            alone = end_many(server, fate, count)
            tally.problems += alone.problems
            late[fate] = lateness(server, alone.ended)
            _print_lateness(f"alone, {fate}", late[fate])
        forwards = server.command("forwards")
    print(f"threads in the model at once: {forwards['most']}, entered {forwards['entries']} times")
    worst = max(seconds for each in late.values() for seconds, _ in each)
    print("\n".join(tally.problems[:20]) or "no problems")
    return bool(tally.problems) or forwards["most"] != 1 or worst > TOKEN_S + IDLE_S


if __name__ == "__main__":
    sys.exit(main())
