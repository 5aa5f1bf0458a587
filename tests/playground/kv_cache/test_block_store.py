"""The tree of blocks by itself: names, order of eviction, bytes."""

from __future__ import annotations

import threading

import pytest
import torch

from playground.engine import Engine
from playground.errors import InputError
from playground.kv_cache.block_hash import (
    HashRules,
    ImageSpan,
    RequestIdentity,
    block_keys,
    image_key,
    root_key,
)
from playground.kv_cache.block_store import BlockStore, Policy


def put(store: BlockStore, key: str, parent: str | None, *, start: int = 0, size: int = 10) -> bool:
    return store.add(
        key,
        parent=parent,
        start=start,
        ids=(1,) * (parent is not None),
        digests=(),
        num_bytes=size,
        make=lambda: (torch.zeros(size, dtype=torch.uint8),),
    )


def names(store: BlockStore) -> set[str]:
    return {entry.key for entry in store.entries()}


# --------------------------------------------------------------------------- keys

TEXT = RequestIdentity(tuple(range(10)), ())
IMAGE = RequestIdentity(tuple(range(10)), (ImageSpan(3, 6, "red"),))


def test_only_whole_blocks_have_keys() -> None:
    assert len(block_keys(TEXT, HashRules(4), "root")) == 2
    assert len(block_keys(TEXT, HashRules(1), "root")) == 10
    assert len(block_keys(TEXT, HashRules(10), "root")) == 1
    assert block_keys(TEXT, HashRules(11), "root") == ()


@pytest.mark.parametrize("size", [0, 65, -1])
def test_block_size_is_limited(size: int) -> None:
    with pytest.raises(InputError, match="1 to 64"):
        HashRules(size)


def test_a_key_names_everything_before_it() -> None:
    rules = HashRules(2)
    keys = block_keys(TEXT, rules, "root")
    changed = block_keys(RequestIdentity((0, 1, 99, *range(3, 10)), ()), rules, "root")
    assert keys[0] == changed[0]
    assert not set(keys[1:]) & set(changed[1:])
    assert not set(keys) & set(block_keys(TEXT, rules, "other root"))
    assert keys == block_keys(TEXT.extend([7]), rules, "root")


def test_an_image_changes_its_blocks_and_all_after_them() -> None:
    other = RequestIdentity(IMAGE.ids, (ImageSpan(3, 6, "blue"),))
    for size, first_touched in ((1, 3), (2, 1), (3, 1), (4, 0)):
        rules = HashRules(size)
        mine, theirs = (block_keys(each, rules, "root") for each in (IMAGE, other))
        same = [a == b for a, b in zip(mine, theirs, strict=True)]
        assert same == [index < first_touched for index in range(len(mine))]
        blind = HashRules(size, with_images=False)
        assert block_keys(IMAGE, blind, "root") == block_keys(other, blind, "root")


def test_an_image_that_starts_elsewhere_is_another() -> None:
    """Placeholders are all the same id; where the image begins is told by its digest's blocks."""
    pads = (5,) * 8
    early = RequestIdentity(pads, (ImageSpan(0, 4, "red"), ImageSpan(4, 8, "blue")))
    late = RequestIdentity(pads, (ImageSpan(0, 4, "blue"), ImageSpan(4, 8, "red")))
    assert not set(block_keys(early, HashRules(2), "r")) & set(block_keys(late, HashRules(2), "r"))


def test_roots_tell_models_and_sessions_apart(
    tiny_random_engine: Engine, shipped_engine: Engine
) -> None:
    salted, open_to_all = HashRules(), HashRules(with_salt=False)
    assert root_key(tiny_random_engine, salted, "a") != root_key(tiny_random_engine, salted, "b")
    assert root_key(tiny_random_engine, open_to_all, "a") == root_key(
        tiny_random_engine, open_to_all, "b"
    )
    assert root_key(tiny_random_engine, salted, "a") != root_key(shipped_engine, salted, "a")
    assert image_key("a", "red") != image_key("b", "red")


