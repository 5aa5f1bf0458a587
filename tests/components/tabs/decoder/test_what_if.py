"""The decoder tab's what-ifs and masking."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from components.parts.controls import Control
from components.tabs.decoder import what_if
from components.tabs.decoder.answer import answer_ids, answer_labels, answer_of, read_original
from components.tabs.decoder.masking import (
    MASKED,
    mask_buttons_html,
    maskable_html,
    masked_html,
    toggle_masked,
)
from components.tabs.decoder.what_if import CHANGES, PRESETS, list_presets, read_what_if
from playground.errors import InputError, StageCancelled
from playground.experiments.answers import answer_log_probs
from playground.experiments.first_object import find_first_object
from playground.experiments.what_if import WhatIf
from playground.experiments.what_if_runs import run_what_if
from playground.pipeline import Run
from playground.pointer import locate_token
from tests.components.html_reader import read_html
from tests.components.runs import ignore_progress

NEUTRAL = (1, 1, 1, "mrope", (), (), (), "zero", False)


def parse_all(run: Run, raw: dict[str, Any]) -> list[Any]:
    """The values of ``CHANGES`` from raw ones by id."""
    return [control.parse(raw.get(control.id), run) for control in CHANGES]


# -------------------------------------------------------------------------------------- what if


def test_no_change_says_so(run: Run) -> None:
    (found,) = what_if.changed(run, ignore_progress, *NEUTRAL)
    figure, words = what_if.shift(run, found), what_if.words(run, found)
    assert figure is not None
    assert words is not None
    assert "stays the same" in what_if.verdict(run, found)
    assert "KL = 0 nats" in figure.layout.title.text
    np.testing.assert_array_equal(figure.data[0].x, figure.data[1].x)
    np.testing.assert_allclose(words.data[0].y, words.data[1].y, rtol=1e-4)
    assert "no token drops" in words.layout.title.text
    assert "Changes in this run: none." in what_if.settings(run, found, *NEUTRAL)


def test_a_change_is_compared_with_the_original(run: Run) -> None:
    values = (0, 1, 1, "flat", (), (), (), "zero", False)
    (found,) = what_if.changed(run, ignore_progress, *values)
    figure, words = what_if.shift(run, found), what_if.words(run, found)
    assert figure is not None
    assert words is not None
    change = WhatIf(deepstack_gains=(0.0,), positions="flat")
    changed = run_what_if(run.engine, run.inputs, run.merged, change, max_new_tokens=1)
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


def test_what_was_run_is_distinguished_from_where_the_controls_stand(run: Run) -> None:
    values = (0, 1, 1, "flat", (), (), (), "zero", False)
    (found,) = what_if.changed(run, ignore_progress, *values)
    text = what_if.settings(run, found, *values)
    assert "DeepStack gains 0, 1, 1; 1-D RoPE" in text
    assert "have moved" not in text
    assert "have changed" in what_if.settings(run, found, *NEUTRAL)
    start = run.inputs.spans[0].start
    words = what_if.change_words(
        read_what_if(run, 1, 1, 1, "mrope", (1, 2), ("0:1",), (start,), "mean", True)
    )
    assert words == (
        "1 image tokens replaced by the mean image token, but kept in DeepStack; "
        "layers 1, 2 skipped; heads 0:1 (layer:head) zeroed"
    )


def test_nothing_is_shown_before_it_has_run(run: Run) -> None:
    assert what_if.settings(run, None, *NEUTRAL) == what_if.verdict(run, None) == ""
    assert what_if.words(run, None) is what_if.shift(run, None) is None


def test_the_controls_become_a_change(run: Run) -> None:
    start = run.inputs.spans[0].start
    raw = {
        "gain-1": 0,
        "gain-2": 0.5,
        "gain-3": 2,
        "positions": "swapped",
        "skipped": [1, 2],
        "heads": ["0:1"],
        "painted": [start, 0],
        "fill": "mean",
        "leave": True,
    }
    change = read_what_if(run, *parse_all(run, raw))
    assert change.deepstack_gains == (0.0, 0.5, 2.0)
    assert change.positions == "swapped"
    assert change.skipped_layers == (1, 2)
    assert change.zeroed_heads == ((0, 1),)
    assert change.masked == (start,)  # token 0 is text, left over from another prompt
    assert (change.fill, change.leave_deepstack) == ("mean", True)


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("positions", "sideways"),
        ("skipped", ["x"]),
        ("skipped", [99]),
        ("heads", ["1:2:3"]),
        ("gain-2", "none"),
        ("painted", "all"),
        ("painted", [True]),
    ],
)
def test_what_is_not_offered_is_refused(run: Run, name: str, raw: Any) -> None:
    with pytest.raises(InputError):
        parse_all(run, {name: raw})


def test_the_controls_are_those_of_the_run(run: Run, text_run: Run) -> None:
    shown = {control.id for control in what_if.PART.controls if control.spec(run)}
    # The shipped checkpoint has three taps.
    assert shown == {control.id for control in what_if.PART.controls} - {"gain-4"}
    (skipped,) = (control for control in CHANGES if control.id == "skipped")
    assert len(skipped.details(run)["options"]) == run.engine.facts.num_layers
    without = {control.id for control in what_if.PART.controls if control.spec(text_run)}
    assert without == {"preset", "positions", "skipped", "heads", "painted"}


# -------------------------------------------------------------------------------------- presets


def test_the_part_opens_on_its_first_preset(run: Run, text_run: Run) -> None:
    """Whatever the run, the defaults are the first preset, so that what has run is what is set."""
    assert what_if.PART.experiments["changed"].auto
    for each in (run, text_run):
        _, values = list_presets(each)[0]
        assert parse_all(each, values) == parse_all(each, {})
    assert set(read_what_if(run, *parse_all(run, {})).deepstack_gains) == {0}
    middle = text_run.engine.facts.num_layers // 2
    assert read_what_if(text_run, *parse_all(text_run, {})).skipped_layers == (middle,)


def test_each_preset_sets_every_change(run: Run) -> None:
    by_label = dict(list_presets(run))
    changes = {
        label: what_if.change_words(read_what_if(run, *parse_all(run, values)))
        for label, values in by_label.items()
    }
    found = find_first_object(run.inputs, run.inputs.spans[0])
    assert found
    assert changes == {
        "Mask the first object": f"{len(found)} image tokens masked",
        "No DeepStack": "DeepStack gains 0, 0, 0",
        "1-D RoPE": "1-D RoPE",
        "h and w swapped": "h and w swapped",
        "Skip the middle layer": f"layers {run.engine.facts.num_layers // 2} skipped",
        "No change": "none",
    }
    ids = {control.id for control in CHANGES}
    assert all(set(values) == ids for values in by_label.values())
    assert PRESETS.then in what_if.PART.experiments


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
    fresh.ensure("decoder")
    try:
        for calls in (1, 8, 30, 36):
            with pytest.raises(StageCancelled):
                list(what_if.changed(fresh, stop_after(calls), *NEUTRAL))
            assert len(entered) == stopped_at[-1]
    finally:
        for hook in hooks:
            hook.remove()
    assert len(set(stopped_at)) == 4  # in several steps


# -------------------------------------------------------------------------------------- masking


def test_masked_tokens_are_covered(run: Run, text_run: Run) -> None:
    first = run.inputs.spans[0]
    page = masked_html(run, (first.start, first.end - 1))
    assert "2 of" in read_html(page).find("figcaption")[0].text
    assert "0 of" in read_html(page).find("figcaption")[1].text
    assert what_if.pictures(text_run, ()) == ""


def test_clicks_on_the_images_know_their_controls(run: Run) -> None:
    page = str(maskable_html(run, ()))
    ids = {control.id for control in what_if.PART.controls}
    for name in ("mask", "brush", "mask-if"):
        assert page.split(f'data-{name}="')[1].split('"')[0] in ids


def test_a_click_masks_with_the_brush_and_another_unmasks(run: Run) -> None:
    span = run.inputs.spans[0]
    selection = locate_token(run.inputs, run.positions, span.start)
    below = span.start + span.merged_w
    corner = (span.start, span.start + 1, below, below + 1)
    assert toggle_masked(run, (), selection, 1) == corner
    assert toggle_masked(run, corner, selection, 1) == ()
    assert toggle_masked(run, corner, selection, 0) == corner[1:]
    assert toggle_masked(run, (), selection, 0) == (span.start,)


def test_buttons_mask_the_selected_token(run: Run) -> None:
    start = run.inputs.spans[0].start
    selection = locate_token(run.inputs, run.positions, start)
    page = str(mask_buttons_html(run, (), 0, selection))
    assert f"Mask token {start}" in page
    assert f"&#34;painted&#34;: [{start}]" in page
    assert "Unmask" not in page
    page = str(mask_buttons_html(run, (start,), 0, selection))
    assert f"Unmask token {start}" in page
    assert "Unmask all" in page
    assert mask_buttons_html(run, (), 0, locate_token(run.inputs, run.positions, 0)) == ""


def test_a_new_run_keeps_only_what_fits(run: Run, text_run: Run) -> None:
    start = run.inputs.spans[0].start
    masked: Control = MASKED
    assert masked.parse([10_000, start], run) == (start,)
    assert masked.parse([5], text_run) == ()
