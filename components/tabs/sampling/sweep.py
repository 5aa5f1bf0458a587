"""One setting over a range: which answers come how often."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components.base import Component

import playground
from components.chart_view.view import PlotlyView
from components.charts.sampling_sweep import (
    parameter_name,
    plot_answers,
    plot_lengths,
    plot_sweep_entropy,
)
from components.tabs.sampling.lab import LabStore, prompt_of
from components.tabs.stage_tab import App
from components.views.html_view import build_html_view
from components.views.strips import visible
from components.views.tables import Verbatim, table_html
from playground.errors import StageCancelled
from playground.language import mark, say
from playground.records import Progress, SamplingSettings
from playground.sampling.settings import LIMITS

if TYPE_CHECKING:
    from playground.pipeline import Run
    from playground.sampling.sweep import Sweep

RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_k": (1, 50),
    "top_p": (0.1, 1),
    "min_p": (0, 0.5),
    "typical_p": (0.1, 1),
    "repetition_penalty": (0.8, 1.6),
    "frequency_penalty": (-1, 2),
    "presence_penalty": (-1, 2),
}
assert RANGES.keys() == LIMITS.keys() - {"seed"}
MAX_ROWS = 40
EMPTY = mark("Press “Sweep” to draw this chart.")
NEW_TOKENS = 24
MOST_NEW_TOKENS = 256  # sampling_sweep.MAX_SWEEP_TOKENS, without torch


@dataclass(frozen=True, slots=True, eq=False)
class SweepPart:
    """The part's components."""

    base: gr.Dropdown  # whose settings all else is taken from
    outputs: tuple[Component, ...]


def build_sweep(app: App, store: LabStore, lab_key: gr.State) -> SweepPart:
    """Build the part inside its tab."""
    gr.Markdown(
        say(
            "One setting goes over a range, and the model answers several times at each value, "
            "always with the same seeds. All else is as in the chosen column."
        )
    )
    with gr.Row():
        parameter = gr.Dropdown(
            [(parameter_name(name), name) for name in RANGES],
            value="temperature",
            label=say("Setting"),
            min_width=230,
            scale=2,
        )
        low = gr.Number(0, label=say("From"), min_width=80, step=0.1)
        high = gr.Number(2, label=say("To"), min_width=80, step=0.1)
        up_to = say("Up to {most}", most=16)
        steps = gr.Number(6, label=say("Values"), info=up_to, min_width=80, step=1)
        samples = gr.Number(8, label=say("Answers per value"), info=up_to, min_width=110, step=1)
        limits = app.host.limits
        length = gr.Number(
            limits.at_most(NEW_TOKENS),
            label=say("Max new tokens"),
            info=say("Up to {most}", most=limits.at_most(MOST_NEW_TOKENS)),
            min_width=110,
            step=1,
        )
        base = gr.Dropdown([], label=say("All else as in"), min_width=110)
    start = gr.Button(say("Sweep"), variant="primary", min_width=160)
    words = build_html_view()
    answers = PlotlyView(label=say("Answers"), empty=say(EMPTY))
    with gr.Row():
        lengths = PlotlyView(label=say("Lengths"), empty=say(EMPTY))
        entropy = PlotlyView(label=say("Entropy"), empty=say(EMPTY))
    table = build_html_view()
    outputs = (words, answers, lengths, entropy, table)

    parameter.input(
        lambda name: RANGES.get(name, (0, 1)),
        parameter,
        [low, high],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )

    def stream(run: Run, progress: Progress, key: str | None, *values: Any) -> Iterator[Any]:
        lab = store.find(key, run)
        chosen, *rest = values
        settings = SamplingSettings()
        if lab is not None and any(each.name == chosen for each in lab.branches):
            settings = lab.branch(chosen).trace.settings
        yield from stream_sweep_part(run, progress, settings, *rest)

    app.on_model(
        start.click, stream, [lab_key, base, parameter, low, high, steps, samples, length], outputs
    )
    return SweepPart(base, outputs)


def stream_sweep_part(
    run: Run,
    progress: Progress,
    base: SamplingSettings,
    parameter: str,
    low: Any,
    high: Any,
    steps: Any,
    samples: Any,
    length: Any,
) -> Iterator[tuple[Any, ...]]:
    """Write all answers; the count while it is under way, charts at the end or where it stopped."""
    planned = playground.sampling.sweep.plan_sweep(base, parameter, low, high, steps)
    run.ensure("decoder", progress)
    started = time.perf_counter()
    sweep: Sweep | None = None
    cancelled: StageCancelled | None = None
    found = playground.sampling.sweep.stream_sweep(
        run.engine,
        prompt_of(run),
        parameter,
        planned,
        num_samples=samples,
        max_new_tokens=length,
        progress=progress,
    )
    try:
        for sweep in found:
            done = sum(len(point.answers) for point in sweep.points)
            yield f'<p class="pg-fact">{count_answers(done)} …</p>', *(gr.skip(),) * 4
    except StageCancelled as stop:
        cancelled = stop
    if sweep is not None:
        seconds = time.perf_counter() - started
        yield (
            sweep_html(sweep, seconds),
            plot_answers(sweep),
            plot_lengths(sweep),
            plot_sweep_entropy(sweep),
            answers_html(sweep),
        )
    if cancelled is not None:
        raise cancelled


def count_answers(count: int) -> str:
    """``1 answer``, ``2 answers``."""
    return say("1 answer") if count == 1 else say("{count:,} answers", count=count)


def sweep_html(sweep: Sweep, seconds: float) -> str:
    """The sweep in a sentence."""
    answers = [answer for point in sweep.points for answer in point.answers]
    distinct = len({answer.text for answer in answers})
    first, last = sweep.points[0], sweep.points[-1]
    words = say(
        "{answers} in {seconds:.1f} s, {distinct:,} different ones: {first_kinds} at "
        "{parameter} {first:.3g}, {last_kinds} at {last:.3g}.",
        answers=count_answers(len(answers)),
        seconds=seconds,
        distinct=distinct,
        parameter=parameter_name(sweep.parameter).lower(),
        first_kinds=len(first.counts),
        first=first.value,
        last_kinds=len(last.counts),
        last=last.value,
    )
    return f'<p class="pg-fact">{words}</p>'


def answers_html(sweep: Sweep) -> str:
    """The answers at each value, the most frequent first."""
    rows = []
    for point in sweep.points:
        by_text = {answer.text: answer for answer in point.answers}
        for text, count in point.counts.most_common():
            answer = by_text[text]
            rows.append(
                (
                    f"{point.value:.3g}",
                    count,
                    Verbatim(visible(text).replace("␣", " ") or say("(nothing)")),
                    answer.num_tokens,
                    say("yes") if answer.is_whole else say("no"),
                    f"{answer.log_prob:.2f}",
                )
            )
    caption = say("Every distinct answer")
    if len(rows) > MAX_ROWS:
        caption = say(
            "Every distinct answer (the first {shown} of {count:,})",
            shown=MAX_ROWS,
            count=len(rows),
        )
    headers = (
        parameter_name(sweep.parameter),
        say("Times"),
        say("Answer"),
        say("Tokens"),
        say("Ended by itself"),
        say("Log-probability (nats)"),
    )
    return table_html(headers, rows[:MAX_ROWS], caption, right=(0, 5))
