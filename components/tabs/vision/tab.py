"""Tab 2: what the vision tower makes of each patch, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from components.charts.token_labels import span_name
from components.tabs.choices import fact_html, within
from components.tabs.stage_tab import App, Section, StageTab, build_stage_header
from components.tabs.vision.attention import build_attention_section
from components.tabs.vision.blocks import build_blocks_section
from components.tabs.vision.merger import build_merger_section
from components.tabs.vision.position import build_position_section
from components.tabs.vision.rope import build_rope_section
from components.views.html_view import build_html_view
from playground.language import mark, say
from playground.pipeline import Run
from playground.pointer import Place
from playground.records import Progress

NO_PICTURE = mark(
    "This prompt holds no picture and no video, so the vision tower does not run: the sequence "
    "goes from the tokenizer straight to the decoder. Add a picture to see it work."
)
# The name of each part, in the order in which the tab shows them.
PARTS = (
    (mark("Blocks"), build_blocks_section),
    (mark("Attention"), build_attention_section),
    (mark("Position grid"), build_position_section),
    ("RoPE", build_rope_section),
    (mark("Merger and taps"), build_merger_section),
)


def build_vision_tab(app: App) -> StageTab:
    """Build the tab inside the page's ``with gr.Tab(...)``."""
    run_button = build_stage_header(
        say("Vision tower"),
        say(
            "Each 16-pixel patch becomes a vector; block after block, attention lets the patches "
            "look at one another, until four neighbours are merged into one token for the decoder."
        ),
    )
    facts = build_html_view()
    span = gr.Dropdown(
        [(say("image {number}", number=1), 0)],
        value=0,
        label=say("Picture or video frame"),
        info=say("Every part below shows this one."),
        visible=False,
    )
    sections: list[Section] = []
    with gr.Column() as body, gr.Tabs(overflow_behavior="wrap"):
        for name, build in PARTS:
            with gr.Tab(say(name)):
                sections.append(build(app, span))

    app.on_point(follow_picture, [span], [span])
    return StageTab(
        stage="vision",
        run_button=run_button,
        controls=(span,),
        outputs=(facts, body, span),
        stream=stream_vision,
        parts=tuple(sections),
    )


def stream_vision(
    run: Run, progress: Progress, span: float | None
) -> Iterator[tuple[Any, Any, Any]]:
    """Run the tower where it has not run yet, and draw what stands above the parts.

    Args:
        run: the page's run.
        progress: called before every block.
        span: the chosen picture or frame.
    """
    run.ensure("vision", progress)
    yield draw_header(run, span)


def follow_picture(run: Run, place: Place | None, span: float | None) -> Any:
    """Choose the picture that was pointed at; its change redraws the parts."""
    if place is None or place.span is None or place.span == span or len(run.inputs.spans) < 2:
        return gr.skip()
    return place.span


def draw_header(run: Run, span: float | None) -> tuple[Any, Any, Any]:
    """The sizes in words, the parts where there is a picture, and the pictures to choose from."""
    spans = run.inputs.spans
    if not spans:
        nothing = f'<p class="note">{say(NO_PICTURE)}</p>'
        return nothing, gr.update(visible=False), gr.update(visible=False)
    names = [(span_name(run.inputs, each), index) for index, each in enumerate(spans)]
    chooser = gr.update(choices=names, value=within(span, len(spans) - 1), visible=len(spans) > 1)
    return facts_html(run), gr.update(visible=True), chooser


def facts_html(run: Run) -> str:
    """The tower's sizes in this run, in one paragraph."""
    facts = run.engine.facts
    towers = [tower for tower in (run.vision.image, run.vision.video) if tower is not None]
    return fact_html(
        say(
            "{patches:,} patches of {size} × {size} pixels go through {depth} blocks as vectors of "
            "{hidden:,} numbers ({heads} heads).",
            patches=sum(len(tower.patch_embeds) for tower in towers),
            size=facts.patch_size,
            depth=facts.vision_depth,
            hidden=facts.vision_hidden_size,
            heads=facts.vision_num_heads,
        ),
        say(
            "The merger joins {merge} × {merge} patches each: {merged:,} tokens of {width:,} "
            "numbers.",
            merge=facts.merge_size,
            merged=sum(len(tower.pooler_output) for tower in towers),
            width=facts.out_hidden_size,
        ),
        say(
            "DeepStack taps after blocks {taps} (counted from 0) hand early features to the "
            "decoder's first layers.",
            taps=say(", ").join(str(block) for block in facts.deepstack_visual_indexes),
        ),
    )
