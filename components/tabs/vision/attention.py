"""The vision tab's attention: where a patch looks, head by head, and what each head is like."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import gradio as gr
import numpy as np

import playground
from components.chart_style import SEQUENTIAL, ColorScale
from components.html_view import build_html_view
from components.pictures import (
    color_values,
    grey_out,
    overlay_values,
    picture_html,
    picture_row_html,
    scale_html,
)
from components.plotly_view import PlotlyView
from components.stage_tab import App, Section, skip_unless_run
from components.tabs.choices import capital, fact_html, within
from components.tabs.vision.focus import PatchFocus, choose_patch, point_here
from components.tabs.vision.heads import draw_summary, measure_heads
from playground.pipeline import Run
from playground.pointer import Place

FIRST_BLOCK = 2
MEAN = -1  # the head chooser's value for the mean of all heads
LOOKS, RECEIVED = "looks", "received"
GROUND_SIDE = 512  # pixels of the longer side of the picture below the attention
SMALL_WIDTH = 92  # CSS pixels of a head's picture
SMALL_PATCHES = 1200  # more are joined 2 x 2 in a head's picture, where they could not be seen
GLOW: ColorScale = [(0.0, "#c2410c"), (0.5, "#f59e0b"), (1.0, "#fff3a3")]
# One grey picture of each run that is still held, by the number of its span; half a megabyte.
_GROUNDS: WeakKeyDictionary[Run, tuple[int, np.ndarray]] = WeakKeyDictionary()


def build_attention_section(app: App, span: gr.Dropdown) -> Section:
    """Build the section inside its ``with gr.Tab(...)``.

    Args:
        app: the page.
        span: the tab's chooser of a picture or frame.
    """
    intro = build_html_view()
    with gr.Row():
        block = gr.Slider(
            0,
            FIRST_BLOCK,
            FIRST_BLOCK,
            step=1,
            label="Attention of block",
            min_width=240,
            info="Counted from 0; it reads what the blocks before it have made.",
        )
        head = gr.Dropdown([("mean of all heads", MEAN)], value=MEAN, label="Head", min_width=160)
        direction = gr.Radio(
            [("where the patch looks", LOOKS), ("what all patches look at", RECEIVED)],
            value=LOOKS,
            label="Show",
            min_width=240,
        )
    with gr.Row():
        picture = build_html_view(wide=True)
        heads = build_html_view(wide=True)
    gr.Markdown("### Which heads look nearby, which look everywhere?")
    words = build_html_view()
    measure = gr.Button("Measure all heads", size="sm", visible=False)
    with gr.Row():
        entropy = PlotlyView(label="Entropy by head", min_width=320)
        distance = PlotlyView(label="Mean distance by head", min_width=320)

    controls = (span, block, head, direction, app.pointed)
    maps = [picture, heads]
    summary = [words, measure, entropy, distance]
    outputs = (intro, block, head, *maps, *summary)
    redraw_all = skip_unless_run("vision", draw_attention, len(outputs))
    app.on_view(span.change, redraw_all, controls, outputs)
    for control in (block, direction):
        app.on_view(control.input, draw_maps, controls, maps)
    app.on_view(head.input, draw_picture, controls, [picture])
    app.on_point(point_here(draw_pointed, len(maps)), [span, block, head, direction], maps)
    app.on_model(measure.click, measure_heads, [span], summary)
    for chart in (entropy, distance):
        _wire_cells(app, chart, controls, [block, head, *maps])
    return Section(controls, outputs, draw_attention)


def _wire_cells(app: App, chart: PlotlyView, inputs: Any, outputs: list[Any]) -> None:
    """A click on a cell of the chart shows that block and head."""

    def handler(run_key: str | None, event: gr.EventData, *values: Any) -> tuple[Any, ...]:
        run = app.runs.peek(run_key)
        if run is None or not event.points:
            return (gr.skip(),) * len(outputs)
        return draw_cell(run, int(event.points[0]["y"]), int(event.points[0]["x"]), *values)

    chart.select(
        handler,
        [app.run_key, *inputs],
        outputs,
        show_progress="hidden",
        trigger_mode="always_last",
        concurrency_limit=None,
        api_visibility="private",
    )


# ---------------------------------------------------------------------------------- drawing


def draw_attention(
    run: Run,
    span: float | None,
    block: float | None,
    head: float | None,
    direction: str | None,
    place: Place | None,
) -> tuple[Any, ...]:
    """Everything that belongs to one picture or frame, with the controls set to this tower."""
    focus = choose_patch(run, span, place)
    if focus is None:
        return "", gr.skip(), gr.skip(), "", "", "", gr.skip(), None, None
    facts = run.engine.facts
    block, head = _within(run, block, head)
    names = [("mean of all heads", MEAN)]
    names += [(f"head {number}", number) for number in range(facts.vision_num_heads)]
    return (
        intro_html(run, focus),
        gr.update(maximum=facts.vision_depth - 1, value=block),
        gr.update(choices=names, value=head),
        *draw_maps(run, span, block, head, direction, place),
        *draw_summary(run, span),
    )


def draw_maps(
    run: Run,
    span: float | None,
    block: float | None,
    head: float | None,
    direction: str | None,
    place: Place | None,
) -> tuple[Any, ...]:
    """The picture with one head's attention, and all heads in small."""
    focus = choose_patch(run, span, place)
    if focus is None:
        return "", ""
    block, head = _within(run, block, head)
    weights = compute_weights(run, focus, block, direction)
    return (
        attention_html(run, focus, weights, block, head, direction),
        heads_html(focus, weights, block, head),
    )


