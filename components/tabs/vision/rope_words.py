"""The text and the table of the vision tab's 2-D RoPE."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from components.tabs.vision.focus import PatchFocus
from components.views.facts import capital, fact_html
from components.views.tables import table_html
from playground.language import say
from playground.pipeline import Run

if TYPE_CHECKING:
    from playground.vision.rope import PatchScores, RopeAngles


def intro_html(angles: RopeAngles) -> str:
    """Which dimensions of a head rotate with the row, and which with the column."""
    pairs = len(angles.inv_freq)
    return fact_html(
        say(
            "The position grid encodes where a patch is; RoPE encodes how far apart two patches "
            "are. In every block and head, query and key are rotated before their dot product. A "
            "head has {numbers} dimensions, which form {pairs} pairs: dimension i rotates "
            "together with dimension i + {pairs}. Pairs 0–{last_row_pair} rotate with the patch's "
            "row, pairs {speeds}–{last_pair} with its column, both at the same {speeds} "
            "frequencies: the fastest makes a full turn every {shortest:.3g} patches, the slowest "
            "every {longest:,.0f}. Because both vectors rotate, their score depends only on the "
            "number of rows and columns between them, not on where they are.",
            numbers=4 * pairs,
            pairs=2 * pairs,
            last_row_pair=pairs - 1,
            last_pair=2 * pairs - 1,
            speeds=pairs,
            shortest=float(angles.wavelengths.min()),
            longest=float(angles.wavelengths.max()),
        )
    )


def frequencies_table(run: Run, focus: PatchFocus, angles: RopeAngles) -> str:
    """Each frequency with its wavelength, and its number of turns in this image."""
    size, pairs = run.inputs.patch_size, len(angles.inv_freq)
    row, column = focus.span.grid_h - 1, focus.span.grid_w - 1
    rows = [
        (
            say("{first} and {second}", first=index, second=pairs + index),
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
        say("Pairs (row and column)"),
        say("Radians per patch"),
        say("Wavelength (patches)"),
        say("Wavelength (pixels)"),
        say("Turns over {count} rows", count=focus.span.grid_h),
        say("Turns over {count} columns", count=focus.span.grid_w),
    )
    caption = say("Frequencies and their effect in {name}", name=focus.name)
    return table_html(headers, rows, caption)


def distance_html(
    kernel: np.ndarray, focus: PatchFocus, block: int, head: int, of_head: bool
) -> str:
    """How to read the score by distance."""
    down, across = (size // 2 for size in kernel.shape)
    if not of_head:
        return fact_html(
            say(
                "Two vectors of ones, compared at every distance: at distance 0 all pairs agree "
                "(score 1). One row down the score is {below:.3f}, one column to the right "
                "{right:.3f}; at large distances only the slow pairs still agree. Both lines "
                "follow the same curve because rows and columns use the same frequencies. Every "
                "head starts from this curve; its own vectors decide which pairs matter.",
                below=kernel[min(down + 1, 2 * down), across],
                right=kernel[down, min(across + 1, 2 * across)],
            )
        )
    best = np.unravel_index(int(kernel.argmax()), kernel.shape)
    rows, columns = int(best[0]) - down, int(best[1]) - across
    return fact_html(
        say(
            "The query of {patch} in block {block}, head {head}, against the mean key of {name} "
            "at every distance. Because the key is the same everywhere, only the head's "
            "preference for relative positions remains. The score is {centre:.3g} at distance 0; "
            "its maximum is {most:.3g}, {where}.",
            patch=focus.patch_name,
            block=block,
            head=head,
            name=focus.name,
            centre=kernel[down, across],
            most=kernel.max(),
            where=_distance_text(rows, columns),
        ),
        focus.hint,
    )


def scores_html(scores: PatchScores, focus: PatchFocus, block: int, head: int) -> str:
    """The patch's highest-scoring key with and without RoPE."""
    positions = [
        np.unravel_index(int(values.argmax()), values.shape)
        for values in (scores.rotated, scores.plain)
    ]
    return fact_html(
        say(
            "{patch} is the query, all patches of {name} are the keys: attention scores of block "
            "{block}, head {head}, as the model computes them and from the same vectors without "
            "the rotation.",
            patch=capital(focus.patch_name),
            name=focus.name,
            block=block,
            head=head,
        ),
        say(
            "{verdict}; the rotation changes individual scores by up to {change:.3g}.",
            verdict=_best_text(*positions),
            change=np.abs(scores.rotated - scores.plain).max(),
        ),
    )


def _best_text(rotated: tuple[np.intp, ...], plain: tuple[np.intp, ...]) -> str:
    """The position of the highest-scoring key with RoPE and without it."""
    with_rope, without = (
        say("row {row}, column {column}", row=row, column=column)
        for row, column in (rotated, plain)
    )
    if rotated == plain:
        return say("The highest-scoring key is at {position} in both cases", position=with_rope)
    return say(
        "With RoPE the highest-scoring key is at {position}, without it at {other}",
        position=with_rope,
        other=without,
    )


def _distance_text(rows: int, columns: int) -> str:
    """``2 rows up and 1 column to the right``."""
    parts = []
    if abs(rows) == 1:
        parts.append(say("1 row up") if rows < 0 else say("1 row down"))
    elif rows < 0:
        parts.append(say("{count} rows up", count=-rows))
    elif rows:
        parts.append(say("{count} rows down", count=rows))
    if abs(columns) == 1:
        parts.append(say("1 column to the left") if columns < 0 else say("1 column to the right"))
    elif columns < 0:
        parts.append(say("{count} columns to the left", count=-columns))
    elif columns:
        parts.append(say("{count} columns to the right", count=columns))
    if len(parts) == 2:
        return say("{down} and {across}", down=parts[0], across=parts[1])
    return parts[0] if parts else say("at distance 0")
