"""The merge tab's third part: which rotary frequency carries t, h or w."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go

from components.charts.merge_frequencies import plot_angles, plot_frequencies
from components.parts.part import SELECTION, Part
from components.tabs.merge.focus import choose_focus, focus_words
from components.views.facts import fact_markup
from playground.language import mark, say
from playground.merge.mrope import (
    AXES,
    flat_positions,
    read_frequencies,
    rotary_angles,
)
from playground.merge.views import positions_thw
from playground.pipeline import Run
from playground.pointer import Selection

PART = Part(
    "frequencies",
    mark("Frequencies"),
    stage="merge",
    heading=mark("From positions to rotation angles"),
    layout=("intro", ("frequencies", "angles"), "words"),
)


@PART.chart(mark("Rotary frequencies by axis"))
def frequencies(run: Run) -> go.Figure:
    """Every frequency's wavelength, by axis."""
    rotary = read_frequencies(run.engine)
    return plot_frequencies(
        rotary.wavelengths,
        rotary.axes,
        int(run.merged.position_ids.max()),
        run.engine.facts.max_position_embeddings,
    )


@PART.chart(mark("Rotation angles of one token"), needs=(SELECTION,))
def angles(run: Run, selection: Selection | None) -> go.Figure:
    """One token's rotation angles, compared with those of plain 1-D positions."""
    focus = choose_focus(run, selection)
    rotary = read_frequencies(run.engine)
    own = positions_thw(run.merged)[:, focus.index : focus.index + 1]
    flat = flat_positions(run.inputs.num_tokens)[:, focus.index : focus.index + 1]
    turns, flat_turns = (
        np.degrees(rotary_angles(rotary, positions)[0].astype(np.float64)) % 360
        for positions in (own, flat)
    )
    return plot_angles(turns, flat_turns, rotary.axes, focus.index)


@PART.html()
def intro(run: Run) -> str:
    """How the frequencies are assigned to the axes."""
    facts, rotary = run.engine.facts, read_frequencies(run.engine)
    t, h, w = rotary.counts
    count, waves = len(rotary.axes), rotary.wavelengths
    rest = rotary.axes[3 * min(h, w) :]
    tail = ""
    if len(rest) > 1 and not rest.any():
        tail = say("; the slowest {count} all belong to t", count=len(rest))
    return fact_markup(
        say(
            "Each head has {head_dim} dimensions, that is, {count} pairs. RoPE rotates each pair "
            "of a query or key by an angle: the position times the frequency of the pair. "
            "Interleaved M-RoPE assigns the pairs in the order t h w t h w …: {t} rotate with t, "
            "{h} with h and {w} with w{tail}. So each axis has fast frequencies, which "
            "distinguish neighbours, and slow ones, which distinguish near from far: a full "
            "rotation takes {shortest} to {longest} positions. A text token has t = h = w, so it "
            "is rotated as in plain RoPE.",
            head_dim=facts.head_dim,
            count=count,
            t=t,
            h=h,
            w=w,
            tail=tail,
            shortest=_amount(waves.min()),
            longest=_amount(waves.max()),
        )
    )


@PART.html(needs=(SELECTION,))
def words(run: Run, selection: Selection | None) -> str:
    """The computation of the token's angle at the first frequency of each axis."""
    focus, rotary = choose_focus(run, selection), read_frequencies(run.engine)
    thw = [int(position) for position in run.merged.position_ids[:, 0, focus.index]]
    examples = []
    for axis, name in enumerate(AXES):
        if not (rotary.axes == axis).any():
            continue
        number = int(np.argmax(rotary.axes == axis))
        speed = float(rotary.inv_freq[number])
        degrees = math.degrees(thw[axis] * speed) % 360
        examples.append(
            say(
                "frequency {number} ({axis}): {position} × {speed:.3g} rad = {degrees:.0f}° (mod "
                "360°)",
                number=number,
                axis=name,
                position=thw[axis],
                speed=speed,
                degrees=degrees,
            )
        )
    compare = say(
        "Its position equals its index, so plain 1-D positions would give the same angles."
    )
    if thw != [focus.index] * 3:
        compare = say(
            "With plain 1-D positions, the position would be its index, {index}, at all "
            "frequencies (grey rings).",
            index=focus.index,
        )
    return fact_markup(
        say(
            "Rotation angles of {token} at position t {t}, h {h}, w {w}: {examples}.",
            token=focus_words(run, focus),
            t=thw[0],
            h=thw[1],
            w=thw[2],
            examples=say("; ").join(examples),
        ),
        compare,
    )


def _amount(value: Any) -> str:
    number = float(value)
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