def draw_picture(
    run: Run,
    span: float | None,
    block: float | None,
    head: float | None,
    direction: str | None,
    place: Place | None,
) -> str:
    """The picture alone, for another head."""
    focus = choose_patch(run, span, place)
    if focus is None:
        return ""
    block, head = _within(run, block, head)
    weights = compute_weights(run, focus, block, direction)
    return attention_html(run, focus, weights, block, head, direction)


def draw_pointed(
    run: Run,
    place: Place | None,
    span: float | None,
    block: float | None,
    head: float | None,
    direction: str | None,
) -> tuple[Any, ...]:
    """The maps of another patch."""
    if not run.inputs.spans or direction == RECEIVED:
        return gr.skip(), gr.skip()
    return draw_maps(run, span, block, head, direction, place)


def draw_cell(
    run: Run,
    block: int,
    chosen_head: int,
    span: float | None,
    _block: float | None,
    _head: float | None,
    direction: str | None,
    place: Place | None,
) -> tuple[Any, ...]:
    """The block and head of a cell, with the controls set to them."""
    block, head = _within(run, block, chosen_head)
    return block, head, *draw_maps(run, span, block, head, direction, place)


def compute_weights(run: Run, focus: PatchFocus, block: int, direction: str | None) -> np.ndarray:
    """``(heads, grid_h, grid_w)`` float32: what is shown of one block; each head sums to 1."""
    attention = playground.vision_attention
    if direction == RECEIVED:
        return attention.measure_block(run.engine, focus.tower, focus.span, block).received
    weights: np.ndarray = attention.patch_attention(
        run.engine, focus.tower, focus.span, block, *focus.patch
    )
    return weights


