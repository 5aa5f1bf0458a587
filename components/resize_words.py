"""smart_resize as a table: each step with the numbers of the picture at hand."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import playground
from components.charts.token_labels import span_name
from components.tables import Cell, Mono, table_html

if TYPE_CHECKING:
    from playground.pipeline import Run
    from playground.preprocess_views import ResizeSteps
    from playground.records import MediaFacts, ModelInputs


def resize_html(run: Run) -> str:
    """One table for each image and video."""
    inputs = run.inputs
    if not inputs.media:
        return '<p class="pg-fact">This prompt has no picture.</p>'
    parts = []
    for facts in inputs.media:
        steps = playground.preprocess_views.explain_resize(run.engine, inputs, facts)
        parts.append(_media_html(inputs, facts, steps))
    return "".join(parts)


def _media_html(inputs: ModelInputs, facts: MediaFacts, steps: ResizeSteps) -> str:
    span = next(
        span
        for span in inputs.spans
        if playground.preprocess_views.span_facts(inputs, span) is facts
    )
    name = span_name(inputs, span).split(",")[0]
    table = table_html(
        ("Step", "Rule", "Width", "Height", "Pixels"),
        resize_rows(steps, inputs.patch_size),
        f"smart_resize for {name}",
        right=(2, 3, 4),
    )
    return f'<p class="pg-fact pg-lead">{resize_words(steps, name)}</p>{table}'


def resize_words(steps: ResizeSteps, name: str) -> str:
    """The limits and what they did, as escaped HTML."""
    budget = steps.budget
    across = "of all frames together " if budget.temporal_factor > 1 else ""
    limits = (
        f"Both sides must be multiples of {budget.factor} pixels (the side of one token's square), "
        f"and the pixels {across}must lie between {budget.min_pixels:,} (min) and "
        f"{budget.max_pixels:,} (max)."
    )
    area = f"{steps.rounded_area:,}"
    verdicts = {
        "fits": f"Rounding gives {area} pixels, which is within them: nothing more is done.",
        "shrunk": f"Rounding would give {area} pixels, which is too many: both sides are divided "
        f"by β = {steps.beta or 0:.4f}.",
        "enlarged": f"Rounding would give {area} pixels, which is too few: both sides are "
        f"multiplied by β = {steps.beta or 0:.4f}.",
    }
    width, height = steps.resized
    stretch = (width / height) / (steps.original[0] / steps.original[1]) - 1
    kept = (
        "The proportions stay exactly as they were."
        if abs(stretch) < 5e-4
        else f"The picture gets {abs(stretch):.1%} "
        f"{'wider' if stretch > 0 else 'narrower'} in proportion."
    )
    title = html.escape(name.capitalize())
    return f"<strong>{title}.</strong> {limits} {verdicts[steps.outcome]} {kept}"


def resize_rows(steps: ResizeSteps, patch_size: int) -> list[list[Cell | Mono]]:
    """The steps: what is done, the rule, width, height and pixels (of all frames)."""
    factor, budget = steps.budget.factor, steps.budget
    video = budget.temporal_factor > 1
    frames = f" × {steps.num_frames} frames" if video else ""
    rows: list[list[Cell | Mono]] = [
        [
            "The picture as it came",
            Mono(f"{steps.original[0]} × {steps.original[1]}{frames}"),
            *steps.original,
            steps.original[0] * steps.original[1] * steps.num_frames,
        ]
    ]
    if steps.start != steps.original:
        rows.append(
            [
                "Smaller than a token's square: enlarged",
                Mono(f"side × max({factor} / width, {factor} / height)"),
                *steps.start,
                steps.start[0] * steps.start[1] * steps.num_frames,
            ]
        )
    whole = f"; {steps.rounded_frames} frames, a multiple of {budget.temporal_factor}"
    rows.append(
        [
            "Rounded to multiples" + (whole if video else ""),
            Mono(f"round(side / {factor}) × {factor}"),
            *steps.rounded,
            steps.rounded_area,
        ]
    )
    if steps.outcome != "fits":
        rows += _limit_rows(steps)
    width, height = steps.resized
    merge = factor // patch_size
    pairs = -(-steps.num_frames // budget.temporal_factor)
    times = f" × {pairs} pairs of frames" if video else ""
    rows += [
        [
            f"Patches{times}",
            Mono(f"side / {patch_size}"),
            width // patch_size,
            height // patch_size,
            f"{width // patch_size * (height // patch_size) * pairs:,} rows",
        ],
        [
            f"Tokens{times}",
            Mono(f"side / {patch_size} / {merge}"),
            width // factor,
            height // factor,
            f"{width // factor * (height // factor) * pairs:,} tokens",
        ],
    ]
    return rows


def _limit_rows(steps: ResizeSteps) -> list[list[Cell | Mono]]:
    factor, budget = steps.budget.factor, steps.budget
    width, height = steps.start
    area = f"{width} × {height}" + (f" × {steps.num_frames}" if budget.temporal_factor > 1 else "")
    if steps.outcome == "shrunk":
        name, sign = "More than max: shrunk", "/"
        rule = f"β = √({area} / {budget.max_pixels:,}) = {steps.beta:.4f}"
        rounding, each = "floor", (width / (steps.beta or 1), height / (steps.beta or 1))
    else:
        name, sign = "Less than min: enlarged", "×"
        rule = f"β = √({budget.min_pixels:,} / ({area})) = {steps.beta:.4f}"
        rounding, each = "ceil", (width * (steps.beta or 1), height * (steps.beta or 1))
    return [
        [name, Mono(rule), f"{each[0]:,.1f}", f"{each[1]:,.1f}", None],
        [
            "To multiples that keep within the limit",
            Mono(f"{rounding}(side {sign} β / {factor}) × {factor}"),
            *steps.resized,
            steps.resized_area,
        ],
    ]
