"""One prompt through both checkpoints: drift by step, next token, and both answers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup

import playground
from components.charts.compare import plot_drift, plot_token_drift
from components.charts.what_if import plot_answer_shift, plot_shift
from components.parts.controls import Number, Slider
from components.parts.part import Heading, Part
from components.tabs.compare.second import ABSENT, both_names, has_second, second_run
from components.tabs.decoder.answer import answer_ids, answer_labels
from components.views.facts import fact_html
from components.views.generated import probability_legend_html, token_chips_html
from components.views.tables import Mono, table_html
from playground.language import mark, say
from playground.pipeline import Run
from playground.records import Progress

if TYPE_CHECKING:
    from playground.compare.answers import AnswerPair
    from playground.compare.drift import Drift
    from playground.experiments.what_if_runs import LogitsShift
    from playground.sampling.score import ScoredText
    from playground.sampling.trace import SamplingTrace

TOP_K = 8
NEW_TOKENS = 48

TEMPERATURE = Slider(
    id="temperature",
    label=mark("Temperature"),
    info=mark("0 always takes the most likely token."),
    low=0,
    high=2,
    step=0.05,
    value=0,
)
SEED = Number(id="seed", label=mark("Seed"), value=0, low=0, high=2**31 - 1)
PART = Part(
    "drift",
    mark("One run through both"),
    stage="compare",
    intro=mark(
        "The same prompt runs through both checkpoints. Every recorded step of the forward pass is "
        "compared under the name that “Check a port” gives it. Both answers are sampled from the "
        "same random numbers, so equal checkpoints give equal answers."
    ),
    controls=(TEMPERATURE, SEED),
    layout=(
        ("measured",),
        "words",
        "steps",
        "tokens",
        "shift",
        Heading(mark("Both answers")),
        ("temperature", "seed"),
        ("answered",),
        "answers",
        "forced",
        "table",
    ),
    shown=has_second,
    absent=ABSENT,
)


@dataclass(frozen=True, slots=True, eq=False)
class Parted:
    """Both runs of the prompt; a finding."""

    drift: Drift
    shift: LogitsShift  # of the next token
    tokens: np.ndarray | None  # (layers + 1, seq) float32; None if the sequences differ


@PART.experiment(mark("Run both"), auto=True, primary=True)
def measured(run: Run, progress: Progress) -> Iterator[Parted]:
    """Run the prompt through both checkpoints and compare every step."""
    other = second_run(run)
    drift = playground.compare.drift.measure_drift(run, other, progress=progress)
    shift = playground.experiments.what_if_runs.compare_logits(
        run.engine, run.decoded.logits, other.decoded.logits, TOP_K
    )
    yield Parted(drift, shift, _token_drift(run, other))


def _token_drift(run: Run, other: Run) -> np.ndarray | None:
    states = [each.decoded.hidden_states for each in (run, other)]
    if states[0][0].shape != states[1][0].shape:
        return None
    measure = playground.compare.drift.token_drift
    return np.stack([measure(a, b).numpy() for a, b in zip(*states, strict=True)])


@PART.experiment(
    mark("Answer with both"),
    needs=("temperature", "seed"),
    auto=True,
    again=("temperature", "seed"),
)
def answered(run: Run, progress: Progress, temperature: float, seed: int) -> Iterator[AnswerPair]:
    """Answer with both checkpoints, and score each answer with the other one."""
    settings = playground.sampling.trace.SamplingSettings(temperature=temperature, seed=seed)
    yield playground.compare.answers.compare_answers(
        run,
        second_run(run),
        settings,
        max_new_tokens=run.engine.limits.at_most(NEW_TOKENS),
        progress=progress,
    )


@PART.html(needs=("measured",))
def words(run: Run, parted: Parted | None) -> str:
    """The first step that moves, and how far the next token's distributions are apart."""
    if parted is None:
        return ""
    first = parted.drift.first_moved
    if first is None:
        return fact_html(say("Both checkpoints compute the same at every step."))
    sentences = [say("The first step that differs is {step}.", step=first.name)]
    sentences.append(
        say(
            "For the next token, KL(first ‖ second) = {kl:.3g} nats; the largest change in "
            "probability is {change:.1%}.",
            kl=parted.shift.kl,
            change=parted.shift.max_abs_dp,
        )
    )
    if missing := (*parted.drift.only_first, *parted.drift.only_second):
        sentences.append(
            say("Only one of the checkpoints has {count} of the steps.", count=len(missing))
        )
    return fact_html(*sentences)


