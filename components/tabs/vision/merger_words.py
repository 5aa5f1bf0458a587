"""The text, tables and patch images of the vision tab's mergers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

import playground
from components.tabs.vision.focus import PatchFocus, stack_html
from components.views.facts import fact_html
from components.views.images import image_uri
from components.views.tables import Mono, table_html
from playground.language import mark, say
from playground.pipeline import Run
from playground.pointer import patch_rows

if TYPE_CHECKING:
    from playground.vision.merger import MergedToken, MergerStep

PATCH_WIDTH = 150  # CSS pixels of one enlarged patch
STEP_NAMES = {
    "patches": mark("patches"),
    "norm": "LayerNorm",
    "concat": mark("concatenate"),
    "linear_fc1": "fc1",
    "act_fn": "GELU",
    "linear_fc2": mark("fc2 = token"),
}
PATCHES = Markup(
    '<div style="display:grid;grid-template-columns:repeat({size},minmax(0,{width}px));gap:8px">'
    "{cells}</div>"
)
PATCH = Markup(
    '<figure class="pg-pixelated" style="margin:0" data-span="{span}" data-row="{row}" '
    'data-column="{column}"><img src="{source}" alt="{alt}" width="{side}" height="{side}" '
    'style="display:block;width:100%;height:auto;margin:0;border-radius:4px">'
    '<figcaption style="font-size:13px;line-height:1.35;padding:3px 2px">'
    "<strong>{number}</strong> · {where}<br>{norm}</figcaption></figure>"
)


def intro_html(focus: PatchFocus) -> str:
    """Which patches become which token."""
    span, size = focus.span, focus.span.merge_size
    row, column = divmod(focus.token, span.merged_w)
    rows, columns = (f"{first * size}–{(first + 1) * size - 1}" for first in (row, column))
    hint = say("(This token is in the middle of the image; click anywhere to choose another.)")
    return fact_html(
        say(
            "After the last block, the merger shortens the sequence: each {size} × {size} group "
            "of the {down} × {across} patches of {name} becomes one token, {count:,} tokens in "
            "all. Token {token} of the sequence is made from the patches at rows {rows}, columns "
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
        "" if focus.selected else hint,
    )


def patches_html(run: Run, focus: PatchFocus, merged: MergedToken) -> str:
    """The patches enlarged and selectable, with the norms of their vectors."""
    span, size, side = focus.span, focus.span.merge_size, run.inputs.patch_size
    # The token's patches are consecutive rows, so they can be read as an image of their own.
    start = span.patch_start + focus.token * size**2
    block = replace(span, grid_h=size, grid_w=size, patch_start=start)
    pixels = playground.preprocess.stage.unpatchify(run.inputs, block)[0]
    norms = np.linalg.norm(merged.steps[0].values, axis=1)
    cells = []
    for number, (row, column) in enumerate(_block(focus)):
        top, left = (index % size * side for index in (row, column))
        patch = pixels[top : top + side, left : left + side]
        where = say("row {row}, column {column}", row=row, column=column)
        alt = say("Patch {number}: {where}", number=number + 1, where=where)
        norm = say("norm {norm:.4g}", norm=norms[number])
        cells.append(
            PATCH.format(
                number=number + 1,
                span=focus.number,
                row=row,
                column=column,
                source=image_uri(patch, exact=True),
                alt=alt,
                side=side,
                where=where,
                norm=norm,
            )
        )
    return PATCHES.format(size=size, width=PATCH_WIDTH, cells=Markup("").join(cells))


def alike_html(focus: PatchFocus, merged: MergedToken, tap: int | None) -> str:
    """A table of the cosine similarities of the patches' vectors."""
    pixel_rows = [int(patch_rows(focus.span)[patch]) for patch in _block(focus)]
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
    if count == 1:
        return fact_html(say("With merge_size 1, one patch becomes one token: nothing is merged."))
    pairs = merged.similarity[~np.eye(count, dtype=bool)]
    words = fact_html(
        say(
            "The {count} patches are neighbours in the image and are rows {first}–{last} of "
            "{tensor}: the processor has already placed the patches of each group next to each "
            "other, so merging is just a reshape. Their cosine similarity is between {least:.3f} "
            "and {most:.3f} (1 means the same direction).",
            count=count,
            first=pixel_rows[0],
            last=pixel_rows[-1],
            tensor=values,
            least=pairs.min(),
            most=pairs.max(),
        )
    )
    caption = say("Cosine similarity of the {count} vectors after the last block", count=count)
    if tap is not None:
        caption = say(
            "Cosine similarity of the {count} vectors after block {block}",
            count=count,
            block=_tap_block(focus, tap),
        )
    right = tuple(range(1, count + 2))
    return stack_html(words, table_html(headers, rows, caption, right=right))


def steps_html(merged: MergedToken, tap: int | None) -> str:
    """Shape, norm and range after each step, and the difference from the model's own token."""
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
    headers = (say("Step"), say("Shape"), say("Norm"), say("Min"), say("Max"))
    name = say("The final merger")
    if tap is not None:
        name = say("The merger of DeepStack tap {number}", number=tap + 1)
    if merged.norm_after_concat:
        order = say(
            "{merger} first concatenates the token's patches and then normalises the long vector "
            "(use_postshuffle_norm). fc1 mixes all dimensions, GELU keeps mostly the positive "
            "values, and fc2 projects to the decoder's hidden size.",
            merger=name,
        )
    else:
        order = say(
            "{merger} first normalises each patch and then concatenates them. fc1 mixes all "
            "dimensions, GELU keeps mostly the positive values, and fc2 projects to the decoder's "
            "hidden size.",
            merger=name,
        )
    return stack_html(
        fact_html(order),
        table_html(headers, rows, say("{merger}, step by step", merger=name)),
        fact_html(_check_text(merged, tap)),
    )


def _check_text(merged: MergedToken, tap: int | None) -> str:
    """The difference between the last step and the model's own token."""
    record = "pooler_output" if tap is None else f"deepstack_features[{tap}]"
    if merged.max_abs_diff == 0:
        return say("The result is exactly the model's own row of {record}.", record=record)
    return say(
        "The result matches the model's own row of {record} to within {diff:.1e} in every "
        "dimension: computing one token alone rounds differently from computing all tokens "
        "together.",
        record=record,
        diff=merged.max_abs_diff,
    )


def _block(focus: PatchFocus) -> list[tuple[int, int]]:
    """Row and column of each patch of the token, in the merger's order."""
    size = focus.span.merge_size
    top, left = (number * size for number in divmod(focus.token, focus.span.merged_w))
    return [(top + row, left + column) for row in range(size) for column in range(size)]


def _shape(step: MergerStep) -> tuple[int, ...]:
    shape = step.values.shape
    return shape if shape[0] > 1 else shape[1:]


def _tap_block(focus: PatchFocus, tap: int) -> int:
    return focus.tower.deepstack_layers[tap]
