"""What the server keeps of each visitor: no copy of the page.

Gradio keeps the settings and the latest value of every component for each session, so that a deep
link can show them again; there is no such link here. On this page of more than a thousand
components that copy takes most of a second and megabytes, for every visitor and every API call,
and every chart that is drawn stays in it.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from gradio.state_holder import SessionState

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
    """Have Gradio's sessions keep their ``gr.State`` values alone; calling it again is harmless."""
    SessionState.__init__ = _start_small  # type: ignore[method-assign,assignment]


_START = SessionState.__init__


def _start_small(session: Any, blocks: Any) -> None:
    # The copy is made of the components in ``blocks.blocks``.
    _START(session, SimpleNamespace(default_config=blocks.default_config, blocks={}))  # type: ignore[arg-type]
    session.config_values = _Forgetful()
    session.STATE_TTL_WHEN_CLOSED = CLOSED_S
