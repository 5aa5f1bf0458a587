"""Preprocess, token budget: the prompt at other pixel limits: cost, times, answers and boxes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

import playground
from components.charts.token_budget import (
    plot_ladder_overlaps,
    plot_ladder_times,
    plot_ladder_tokens,
)
from components.parts.part import Part
from components.tabs.preprocess.budget_answers import Answered, answers_table
from components.views.facts import fact_markup
from components.views.tables import Cell, Mono, RerunButton, format_bytes, table_html
from playground.errors import InputError
from playground.language import mark, say
from playground.pipeline import Run
from playground.records import Progress

if TYPE_CHECKING:
    from playground.experiments.token_budget import PrefillTime, Rung, RungAnswer

HEADERS = (
    "",
    mark("Max pixels"),
    mark("Size"),
    mark("Patches"),
    mark("Tokens"),
    mark("KV cache"),
    mark("Context window"),
    mark("Time"),
)
NUMBERS = (1, 4, 5, 6, 7)
TIMES_SIGN = "\u00a0×\u00a0"  # non-breaking, so that a size stays on one line
PART = Part(
    "budget",
    mark("Token budget"),
    stage="preprocess",
    layout=(
        "words",
        "ladder",
        "limit",
        ("measured",),
        ("tokens", "times"),
        ("answered",),
        "answers",
        "overlaps",
    ),
    shown=lambda run: bool(run.inputs.media),
    absent=mark(
        "This prompt has no image or video, so max pixels changes nothing: every token is text."
    ),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """The prefill times so far."""

    times: Mapping[int, PrefillTime]  # by max pixels


def fitting_rungs(run: Run) -> list[Rung]:
    """The rungs whose sequence fits into the context window, the smallest first.

    Raises:
        InputError: the prompt has no image or video.
    """
    fitting = [rung for rung in token_ladder(run) if rung.fits]
    if not fitting:
        raise InputError(say("This prompt has no image or video to resize."))
    return fitting


@PART.experiment(mark("Measure prefill times"))
def measured(run: Run, progress: Progress) -> Iterator[Measured]:
    """Measure one rung after another, cheapest first.

    Raises:
        InputError: the prompt has no image or video.
    """
    fitting = fitting_rungs(run)
    measure = playground.experiments.token_budget.measure_prefill
    progress(say("Warming up"), 0, len(fitting))
    measure(run.engine, run.prompt, fitting[0].max_pixels, progress=progress)
    times: dict[int, PrefillTime] = {}
    for number, rung in enumerate(fitting):
        step = say("Measuring {limit:,} pixels", limit=rung.max_pixels)
        progress(step, number, len(fitting))
        times[rung.max_pixels] = measure(run.engine, run.prompt, rung.max_pixels, progress=progress)
        yield Measured(dict(times))


@PART.experiment(mark("Answer at every limit"))
def answered(run: Run, progress: Progress) -> Iterator[Answered]:
    """Answer at one rung after another, the largest first: the others are compared with it.

    Raises:
        InputError: the prompt has no image or video.
    """
    fitting = fitting_rungs(run)
    answer_rung = playground.experiments.token_budget.answer_rung
    answers: dict[int, RungAnswer] = {}
    for number, rung in enumerate(reversed(fitting)):
        progress(say("Answering at {limit:,} pixels", limit=rung.max_pixels), number, len(fitting))
        answers[rung.max_pixels] = answer_rung(
            run.engine, run.prompt, rung.max_pixels, progress=progress
        )
        yield Answered(dict(answers))


def token_ladder(run: Run) -> tuple[Rung, ...]:
    """The prompt at increasing pixel limits; empty without an image or video."""
    return playground.experiments.token_budget.token_ladder(run.engine, run.inputs)


@PART.html()
def words(run: Run) -> str:
    """What one token costs, and how many this prompt would take at full size."""
    facts, dtype = run.engine.facts, run.engine.dtype
    return fact_markup(
        say(
            "Every {side} × {side} pixels cost one token, and every token takes {bytes} of KV "
            "cache ({layers} layers × key and value × {heads} KV heads × {head_dim} values).",
            side=facts.token_pixels,
            bytes=format_bytes(facts.kv_bytes_per_token(dtype)),
            layers=facts.num_layers,
            heads=facts.num_key_value_heads,
            head_dim=facts.head_dim,
        ),
        _full_size_words(token_ladder(run)[-1].num_visual, len(run.inputs.media)),
        say("Choose a row to rerun the prompt with its limit."),
    )


def _full_size_words(visual: int, num_media: int) -> str:
    if num_media == 1:
        return say(
            "At full size the image or video would take {visual:,} tokens; <strong>max "
            "pixels</strong> limits this number.",
            visual=visual,
        )
    return say(
        "At full size the {count} images and videos would take {visual:,} tokens; <strong>max "
        "pixels</strong> limits this number.",
        count=num_media,
        visual=visual,
    )


@PART.html(needs=("measured",), live=True)
def ladder(run: Run, measured: Measured | None) -> str:
    """One row per limit, with a button that reruns the prompt with that limit."""
    times = measured.times if measured else {}
    rows = [_ladder_row(rung, times.get(rung.max_pixels)) for rung in token_ladder(run)]
    caption = say(
        "Cost of this prompt at other pixel limits (context window: {window:,} tokens)",
        window=run.engine.facts.max_position_embeddings,
    )
    return table_html(
        [say(header) if header else "" for header in HEADERS], rows, caption, right=NUMBERS
    )


def _ladder_row(rung: Rung, time: PrefillTime | None) -> list[Cell | Mono | RerunButton]:
    sizes = "; ".join(f"{width:,}{TIMES_SIGN}{height:,}" for width, height in rung.sizes)
    grids = "; ".join(
        TIMES_SIGN.join(str(size) for size in (across, down, *([frames] if frames > 1 else [])))
        for frames, down, across in rung.grids
    )
    measured = say("not measured") if rung.fits else say("does not fit")
    if time is not None:
        measured = f"{time.total_ms:,.1f} ms"
    words = say("In use") if rung.is_current else say("Use this")
    button: Cell | RerunButton = RerunButton(
        words, {"max_pixels": rung.max_pixels}, rung.is_current
    )
    return [
        button if rung.fits else say("too long"),
        f"{rung.max_pixels:,}",
        sizes,
        grids,
        f"{rung.num_tokens:,}",
        format_bytes(rung.kv_bytes),
        f"{rung.window_share:.1%}",
        measured,
    ]


@PART.html()
def limit(run: Run) -> str:
    """The limit set in the input panel; empty if none is set."""
    most = run.inputs.prompt.max_pixels
    if most is None:
        return ""
    sentence = say(
        "Max pixels is set to <strong>{limit:,}</strong> in the input panel, and every tab uses "
        "this limit.",
        limit=most,
    )
    return f'<p class="pg-fact pg-chosen" role="status">{sentence}</p>'


@PART.chart(mark("Tokens by max pixels"))
def tokens(run: Run) -> go.Figure:
    """How many tokens the prompt has at each limit; clicking a bar reruns with that limit."""
    rungs = token_ladder(run)
    return plot_ladder_tokens(
        np.array([rung.max_pixels for rung in rungs]),
        np.array([rung.num_visual for rung in rungs]),
        rungs[0].num_tokens - rungs[0].num_visual,
        current_rung(rungs),
    )


@PART.chart(
    mark("Measured time by max pixels"),
    needs=("measured",),
    empty=mark("Not measured yet: press “Measure prefill times”."),
    live=True,
)
def times(run: Run, measured: Measured | None) -> go.Figure | None:
    """The times measured so far at each limit."""
    if measured is None:
        return None
    rungs = token_ladder(run)

    def column(name: str) -> np.ndarray:
        values = [getattr(measured.times.get(rung.max_pixels), name, np.nan) for rung in rungs]
        return np.array(values, np.float32)

    return plot_ladder_times(
        np.array([rung.max_pixels for rung in rungs]),
        column("vision_ms"),
        column("prefill_ms"),
        current_rung(rungs),
    )


@PART.html(needs=("answered",), live=True)
def answers(run: Run, answered: Answered | None) -> str:
    """The answer at each limit, with its boxes and how well they agree with the largest one's."""
    if answered is None:
        return fact_markup(
            say(
                "Fewer tokens show less: “Answer at every limit” writes the greedy answer at each "
                "limit and compares the boxes in it."
            )
        )
    table = answers_table(token_ladder(run), answered)
    if None not in answered.overlaps.values():
        return table
    return table + fact_markup(
        say(
            "The answer at the largest limit has no box. Ask for one: “Where is the red circle? "
            "Give its box.”"
        )
    )


@PART.chart(mark("Boxes by max pixels"), needs=("answered",), live=True)
def overlaps(run: Run, answered: Answered | None) -> go.Figure | None:
    """How well the boxes at each limit agree with those at the largest one, if it has any."""
    if answered is None or None in answered.overlaps.values():
        return None
    rungs = token_ladder(run)
    known = [answered.overlaps.get(rung.max_pixels) for rung in rungs]
    values = np.array([np.nan if each is None else each for each in known], np.float32)
    return plot_ladder_overlaps(
        np.array([rung.max_pixels for rung in rungs]), values, current_rung(rungs)
    )


def current_rung(ladder: tuple[Rung, ...]) -> int | None:
    """The index of the current limit; None if it is not on the ladder."""
    return next((index for index, rung in enumerate(ladder) if rung.is_current), None)
