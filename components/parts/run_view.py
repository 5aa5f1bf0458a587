"""What the page knows of its run: the key, how far it is, and what was found beforehand.

The browser half, run.js, tells all parts, which then ask for what they show.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from components.serving.browser_module import page_module


class RunView(gr.HTML):
    """Never seen; its value is ``write_run``'s. ``rerun`` gets values of the input panel."""

    def __init__(self, **kwargs: Any) -> None:
        """Build it; Gradio gives more where an event leaves it as it is."""
        super().__init__(
            None,
            html_template="<span></span>",
            js_on_load=page_module("run.js", spec={"events": ["rerun"]}),
            apply_default_css=False,
            elem_id="run-view",
            **kwargs,
        )


def write_run(
    key: str | None,
    stages: Sequence[str],
    *,
    running: str = "",
    findings: Mapping[str, str] | None = None,
    restored: Mapping[str, Any] | None = None,
    is_default: bool = False,
) -> str:
    """A run as run.js takes it.

    Args:
        key: of the page's run.
        stages: those that have run.
        running: the stage that is being computed.
        findings: keys of experiments that were done beforehand, by full name.
        restored: what a link has set: raw ``values`` of controls by full name, ``tabs``,
            and how many settings are ``unknown`` here.
        is_default: what a page is served with, for visitors whose address asks for nothing else.
    """
    state: dict[str, Any] = {
        "key": key,
        "stages": list(stages),
        "running": running,
        "findings": dict(findings or {}),
    }
    if restored is not None:
        state["restored"] = dict(restored)
    if is_default:
        state["isDefault"] = True
    return json.dumps(state, ensure_ascii=False, separators=(",", ":"))