def attention_html(
    run: Run,
    focus: PatchFocus,
    weights: np.ndarray,
    block: int,
    head: int,
    direction: str | None,
) -> str:
    """One head's attention as a glow on the picture, and in words."""
    shown = weights.mean(0) if head == MEAN else weights[head]
    high = float(shown.max())
    row, column = (int(place) for place in np.unravel_index(shown.argmax(), shown.shape))
    who = "the mean of all heads" if head == MEAN else f"head {head}"
    what = received_words(focus) if direction == RECEIVED else f"where {focus.words} looks"
    sentences = [
        f"Block {block}, {who}: {what}. The brightest patch, row {row}, column {column}, gets "
        f"{high:.1%}; spread evenly, each would get {1 / shown.size:.2%}."
    ]
    if direction != RECEIVED:
        entropy = float(-(shown * np.log(np.maximum(shown, 1e-30))).sum())
        sentences.append(
            f"Entropy {entropy:.2f} nats: as widely spread as over {np.exp(entropy):.0f} of the "
            f"{shown.size:,} patches.{focus.hint}"
        )
    return picture_html(
        _ground(run, focus),
        alt=f"{capital(focus.name)}, {what}, block {block}, {who}",
        caption=" ".join(sentences),
        span=focus.number,
        overlay=overlay_values(shown, GLOW, high),
        # The page marks what is pointed at.
        marked=None if direction == RECEIVED or focus.pointed else focus.patch,
        legend=scale_html(GLOW, "0", f"{high:.1%}", "attention"),
    )


def received_words(focus: PatchFocus) -> str:
    """What is shown of all patches, and over which of them it is the mean."""
    patches, most = focus.span.num_patches, playground.vision_attention.MAX_LOOKERS
    sample = f", by {most} of the {patches:,} patches, evenly spread" if patches > most else ""
    return f"how much each patch is looked at{sample}"


def heads_html(focus: PatchFocus, weights: np.ndarray, block: int, head: int) -> str:
    """The mean and every head in small, each on its own scale."""
    named = [("mean", weights.mean(0))]
    named += [(f"head {number}", each) for number, each in enumerate(weights)]
    figures = [
        picture_html(
            color_values(_small(focus, each), SEQUENTIAL, 0.0, float(_small(focus, each).max())),
            alt=f"Attention of block {block}, {name}",
            caption=f"{name}, {each.max():.1%}",
            pixelated=True,
            shown_width=SMALL_WIDTH,
            span=focus.number,
        )
        for name, each in named
    ]
    note = "Each has a scale of its own, from none (dark) to its largest weight, named below it."
    return fact_html(f"All heads of block {block}.", note) + picture_row_html(figures)


def intro_html(run: Run, focus: PatchFocus) -> str:
    """Who can look at whom, in this run's numbers."""
    facts, patches = run.engine.facts, focus.span.num_patches
    frames = (
        "frames never see one another"
        if focus.span.kind == "video"
        else ("pictures never see one another")
    )
    return fact_html(
        f"In each of the {facts.vision_depth} blocks, {facts.vision_num_heads} heads let each of "
        f"the {patches:,} patches of {focus.name} gather from all {patches:,}, before and after "
        f"it alike ({frames}). The weights are recomputed for the chosen block alone, from what "
        "entered it in this run. Click a patch to see where it looks."
    )


def _ground(run: Run, focus: PatchFocus) -> np.ndarray:
    """The picture in grey and small enough to send with every click; the last one is kept."""
    kept = _GROUNDS.get(run)
    if kept is None or kept[0] != focus.number:
        pixels = playground.preprocess.unpatchify(run.inputs, focus.span)[0]
        kept = focus.number, grey_out(pixels, max_side=GROUND_SIDE)
        _GROUNDS[run] = kept
    return kept[1]


def _small(focus: PatchFocus, values: np.ndarray) -> np.ndarray:
    """A head's map as it is drawn in small: where there are many patches, means of 2 x 2."""
    if values.size <= SMALL_PATCHES:
        return values
    size = focus.span.merge_size
    blocks = values.reshape(focus.span.merged_h, size, focus.span.merged_w, size)
    return np.asarray(blocks.mean((1, 3)))


def _within(run: Run, block: float | None, head: float | None) -> tuple[int, int]:
    """Block and head in the ranges that this tower has; no head means their mean."""
    facts = run.engine.facts
    chosen = MEAN if head is None else int(head)
    if not MEAN <= chosen < facts.vision_num_heads:
        chosen = MEAN
    return within(block, facts.vision_depth - 1), chosen
