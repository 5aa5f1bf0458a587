"""Tab 2: what the vision tower makes of each patch, block by block."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

import gradio as gr

import playground
from components.charts.token_labels import span_name
from components.charts.vision import plot_norm_summary, plot_patch_norms, state_words
from components.pictures import picture_html
from components.plotly_view import PlotlyView
from components.snippets import write_snippet
from components.stage_tab import App, StageTab, build_code_panel, build_stage_header
from playground.pipeline import Run
from playground.pointer import patch_tokens
from playground.records import ModelInputs, Progress, TowerOutput, VisualSpan

FIRST_STATE = 4  # blocks passed in the first picture; less in a shallower tower
NO_PICTURE = (
    '<p class="note">This prompt holds no picture and no video, so the vision tower does not run: '
    "the sequence goes from the tokenizer straight to the decoder. Add a picture to see it work."
    "</p>"
)
COLOR_NAMES = ("red", "green", "blue")


def build_vision_tab(app: App) -> StageTab:
    """Build the tab inside the page's ``with gr.Tab(...)``."""
    run_button = build_stage_header(
        "Vision tower",
        "Each 16-pixel patch becomes a vector; block after block, attention lets the patches look "
        "at one another, until four neighbours are merged into one token for the decoder.",
    )
    facts = gr.HTML()
    with gr.Column() as body:
        with gr.Row():
            state = gr.Slider(
                0,
                FIRST_STATE,
                FIRST_STATE,
                step=1,
                label="Blocks passed",
                min_width=240,
                info="0 is the patch embedding plus position; the last one is the tower's output.",
            )
            span = gr.Dropdown(
                [("image 1", 0)],
                value=0,
                label="Picture or video frame",
                min_width=240,
                visible=False,
            )
        with gr.Row():
            with gr.Column(min_width=300):
                picture = gr.HTML()
            with gr.Column(min_width=300):
                pca = gr.HTML()
        with gr.Row():
            norms = PlotlyView(label="Norm of each patch")
            summary = PlotlyView(label="Norms through the tower")
    code = build_code_panel()

    # input, unlike release, also hears the keyboard.
    app.on_view(state.input, draw_state, [state, span], [pca, norms, code])
    app.on_view(span.input, draw_span, [state, span], [picture, summary, pca, norms, code])
    return StageTab(
        stage="vision",
        run_button=run_button,
        controls=(state, span),
        outputs=(facts, body, state, span, picture, summary, pca, norms, code),
        stream=stream_vision,
    )


def stream_vision(
    run: Run, progress: Progress, state: int | None, span: int | None
) -> Iterator[tuple[Any, ...]]:
    """Run the tower where it has not run yet, and draw."""
    run.ensure("vision", progress)
    spans = run.inputs.spans
    if not spans:
        hidden = gr.update(visible=False)
        yield (
            NO_PICTURE,
            hidden,
            gr.skip(),
            gr.skip(),
            "",
            None,
            "",
            None,
            write_snippet("vision", run),
        )
        return
    depth = run.engine.facts.vision_depth
    state = _within(state, depth)
    span = _within(span, len(spans) - 1)
    names = [(span_name(run.inputs, each), index) for index, each in enumerate(spans)]
    yield (
        facts_html(run),
        gr.update(visible=True),
        gr.update(maximum=depth, value=state),
        gr.update(choices=names, value=span, visible=len(spans) > 1),
        *draw_span(run, state, span),
    )


def draw_span(run: Run, state: int | None, span: int | None) -> tuple[Any, ...]:
    """Draw everything that belongs to one picture or frame."""
    chosen, tower = _find_span(run, span)
    return (
        model_picture_html(run.inputs, chosen),
        plot_norm_summary(
            playground.vision_maps.norm_summary(tower, chosen), tower.deepstack_layers
        ),
        *draw_state(run, state, span),
    )


def draw_state(run: Run, state: int | None, span: int | None) -> tuple[Any, ...]:
    """Draw what changes with the block: one picture and one heat map, with their code."""
    chosen, tower = _find_span(run, span)
    depth = len(tower.hidden_states) - 1
    state = _within(state, depth)
    norms = playground.vision_maps.patch_norms(tower, chosen, state)
    return (
        pca_picture_html(tower, chosen, state),
        plot_patch_norms(norms, patch_tokens(chosen), state, depth),
        write_snippet("vision", run, block=state, kind=chosen.kind),
    )


def model_picture_html(inputs: ModelInputs, span: VisualSpan) -> str:
    """The picture as the model gets it, undone from its patches."""
    pixels = playground.preprocess.unpatchify(inputs, span)[0]
    height, width = pixels.shape[:2]
    name = span_name(inputs, span)
    if span.kind == "video":
        name += f" (the first of {inputs.temporal_patch_size} frames)"
    return picture_html(
        pixels,
        alt=f"{name} as the model is given it",
        caption=f"What the model is given: {name}, {width} × {height} pixels, "
        f"{span.grid_w} × {span.grid_h} patches",
        grid=(span.grid_h, span.grid_w),
    )


def pca_picture_html(tower: TowerOutput, span: VisualSpan, state: int) -> str:
    """The features of one state as colours, and how much of them the colours show."""
    colours = playground.vision_maps.patch_pca(tower, span, state)
    depth = len(tower.hidden_states) - 1
    shares = ", ".join(
        f"{name} {share:.0%}" for name, share in zip(COLOR_NAMES, colours.variance, strict=False)
    )
    return picture_html(
        colours.rgb,
        alt=f"Patch features {state_words(state, depth)} as colours; like colours, like features",
        caption=f"Patch features {state_words(state, depth)}: like colours, like features. The "
        f"three colours show {sum(colours.variance):.0%} of the variance ({shares}).",
        pixelated=True,
    )


def facts_html(run: Run) -> str:
    """The tower's sizes in this run, in one paragraph."""
    facts = run.engine.facts
    towers = [tower for tower in (run.vision.image, run.vision.video) if tower is not None]
    patches = sum(len(tower.patch_embeds) for tower in towers)
    merged = sum(len(tower.pooler_output) for tower in towers)
    taps = ", ".join(str(block) for block in facts.deepstack_visual_indexes)
    text = (
        f"{patches:,} patches of {facts.patch_size} × {facts.patch_size} pixels go through "
        f"{facts.vision_depth} blocks as vectors of {facts.vision_hidden_size:,} numbers "
        f"({facts.vision_num_heads} heads). The merger joins {facts.merge_size} × "
        f"{facts.merge_size} patches each: {merged:,} tokens of {facts.out_hidden_size:,} numbers. "
        f"DeepStack taps after blocks {taps} (counted from 0) hand early features to the decoder's "
        "first layers."
    )
    return f'<p class="pg-fact">{html.escape(text)}</p>'


def _find_span(run: Run, index: int | None) -> tuple[VisualSpan, TowerOutput]:
    """The chosen span and the pass that it belongs to."""
    span = run.inputs.spans[_within(index, len(run.inputs.spans) - 1)]
    tower = run.vision.tower(span.kind)
    assert tower is not None, "a span without its tower's pass"
    return span, tower


def _within(value: float | None, largest: int) -> int:
    """A control's value in the range that this run has; nothing chosen means the first."""
    return min(max(int(value or 0), 0), largest)
