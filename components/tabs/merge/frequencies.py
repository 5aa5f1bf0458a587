"""The merge tab's third part: which rotary frequency carries t, h or w."""

from __future__ import annotations

import math
from typing import Any

import gradio as gr
import numpy as np

from components.chart_view.view import PlotlyView
from components.charts.merge_frequencies import plot_angles, plot_frequencies
from components.tabs.choices import fact_markup
from components.tabs.merge.focus import Focus, choose_focus, focus_words
from components.tabs.stage_tab import App, Section, skip_unless_run
from components.views.html_view import build_html_view
from playground.language import say
from playground.merge.mrope import (
    AXES,
    MropeFrequencies,
    flat_positions,
    read_frequencies,
    rotary_angles,
)
from playground.merge.views import positions_thw
from playground.pipeline import Run
from playground.pointer import Place


def build_frequencies_section(app: App) -> Section:
    """Build the part; the angles follow the pointer."""
    gr.Markdown("### " + say("What a position does: angles"))
    intro = build_html_view()
    with gr.Row():
        frequencies = PlotlyView(label=say("Rotary frequencies by axis"), min_width=320)
        angles = PlotlyView(label=say("Angles of one token"), min_width=320)
    words = build_html_view()
    app.on_point(skip_unless_run("merge", draw_angles, 2), [], [angles, words])
    return Section(
        controls=(app.pointed,),
        outputs=(intro, frequencies, angles, words),
        draw=draw_frequencies,
    )


def draw_frequencies(run: Run, pointed: Place | None) -> tuple[Any, ...]:
    """Everything of this part."""
    frequencies = read_frequencies(run.engine)
    return (
        intro_html(run, frequencies),
        plot_frequencies(
            frequencies.wavelengths,
            frequencies.axes,
            int(run.merged.position_ids.max()),
            run.engine.facts.max_position_embeddings,
        ),
        *draw_angles(run, pointed),
    )


def draw_angles(run: Run, place: Place | None) -> tuple[Any, ...]:
    """One token's angles as a chart and in words."""
    focus = choose_focus(run, place)
    frequencies = read_frequencies(run.engine)
    own = positions_thw(run.merged)[:, focus.index : focus.index + 1]
    flat = flat_positions(run.inputs.num_tokens)[:, focus.index : focus.index + 1]
    turns, flat_turns = (
        np.degrees(rotary_angles(frequencies, positions)[0].astype(np.float64)) % 360
        for positions in (own, flat)
    )
    chart = plot_angles(turns, flat_turns, frequencies.axes, focus.index)
    return chart, angles_html(run, focus, frequencies)


def intro_html(run: Run, frequencies: MropeFrequencies) -> str:
    """How the frequencies are shared out."""
    facts = run.engine.facts
    t, h, w = facts.mrope_section
    count, waves = len(frequencies.axes), frequencies.wavelengths
    rest = frequencies.axes[3 * min(h, w) :]
    tail = ""
    if len(rest) > 1 and not rest.any():
        tail = say("; the slowest {count} are t’s alone", count=len(rest))
    return fact_markup(
        say(
            "Each head has {head_dim} numbers, that is {count} pairs. RoPE turns each pair of a "
            "query or key by an angle: a position times the frequency of the pair. M-RoPE shares "
            "the pairs out in turns, t h w t h w …: {t} turn with t, {h} with h and {w} with "
            "w{tail}. So each axis has fast frequencies, which tell neighbours apart, and slow "
            "ones, which tell far from near: a full turn takes {shortest} to {longest} positions. "
            "A text token has t = h = w, and is turned as by plain RoPE.",
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


def angles_html(run: Run, focus: Focus, frequencies: MropeFrequencies) -> str:
    """The focus's first frequency of each axis, worked out."""
    thw = [int(position) for position in run.merged.position_ids[:, 0, focus.index]]
    examples = []
    for axis, name in enumerate(AXES):
        if not (frequencies.axes == axis).any():
            continue
        number = int(np.argmax(frequencies.axes == axis))
        speed = float(frequencies.inv_freq[number])
        degrees = math.degrees(thw[axis] * speed) % 360
        examples.append(
            say(
                "frequency {number} by {axis}: {position} × {speed:.3g} rad, which leaves "
                "{degrees:.0f}°",
                number=number,
                axis=name,
                position=thw[axis],
                speed=speed,
                degrees=degrees,
            )
        )
    compare = say("Its position is its index, so plain 1-D positions would turn it just the same.")
    if thw != [focus.index] * 3:
        compare = say(
            "With plain 1-D positions all would turn by its index, {index} (grey rings).",
            index=focus.index,
        )
    return fact_markup(
        say(
            "The angles of {token}, which stands at t {t}, h {h}, w {w}: {examples}.",
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
