"""The page's state of its run: the key, the stages that have run, and precomputed findings.

The browser half, run.js, notifies all parts, which then request what they show.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from components.serving.browser_module import page_module


class RunView(gr.HTML):
    """A hidden component with the value of ``write_run``; ``rerun`` sets the input panel."""

    def __init__(self, **kwargs: Any) -> None:
        """Build it; ``kwargs`` are Gradio's, when an event leaves the component unchanged."""
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
    """A run's state for run.js.

    Args:
        key: of the page's run.
        stages: those that have run.
        running: the stage that is being computed.
        findings: keys of precomputed findings, by full name.
        restored: settings from a link: raw ``values`` of controls by full name, ``tabs``, and the
            number of ``unknown`` settings.
        is_default: True for the state that a page is served with; a link in the URL overrides it.
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
