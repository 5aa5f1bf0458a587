"""Replay a log of requests on a prefix store: what each request hits and evicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from playground.cache import empty_cache
from playground.engine import Engine
from playground.errors import InputError
from playground.kv_cache.block_hash import HashRules, RequestIdentity, identify, image_key
from playground.kv_cache.block_store import POLICIES, Policy
from playground.kv_cache.compare import SAME_LOGITS
from playground.kv_cache.partial_prefill import Features, answer_greedily, answer_text, prefill_on
from playground.kv_cache.prefix_lookup import Lookup
from playground.kv_cache.prefix_store import Kept, PrefixStore
from playground.language import say
from playground.logits import next_token_probs
from playground.records import ModelInputs, Progress, TokenProb
from playground.timing import time_ms

MAX_LOG = 60  # requests


@dataclass(frozen=True, slots=True, eq=False)
class LoggedRequest:
    """One line of a log."""

    session: str  # its salt is derived from this name
    inputs: ModelInputs
    identity: RequestIdentity

    @classmethod
    def of(cls, session: str, inputs: ModelInputs) -> LoggedRequest:
        """Build one from a request's inputs."""
        return cls(session, inputs, identify(inputs))


@dataclass(frozen=True, slots=True, eq=False)
class Replayed:
    """What happened to one request of a log."""

    number: int  # from 1; its label in the store
    request: LoggedRequest
    lookup: Lookup
    kept: Kept
    encoded_images: int
    elapsed_ms: float  # with the store, one run
    scratch_ms: float  # without it, one run
    max_abs_diff: float  # of the logits, with against without the store
    is_right: bool  # the difference is within SAME_LOGITS
    answer: str  # with the store
    right_answer: str  # without it; the same text if ``is_right``
    next_token: TokenProb
    right_token: TokenProb


def replay_log(
    store: PrefixStore,
    log: Sequence[LoggedRequest],
    *,
    secret: str = "",
    max_new_tokens: int = 16,
    progress: Progress | None = None,
) -> Iterator[Replayed]:
    """Serve a log in order, and check every answer against the one without a store.

    Args:
        store: where the requests' blocks are kept.
        log: at most ``MAX_LOG`` requests.
        secret: combined with the session's name to form its salt.
        max_new_tokens: limit of each answer.
        progress: called before every request.

    Raises:
        InputError: the log is empty or too long.
    """
    check_log(log)
    for number, request in enumerate(log, 1):
        if progress is not None:
            progress(say("request"), number - 1, len(log))
        yield _replay(store, request, number, secret, max_new_tokens)


def check_log(log: Sequence[object]) -> None:
    """Check the number of requests in a log.

    Raises:
        InputError: the log is empty or too long.
    """
    if not 1 <= len(log) <= MAX_LOG:
        raise InputError(
            say("The number of requests in the log is {count}.", count=len(log)),
            limit=say("It must be 1 to {most}.", most=MAX_LOG),
        )


def _replay(
    store: PrefixStore, request: LoggedRequest, number: int, secret: str, max_new_tokens: int
) -> Replayed:
    engine, inputs = store.engine, request.inputs
    scratch = empty_cache(engine)
    right, scratch_ms = time_ms(
        engine, lambda: prefill_on(engine, inputs, request.identity, scratch, 0)[0]
    )
    served = store.serve(
        inputs, salt=secret + request.session, label=str(number), identity=request.identity
    )
    difference = float((served.logits.float() - right.float()).abs().max())
    is_right = difference <= SAME_LOGITS[engine.dtype]
    answer = answer_greedily(engine, inputs, served.logits, served.cache, max_new_tokens)
    right_answer = (
        answer if is_right else answer_greedily(engine, inputs, right, scratch, max_new_tokens)
    )
    return Replayed(
        number=number,
        request=request,
        lookup=served.lookup,
        kept=served.kept,
        encoded_images=served.encoded_images,
        elapsed_ms=served.elapsed_ms,
        scratch_ms=scratch_ms,
        max_abs_diff=difference,
        is_right=is_right,
        answer=answer_text(engine, answer),
        right_answer=answer_text(engine, right_answer),
        next_token=next_token_probs(engine, served.logits, 1)[0],
        right_token=next_token_probs(engine, right, 1)[0],
    )


