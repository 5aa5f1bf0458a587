"""Two runs compared: both answers, the original answer's tokens, and the next token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import plotly.graph_objects as go
from markupsafe import Markup

import playground
from components.charts.what_if import plot_answer_shift
from components.tabs.decoder.answer import (
    NEW_TOKENS,
    answer_ids,
    answer_labels,
    answer_of,
    read_original,
)
from components.views.generated import probability_legend_html, token_chips_html
from playground.language import say
from playground.pipeline import Run
from playground.records import Progress
from playground.sampling.trace import SamplingTrace

if TYPE_CHECKING:
    from playground.experiments.answers import AnswerShift
    from playground.experiments.what_if import WhatIf
    from playground.experiments.what_if_runs import LogitsShift, WhatIfRun

TOP_K = 8


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """A changed run compared with the original; a finding."""

    what_if: WhatIf  # what was changed
    original: SamplingTrace
    changed: SamplingTrace
    answer_shift: AnswerShift  # the original answer's tokens in both runs
    shift: LogitsShift  # of the next token


def compare_change(run: Run, progress: Progress, what_if: WhatIf) -> Comparison:
    """Run with a change and compare with the original.

    Raises:
        InputError: the change does not fit the run.
    """
    asked = run.prompt_run
    playground.experiments.what_if.check_what_if(asked.engine, asked.inputs, what_if)
    original = answer_of(run, progress)
    changed, shift = run_with_change(asked, progress, what_if)
    ids = answer_ids(original)
    after = playground.experiments.answers.answer_log_probs(
        changed.engine, changed.merged, changed.decoded, ids, progress=progress
    )
    before = read_original(run, progress)
    answer_shift = playground.experiments.answers.AnswerShift(ids, before, after)
    return Comparison(what_if, original, changed.answer, answer_shift, shift)


def run_with_change(run: Run, progress: Progress, what_if: WhatIf) -> tuple[WhatIfRun, LogitsShift]:
    """The changed run, and the change in the next token's distribution."""
    runs = playground.experiments.what_if_runs
    changed = runs.run_what_if(
        run.engine,
        run.inputs,
        run.merged,
        what_if,
        decoded=run.decoded,
        max_new_tokens=NEW_TOKENS,
        progress=progress,
    )
    shift = runs.compare_logits(run.engine, run.decoded.logits, changed.decoded.logits, TOP_K)
    return changed, shift


def plot_answer_tokens(run: Run, compared: Comparison) -> go.Figure:
    """The probability of each token of the original answer in both runs."""
    return plot_answer_shift(compared.answer_shift, answer_labels(run, compared.answer_shift.ids))


def answer_verdict_html(
    original: SamplingTrace, changed: SamplingTrace, shift: LogitsShift
) -> Markup:
    """Both answers, token by token, and the change in the first token's distribution."""
    same = original.text == changed.text
    first = next(
        (
            step
            for step, (a, b) in enumerate(zip(original.steps, changed.steps, strict=False))
            if a.id != b.id
        ),
        None,
    )
    return Markup(
        '<p class="pg-verdict"><span class="pg-badge {badge}">{text}</span>'
        '<span>{detail}</span></p>{legend}<h4 class="pg-column-name">{own_name}</h4>{own}'
        '<h4 class="pg-column-name">{other_name}</h4>{other}'
    ).format(
        badge="pg-badge-hit" if same else "pg-badge-miss",
        text=say("The answer stays the same.") if same else say("The answer changes."),
        detail=say(
            "First token: KL(original ‖ changed) = {kl:.3g} nats, largest change in probability "
            "{change:.1%}.",
            kl=shift.kl,
            change=shift.max_abs_dp,
        ),
        legend=Markup(probability_legend_html()),
        own_name=say("Original"),
        own=Markup(token_chips_html(original.steps)),
        other_name=say("Changed"),
        other=Markup(token_chips_html(changed.steps, mark=first)),
    )
