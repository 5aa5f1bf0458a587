"""Random requests, sessions and budgets: every answer equals the one without a cache.

``python -m benchmarks.prefix_soak`` sends thousands of them.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from playground.cache import empty_cache
from playground.engine import Engine
from playground.kv_cache.block_hash import HashRules, identify
from playground.kv_cache.block_store import POLICIES
from playground.kv_cache.prefix_store import PrefixStore
from playground.kv_cache.stage import serve_rest
from playground.preprocess.stage import run_preprocess
from playground.prompt import Prompt, Turn
from playground.records import ModelInputs
from tests.media_samples import make_video
from tests.playground.kv_cache.request_pairs import BLUE, RED, TALL, TOLERANCE, WIDE, user

SYSTEMS = ("", "Answer briefly.")
IMAGES = {"none": (), "red": (RED,), "blue": (BLUE,), "wide": (WIDE,), "two": (TALL, RED)}
TEXTS = ("你好", "你好世界。", "What is it?", "What is it made of?")
FOLLOW_UPS = (None, "Why?", "And here?")
VIDEO = make_video()


class Reference:
    """Requests and their logits from scratch, each computed once."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._known: dict[Any, tuple[ModelInputs, torch.Tensor]] = {}

    def get(self, **named: Any) -> tuple[ModelInputs, torch.Tensor]:
        """The request of this choice, and its logits without a cache."""
        choice = tuple(named[name] for name in ("system", "image", "text", "follow_up"))
        if choice not in self._known:
            system, image, text, follow_up = choice
            video = VIDEO if image == "video" else None
            turns: tuple[Turn, ...] = (user(text, *IMAGES.get(image, ()), video=video),)
            if follow_up is not None:
                later = (RED,) if follow_up == "And here?" else ()
                turns += (Turn("assistant", "红"), user(follow_up, *later))
            inputs = run_preprocess(self.engine, Prompt(turns, system=system))
            logits = serve_rest(self.engine, inputs, empty_cache(self.engine), 0)
            self._known[choice] = inputs, logits
        return self._known[choice]


class StoreMachine(RuleBasedStateMachine):
    """One store; several sessions ask, and the budget changes on the way."""

    reference: Reference

    @initialize(
        size=st.sampled_from([1, 3, 8, 16]),
        policy=st.sampled_from(POLICIES),
        tokens=st.integers(0, 300),
    )
    def start(self, size: int, policy: Any, tokens: int) -> None:
        engine = self.reference.engine
        self.budget = tokens * engine.facts.kv_bytes_per_token(torch.float32)
        self.store = PrefixStore(engine, HashRules(size), max_bytes=self.budget, policy=policy)

    @rule(
        system=st.sampled_from(SYSTEMS),
        image=st.sampled_from([*IMAGES, "video"]),
        text=st.sampled_from(TEXTS),
        follow_up=st.sampled_from(FOLLOW_UPS),
        session=st.sampled_from("ab"),
    )
    def ask(self, session: str, **choice: Any) -> None:
        inputs, expected = self.reference.get(**choice)
        promised = self.store.lookup(identify(inputs), session).reused_tokens
        served = self.store.serve(inputs, salt=session)
        assert served.reused_tokens == promised < inputs.num_tokens
        assert float((served.logits - expected).abs().max()) <= TOLERANCE
        assert served.cache.get_seq_length() == inputs.num_tokens

    @rule(tokens=st.integers(0, 300))
    def change_budget(self, tokens: int) -> None:
        self.budget = tokens * self.reference.engine.facts.kv_bytes_per_token(torch.float32)
        self.store.blocks.resize(self.budget)

    @invariant()
    def within_budget(self) -> None:
        if not hasattr(self, "store"):
            return
        entries = self.store.blocks.entries()
        held = sum(tensor.nbytes for entry in entries for tensor in entry.tensors)
        assert held == self.store.blocks.stats.num_bytes <= self.budget
        names = {entry.key for entry in entries}
        for entry in entries:  # nothing is left that could not be reached
            assert entry.parent is None or not entry.start or entry.parent in names
            assert entry.children <= names


def check_store(engine: Engine, *, examples: int, steps: int) -> None:
    """Run the machine."""
    StoreMachine.reference = Reference(engine)
    run_state_machine_as_test(
        StoreMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
def test_random_requests(tiny_random_engine: Engine) -> None:
    check_store(tiny_random_engine, examples=10, steps=25)
