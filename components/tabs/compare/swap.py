"""Stages of the second checkpoint in the first: which of them carries the change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import plotly.graph_objects as go
from markupsafe import Markup

import playground
from components.charts.compare import plot_carried
from components.parts.compound_controls import Choices
from components.parts.controls import Option
from components.parts.part import Heading, Part
from components.tabs.compare.second import ABSENT, both_names, has_second, second_run
from components.tabs.decoder.answer import NEW_TOKENS, answer_ids, continue_greedily
from components.views.facts import fact_html
from components.views.generated import probability_legend_html, token_chips_html
from playground.language import mark, say
from playground.pipeline import Run
from playground.records import Progress

if TYPE_CHECKING:
    from playground.compare.mix import StageOfModel
    from playground.compare.swap import StageEffects
    from playground.experiments.what_if_runs import LogitsShift
    from playground.sampling.trace import SamplingTrace

TOP_K = 8


def _stages(run: Run) -> tuple[StageOfModel, ...]:
    return playground.compare.mix.list_stages(run.engine)


def _options(run: Run) -> list[Option]:
    return [(stage.words, index) for index, stage in enumerate(_stages(run))]


STAGES = Choices(
    id="stages",
    label=mark("Stages of the second checkpoint"),
    info=mark("All other stages come from the first."),
    options=_options,
    value=lambda run: (run.engine.facts.num_layers + 1,),  # the last decoder layer
    compact=True,
)
PART = Part(
    "swap",
    mark("One stage of the second in the first"),
    stage="compare",
    intro=mark(
        "Run the first checkpoint with some stages of the second. Where the two greedy answers "
        "first differ, the share of a stage says how much of the change in the next token’s "
        "distribution it brings about alone: 1 − KL(second ‖ mixed) ÷ KL(second ‖ first)."
    ),
    controls=(STAGES,),
    layout=(
        ("measured",),
        "words",
        "carried",
        Heading(mark("A mixed model’s answer")),
        "stages",
        ("mixed",),
        "answers",
    ),
    shown=has_second,
    absent=ABSENT,
)


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """The share of each stage at one token of the answer; a finding."""

    effects: StageEffects
    index: int  # of the token, from 0
    tokens: tuple[str, str]  # what the two checkpoints write there


@dataclass(frozen=True, slots=True, eq=False)
class Mixed:
    """The answers of both checkpoints and of the mixed model; a finding."""

    stages: tuple[StageOfModel, ...]
    first: SamplingTrace
    second: SamplingTrace
    mixed: SamplingTrace
    index: int  # of the token at which the distributions are compared
    to_first: LogitsShift
    to_second: LogitsShift


@PART.experiment(mark("Measure each stage"), auto=True, primary=True)
def measured(run: Run, progress: Progress) -> Iterator[Carried]:
    """Put each stage of the second checkpoint alone into the first."""
    first, second, index = _runs_at_difference(run, progress)
    tokens = [answer.steps[index].text for answer in _answers(run, progress)]
    for effects in playground.compare.swap.measure_stages(first, second, progress=progress):
        yield Carried(effects, index, (tokens[0], tokens[1]))


def _answers(run: Run, progress: Progress) -> tuple[SamplingTrace, SamplingTrace]:
    return continue_greedily(run, progress), continue_greedily(second_run(run), progress)


def _runs_at_difference(run: Run, progress: Progress) -> tuple[Run, Run, int]:
    first, second = map(answer_ids, _answers(run, progress))
    found: tuple[Run, Run, int] = playground.compare.swap.runs_at_difference(
        run, second_run(run), (first, second), progress=progress
    )
    return found


@PART.experiment(mark("Run with these stages"), needs=("stages",))
def mixed(run: Run, progress: Progress, chosen: Sequence[int]) -> Iterator[Mixed]:
    """Answer with the mixed model."""
    swap, every = playground.compare.swap, _stages(run)
    stages = tuple(every[index] for index in sorted(chosen))
    made = swap.run_mixed(run, second_run(run), stages, progress=progress)
    first, second, index = _runs_at_difference(run, progress)
    there = swap.run_mixed(first, second, stages, progress=progress).decoded.logits
    shift = playground.experiments.what_if_runs.compare_logits
    answers = _answers(run, progress)
    yield Mixed(
        stages,
        first=answers[0],
        second=answers[1],
        mixed=swap.answer_mixed(
            run,
            made,
            max_new_tokens=run.engine.limits.at_most(NEW_TOKENS),
            progress=progress,
        ),
        index=index,
        to_first=shift(run.engine, first.decoded.logits, there, TOP_K),
        to_second=shift(run.engine, second.decoded.logits, there, TOP_K),
    )


@PART.html(needs=("measured",), live=True)
def words(_run: Run, found: Carried | None) -> str:
    """Where it is measured, whether there is a change at all, and the stages that carry it."""
    if found is None:
        return ""
    effects = found.effects
    if effects.kl == 0:
        return fact_html(say("The next token’s distribution is the same in both checkpoints."))
    where = say(
        "Measured at token {number} of the answer, “{first}” of the first checkpoint and "
        "“{second}” of the second.",
        number=found.index + 1,
        first=found.tokens[0].strip(),
        second=found.tokens[1].strip(),
    )
    carrying = [effect for effect in effects.stages if effects.carried(effect) > 0.01]
    shares = [
        say("{stage} ({share:.0%})", stage=effect.stage.words, share=effects.carried(effect))
        for effect in sorted(carrying, key=effects.carried, reverse=True)[:5]
    ]
    total = say("KL(second ‖ first) = {kl:.3g} nats.", kl=effects.kl)
    if not shares:
        return fact_html(where, total, say("No single stage brings it about alone."))
    return fact_html(where, total, say("Alone: {stages}.", stages=say(", ").join(shares)))


@PART.chart(mark("Share of the change by stage"), needs=("measured",), live=True)
def carried(_run: Run, found: Carried | None) -> go.Figure | None:
    """The share that each stage carries."""
    return None if found is None or found.effects.kl == 0 else plot_carried(found.effects)


@PART.html(needs=("mixed", "stages"))
def answers(run: Run, found: Mixed | None, chosen: Sequence[int]) -> Markup | str:
    """The three answers."""
    if found is None:
        return ""
    names = both_names(run)
    stages = say(", ").join(stage.words for stage in found.stages) or say("no stage")
    every = _stages(run)
    is_now = found.stages == tuple(every[index] for index in sorted(chosen))
    hint = say("The settings have changed since this run. Run again to update the results.")
    sections = [
        Markup('<h4 class="pg-column-name">{}</h4>{}').format(
            name, Markup(token_chips_html(trace.steps))
        )
        for name, trace in (
            (names[0], found.first),
            (say("Mixed"), found.mixed),
            (names[1], found.second),
        )
    ]
    return Markup("{facts}{legend}{sections}").format(
        facts=Markup(
            fact_html(
                say("From the second checkpoint: {stages}.", stages=stages),
                say(
                    "At token {number}: KL(first ‖ mixed) = {first:.3g} nats, KL(second ‖ mixed) "
                    "= {second:.3g} nats.",
                    number=found.index + 1,
                    first=found.to_first.kl,
                    second=found.to_second.kl,
                ),
                "" if is_now else hint,
            )
        ),
        legend=Markup(probability_legend_html()),
        sections=Markup("").join(sections),
    )
