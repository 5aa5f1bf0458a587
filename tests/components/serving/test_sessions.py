"""A visitor's session keeps the page's states, and no copy of the page."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest
from gradio.state_holder import SessionState, StateHolder

from components.serving import sessions
from components.serving.sessions import keep_sessions_small


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> gr.Blocks:
    # Gradio's own for now; other tests of this process may have begun to serve the app.
    monkeypatch.setattr(SessionState, "__init__", sessions._START)
    monkeypatch.setattr(StateHolder, "update", StateHolder.update)
    with gr.Blocks(analytics_enabled=False) as demo:
        gr.Textbox("as built", label="Text")
        gr.State("first")
    return demo


def find(page: gr.Blocks, kind: type) -> Any:
    return next(block for block in page.blocks.values() if isinstance(block, kind))


def test_a_session_holds_states_alone(page: gr.Blocks) -> None:
    text, state = find(page, gr.Textbox), find(page, gr.State)
    assert len(list(SessionState(page).components)) >= 2  # what is to be got rid of
    keep_sessions_small()
    keep_sessions_small()
    session = SessionState(page)
    session._update_value_in_config(text._id, "x" * 1000)
    assert list(session.components) == []
    assert session[state._id] == "first"
    session[state._id] = "second"
    assert session[state._id] == "second"
    assert [value for _, value, _ in session.state_components] == ["second"]


def test_a_closed_page_is_forgotten_after_a_while(
    page: gr.Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "CLOSED_S", -1)
    keep_sessions_small()
    session = SessionState(page)
    session[find(page, gr.State)._id] = "run"
    assert [expired for _, _, expired in session.state_components] == [False]
    session.is_closed = True
    assert [expired for _, _, expired in session.state_components] == [True]


def test_a_component_that_an_event_has_changed_stays_changed(page: gr.Blocks) -> None:
    keep_sessions_small()
    text = find(page, gr.Textbox)
    session, other = SessionState(page), SessionState(page)
    session[text._id] = gr.Textbox("changed", label="Other", render=False)
    assert session[text._id].label == "Other"
    assert other[text._id].label == "Text"


def test_a_session_shares_what_it_has_not_changed(page: gr.Blocks) -> None:
    keep_sessions_small()
    session = SessionState(page)
    own = session.blocks_config.blocks.maps[0]  # type: ignore[attr-defined]
    assert own == {}
    assert set(session.blocks_config.blocks) == set(page.default_config.blocks)
    assert list(session.blocks_config.fns) == list(page.default_config.fns)
    text = find(page, gr.Textbox)
    session[text._id] = gr.Textbox("changed", render=False)
    assert list(own) == [text._id]


def hold(page: gr.Blocks, *names: str, capacity: int) -> StateHolder:
    """A holder with these sessions, each with a value in the state that is its name."""
    keep_sessions_small()
    holder = StateHolder()
    holder.set_blocks(page)
    holder.capacity = capacity
    for name in names:
        holder[name][find(page, gr.State)._id] = name
    return holder


@pytest.mark.parametrize(
    ("stateless", "closed", "gone"), [("c", "b", ["c"]), (None, "b", ["b"]), (None, None, ["a"])]
)
def test_where_there_are_too_many_sessions_one_goes_and_gives_back(
    page: gr.Blocks, stateless: str | None, closed: str | None, gone: list[str]
) -> None:
    given_back: list[str] = []
    find(page, gr.State).delete_callback = given_back.append
    holder = hold(page, "a", "b", "c", capacity=3)
    if stateless:
        holder.session_data[stateless].state_data.clear()
    if closed:
        holder.session_data[closed].is_closed = True
    assert "d" not in holder
    holder["d"]
    assert set("abcd") - set(holder.session_data) == set(gone)
    assert set(holder.time_last_used) == set(holder.session_data)
    assert given_back == ([] if stateless else gone)
