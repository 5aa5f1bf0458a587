"""A store of runs that stays within its bytes."""

from __future__ import annotations

import pytest
import torch

from playground.engine import Engine
from playground.errors import InputError
from playground.pipeline import Run
from playground.run_store import RunStore
from tests.playground.prompt_samples import PROMPTS


class Sized:
    """A run of a given size."""

    def __init__(self, num_bytes: int) -> None:
        self.num_bytes = num_bytes


def fill(store: RunStore, *sizes: int) -> list[str]:
    return [store.add(Sized(size)) for size in sizes]  # type: ignore[arg-type]


def held(store: RunStore, keys: list[str]) -> list[int]:
    return [index for index, key in enumerate(keys) if store.peek(key) is not None]


def test_the_least_recently_used_run_goes_first() -> None:
    store = RunStore(max_bytes=100)
    keys = fill(store, 40, 40)
    store.get(keys[0])
    keys += fill(store, 40)
    assert held(store, keys) == [0, 2]
    with pytest.raises(InputError, match=r"has expired.*Press Run again"):
        store.get(keys[1])


def test_looking_without_using_does_not_count() -> None:
    store = RunStore(max_bytes=100)
    keys = fill(store, 40, 40)
    store.peek(keys[0])
    keys += fill(store, 40)
    assert held(store, keys) == [1, 2]


def test_within_the_budget_all_stay() -> None:
    store = RunStore(max_bytes=100)
    keys = fill(store, 50, 50)
    assert held(store, keys) == [0, 1]
    assert len(store) == 2


def test_the_newest_run_always_stays() -> None:
    store = RunStore(max_bytes=10)
    keys = fill(store, 5, 500)
    assert held(store, keys) == [1]


def test_a_pinned_run_is_never_dropped() -> None:
    store = RunStore(max_bytes=100)
    pinned = store.add(Sized(90), pinned=True)  # type: ignore[arg-type]
    keys = fill(store, 40, 40)
    store.discard(pinned)
    assert store.get(pinned).num_bytes == 90
    assert held(store, keys) == [1]


def test_discarding() -> None:
    store = RunStore()
    keys = fill(store, 1, 1)
    store.discard(keys[0])
    store.discard("unknown")
    store.discard(None)
    assert held(store, keys) == [1]


@pytest.mark.parametrize("key", [None, "", "unknown"])
def test_unknown_keys(key: str | None) -> None:
    store = RunStore(max_bytes=5 << 20)
    fill(store, 1)
    assert store.peek(key) is None
    with pytest.raises(InputError, match="up to 5 MB"):
        store.get(key)


def test_keys_cannot_be_guessed() -> None:
    keys = fill(RunStore(), *[1] * 50)
    assert len(set(keys)) == 50
    assert min(len(key) for key in keys) >= 20


def test_a_run_that_grows_makes_room(tiny_random_engine: Engine) -> None:
    first, second = (Run(tiny_random_engine, PROMPTS[kind]) for kind in ("image", "text"))
    store = RunStore()
    keys = [store.add(first), store.add(second)]
    first.ensure("decoder")
    assert store.num_bytes == first.num_bytes + second.num_bytes
    store.max_bytes = store.num_bytes
    second.ensure("preprocess")
    assert held(store, keys) == [1]
    assert store.num_bytes == second.num_bytes
    first.memo("it", lambda: torch.zeros(1000))  # whoever still draws the dropped one may go on
    assert store.num_bytes == second.num_bytes


def test_the_run_that_grows_stays(tiny_random_engine: Engine) -> None:
    store = RunStore(max_bytes=1000)
    run = Run(tiny_random_engine, PROMPTS["text"])
    keys = [store.add(run), *fill(store, 900)]
    run.memo("it", lambda: torch.zeros(200))
    assert held(store, keys) == [0]