@PART.chart(mark("Drift along the forward pass"), needs=("measured",))
def steps(_run: Run, parted: Parted | None) -> go.Figure | None:
    """The difference at every step."""
    return None if parted is None else plot_drift(parted.drift.checks)


@PART.chart(mark("Drift of each token"), needs=("measured",))
def tokens(_run: Run, parted: Parted | None) -> go.Figure | None:
    """The difference of each token's hidden states."""
    if parted is None or parted.tokens is None:
        return None
    return plot_token_drift(parted.tokens)


@PART.chart(mark("Next token"), needs=("measured",))
def shift(run: Run, parted: Parted | None) -> go.Figure | None:
    """The most likely next tokens under both checkpoints."""
    return None if parted is None else plot_shift(parted.shift, both_names(run))


@PART.html(needs=("answered",))
def answers(run: Run, pair: AnswerPair | None) -> Markup | str:
    """Both answers, with the first token that differs."""
    if pair is None:
        return ""
    where = pair.first_difference
    sections = [
        Markup('<h4 class="pg-column-name">{}</h4>{}').format(
            name, Markup(token_chips_html(trace.steps, mark=where))
        )
        for name, trace in zip(both_names(run), (pair.first, pair.second), strict=True)
    ]
    return Markup(
        '<p class="pg-verdict"><span class="pg-badge {badge}">{words}</span><span>{detail}</span>'
        "</p>{legend}{sections}"
    ).format(
        badge="pg-badge-hit" if where is None else "pg-badge-miss",
        words=say("Both answers are equal.")
        if where is None
        else say("The answers differ from token {number} on.", number=where + 1),
        detail=say(
            "The second gives the first’s answer a log-probability of {other:.3g} nats, the first "
            "itself one of {own:.3g}.",
            own=_total(pair.first),
            other=_scored(pair.first_by_second),
        ),
        legend=Markup(probability_legend_html()),
        sections=Markup("").join(sections),
    )


@PART.chart(mark("The first answer’s tokens"), needs=("answered",))
def forced(run: Run, pair: AnswerPair | None) -> go.Figure | None:
    """The probability of each token of the first answer under both checkpoints."""
    if pair is None:
        return None
    ids = answer_ids(pair.first)
    change = playground.experiments.answers.AnswerShift(
        ids, _log_probs(pair.first), _log_probs(pair.first_by_second.trace)
    )
    return plot_answer_shift(change, answer_labels(run, ids), both_names(run))


def _log_probs(trace: SamplingTrace) -> np.ndarray:
    return np.log([max(step.raw_prob, 1e-45) for step in trace.steps]).astype(np.float32)


@PART.html(needs=("answered",))
def table(run: Run, pair: AnswerPair | None) -> str:
    """How likely each answer is under each checkpoint."""
    if pair is None:
        return ""
    first, second = both_names(run)
    rows = [
        (
            Mono(name),
            own,
            other,
            _perplexity(own, len(trace.steps)),
            _perplexity(other, len(trace.steps)),
        )
        for name, trace, own, other in (
            (first, pair.first, _total(pair.first), _scored(pair.first_by_second)),
            (second, pair.second, _total(pair.second), _scored(pair.second_by_first)),
        )
    ]
    headers = (
        say("Answer of"),
        say("Log-probability of its own, nats"),
        say("By the other, nats"),
        say("Perplexity of its own"),
        say("By the other"),
    )
    return table_html(headers, rows, say("Each answer scored by both checkpoints"))


def _total(trace: SamplingTrace) -> float:
    return float(_log_probs(trace).sum())


def _scored(scored: ScoredText) -> float:
    return _total(scored.trace)


def _perplexity(total: float, count: int) -> float:
    return math.exp(-total / max(count, 1))
