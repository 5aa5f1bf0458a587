"""Replay a log without the model: what it would reuse follows from hashes and sizes alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import playground
from components.prompt.reader import prompt_fingerprint
from components.tabs.cache.logs import read_log_names
from components.tabs.cache.scenes import RUN_IMAGES, say_image
from playground.errors import InputError

if TYPE_CHECKING:
    from playground.kv_cache.block_hash import HashRules
    from playground.kv_cache.block_store import Policy
    from playground.kv_cache.log import LoggedRequest
    from playground.kv_cache.prefix_lookup import Lookup
    from playground.kv_cache.prefix_store import PrefixStore
    from playground.pipeline import Run


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """A log and the settings of the store that serves it."""

    log: str
    rules: HashRules
    policy: Policy
    share: float  # percent of the bytes that would hold everything

    @classmethod
    def of(
        cls, log: str, block_size: int, share: float, policy: Any, images: bool, salt: bool
    ) -> StoreSettings:
        """Build from the controls' values, in the order of ``policy.SETTINGS``."""
        rules = playground.kv_cache.block_hash.HashRules(
            block_size, with_images=images, with_salt=salt
        )
        return cls(log, rules, policy, share)


@dataclass(frozen=True, slots=True, eq=False)
class Rehearsed:
    """What a log would reuse, and the store afterwards, which has no tensors."""

    log: tuple[LoggedRequest, ...]
    store: PrefixStore
    found: tuple[Lookup, ...]  # per request


def rehearse_log(run: Run, settings: StoreSettings) -> Rehearsed:
    """Replay the log on a store without the model.

    Raises:
        InputError: a line of the log is not a request, or names an unknown image.
    """

    def make() -> Rehearsed:
        log = _read_names(run, settings)
        store = new_store(run, settings, log)
        return Rehearsed(log, store, playground.kv_cache.log.rehearse(store, log))

    return run.memo("cache.rehearsed", make, of=settings)


def _read_names(run: Run, settings: StoreSettings) -> tuple[LoggedRequest, ...]:
    # Only a log that names the run's images depends on them; no other log needs their hash.
    names_run = RUN_IMAGES in settings.log or say_image(RUN_IMAGES) in settings.log
    key = prompt_fingerprint(run.prompt if names_run else replace(run.prompt, turns=()))
    return read_log_names(run, key, settings.log)


def new_store(run: Run, settings: StoreSettings, log: tuple[LoggedRequest, ...]) -> PrefixStore:
    """A store with these settings; its budget is a share of what the whole log needs."""
    full = playground.kv_cache.log.log_bytes(run.engine, log, settings.rules)
    return playground.kv_cache.prefix_store.PrefixStore(
        run.engine,
        settings.rules,
        max_bytes=int(full * settings.share / 100),
        policy=settings.policy,
    )


def rehearse_if_readable(run: Run, settings: StoreSettings) -> Rehearsed | None:
    """``rehearse_log``, or None if the log cannot be read; the verdict shows the error."""
    try:
        return rehearse_log(run, settings)
    except InputError:
        return None
