"""The page's run events as plain functions: what is computed, kept, redrawn and said."""

from __future__ import annotations

from typing import Any

import pytest

from components.app_layout import Page, build_page
from components.engine_host import EngineHost
from components.examples import load_examples
from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.pipeline import STAGES
from tests.components.runs import ignore_progress


@pytest.fixture(scope="module")
def built(tiny_random_engine: Engine) -> Page:
    """A page around an engine that is there already."""
    host = EngineHost("tiny")
    host._engine = tiny_random_engine
    return build_page(host)


def values(built: Page, run_key: str | None, **changed: Any) -> tuple[Any, ...]:
    """What the page would send: the first example, and every control as it was built."""
    first = load_examples()[0]
    panel = {"images": list(first.images), "video": None, "text": first.text, "system": ""}
    panel = {**panel, "max_pixels": None, **changed}
    controls = [control.value for tab in built.tabs for control in tab.controls]
    return run_key, *panel.values(), *controls


def run(built: Page, tabs: list[Any], *sent: Any) -> list[dict[Any, Any]]:
    return list(built._run(tabs, sent, ignore_progress))


def drawn(updates: list[dict[Any, Any]], built: Page) -> set[str]:
    """The stages whose outputs were redrawn."""
    touched = {component for update in updates for component in update}
    return {tab.stage for tab in built.tabs if touched & set(tab.outputs)}


def test_a_run_draws_every_stage_and_ends_with_its_badge(built: Page) -> None:
    updates = run(built, built.tabs, *values(built, None))
    assert drawn(updates, built) == {*STAGES, "sampling", "cache"}
    assert "max |Δ logits| = 0," in updates[-1][built.status]
    assert "last run" in updates[-1][built.status]


def test_one_stage_runs_what_is_missing_and_no_more(built: Page) -> None:
    updates = run(built, built.tabs[:2], *values(built, None))
    key = updates[0][built.run_key]
    assert [stage for stage in STAGES if built.runs.get(key).has(stage)] == ["preprocess", "vision"]
    assert drawn(updates, built) == {"preprocess", "vision"}
    updates = run(built, built.tabs[:3], *values(built, key))
    assert updates[0][built.run_key] == key
    assert drawn(updates, built) == {"merge"}


def test_another_text_is_another_run_and_the_old_one_goes(built: Page) -> None:
    key = run(built, built.tabs[:4], *values(built, None))[0][built.run_key]
    old = built.runs.get(key)
    updates = run(built, built.tabs[:4], *values(built, key, text="What else?"))
    new = built.runs.get(updates[0][built.run_key])
    assert new.prompt.turns[-1].text == "What else?"
    assert new.vision is old.vision  # the same picture
    assert built.runs.peek(key) is None


def test_a_bad_value_changes_nothing(built: Page) -> None:
    key = run(built, built.tabs[:1], *values(built, None))[0][built.run_key]
    with pytest.raises(InputError, match="max pixels"):
        run(built, built.tabs, *values(built, key, max_pixels=-5))
    assert built.runs.get(key).has("preprocess")


def test_a_stopped_run_says_so_and_keeps_what_was_done(built: Page) -> None:
    def stop_at_the_decoder(what: str, _done: int, _total: int) -> None:
        if what == "decoder layer":
            raise StageCancelled

    sent = values(built, None, text="Stop me")
    updates = list(built._run(built.tabs, sent, stop_at_the_decoder))
    assert "Stopped" in updates[-1][built.status]
    kept = built.runs.get(updates[0][built.run_key])
    assert kept.has("merge")
    assert not kept.has("decoder")
    assert kept.engine.lock.acquire(blocking=False)
    kept.engine.lock.release()


def test_the_opening_is_drawn_once_for_all(built: Page, tiny_random_engine: Engine) -> None:
    built.draw_opening(tiny_random_engine)
    assert set(built.opening) == {*built.outputs, *built.model_tab.outputs}
    key = built.opening[built.run_key]
    updates = run(built, built.tabs[:4], *values(built, key))
    assert updates[0][built.run_key] == key
    assert drawn(updates, built) == set()
    run(built, built.tabs[:1], *values(built, key, text="Mine"))
    assert built.runs.peek(key) is not None  # shared by all pages: never dropped
