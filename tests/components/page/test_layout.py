"""The page's run events as plain functions: what is computed, kept, redrawn and said."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from gradio.blocks import Block

from components.compute.engine_host import EngineHost, HostStatus
from components.page.layout import Page
from components.page.site import build_site
from components.prompt.examples import load_examples
from components.run_events import LABS
from components.tabs.open_parts import View, empty_values, tabs_around
from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.pipeline import STAGES
from tests.components.runs import ignore_progress


@pytest.fixture(scope="module")
def built(tiny_random_engine: Engine) -> Page:
    """A page that the tests of this file share."""
    return build_page(tiny_random_engine)


def build_page(engine: Engine) -> Page:
    """A page around an engine that is there already."""
    host = EngineHost("tiny")
    host._engine = engine
    host._status = HostStatus("ready", "Ready")
    site = build_site(host)
    site.draw_opening(engine)
    return site.home


def values(built: Page, run_key: str | None, **changed: Any) -> tuple[Any, ...]:
    """What the page would send: the first example, and every control as it was built."""
    first = load_examples()[0]
    panel = {"images": list(first.images), "video": None, "text": first.text, "system": ""}
    panel = {**panel, "max_pixels": None, "earlier": "", **changed}
    controls = [control.value for control in built.events.controls]
    return run_key, *panel.values(), *controls


def run(built: Page, tabs: list[Any], *sent: Any, view: View | None = None) -> list[dict[Any, Any]]:
    return list(built.events.run(tabs, sent, ignore_progress, view or View()))


def drawn(updates: list[dict[Any, Any]], built: Page) -> set[str]:
    """The stages of whose tabs something was filled, rather than emptied."""
    filled = {each for update in updates for each, value in update.items() if value}
    return {tab.stage for tab in built.tabs if filled & set(tab.outputs)}


def shown_parts(updates: list[dict[Any, Any]], built: Page) -> list[str]:
    """The labels of the tabs whose parts were filled, each once, in order."""
    labels = []
    for update in updates:
        for part in (part for tab in built.tabs for part in tab.parts):
            if any(update.get(output) for output in part.outputs):
                labels.append(tabs_around(part.outputs[0])[0][1].label)
    return list(dict.fromkeys(labels))


def tab_named(built: Page, *labels: str) -> tuple[Block, gr.Tab]:
    """The tab with the last of these labels, inside those with the others, and its row."""
    for row, tab in built.parts.tabs:
        if [tab.label, *(each.label for _, each in tabs_around(tab))] == [*reversed(labels)]:
            return row, tab
    raise LookupError(labels)


def opened(built: Page) -> View:
    """A visitor's page, with the first example drawn."""
    return built.parts.open_page("visitor")


def test_a_run_draws_every_stage_and_ends_with_its_badge(built: Page) -> None:
    updates = run(built, built.tabs, *values(built, None))
    assert drawn(updates, built) == {*STAGES, "sampling", "cache"}
    assert "max |Δ logits| = 0," in updates[-1][built.status]
    assert "last run" in updates[-1][built.status]


def test_a_mixture_of_experts_runs_to_its_badge(tiny_random_moe_engine: Engine) -> None:
    built = build_page(tiny_random_moe_engine)
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


@pytest.mark.parametrize(
    ("at", "last", "missing"),
    [("decoder layer", "merge", "decoder"), ("parity, layer", "decoder", "parity")],
)
def test_a_stopped_run_says_so_and_keeps_what_was_done(
    built: Page, at: str, last: str, missing: str
) -> None:
    def stop(what: str, _done: int, _total: int) -> None:
        if what == at:
            raise StageCancelled

    sent = values(built, None, text="Stop me")
    updates = list(built.events.run(built.tabs, sent, stop, View()))
    assert "Stopped" in updates[-1][built.status]
    kept = built.runs.get(updates[0][built.run_key])
    assert kept.has(last)
    assert not kept.has(missing)
    assert kept.engine.lock.acquire(blocking=False)
    kept.engine.lock.release()


def test_the_opening_is_drawn_once_for_all(built: Page, tiny_random_engine: Engine) -> None:
    opened(built)
    heads = [output for tab in built.tabs for output in tab.outputs]
    own = [built.status, built.run_key, built.pointer, *built.model_tab.outputs]
    assert set(built.events.opening) == {*heads, *own}
    key = built.events.opening[built.run_key]
    updates = run(built, built.tabs[:4], *values(built, key))
    assert updates[0][built.run_key] == key
    assert drawn(updates, built) == set()
    assert all(updates)  # Gradio takes an empty update for a missing value
    run(built, built.tabs[:1], *values(built, key, text="Mine"))
    assert built.runs.peek(key) is not None  # shared by all pages: never dropped


