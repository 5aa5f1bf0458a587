"""The text and the table of the vision tab's learned positions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import escape

from components.charts.decoder import percent
from components.charts.token_labels import token_label
from components.tabs.vision.focus import PatchFocus, stack_html
from components.views.facts import capital, fact_html, fact_markup
from components.views.tables import Mono, table_html
from playground.language import say

if TYPE_CHECKING:
    from playground.experiments.what_if_runs import LogitsShift
    from playground.vision.position_grid import BlendedPosition, GridSamples


def blend_html(focus: PatchFocus, samples: GridSamples, blended: BlendedPosition) -> str:
    """The four entries with their weights, and their sum compared with the model's own position."""
    side, patch = samples.side, focus.patch
    indices, weights = samples.indices[patch], samples.weights[patch]
    row, column = samples.positions[patch]
    factors = [
        (f"{1 - abs(index // side - row):.3f}", f"{1 - abs(index % side - column):.3f}")
        for index in indices
    ]
    rows = [
        (
            str(index),
            f"{weight:.4f}",
            int(index // side),
            int(index % side),
            # In the last row or column the next entry is the same one again, with weight 0.
            say("beyond the edge") if index in indices[:number] else Mono(f"{down} × {across}"),
            float(norm),
        )
        for number, (index, weight, norm, (down, across)) in enumerate(
            zip(indices, weights, blended.norms, factors, strict=True)
        )
    ]
    headers = (
        say("Entry"),
        say("Weight"),
        say("Grid row"),
        say("Grid column"),
        say("Row × column factor"),
        say("Norm"),
    )
    return stack_html(
        fact_html(_position_text(focus, samples), focus.hint),
        table_html(headers, rows, say("The surrounding grid entries"), right=(0, 1)),
        fact_html(_sum_text(blended)),
    )


def _position_text(focus: PatchFocus, samples: GridSamples) -> str:
    """The patch's position on the grid, and how it is computed."""
    row, column = samples.positions[focus.patch]
    return say(
        "{patch} of {name} falls at grid row {row:.3f} ({down} × {last} / {last_row}), column "
        "{column:.3f} ({across} × {last} / {last_column}).",
        patch=capital(focus.patch_name),
        name=focus.name,
        row=row,
        column=column,
        down=focus.patch[0],
        across=focus.patch[1],
        last=samples.side - 1,
        last_row=max(focus.span.grid_h - 1, 1),
        last_column=max(focus.span.grid_w - 1, 1),
    )


def _sum_text(blended: BlendedPosition) -> str:
    """The difference between the weighted sum and the model's own position embedding."""
    if blended.max_abs_diff == 0:
        return say(
            "The weighted sum of these four entries (norm {norm:.4g}) is exactly the position "
            "embedding that the model added.",
            norm=blended.norm,
        )
    return say(
        "The weighted sum of these four entries (norm {norm:.4g}) matches the position embedding "
        "that the model added to within {diff:.1e} in every dimension.",
        norm=blended.norm,
        diff=blended.max_abs_diff,
    )


def change_html(shift: LogitsShift, moved: float) -> str:
    """The effect of nearest-entry positions in one paragraph.

    Args:
        shift: of the next token's distribution.
        moved: mean change of the position embeddings, as a share of their norm.
    """
    if moved == 0:
        return fact_html(
            say(
                "Nothing changes: every patch falls exactly on a grid entry, so there is nothing "
                "to interpolate, and the next-token distribution stays the same."
            )
        )
    return fact_markup(
        say(
            "With the nearest entries, the position embeddings change by {moved} of their norm on "
            "average.",
            moved=escape(percent(moved)),
        ),
        say(
            "The most likely next token <strong>{verdict}</strong>. No token's probability "
            "changes by more than {points:.2g} percentage points (largest |Δp| {most:.2g}); the "
            "KL divergence from the original distribution is {kl:.3g} nats.",
            verdict=_verdict(shift),
            points=shift.max_abs_dp * 100,
            most=shift.max_abs_dp,
            kl=shift.kl,
        ),
    )


def _verdict(shift: LogitsShift) -> str:
    """What happens to the most likely token, as escaped HTML."""
    top, other = (
        f'<span translate="no">{token_label(candidate.text)}</span>'
        for candidate in (shift.top, shift.changed_top)
    )
    if shift.same_top:
        return say("stays “{top}”", top=top)
    return say("changes from “{top}” to “{other}”", top=top, other=other)
