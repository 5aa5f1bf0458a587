"""The decoder tab's what-ifs, influence and patched states."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from components.tabs.decoder.answer import answer_ids, answer_labels, answer_of, read_original
from components.tabs.decoder.influence import (
    draw_influence,
    stream_again,
    stream_influence,
    stream_taken,
)
from components.tabs.decoder.painting import paint, painted_html
from components.tabs.decoder.patching import (
    FROM_END,
    SAME_INDEX,
    SAME_PICTURES,
    choose_positions,
    draw_patching,
    other_run,
    stream_patch,
    stream_sweep,
)
from components.tabs.decoder.what_if import draw_what_if, read_what_if, stream_what_if
from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.experiments.answers import answer_log_probs
from playground.experiments.influence import measure_influence
from playground.experiments.what_if import StatePatch, WhatIf
from playground.experiments.what_if_runs import run_what_if
from playground.pipeline import Run
from playground.pointer import locate_token
from tests.components.html_reader import read_html
from tests.components.runs import ignore_progress, make_run
from tests.media_samples import make_picture

NEUTRAL = (1, 1, 1, "mrope", [], [], (), "zero", False)


# -------------------------------------------------------------------------------------- what if


def test_no_change_says_so(run: Run) -> None:
    ((verdict, words, figure),) = stream_what_if(run, ignore_progress, *NEUTRAL)
    assert "stays the same" in verdict
    assert "KL = 0 nats" in figure.layout.title.text
    np.testing.assert_array_equal(figure.data[0].x, figure.data[1].x)
    np.testing.assert_allclose(words.data[0].y, words.data[1].y, rtol=1e-4)
    assert "no word falls" in words.layout.title.text


def test_a_change_is_drawn_beside_the_original(run: Run) -> None:
    ((_, words, figure),) = stream_what_if(
        run, ignore_progress, 0, 1, 1, "flat", [], [], (), "zero", False
    )
    what_if = WhatIf(deepstack_gains=(0.0,), positions="flat")
    changed = run_what_if(run.engine, run.inputs, run.merged, what_if, max_new_tokens=1)
    before, after = (
        each.float().softmax(-1) for each in (run.decoded.logits, changed.decoded.logits)
    )
    by_name = {trace.name: trace for trace in figure.data}
    top = torch.maximum(before, after).topk(3).indices
    np.testing.assert_allclose(by_name["original"].x[:3], before[top], rtol=1e-4)
    np.testing.assert_allclose(by_name["changed"].x[:3], after[top], rtol=1e-4)
    assert figure.layout.xaxis.title.text == "probability"
    first = answer_ids(answer_of(run, ignore_progress))[0]
    by_name = {trace.name: trace for trace in words.data}
    assert by_name["original"].y[0] == pytest.approx(float(before[first]), rel=1e-4)
    assert by_name["changed"].y[0] == pytest.approx(float(after[first]), rel=1e-4)


def test_controls_are_read_and_checked(run: Run) -> None:
    start = run.inputs.spans[0].start
    what_if = read_what_if(run, 0, 0.5, 2, "swapped", [1, 2], ["0:1"], (start, 0), "mean", True)
    assert what_if.deepstack_gains == (0.0, 0.5, 2.0)
    assert what_if.skipped_layers == (1, 2)
    assert what_if.zeroed_heads == ((0, 1),)
    assert what_if.painted == (start,)  # token 0 is text, left over from another prompt
    assert what_if.leave_deepstack
    for bad in (
        (1, 1, 1, "sideways", [], [], (), "zero", False),
        (1, 1, 1, "flat", ["x"], [], (), "zero", False),
        (1, 1, 1, "flat", [], ["1:2:3"], (), "zero", False),
        (1, None, 1, "flat", [], [], (), "zero", False),
    ):
        with pytest.raises(InputError):
            read_what_if(run, *bad)


def test_the_answer_is_written_once(run: Run) -> None:
    answer = answer_of(run, ignore_progress)
    assert answer_of(run, ignore_progress) is answer
    labels = answer_labels(run, answer_ids(answer))
    assert len(labels) == len(answer.steps)
    assert all("<" not in label for label in labels)


def test_the_original_is_read_once_for_all_what_ifs(run: Run) -> None:
    before = read_original(run, ignore_progress)
    assert read_original(run, ignore_progress) is before
    ids = answer_ids(answer_of(run, ignore_progress))
    np.testing.assert_array_equal(
        before, answer_log_probs(run.engine, run.merged, run.decoded, ids)
    )


def test_a_stop_ends_a_what_if_within_a_layer_or_token(run: Run) -> None:
    """Counted by the layers that are still entered after the stop."""
    layers = run.engine.model.model.language_model.layers
    entered: list[int] = []
    stopped_at: list[int] = []
    hooks = [layer.register_forward_hook(lambda *_: entered.append(1)) for layer in layers]

    def stop_after(calls: int) -> Any:
        count = 0

        def stop(_what: str, _done: int, _total: int) -> None:
            nonlocal count
            count += 1
            if count > calls:
                stopped_at.append(len(entered))
                raise StageCancelled

        return stop

    fresh = Run(run.engine, run.prompt)
    fresh.ensure("merge")
    try:
        for calls in (3, 8, 30, 36):
            with pytest.raises(StageCancelled):
                list(stream_what_if(fresh, stop_after(calls), *NEUTRAL))
            assert len(entered) == stopped_at[-1]
    finally:
        for hook in hooks:
            hook.remove()
    assert len(set(stopped_at)) == 4  # in the prefill and in several steps


# ------------------------------------------------------------------------------------- painting


def test_painted_tokens_are_covered(run: Run, text_run: Run) -> None:
    first = run.inputs.spans[0]
    page = painted_html(run, (first.start, first.end - 1))
    assert "2 of" in read_html(page).find("figcaption")[0].text
    assert "0 of" in read_html(page).find("figcaption")[1].text
    assert "no picture" in painted_html(text_run, ())


def test_a_click_paints_with_the_brush_and_again_brings_back(run: Run) -> None:
    span = run.inputs.spans[0]
    place = locate_token(run.inputs, run.positions, span.start)
    corner = (
        span.start,
        span.start + 1,
        span.start + span.merged_w,
        span.start + 1 + span.merged_w,
    )
    kept, page = paint(run, place, (), True, 1)
    assert kept == corner
    assert "4 of" in str(page)
    assert paint(run, place, corner, True, 1)[0] == ()
    assert paint(run, place, corner, True, 0)[0] == corner[1:]
    assert paint(run, place, (), True, 0)[0] == (span.start,)
    text = locate_token(run.inputs, run.positions, 0)
    for ignored in (paint(run, place, (), False, 1), paint(run, text, (), True, 1)):
        assert ignored[0] not in ((), corner)  # left as it is


def test_a_new_run_keeps_only_what_fits(run: Run, text_run: Run) -> None:
    drawn = draw_what_if(run, (run.inputs.spans[0].start, 10_000))
    assert drawn[5] == (run.inputs.spans[0].start,)
    assert drawn[0]["visible"]
    assert len(drawn[3]["choices"]) == run.engine.facts.num_layers
    assert draw_what_if(text_run, (5,))[5] == ()
    assert not draw_what_if(text_run, ())[0]["visible"]


# ------------------------------------------------------------------------------------ influence


def test_the_influence_map_is_the_measured_one(run: Run, text_run: Run) -> None:
    place = locate_token(run.inputs, run.positions, run.inputs.spans[1].start)
    first, second = stream_influence(run, ignore_progress, 2, 1, place)
    listed, owed = first[:2]
    assert listed["value"] == 2
    assert len(listed["choices"]) == len(owed.data[0].x)
    assert owed.layout.annotations[0].x == 2
    words, pictures, drops, agreement = second[2:]
    ids = answer_ids(answer_of(run, ignore_progress))
    measured = measure_influence(
        run.engine, run.inputs, run.merged, run.inputs.spans[1], ids[:3], margin=1
    )
    np.testing.assert_allclose(drops.data[0].z, measured.drop, atol=1e-5)
    assert drops.layout.meta["pointer"] == {"what": "merged", "span": 1}
    assert "Rank correlation" in words
    assert f"{np.exp(measured.log_prob):.1%}" in words
    assert len(read_html(pictures).find("figure")) == 3
    facts = run.engine.facts
    assert agreement.data[0].z.shape == (facts.num_layers, facts.num_attention_heads)
    with pytest.raises(InputError, match="no picture"):
        list(stream_influence(text_run, ignore_progress, None, 1, None))


def test_the_strongest_part_is_taken_away(run: Run) -> None:
    *_, last = stream_taken(run, ignore_progress, 1, 0, None)
    painted, verdict, words = last[6:]
    ids = answer_ids(answer_of(run, ignore_progress))
    measured = measure_influence(run.engine, run.inputs, run.merged, run.inputs.spans[0], ids[:2])
    left = np.exp(measured.log_prob - measured.drop.max())
    assert words.data[1].y[1] == pytest.approx(left, rel=1e-3)
    assert "1 of" in read_html(painted).find("figcaption")[0].text
    assert "Changed" in verdict


def test_nothing_is_measured_before_it_is_asked_for(run: Run) -> None:
    drawn = draw_influence(run)
    assert drawn[0]["choices"] == []
    assert drawn[1] is None
    fresh = Run(run.engine, run.prompt)
    (skipped,) = stream_again(fresh, ignore_progress, None, 1, None)
    assert len(skipped) == 6
    assert not fresh.has("decoder")


# ------------------------------------------------------------------------------------- patching


def test_a_patched_state_is_the_other_runs(run: Run) -> None:
    asked = (SAME_PICTURES, "How many shapes?")
    ((page, figure),) = stream_patch(run, ignore_progress, *asked, 2, FROM_END, None)
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
    bars = {trace.name: trace for trace in figure.data}["changed"]
    assert max(bars.x) == pytest.approx(float(after.max()), rel=1e-4)
    assert f"the state of token {other.inputs.num_tokens - 1} " in page


def test_every_layer_is_patched_in_turn(run: Run) -> None:
    asked = (SAME_PICTURES, "How many shapes?")
    other = other_run(run, *asked)
    own, theirs = (int(each.decoded.logits.argmax()) for each in (run, other))
    if own == theirs:
        pytest.skip("both runs of this random model say the same")
    (figure,) = stream_sweep(run, ignore_progress, *asked, FROM_END, None)
    lines = [trace.y for trace in figure.data]
    assert len(lines[0]) == run.decoded.num_layers + 1
    probs = other.decoded.logits.float().softmax(-1)
    # The final norm's input is all that the next token depends on.
    assert lines[0][-1] == pytest.approx(float(probs[own]), abs=1e-5)
    assert lines[1][-1] == pytest.approx(float(probs[theirs]), abs=1e-5)


def test_an_example_may_be_the_other_run(shipped_engine: Engine) -> None:
    """A question that is answered with another word: its last state brings that word."""
    run = make_run(shipped_engine, "Describe this image.", make_picture())
    (figure,) = stream_sweep(run, ignore_progress, 2, "", FROM_END, None)
    assert figure.data[1].y[-1] > figure.data[0].y[-1]
    assert "final norm" in figure.layout.xaxis.title.text


def test_positions_are_counted_from_either_end(run: Run, text_run: Run) -> None:
    length = run.inputs.num_tokens
    other = other_run(run, SAME_PICTURES, "What is there to be seen?")
    place = locate_token(run.inputs, run.positions, length - 2)
    there = other.inputs.num_tokens - 2
    assert choose_positions(run, other, FROM_END, place) == (length - 2, there)
    assert choose_positions(run, other, SAME_INDEX, place) == (length - 2, length - 2)
    first = locate_token(run.inputs, run.positions, 0)
    with pytest.raises(InputError, match="no position that answers to token 0"):
        choose_positions(run, text_run, FROM_END, first)
    with pytest.raises(InputError, match="no such example"):
        other_run(run, 99, "")


def test_the_slider_reaches_to_the_final_norm(run: Run) -> None:
    layer, where, *results = draw_patching(run, 0, None)
    assert layer["maximum"] == layer["value"] == run.decoded.num_layers
    assert f"token {run.inputs.num_tokens - 1} " in where
    assert results == ["", None, None]


def test_two_runs_that_say_the_same_are_refused(run: Run) -> None:
    with pytest.raises(InputError, match="nothing to tell them apart"):
        list(stream_sweep(run, ignore_progress, SAME_PICTURES, "What?", FROM_END, None))