def test_every_visitor_gets_the_opening_whole(built: Page) -> None:
    """Gradio takes the value out of an update that it is handed."""

    def visit(session: str) -> dict[Any, dict[str, Any]]:
        *_, shown = built.events.open_page(SimpleNamespace(session_hash=session))
        settings = {control: control.value for control in built.events.controls}
        for row, tab in built.parts.tabs:
            built.parts.view(session).select(row, tab)
            shown |= built.events.draw_tab(tab, session, built.events.opening_key, settings)
        return {output: value for output, value in shown.items() if isinstance(value, dict)}

    first = visit("first")
    wanted = {output: dict(update) for output, update in first.items()}
    assert any("value" in update for update in wanted.values())
    for update in first.values():
        update.pop("value", None)
    assert visit("second") == wanted


# ------------------------------------------------------------------------------------- labs


def test_a_run_leaves_labs_out_of_sight_alone(built: Page, tiny_random_engine: Engine) -> None:
    view = opened(built)
    updates = run(built, built.tabs, *values(built, None, text="Ahead"), view=view)
    assert drawn(updates, built) & set(LABS) == set()
    view.select(*tab_named(built, "6 Cache reuse"))
    updates = run(built, built.tabs, *values(built, None, text="Ahead"), view=view)
    assert drawn(updates, built) & set(LABS) == {"cache"}


def test_a_lab_that_was_passed_over_runs_where_the_visitor_went_back(
    built: Page, tiny_random_engine: Engine
) -> None:
    view = opened(built)
    view.select(*tab_named(built, "6 Cache reuse"))
    updates = []
    for update in built.events.run(built.tabs, values(built, None), ignore_progress, view):
        updates.append(update)
        if drawn([update], built) & {"cache"}:
            view.select(*tab_named(built, "5 Sampling"))
    assert drawn(updates, built) >= set(LABS)


def test_an_opened_lab_runs_once_for_each_run(built: Page, tiny_random_engine: Engine) -> None:
    view = opened(built)
    (lab,) = (tab for tab in built.tabs if tab.stage == "sampling")
    key = run(built, built.tabs[:4], *values(built, None, text="Mine"), view=view)[0][built.run_key]
    assert built.events.lab_is_due(lab, "visitor", key)
    assert not built.events.lab_is_due(lab, "visitor", None)
    with built.jobs.running("visitor"):
        assert not built.events.lab_is_due(lab, "visitor", key)
    sent = [control.value for control in lab.controls]
    updates = list(built.events.open_lab(lab, "visitor", key, sent, ignore_progress))
    assert not any(updates[0][output] for output in empty_values(lab.outputs))
    assert drawn(updates[1:], built) == {"sampling"}
    assert not built.events.lab_is_due(lab, "visitor", key)