# --------------------------------------------------------------------------- without the model


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a log would reuse from a store, from hashes and bytes alone."""

    policy: Policy
    max_bytes: int
    reused_tokens: tuple[int, ...]  # per request
    num_tokens: int  # in all requests
    num_evicted: int

    @property
    def hit_rate(self) -> float:
        """Share of requests that reuse at least one token."""
        return sum(reused > 0 for reused in self.reused_tokens) / len(self.reused_tokens)

    @property
    def saved_share(self) -> float:
        """Share of all tokens that are reused."""
        return sum(self.reused_tokens) / self.num_tokens


def rehearse_log(
    engine: Engine,
    log: Sequence[LoggedRequest],
    rules: HashRules,
    *,
    max_bytes: int,
    policy: Policy,
    secret: str = "",
) -> Rehearsal:
    """Replay a log on a store that only counts: no forward pass, no tensors.

    Args:
        engine: provides the model's dimensions.
        log: the requests.
        rules: of the store.
        max_bytes: of the store.
        policy: of the store.
        secret: as in ``replay_log``.
    """
    store = PrefixStore(engine, rules, max_bytes=max_bytes, policy=policy)
    reused = [lookup.reused_tokens for lookup in rehearse(store, log, secret)]
    return Rehearsal(
        policy=policy,
        max_bytes=max_bytes,
        reused_tokens=tuple(reused),
        num_tokens=sum(request.inputs.num_tokens for request in log),
        num_evicted=store.blocks.stats.num_evicted,
    )


def rehearse(
    store: PrefixStore, log: Sequence[LoggedRequest], secret: str = ""
) -> tuple[Lookup, ...]:
    """Replay a log by hash and size alone, and return what each request finds in the store."""
    engine, found = store.engine, []
    for number, request in enumerate(log, 1):
        salt, identity = secret + request.session, request.identity
        lookup = store.lookup(identity, salt)
        names = [image_key(lookup.root, image.digest) for image in identity.images]
        store.blocks.touch([*lookup.hit_keys, *names], str(number))
        features = {
            image.digest: features_like(engine, image.end - image.start)
            for image, name in zip(identity.images, names, strict=True)
            if image.end > lookup.reused_tokens and store.blocks.get(name) is None
        }
        store.keep(identity, None, salt=salt, label=str(number), features=features)
        found.append(lookup)
    return tuple(found)


def features_like(engine: Engine, num_tokens: int) -> Features:
    """Tensors with the shape of an image's features that take no memory."""
    facts = engine.facts
    shape = (num_tokens, facts.out_hidden_size)
    count = 1 + len(facts.taps)
    return tuple(torch.empty(shape, dtype=engine.dtype, device="meta") for _ in range(count))


def compare_policies(
    engine: Engine,
    log: Sequence[LoggedRequest],
    rules: HashRules,
    budgets: Sequence[int],
    secret: str = "",
) -> dict[Policy, tuple[Rehearsal, ...]]:
    """Rehearse the log with every policy at every budget (bytes)."""
    return {
        policy: tuple(
            rehearse_log(engine, log, rules, max_bytes=budget, policy=policy, secret=secret)
            for budget in budgets
        )
        for policy in POLICIES
    }


def log_bytes(engine: Engine, log: Sequence[LoggedRequest], rules: HashRules) -> int:
    """Bytes of a store after this log if nothing were ever evicted."""
    store = PrefixStore(engine, rules, max_bytes=1 << 60)
    for request in log:
        identity = request.identity
        features = {
            image.digest: features_like(engine, image.end - image.start)
            for image in identity.images
        }
        store.keep(identity, None, salt=request.session, features=features)
    return store.blocks.stats.num_bytes