# --------------------------------------------------------------------------- the tree


def test_finding_ends_at_the_first_gap() -> None:
    store = BlockStore(100)
    put(store, "a", "root")
    put(store, "b", "a", start=1)
    assert [entry.key for entry in store.find(["a", "b", "c"])] == ["a", "b"]
    assert [entry.key for entry in store.find(["x", "a"])] == []
    assert [entry.key for entry in store.children_of("root")] == ["a"]
    assert [entry.key for entry in store.children_of("a")] == ["b"]
    assert store.children_of("nowhere") == ()


def test_a_leaf_goes_before_its_parent() -> None:
    store = BlockStore(40)
    for key, parent, start in (("a", "root", 0), ("b", "a", 1), ("c", "b", 2), ("d", "a", 1)):
        assert put(store, key, parent, start=start)
    store.touch(["b", "c"])  # d is now the least recently used leaf, a the oldest of all
    assert put(store, "e", "root")
    assert names(store) == {"a", "b", "c", "e"}
    assert put(store, "f", "root")
    assert names(store) == {"a", "b", "e", "f"}  # c went, not b: both were last used together
    assert set(store.ghosts) == {"c", "d"}
    assert store.stats.num_evicted == 2
    assert put(store, "d", "a", start=1)
    assert "d" not in store.ghosts


@pytest.mark.parametrize(
    ("policy", "gone"), [("lru", "second"), ("fifo", "first"), ("lfu", "third")]
)
def test_policies(policy: Policy, gone: str) -> None:
    store = BlockStore(30, policy)
    for key in ("first", "second", "third"):
        put(store, key, "root")
    store.touch(["second"])
    store.touch(["second"])
    store.touch(["first"])
    store.touch(["third"] if policy == "lru" else ["first"])
    assert put(store, "fourth", "root")
    assert {"first", "second", "third"} - names(store) == {gone}


def test_what_is_pinned_stays_and_what_is_too_large_is_refused() -> None:
    store = BlockStore(20)
    put(store, "a", "root")
    put(store, "b", "a", start=1)
    assert not store.add(
        "c",
        parent="b",
        start=2,
        ids=(1,),
        digests=(),
        num_bytes=10,
        make=tuple,
        pinned=frozenset(("a", "b")),
    )
    assert names(store) == {"a", "b"}
    assert not put(store, "huge", "root", size=21)
    assert names(store) == {"a", "b"}
    assert put(store, "a", "root")  # there already
    assert store.stats.num_bytes == 20


def test_features_have_no_place_in_the_tree() -> None:
    store = BlockStore(30)
    put(store, "picture", None)
    put(store, "a", "root")
    assert store.stats.num_images == 1
    assert store.stats.num_blocks == 1
    store.resize(10)
    assert names(store) == {"a"}
    store.resize(0)
    assert names(store) == set()
    assert store.stats.num_bytes == 0
    assert store.stats.peak_bytes == 20
    assert store.children_of("root") == ()


def test_an_evicted_entry_lets_go_of_its_tensors() -> None:
    store = BlockStore(10)
    put(store, "a", "root")
    entry = store.get("a")
    assert entry is not None
    assert entry.tensors
    put(store, "b", "root")
    assert entry.tensors == ()


@pytest.mark.parametrize(("max_bytes", "policy"), [(-1, "lru"), (1, "random")])
def test_a_bad_budget_or_policy_is_refused(max_bytes: int, policy: str) -> None:
    with pytest.raises(InputError):
        BlockStore(max_bytes, policy)  # type: ignore[arg-type]


def test_threads_share_one_store() -> None:
    store = BlockStore(500)
    errors: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for turn in range(200):
                keys = [f"{name}{turn % 7}-{depth}" for depth in range(4)]
                for depth, key in enumerate(keys):
                    put(store, key, keys[depth - 1] if depth else name, start=depth)
                store.touch([entry.key for entry in store.find(keys)])
                assert store.stats.num_bytes <= 500
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert store.stats.num_bytes == sum(entry.num_bytes for entry in store.entries())
