"""The vision tab's mergers: four patches become one token, with the DeepStack taps beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

import playground
from components.chart_view.view import PlotlyView
from components.charts.vision_merger import plot_merger_vectors
from components.snippets.scripts import write_snippet
from components.tabs.choices import capital, fact_html
from components.tabs.stage_tab import App, Section, build_code_panel, skip_unless_run
from components.tabs.vision.focus import PatchFocus, choose_patch, point_here, stack_html
from components.tabs.vision.taps import MAX_TAP_MAPS, build_tap_map, draw_tap_maps, taps_html
from components.views.html_view import build_html_view
from components.views.pictures import image_uri, picture_html
from components.views.tables import Mono, table_html
from playground.language import mark, say
from playground.pipeline import Run
from playground.pointer import Place, patch_rows

if TYPE_CHECKING:
    from playground.vision.merger import MergedToken, MergerStep

FINAL = -1  # the value of the final merger in the chooser; taps count from 0
PICTURE_SIDE = 320  # pixels of the longer side, sent and shown
PATCH_WIDTH = 150  # CSS pixels of one enlarged patch
STEP_NAMES = {
    "patches": mark("patches"),
    "norm": "LayerNorm",
    "concat": mark("end to end"),
    "linear_fc1": "fc1",
    "act_fn": "GELU",
    "linear_fc2": mark("fc2 = token"),
}


def build_merger_section(app: App, span: gr.Dropdown) -> Section:
    """Build the part; the pointer chooses the token."""
    gr.Markdown("### " + say("Four patches become one token: the merger"))
    intro = build_html_view()
    with gr.Row():
        with gr.Column(min_width=280):
            picture = build_html_view()
        with gr.Column(min_width=280):
            patches = build_html_view()
    alike = build_html_view()
    merger = gr.Dropdown(
        [(say("final merger"), FINAL)],
        value=FINAL,
        label=say("Merger"),
        info=say("The one at the tower's end, or that of a DeepStack tap on the way."),
    )
    with gr.Row():
        with gr.Column(min_width=320):
            steps = build_html_view()
        with gr.Column(min_width=320):
            vectors = PlotlyView(label=say("The vectors on their way"))
    gr.Markdown("#### " + say("DeepStack taps beside the final token"))
    taps = build_html_view()
    with gr.Row():
        maps = [build_tap_map(number) for number in range(MAX_TAP_MAPS)]
    code = build_code_panel()

    step_views = [patches, alike, steps, vectors, code]
    drawn = [intro, *step_views, taps, *maps]
    controls, outputs = (span, merger, app.pointed), (merger, picture, *drawn)
    redraw = skip_unless_run("vision", _redraw_merger, len(step_views))
    app.on_view(merger.input, redraw, controls, step_views)
    redraw_all = skip_unless_run("vision", draw_merger, len(outputs))
    app.on_view(span.change, redraw_all, controls, outputs)
    app.on_point(point_here(_point, len(drawn)), [span, merger], drawn)
    return Section(controls, outputs, draw_merger)


def draw_merger(
    run: Run, span: int | None, merger: int | None, pointed: Place | None
) -> tuple[Any, ...]:
    """Everything of this part."""
    focus = choose_patch(run, span, pointed)
    if focus is None:
        return gr.skip(), "", *_nothing()
    names = [(say("final merger"), FINAL)] + [
        (say("DeepStack tap {number}, after block {block}", number=number + 1, block=block), number)
        for number, block in enumerate(focus.tower.deepstack_layers)
    ]
    merger = _within(focus, merger)
    return (
        gr.update(choices=names, value=merger),
        picture_view_html(run, focus),
        *draw_token(run, focus, merger),
    )


def _point(run: Run, place: Place | None, span: int | None, merger: int | None) -> tuple[Any, ...]:
    focus = choose_patch(run, span, place)
    return _nothing() if focus is None else draw_token(run, focus, _within(focus, merger))


def _redraw_merger(
    run: Run, span: int | None, merger: int | None, pointed: Place | None
) -> tuple[Any, ...]:
    focus = choose_patch(run, span, pointed)
    return (
        ("", "", "", None, "") if focus is None else draw_steps(run, focus, _within(focus, merger))
    )


def _nothing() -> tuple[Any, ...]:
    return ("", "", "", "", None, "", "", *[None] * MAX_TAP_MAPS)


def draw_token(run: Run, focus: PatchFocus, merger: int) -> tuple[Any, ...]:
    """All drawings of one token."""
    taps = playground.vision.merger.tap_similarities(focus.tower, focus.span)
    return (
        intro_html(focus),
        *draw_steps(run, focus, merger),
        taps_html(run, focus, taps),
        *draw_tap_maps(focus, taps),
    )


def draw_steps(run: Run, focus: PatchFocus, merger: int) -> tuple[Any, ...]:
    """The four patches as they go into one merger, its steps, and the code."""
    tap = None if merger == FINAL else merger
    merged = playground.vision.merger.merge_token(
        run.engine, focus.tower, focus.span, focus.token, tap
    )
    return (
        patches_html(run, focus, merged),
        alike_html(focus, merged, tap),
        steps_html(focus, merged, tap),
        plot_merger_vectors(_lines(merged), focus.span.start + focus.token),
        write_snippet("vision_merger", run, span=focus.number, token=focus.token, tap=tap),
    )


def intro_html(focus: PatchFocus) -> str:
    """Which patches become which token."""
    span, size = focus.span, focus.span.merge_size
    row, column = divmod(focus.token, span.merged_w)
    rows, columns = (f"{first * size}–{(first + 1) * size - 1}" for first in (row, column))
    hint = say("(This is in the middle of the picture; click anywhere on it to choose another.)")
    return fact_html(
        say(
            "After the last block the {down} × {across} patches of {name} are more than the "
            "decoder should read, so each {size} × {size} of them become one token: {count:,} "
            "tokens. Token {token} of the sequence is made of the patches at rows {rows}, columns "
            "{columns}.",
            down=span.grid_h,
            across=span.grid_w,
            name=focus.name,
            size=size,
            count=span.merged_h * span.merged_w,
            token=span.start + focus.token,
            rows=rows,
            columns=columns,
        ),
        "" if focus.pointed else hint,
    )


def picture_view_html(run: Run, focus: PatchFocus) -> str:
    """The whole picture, small, to point at."""
    return picture_html(
        playground.preprocess.stage.unpatchify(run.inputs, focus.span)[0],
        alt=say("{name} as the model is given it", name=focus.name),
        caption=say("{name}: click a place to see its four patches.", name=capital(focus.name)),
        max_side=PICTURE_SIDE,
        shown_width=PICTURE_SIDE,
        span=focus.number,
    )


def patches_html(run: Run, focus: PatchFocus, merged: MergedToken) -> str:
    """The four patches enlarged, each a place of the pointer, with the norms of their vectors."""
    span, size, side = focus.span, focus.span.merge_size, run.inputs.patch_size
    # The token's patches are a picture by themselves: their rows stand next to each other.
    start = span.patch_start + focus.token * size**2
    block = replace(span, grid_h=size, grid_w=size, patch_start=start)
    pixels = playground.preprocess.stage.unpatchify(run.inputs, block)[0]
    norms = np.linalg.norm(merged.steps[0].values, axis=1)
    cells = []
    for number, (row, column) in enumerate(_block(focus)):
        top, left = (place % size * side for place in (row, column))
        patch = pixels[top : top + side, left : left + side]
        where = say("row {row}, column {column}", row=row, column=column)
        alt = say("Patch {number}: {where}", number=number + 1, where=where)
        norm = say("norm {norm:.4g}", norm=norms[number])
        cells.append(
            f'<figure class="pg-pixelated" style="margin:0" data-span="{focus.number}" '
            f'data-row="{row}" data-column="{column}"><img src="{image_uri(patch, exact=True)}" '
            f'alt="{alt}" width="{side}" height="{side}" '
            f'style="display:block;width:100%;height:auto;margin:0;border-radius:4px">'
            f'<figcaption style="font-size:13px;line-height:1.35;padding:3px 2px">'
            f"<strong>{number + 1}</strong> · {where}<br>{norm}</figcaption>"
            "</figure>"
        )
    return (
        f'<div style="display:grid;grid-template-columns:repeat({size},minmax(0,{PATCH_WIDTH}px));'
        f'gap:8px">{"".join(cells)}</div>'
    )


def alike_html(focus: PatchFocus, merged: MergedToken, tap: int | None) -> str:
    """How alike the four vectors are, as a table of cosine similarities."""
    pixel_rows = [int(patch_rows(focus.span)[place]) for place in _block(focus)]
    values = "pixel_values" if focus.span.kind == "image" else "pixel_values_videos"
    count = len(pixel_rows)
    rows = [
        (
            f"{number + 1}",
            str(pixel_rows[number]),
            *[f"{value:.3f}" for value in merged.similarity[number]],
        )
        for number in range(count)
    ]
    headers = (
        say("Patch"),
        say("Row of {tensor}", tensor=values),
        *[say("to patch {number}", number=number + 1) for number in range(count)],
    )
    pairs = merged.similarity[~np.eye(count, dtype=bool)]
    words = fact_html(
        say(
            "Neighbours in the picture, and rows {first}–{last} of {tensor}: the processor already "
            "laid the patches of a block side by side, so that merging is a mere reshape. Their "
            "similarity lies between {least:.3f} and {most:.3f} (1 is the same direction).",
            first=pixel_rows[0],
            last=pixel_rows[-1],
            tensor=values,
            least=pairs.min(),
            most=pairs.max(),
        )
    )
    caption = say("Cosine similarity of the four vectors after the last block")
    if tap is not None:
        caption = say(
            "Cosine similarity of the four vectors after block {block}",
            block=_tap_block(focus, tap),
        )
    right = tuple(range(1, count + 2))
    return stack_html(words, table_html(headers, rows, caption, right=right))


def steps_html(focus: PatchFocus, merged: MergedToken, tap: int | None) -> str:
    """Shape, norm and range after each step, and how near the end is to the model's own token."""
    rows = [
        (
            say(STEP_NAMES[step.name]),
            Mono(" × ".join(f"{size:,}" for size in _shape(step))),
            step.norm,
            float(step.values.min()),
            float(step.values.max()),
        )
        for step in merged.steps
    ]
    headers = (say("Step"), say("Numbers"), say("Norm"), say("Min"), say("Max"))
    name = say("The final merger")
    if tap is not None:
        name = say("The merger of DeepStack tap {number}", number=tap + 1)
    if merged.norm_after_concat:
        order = say(
            "{merger} joins the four first and then normalises the long vector "
            "(use_postshuffle_norm); fc1 mixes all numbers, GELU keeps mostly what is positive, "
            "fc2 brings it to the decoder's width.",
            merger=name,
        )
    else:
        order = say(
            "{merger} normalises each patch by itself and then joins the four; fc1 mixes all "
            "numbers, GELU keeps mostly what is positive, fc2 brings it to the decoder's width.",
            merger=name,
        )
    return stack_html(
        fact_html(order),
        table_html(headers, rows, say("{merger}, step by step", merger=name)),
        fact_html(_check_words(merged, tap)),
    )


