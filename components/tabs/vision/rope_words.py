"""The words and the table of the vision tab's 2-D RoPE."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from components.tables import table_html
from components.tabs.choices import capital, fact_html
from components.tabs.vision.focus import PatchFocus
from playground.pipeline import Run

if TYPE_CHECKING:
    from playground.vision_rope import PatchScores, RopeAngles


def intro_html(angles: RopeAngles) -> str:
    """Which numbers of a head carry the row, and which the column."""
    pairs = len(angles.inv_freq)
    shortest, longest = float(angles.wavelengths.min()), float(angles.wavelengths.max())
    return fact_html(
        "The position grid says where a patch is; RoPE says how far apart two patches are. In "
        "every block and head, query and key are turned before they meet. A head has "
        f"{4 * pairs} numbers, that is {2 * pairs} pairs: number i turns together with number "
        f"i + {2 * pairs}. Pairs 0–{pairs - 1} turn with the patch's row, pairs "
        f"{pairs}–{2 * pairs - 1} with its column, both at the same {pairs} speeds, from a whole "
        f"turn in {shortest:.3g} patches to one in {longest:,.0f}. Both vectors turn, so their "
        "score depends on the rows and columns between them alone, not on where they are."
    )


def frequencies_table(run: Run, focus: PatchFocus, angles: RopeAngles) -> str:
    """Each speed with its wavelength, and how far it gets in this picture."""
    size, pairs = run.inputs.patch_size, len(angles.inv_freq)
    row, column = focus.span.grid_h - 1, focus.span.grid_w - 1
    rows = [
        (
            f"{index} and {pairs + index}",
            float(freq),
            float(wavelength),
            float(wavelength * size),
            float(row / wavelength),
            float(column / wavelength),
        )
        for index, (freq, wavelength) in enumerate(
            zip(angles.inv_freq, angles.wavelengths, strict=True)
        )
    ]
    headers = (
        "Pairs (row and column)",
        "Radians a patch",
        "Whole turn, in patches",
        "in pixels",
        f"Turns over {focus.span.grid_h} rows",
        f"Turns over {focus.span.grid_w} columns",
    )
    return table_html(headers, rows, f"Frequencies, and what they do in {focus.name}")


def distance_html(
    kernel: np.ndarray, focus: PatchFocus, block: int, head: int, of_head: bool
) -> str:
    """What the score by distance shows."""
    down, across = (size // 2 for size in kernel.shape)
    centre = float(kernel[down, across])
    below = float(kernel[min(down + 1, 2 * down), across])
    right = float(kernel[down, min(across + 1, 2 * across)])
    if not of_head:
        return fact_html(
            "Two vectors of ones, moved apart: at distance 0 all pairs agree (score 1). One row "
            f"down the score is {below:.3f}, one column to the right {right:.3f}; far away only "
            "the slow pairs still agree. Both lines follow one curve, since rows and columns turn "
            "at the same speeds. This is what every head starts from; its own vectors "
            "decide which pairs count."
        )
    best = np.unravel_index(int(kernel.argmax()), kernel.shape)
    rows, columns = int(best[0]) - down, int(best[1]) - across
    return fact_html(
        f"The query of {focus.words} in block {block}, head {head}, and the average key of "
        f"{focus.name}, as if that same key stood everywhere: what is left is the head's liking "
        f"for places. It scores {centre:.3g} at distance 0 and most, {float(kernel.max()):.3g}, "
        f"{_distance_words(rows, columns)}.",
        focus.hint.strip(),
    )


def scores_html(scores: PatchScores, focus: PatchFocus, block: int, head: int) -> str:
    """Where the patch looks with and without RoPE."""
    places = [
        np.unravel_index(int(values.argmax()), values.shape)
        for values in (scores.rotated, scores.plain)
    ]
    with_rope, without = (f"row {place[0]}, column {place[1]}" for place in places)
    verdict = (
        f"The best key is at {with_rope} either way"
        if places[0] == places[1]
        else f"With RoPE the best key is at {with_rope}, without it at {without}"
    )
    change = float(np.abs(scores.rotated - scores.plain).max())
    return fact_html(
        f"{capital(focus.words)} asks, all patches of {focus.name} answer: the scores of block "
        f"{block}, head {head}, as the model computes them, and from the same vectors without the "
        f"rotation. {verdict}; the rotation moves single scores by up to {change:.3g}.",
    )


def _distance_words(rows: int, columns: int) -> str:
    """``2 rows up and 1 column to the right``."""
    parts = [
        f"{abs(count)} {name}{'s' if abs(count) > 1 else ''} {ways[count > 0]}"
        for count, name, ways in (
            (rows, "row", ("up", "down")),
            (columns, "column", ("to the left", "to the right")),
        )
        if count
    ]
    return " and ".join(parts) or "right there"