def test_a_lab_of_the_opening_is_drawn_already(
    built: Page, tiny_random_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(built)
    monkeypatch.setattr(built.host, "wait", lambda _seconds: SimpleNamespace(phase="ready"))
    request: Any = SimpleNamespace(session_hash="newcomer")
    (update,) = built.events.open_page(request)
    assert drawn([update], built) >= set(LABS)
    for tab in built.tabs:
        assert (
            not built.events.lab_is_due(tab, "newcomer", update[built.run_key])
            or tab.stage in STAGES
        )


# ------------------------------------------------------------------------- what is in sight


def select(built: Page, place: tuple[Block, gr.Tab], key: str | None) -> dict[Any, Any]:
    settings = {control: control.value for control in built.events.controls}
    row, tab = place
    built.parts.view("visitor").select(row, tab)
    return built.events.draw_tab(tab, "visitor", key, settings)


def test_a_new_page_gets_what_is_in_sight(built: Page, tiny_random_engine: Engine) -> None:
    view = opened(built)
    view.run_key = built.events.opening[built.run_key]
    settings = {control: control.value for control in built.events.controls}
    update = built.events.draw_parts(view, built.tabs, built.events.opening_run, settings)
    assert shown_parts([update], built) == ["1 Preprocess", "Template and tokens"]


def test_a_run_draws_what_is_in_sight_and_the_rest_when_it_is_opened(
    built: Page, tiny_random_engine: Engine
) -> None:
    view = opened(built)
    updates = run(built, built.tabs[:3], *values(built, None, text="New"), view=view)
    assert shown_parts(updates, built) == ["1 Preprocess", "Template and tokens"]
    key = updates[0][built.run_key]
    update = select(built, tab_named(built, "3 Merge"), key)
    assert shown_parts([update], built) == ["Embeddings"]
    update = select(built, tab_named(built, "3 Merge", "Positions"), key)
    assert shown_parts([update], built) == ["Positions"]
    for tab in ("3 Merge", "1 Preprocess"):  # drawn already
        assert select(built, tab_named(built, tab), key) == {}


def test_what_is_open_is_known_without_the_tabs_parents(
    built: Page, tiny_random_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradio takes the parent of an event's target away."""
    for _, tab in built.parts.tabs:
        monkeypatch.setattr(tab, "parent", None)
    view = opened(built)
    parts = [built.parts._paths[part] for part in built.tabs[0].parts[:3]]
    assert [view.is_open(path) for path in parts] == [True, True, False]


def test_what_is_opened_during_a_run_is_drawn_by_it(
    built: Page, tiny_random_engine: Engine
) -> None:
    view = opened(built)

    def go_to_the_tower(what: str, done: int, _total: int) -> None:
        if (what, done) == ("vision block", 0):
            assert select(built, tab_named(built, "2 Vision tower"), view.run_key) == {}

    sent = values(built, None, text="Newer")
    updates = list(built.events.run(built.tabs[:3], sent, go_to_the_tower, view))
    assert shown_parts(updates, built)[-1] == "Blocks"


def test_a_new_run_empties_what_it_does_not_draw(built: Page, tiny_random_engine: Engine) -> None:
    view = opened(built)
    first = run(built, built.tabs[:3], *values(built, None, text="One"), view=view)
    key = first[0][built.run_key]
    old = select(built, tab_named(built, "3 Merge"), key)
    select(built, tab_named(built, "1 Preprocess"), key)
    updates = run(built, built.tabs[:2], *values(built, key, text="Two"), view=view)
    html = [output for output, value in old.items() if isinstance(output, gr.HTML) and value]
    assert html
    assert all(not updates[0][output] for output in html)
    # In sight: kept until it is drawn anew.
    assert not set(built.tabs[0].parts[1].outputs) & set(updates[0])
    # Its stage has not run: what stands around its parts is emptied too.
    assert updates[-2][built.tabs[2].outputs[0]] == ""
    assert select(built, tab_named(built, "3 Merge"), updates[0][built.run_key]) == {}


def test_what_is_in_sight_does_not_outlive_its_run(built: Page, tiny_random_engine: Engine) -> None:
    view = opened(built)
    key = run(built, built.tabs[:3], *values(built, None, text="One"), view=view)[0][built.run_key]
    select(built, tab_named(built, "3 Merge"), key)
    updates = run(built, built.tabs[:1], *values(built, key, text="Three"), view=view)
    embeddings = [each for each in built.tabs[2].parts[0].outputs if isinstance(each, gr.HTML)]
    assert not set(embeddings) & set(updates[0])
    assert all(not updates[-2][output] for output in embeddings)


def test_a_select_that_a_new_run_has_overtaken_shows_nothing(
    built: Page, tiny_random_engine: Engine
) -> None:
    view = opened(built)
    key = run(built, built.tabs[:2], *values(built, None, text="Slow"), view=view)[0][built.run_key]
    view.run_key = "newer"
    assert select(built, tab_named(built, "2 Vision tower"), key) == {}


def test_an_unknown_visitor_gets_everything(built: Page) -> None:
    updates = run(built, built.tabs[:2], *values(built, None, text="Who?"))
    assert {"Tensors", "Blocks", "RoPE"} <= set(shown_parts(updates, built))


def test_a_part_that_waits_to_be_opened_need_not_follow_the_pointer(
    built: Page, tiny_random_engine: Engine
) -> None:
    view = opened(built)
    key = run(built, built.tabs[:2], *values(built, None, text="Wait"), view=view)[0][built.run_key]
    blocks = built.tabs[1].parts[0].outputs[0]
    assert built.parts.awaits_drawing("visitor", key, blocks)
    select(built, tab_named(built, "2 Vision tower"), key)
    assert not built.parts.awaits_drawing("visitor", key, blocks)
    assert not built.parts.awaits_drawing("visitor", key, built.status)
    assert not built.parts.awaits_drawing("a stranger", key, blocks)


def test_a_visitor_who_left_is_forgotten(built: Page, tiny_random_engine: Engine) -> None:
    blocks = built.tabs[1].parts[0].outputs[0]
    opened(built)
    assert built.parts.awaits_drawing("visitor", "key", blocks)
    built.parts.close_page("visitor")
    assert not built.parts.awaits_drawing("visitor", "key", blocks)
