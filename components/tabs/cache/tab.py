"""Tab 6: what a request saves when an earlier one has left its keys and values behind."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr

from components.tabs.cache.conversation import build_conversation_section
from components.tabs.cache.inside import build_inside_section
from components.tabs.cache.policy import build_policy_section
from components.tabs.cache.requests import build_requests_part, stream_requests
from components.tabs.cache.served import find_served
from components.tabs.stage_tab import App, Section, StageTab, build_stage_header, draw_sections
from playground.language import mark, say
from playground.records import Progress

if TYPE_CHECKING:
    from playground.pipeline import Run

# The parts after the first one, in the order in which the tab shows them.
PARTS = (
    (mark("The cache itself"), build_inside_section),
    (mark("Policy lab"), build_policy_section),
    (mark("Conversation"), build_conversation_section),
)


def build_cache_tab(app: App) -> StageTab:
    """Build the tab inside the page's ``with gr.Tab(...)``."""
    run_button = build_stage_header(
        say("Cache reuse"),
        say(
            "A request leaves its keys and values behind. The next one takes over those of the "
            "shared beginning and computes only the rest, with the same logits in the end."
        ),
    )
    sections: list[Section] = []
    with gr.Tabs(overflow_behavior="wrap"):
        with gr.Tab(say("Hit or miss")):
            requests = build_requests_part(app)
        for name, build in PARTS:
            with gr.Tab(say(name)):
                sections.append(build(app))
    return StageTab(
        stage="cache",
        run_button=run_button,
        controls=(
            *requests.controls,
            *(control for section in sections for control in section.controls),
        ),
        outputs=(
            *(output for section in sections for output in section.outputs),
            *requests.outputs,
        ),
        stream=partial(stream_cache, sections=tuple(sections), num_requests=len(requests.controls)),
        found=find_served,
        found_in=(requests.served,),
    )


def stream_cache(
    run: Run,
    progress: Progress,
    *settings: Any,
    sections: tuple[Section, ...],
    num_requests: int,
) -> Iterator[tuple[Any, ...]]:
    """Serve the requests, and draw what needs no further forward.

    Args:
        run: the page's run.
        progress: called before every forward.
        settings: the values of the requests' controls, then of all the sections'.
        sections: the tab's other parts.
        num_requests: how many of the settings are the requests'.
    """
    run.ensure("decoder", progress)
    drawn = draw_sections(run, sections, settings[num_requests:])
    # Whole at the end: the page keeps the last drawing of its first example for later visitors.
    served: tuple[Any, ...] | None = None
    for values in stream_requests(run, progress, *settings[:num_requests]):
        if served is not None:
            yield (*(gr.skip() for _ in drawn), *served)
        served = values
    yield (*drawn, *(served or ()))