def _check_words(merged: MergedToken, tap: int | None) -> str:
    """How near the last step is to the model's own token."""
    record = "pooler_output" if tap is None else f"deepstack_features[{tap}]"
    if merged.max_abs_diff == 0:
        return say("It is exactly the model's own row of {record}.", record=record)
    return say(
        "It is the model's own row of {record} up to {diff:.1e} in any number: one token "
        "multiplied alone rounds otherwise than all together.",
        record=record,
        diff=merged.max_abs_diff,
    )


def _block(focus: PatchFocus) -> list[tuple[int, int]]:
    """Row and column of each patch of the token, in the order of the merger."""
    size = focus.span.merge_size
    top, left = (number * size for number in divmod(focus.token, focus.span.merged_w))
    return [(top + row, left + column) for row in range(size) for column in range(size)]


def _lines(merged: MergedToken) -> list[tuple[str, np.ndarray]]:
    """The steps as lines of one patch's length; joining changes no number, so it is left out."""
    width = merged.steps[0].values.shape[1]
    lines = []
    for step in merged.steps:
        if step.name != "concat":
            numbers = step.values.ravel()
            padded = np.full(-(-len(numbers) // width) * width, np.nan, np.float32)
            padded[: len(numbers)] = numbers
            lines.append((say(STEP_NAMES[step.name]), padded.reshape(-1, width)))
    return lines


def _shape(step: MergerStep) -> tuple[int, ...]:
    shape = step.values.shape
    return shape if shape[0] > 1 else shape[1:]


def _tap_block(focus: PatchFocus, tap: int) -> int:
    return focus.tower.deepstack_layers[tap]


def _within(focus: PatchFocus, merger: int | None) -> int:
    """The chooser's value, if this tower has such a merger; else the final one."""
    count = len(focus.tower.deepstack_layers)
    return merger if merger is not None and FINAL <= merger < count else FINAL
