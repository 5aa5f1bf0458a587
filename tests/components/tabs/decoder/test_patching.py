"""The decoder tab's patched states."""

from __future__ import annotations

import pytest

from components.tabs.decoder import patching
from components.tabs.decoder.patching import (
    FROM_END,
    SAME_IMAGES,
    SAME_INDEX,
    choose_positions,
    other_run,
)
from playground.engine import Engine
from playground.errors import InputError
from playground.experiments.what_if import StatePatch, WhatIf
from playground.experiments.what_if_runs import run_what_if
from playground.pipeline import Run
from playground.pointer import locate_token
from tests.components.runs import ignore_progress, make_run
from tests.media_samples import make_image


def test_a_patched_state_is_the_other_runs(run: Run) -> None:
    asked = (SAME_IMAGES, "How many <shapes>?")
    (found,) = patching.patched(run, ignore_progress, *asked, 2, FROM_END, None)
    other = other_run(run, *asked)
    assert other_run(run, *asked) is other
    assert other.vision is run.vision  # the tower is not run again
    last = run.inputs.num_tokens - 1
    state = other.decoded.hidden_states[2][other.inputs.num_tokens - 1]
    changed = run_what_if(
        run.engine,
        run.inputs,
        run.merged,
        WhatIf(patches=(StatePatch(2, last, state),)),
        max_new_tokens=1,
    )
    after = changed.decoded.logits.float().softmax(-1)
    figure = patching.shift(run, found)
    assert figure is not None
    bars = {trace.name: trace for trace in figure.data}["changed"]
    assert max(bars.x) == pytest.approx(float(after.max()), rel=1e-4)
    page = patching.verdict(run, found)
    assert f"that of token {other.inputs.num_tokens - 1} " in page
    assert "“How many &lt;shapes&gt;?”" in page


def test_every_layer_is_patched_separately(run: Run) -> None:
    asked = (SAME_IMAGES, "How many shapes?")
    other = other_run(run, *asked)
    other.ensure("decoder")
    own, theirs = (int(each.decoded.logits.argmax()) for each in (run, other))
    if own == theirs:
        pytest.skip("both runs of this random model say the same")
    (found,) = patching.swept(run, ignore_progress, *asked, FROM_END, None)
    figure = patching.layers(run, found)
    assert figure is not None
    lines = [trace.y for trace in figure.data]
    assert len(lines[0]) == run.decoded.num_layers + 1
    probs = other.decoded.logits.float().softmax(-1)
    # The final norm's input is all that the next token depends on.
    assert lines[0][-1] == pytest.approx(float(probs[own]), abs=1e-5)
    assert lines[1][-1] == pytest.approx(float(probs[theirs]), abs=1e-5)


def test_an_example_may_be_the_other_run(shipped_engine: Engine) -> None:
    """A question that is answered with another word: its last state brings that word."""
    run = make_run(shipped_engine, "Describe this image.", make_image())
    (found,) = patching.swept(run, ignore_progress, 2, "", FROM_END, None)
    figure = patching.layers(run, found)
    assert figure is not None
    assert figure.data[1].y[-1] > figure.data[0].y[-1]
    assert "final norm" in figure.layout.xaxis.title.text
    assert "What is to the right of the triangle?" in patching.sweep_facts(run, found)


def test_positions_are_counted_from_either_end(run: Run, text_run: Run) -> None:
    length = run.inputs.num_tokens
    other = other_run(run, SAME_IMAGES, "What is there to be seen?")
    selection = locate_token(run.inputs, run.positions, length - 2)
    there = other.inputs.num_tokens - 2
    assert choose_positions(run, other, FROM_END, selection) == (length - 2, there)
    assert choose_positions(run, other, SAME_INDEX, selection) == (length - 2, length - 2)
    first = locate_token(run.inputs, run.positions, 0)
    with pytest.raises(InputError, match="no position that corresponds to token 0"):
        choose_positions(run, text_run, FROM_END, first)
    with pytest.raises(InputError, match="no such example"):
        other_run(run, 99, "")


def test_the_slider_reaches_to_the_final_norm(run: Run) -> None:
    spec = patching.LAYER.details(run)
    assert spec["high"] == spec["value"] == run.decoded.num_layers
    assert patching.LAYER.parse(0, run) == 0
    assert f"token {run.inputs.num_tokens - 1} " in patching.where(run, None)
    assert patching.verdict(run, None) == patching.sweep_facts(run, None) == ""
    assert patching.shift(run, None) is patching.layers(run, None) is None


def test_two_runs_that_say_the_same_are_refused(run: Run) -> None:
    with pytest.raises(InputError, match="cannot show a difference"):
        list(patching.swept(run, ignore_progress, SAME_IMAGES, "What?", FROM_END, None))
