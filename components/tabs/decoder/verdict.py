"""Two runs compared: both answers, the original answer's words, and the next token."""

from __future__ import annotations

from typing import Any

import playground
from components.charts.what_if import plot_answer_shift, plot_shift
from components.tabs.decoder.answer import (
    NEW_TOKENS,
    answer_ids,
    answer_labels,
    answer_of,
    read_original,
)
from components.views.strips import probability_legend_html, token_chips_html
from playground.language import say
from playground.pipeline import Run
from playground.records import Progress, SamplingTrace

TOP_K = 8


def compare_change(run: Run, progress: Progress, what_if: Any) -> tuple[Any, ...]:
    """Run with a change beside the original: the verdict, the answer's words, the next token.

    Raises:
        InputError: the change does not fit the run.
    """
    runs = playground.experiments.what_if_runs
    engine, merged, decoded = run.engine, run.merged, run.decoded
    playground.experiments.what_if.check_what_if(engine, run.inputs, what_if)
    original = answer_of(run, progress)
    changed = runs.run_what_if(
        engine,
        run.inputs,
        merged,
        what_if,
        decoded=decoded,
        max_new_tokens=NEW_TOKENS,
        progress=progress,
    )
    ids = answer_ids(original)
    after = playground.experiments.answers.answer_log_probs(
        changed.engine, changed.merged, changed.decoded, ids, progress=progress
    )
    words = playground.experiments.answers.AnswerShift(ids, read_original(run, progress), after)
    shift = runs.compare_logits(engine, decoded.logits, changed.decoded.logits, TOP_K)
    return (
        verdict_html(original, changed.answer, shift),
        plot_answer_shift(words, answer_labels(run, ids)),
        plot_shift(shift),
    )


def verdict_html(original: SamplingTrace, changed: SamplingTrace, shift: Any) -> str:
    """Both answers, token by token, and how far the first distribution moved."""
    same = original.text == changed.text
    words = say("The answer stays the same.") if same else say("The answer changes.")
    badge = "pg-badge-hit" if same else "pg-badge-miss"
    first = next(
        (
            step
            for step, (a, b) in enumerate(zip(original.steps, changed.steps, strict=False))
            if a.id != b.id
        ),
        None,
    )
    detail = say(
        "KL(original ‖ changed) = {kl:.3g} nats at the first token, largest change of a "
        "probability {change:.1%}.",
        kl=shift.kl,
        change=shift.max_abs_dp,
    )
    return (
        f'<p class="pg-verdict"><span class="pg-badge {badge}">{words}</span>'
        f"<span>{detail}</span></p>{probability_legend_html()}"
        f'<h4 class="pg-column-name">{say("Original")}</h4>{token_chips_html(original.steps)}'
        f'<h4 class="pg-column-name">{say("Changed")}</h4>'
        f"{token_chips_html(changed.steps, mark=first)}"
    )
