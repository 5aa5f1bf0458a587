"""``smart_resize`` as a table: each step with the numbers of this image or video."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import escape

import playground
from components.charts.token_labels import media_name
from components.views.facts import capital, join_sentences, lead_markup
from components.views.tables import Cell, Mono, table_html
from playground.language import say

if TYPE_CHECKING:
    from playground.pipeline import Run
    from playground.preprocess.views import ResizeSteps
    from playground.records import MediaFacts, ModelInputs


def resize_html(run: Run) -> str:
    """One table for each image and video."""
    inputs = run.inputs
    parts = []
    for facts in inputs.media:
        steps = playground.preprocess.views.explain_resize(run.engine, inputs, facts)
        parts.append(_media_html(inputs, facts, steps))
    return "".join(parts)


def _media_html(inputs: ModelInputs, facts: MediaFacts, steps: ResizeSteps) -> str:
    span = next(
        span
        for span in inputs.spans
        if playground.preprocess.views.span_facts(inputs, span) is facts
    )
    name = media_name(span)
    table = table_html(
        (say("Step"), say("Rule"), say("Width"), say("Height"), say("Pixels")),
        resize_rows(steps, inputs.patch_size),
        say("smart_resize for {name}", name=name),
        right=(2, 3, 4),
    )
    return lead_markup(resize_words(steps, name)) + table


def resize_words(steps: ResizeSteps, name: str) -> str:
    """The limits and their effect, as escaped HTML."""
    title = escape(capital(name))
    return join_sentences(
        f"<strong>{say('{name}.', name=title)}</strong>",
        _limit_words(steps),
        _outcome_words(steps),
        _stretch_words(steps),
    )


def _limit_words(steps: ResizeSteps) -> str:
    budget = steps.budget
    limits = {"factor": budget.factor, "low": budget.min_pixels, "high": budget.max_pixels}
    if budget.temporal_factor > 1:
        return say(
            "Both sides must be multiples of {factor} pixels (the side length of one token), and "
            "all frames together must have between {low:,} (min) and {high:,} (max) pixels.",
            **limits,
        )
    return say(
        "Both sides must be multiples of {factor} pixels (the side length of one token), and the "
        "image must have between {low:,} (min) and {high:,} (max) pixels.",
        **limits,
    )


def _outcome_words(steps: ResizeSteps) -> str:
    area, beta = steps.rounded_area, steps.beta or 0
    if steps.outcome == "fits":
        return say(
            "Rounding gives {area:,} pixels, which is within the limits, so no further scaling is "
            "needed.",
            area=area,
        )
    if steps.outcome == "shrunk":
        return say(
            "Rounding would give {area:,} pixels, which is too many, so both sides are divided by "
            "β = {beta:.4f}.",
            area=area,
            beta=beta,
        )
    return say(
        "Rounding would give {area:,} pixels, which is too few, so both sides are multiplied by β "
        "= {beta:.4f}.",
        area=area,
        beta=beta,
    )


def _stretch_words(steps: ResizeSteps) -> str:
    width, height = steps.resized
    stretch = (width / height) / (steps.original[0] / steps.original[1]) - 1
    if abs(stretch) < 5e-4:
        return say("The aspect ratio does not change.")
    if stretch > 0:
        return say("The image becomes {share:.1%} wider relative to its height.", share=stretch)
    return say("The image becomes {share:.1%} narrower relative to its height.", share=-stretch)


def resize_rows(steps: ResizeSteps, patch_size: int) -> list[list[Cell | Mono]]:
    """One row per step: its name, rule, width, height and pixels (of all frames)."""
    factor, budget = steps.budget.factor, steps.budget
    video = budget.temporal_factor > 1
    size = f"{steps.original[0]} × {steps.original[1]}"
    rows: list[list[Cell | Mono]] = [
        [
            say("Original size"),
            Mono(say("{size} × {count} frames", size=size, count=steps.num_frames))
            if video
            else Mono(size),
            *steps.original,
            steps.original[0] * steps.original[1] * steps.num_frames,
        ]
    ]
    if steps.start != steps.original:
        rows.append(
            [
                say("Smaller than one token: enlarged"),
                Mono(f"side × max({factor} / width, {factor} / height)"),
                *steps.start,
                steps.start[0] * steps.start[1] * steps.num_frames,
            ]
        )
    rows.append(
        [
            say(
                "Rounded to multiples; {count} frames (a multiple of {factor})",
                count=steps.rounded_frames,
                factor=budget.temporal_factor,
            )
            if video
            else say("Rounded to multiples"),
            Mono(f"round(side / {factor}) × {factor}"),
            *steps.rounded,
            steps.rounded_area,
        ]
    )
    if steps.outcome != "fits":
        rows += _limit_rows(steps)
    return rows + _count_rows(steps, patch_size)


def _count_rows(steps: ResizeSteps, patch_size: int) -> list[list[Cell | Mono]]:
    """The number of patches and tokens at the new size."""
    factor, budget = steps.budget.factor, steps.budget
    width, height = steps.resized
    merge = factor // patch_size
    pairs = -(-steps.num_frames // budget.temporal_factor)
    patches, tokens = say("Patches"), say("Tokens")
    if budget.temporal_factor > 1:
        patches = say("Patches × {pairs} temporal patches", pairs=pairs)
        tokens = say("Tokens × {pairs} temporal patches", pairs=pairs)
    num_rows = width // patch_size * (height // patch_size) * pairs
    num_tokens = width // factor * (height // factor) * pairs
    return [
        [
            patches,
            Mono(f"side / {patch_size}"),
            width // patch_size,
            height // patch_size,
            say("{count:,} rows", count=num_rows),
        ],
        [
            tokens,
            Mono(f"side / {patch_size} / {merge}"),
            width // factor,
            height // factor,
            say("{count:,} tokens", count=num_tokens),
        ],
    ]


def _limit_rows(steps: ResizeSteps) -> list[list[Cell | Mono]]:
    factor, budget = steps.budget.factor, steps.budget
    width, height = steps.start
    area = f"{width} × {height}" + (f" × {steps.num_frames}" if budget.temporal_factor > 1 else "")
    if steps.outcome == "shrunk":
        name, sign = say("Above max: shrunk"), "/"
        rule = f"β = √({area} / {budget.max_pixels:,}) = {steps.beta:.4f}"
        rounding, scaled = "floor", (width / (steps.beta or 1), height / (steps.beta or 1))
    else:
        name, sign = say("Below min: enlarged"), "×"
        rule = f"β = √({budget.min_pixels:,} / ({area})) = {steps.beta:.4f}"
        rounding, scaled = "ceil", (width * (steps.beta or 1), height * (steps.beta or 1))
    return [
        [name, Mono(rule), f"{scaled[0]:,.1f}", f"{scaled[1]:,.1f}", None],
        [
            say("Rounded to multiples within the limit"),
            Mono(f"{rounding}(side {sign} β / {factor}) × {factor}"),
            *steps.resized,
            steps.resized_area,
        ],
    ]
