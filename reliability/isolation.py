"""Concurrent users get the same answers as alone, and never another user's words.

    python -m reliability.isolation [--interleavings 200]

Each interleaving sends calls from two to eight users at the same time, each with an image and a
word of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from reliability.guessing import closed_without_login, out_of_reach
from reliability.hostile_files import encode, make_image
from reliability.other_visitors import unreachable
from reliability.served import Answer, Caller, Server, running_app

MOST_USERS = 8
TOLERANCE = 1e-5  # of probabilities and norms; ids and texts must be equal
TIMED = {"miss_ms", "hit_ms"}  # differ from call to call
CALLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("decoder", {"top_k": 5}),
    ("sampling", {"settings": [{"temperature": 1.0, "seed": 7}, {}], "max_new_tokens": 6}),
    ("merge", {}),
    ("vision_tower", {"block": 1}),
)


@dataclass(frozen=True)
class User:
    """One client with its own image and its own word."""

    caller: Caller
    word: str
    image: bytes

    def call(self, number: int) -> Answer:
        """Send call number ``number``; its answer is private to this user."""
        endpoint, more = CALLS[number % len(CALLS)]
        uploaded = self.caller.upload("picture.png", self.image)
        if isinstance(uploaded, Answer):
            return uploaded
        text = f"Say {self.word}."
        return self.caller.call(endpoint, image=uploaded, text=text, **more)


def make_users(server: Server, count: int = MOST_USERS) -> list[User]:
    """Users with words that do not occur by chance."""
    return [
        User(
            Caller(server),
            f"canary{seed}q{seed * 7919}",
            encode(make_image(size=(64 + 32 * (seed % 3), 64), seed=seed), "PNG"),
        )
        for seed in range(count)
    ]


def differences(alone: Any, together: Any, path: str = "") -> Iterator[str]:
    """Where two answers are not the same."""
    if isinstance(alone, dict) and isinstance(together, dict) and alone.keys() == together.keys():
        for key in alone.keys() - TIMED:
            yield from differences(alone[key], together[key], f"{path}.{key}")
    elif isinstance(alone, list) and isinstance(together, list) and len(alone) == len(together):
        for index, pair in enumerate(zip(alone, together, strict=True)):
            yield from differences(*pair, f"{path}[{index}]")
    elif isinstance(alone, float) and isinstance(together, float):
        if abs(alone - together) > TOLERANCE * max(1.0, abs(alone)):
            yield f"{path}: {alone} alone, {together} together"
    elif alone != together:
        yield f"{path}: {alone!r} alone, {together!r} together"


def check(server: Server, interleavings: int, seed: int = 0) -> list[str]:
    """What went wrong; empty if nothing."""
    rng = np.random.default_rng(seed)
    users, problems = make_users(server), []
    alone = {(i, n): users[i].call(n) for i in range(len(users)) for n in range(len(CALLS))}
    problems += [f"alone: {answer.message}" for answer in alone.values() if not answer.ok]
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(MOST_USERS))
        for user in users:
            stack.callback(user.caller.close)
        for _ in range(interleavings):
            chosen = rng.permutation(len(users))[: rng.integers(2, MOST_USERS + 1)].tolist()
            numbers = rng.integers(len(CALLS), size=len(chosen)).tolist()
            jobs = [pool.submit(users[i].call, n) for i, n in zip(chosen, numbers, strict=True)]
            for i, number, job in zip(chosen, numbers, jobs, strict=True):
                answer = job.result()
                problems += [
                    f"user {i}, {CALLS[number][0]}{each}"
                    for each in differences(alone[i, number].data, answer.data)
                ]
                seen = json.dumps(answer.data, ensure_ascii=False) + answer.message
                problems += [
                    f"user {i} was shown user {j}'s word"
                    for j, other in enumerate(users)
                    if j != i and other.word in seen
                ]
    return problems


def main() -> int:
    """Run and print; returns 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--interleavings", type=int, default=200)
    count = parser.parse_args().interleavings
    with running_app("--queue-size", "100") as server:
        problems = check(server, count)
        problems += unreachable(server)
        problems += out_of_reach(server)
    with running_app("--auth", "guest:secret") as server:
        problems += closed_without_login(server.address, "guest", "secret")
    print("\n".join(problems[:20]))
    print(f"{count} interleavings of 2 to {MOST_USERS} users: {len(problems)} problems")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
