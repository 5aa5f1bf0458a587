"""What-ifs, patches and occlusion of a run over prompt and answer, against a whole prefill."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from playground.answer.summary import predicting_rows
from playground.experiments.influence import attention_by_head, measure_influence
from playground.experiments.what_if import StatePatch, WhatIf
from playground.experiments.what_if_runs import run_changed
from playground.logits import apply_head
from playground.merge.stage import run_merge
from playground.pipeline import Run
from tests.playground.answer.conftest import LOGITS_ATOL

WHAT_IFS = {
    "DeepStack": WhatIf(deepstack_gains=(0.0,)),
    "flat positions": WhatIf(positions="flat"),
    "swapped positions": WhatIf(positions="swapped"),
    "skipped layer": WhatIf(skipped_layers=(1,)),
    "zeroed head": WhatIf(zeroed_heads=((1, 0),)),
}


@pytest.mark.parametrize("name", WHAT_IFS)
def test_a_what_if_is_that_of_a_whole_prefill(run: Run, answered: Run, name: str) -> None:
    what_if = WHAT_IFS[name]
    check_against_prefill(run, answered, what_if)


def test_a_masked_image_is_masked_for_the_answer(run: Run, answered: Run) -> None:
    if run.inputs.spans:
        span = run.inputs.spans[-1]
        check_against_prefill(run, answered, WhatIf(masked=tuple(range(span.start, span.end))))


def check_against_prefill(run: Run, answered: Run, what_if: WhatIf) -> None:
    """The change of a run with an answer is that of one prefill over the same tokens."""
    engine, inputs, rows = run.engine, answered.inputs, list(predicting_rows(answered.inputs))
    ours = run_changed(engine, inputs, answered.merged, what_if, decoded=answered.decoded)
    whole = run_changed(engine, inputs, run_merge(engine, inputs, run.vision), what_if)
    logits, expected, before = (
        apply_head(engine, each.last_hidden_state[rows]) for each in (ours, whole, answered.decoded)
    )
    torch.testing.assert_close(logits, expected, rtol=0, atol=LOGITS_ATOL)
    changes_text = what_if.skipped_layers or what_if.zeroed_heads
    if run.inputs.spans or changes_text:
        assert (logits - before).abs().max() > 10 * LOGITS_ATOL
    else:  # without an image there is nothing to change
        torch.testing.assert_close(logits, before, rtol=0, atol=LOGITS_ATOL)


def test_a_patched_answer_token_changes_what_follows_it(run: Run, answered: Run) -> None:
    engine, at = run.engine, answered.inputs.num_prompt_tokens
    patch = StatePatch(1, at, torch.zeros(engine.facts.hidden_size))
    changed = run_changed(
        engine,
        answered.inputs,
        answered.merged,
        WhatIf(patches=(patch,)),
        decoded=answered.decoded,
    )
    assert not changed.hidden_states[1][at].any()
    rows = [at - 1, at]
    before, after = (
        apply_head(engine, each.last_hidden_state[rows]) for each in (answered.decoded, changed)
    )
    torch.testing.assert_close(before[0], after[0], rtol=0, atol=LOGITS_ATOL)  # it comes earlier
    assert (before[1] - after[1]).abs().max() > 10 * LOGITS_ATOL


def test_influence_and_attention_are_those_after_the_prompt(run: Run, answered: Run) -> None:
    """Both also take a prompt with an answer's tokens; a recorded answer gives the same."""
    engine, inputs, decoded = run.engine, answered.inputs, answered.decoded
    ids = inputs.input_ids[0, inputs.num_prompt_tokens :].tolist()
    np.testing.assert_allclose(
        attention_by_head(engine, answered.merged, decoded, ()),
        attention_by_head(engine, run.merged, run.decoded, ids),
        rtol=0,
        atol=2e-6,
    )
    if not inputs.spans:
        return
    span, following = inputs.spans[0], int(decoded.logits.argmax())
    block = max(span.merged_h, span.merged_w)
    ours = measure_influence(engine, inputs, answered.merged, span, [following], block=block)
    theirs = measure_influence(engine, run.inputs, run.merged, span, [*ids, following], block=block)
    np.testing.assert_allclose(ours.drop, theirs.drop, atol=1e-4)
