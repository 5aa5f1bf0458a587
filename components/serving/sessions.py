"""What the server keeps of each visitor: no copy of the page, and nothing for ever.

Gradio keeps the settings and the latest value of every component for each session, so that a deep
link can show them again; there is no such link here. On this page of more than a thousand
components that copy takes most of a second and megabytes, for every visitor and every API call,
and every chart that is drawn stays in it.
"""

from __future__ import annotations

from collections import ChainMap
from types import SimpleNamespace
from typing import Any

from gradio.state_holder import SessionState, StateHolder

CLOSED_S = 600  # how long a closed page's states are kept, as it may come back; Gradio's is an hour


class _Forgetful(dict[int, Any]):
    """Takes notes on components and keeps none."""

    def __contains__(self, _key: object) -> bool:
        return True

    def __getitem__(self, _key: int) -> dict[str, Any]:
        return {}

    def __setitem__(self, _key: int, _value: Any) -> None:
        pass


def keep_sessions_small() -> None:
    """Have Gradio's sessions keep what the page has changed; calling it again is harmless.

    That is the ``gr.State`` values and the components that events have changed; the rest is shared.
    """
    SessionState.__init__ = _start_small  # type: ignore[method-assign,assignment]
    StateHolder.update = _keep_within_capacity  # type: ignore[method-assign,assignment]


_START = SessionState.__init__


def _start_small(session: Any, blocks: Any) -> None:
    shared = blocks.default_config
    # Gradio's copy is made of the components in ``blocks.blocks``.
    _START(session, SimpleNamespace(default_config=shared, blocks={}))  # type: ignore[arg-type]
    session.blocks_config.blocks = ChainMap({}, shared.blocks)
    session.blocks_config.fns = ChainMap({}, shared.fns)
    session.config_values = _Forgetful()
    session.STATE_TTL_WHEN_CLOSED = CLOSED_S


def _keep_within_capacity(holder: StateHolder, session_id: str) -> None:
    """Mark a session as used, and where there are too many forget another one.

    As Gradio's, but that sessions without states, such as those of API calls, go first and then
    those of closed pages, and that what a forgotten state stands for is given back.
    """
    with holder.lock:
        sessions = holder.session_data
        if session_id in sessions:
            sessions.move_to_end(session_id)
        if len(sessions) <= holder.capacity:
            return
        others = [name for name in sessions if name != session_id]
        idle = (name for name in others if not sessions[name].state_data)
        closed = (name for name in others if sessions[name].is_closed)
        name = next(idle, None) or next(closed, None) or others[0]
        session = sessions.pop(name)
        holder.time_last_used.pop(name, None)
    for state, value, _ in session.state_components:
        state.delete_callback(value)
