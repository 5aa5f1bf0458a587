"""The decoder tab's influence: what one word of the answer depends on."""

from __future__ import annotations

import numpy as np
import pytest

from components.tabs.decoder import influence
from components.tabs.decoder.answer import answer_ids, answer_of
from components.tabs.decoder.influence_maps import choose_answer_token, find_influence
from playground.errors import InputError
from playground.experiments.influence import measure_influence
from playground.pipeline import Run
from playground.pointer import locate_token
from tests.components.html_reader import read_html
from tests.components.runs import ignore_progress


def test_the_influence_map_is_the_measured_one(run: Run) -> None:
    selection = locate_token(run.inputs, run.positions, run.inputs.spans[1].start)
    first, found = influence.measured(run, ignore_progress, 2, 1, selection)
    assert first.influence is None
    owed = influence.owed(run, first, None)
    assert owed is not None
    assert owed.layout.annotations[0].x == 2
    assert owed.layout.meta["pick"] == {"word": "x"}
    ids = answer_ids(answer_of(run, ignore_progress))
    assert len(owed.data[0].x) == len(ids)
    measured = measure_influence(
        run.engine, run.inputs, run.merged, run.inputs.spans[1], ids[:3], margin=1
    )
    drops = influence.drops(run, found, None)
    assert drops is not None
    np.testing.assert_allclose(drops.data[0].z, measured.drop, atol=1e-5)
    assert drops.layout.meta["pointer"] == {"what": "merged", "span": 1}
    facts = influence.facts(run, found, None, selection)
    assert "Rank correlation" in facts
    assert f"{np.exp(measured.log_prob):.1%}" in facts
    assert len(read_html(influence.maps(run, found, None)).find("figure")) == 3
    agreement = influence.agreement(run, found, None)
    assert agreement is not None
    sizes = run.engine.facts
    assert agreement.data[0].z.shape == (sizes.num_layers, sizes.num_attention_heads)


def test_each_answer_token_is_a_button(run: Run) -> None:
    *_, found = influence.measured(run, ignore_progress, 2, 1, None)
    page = read_html(influence.words(run, found, None))
    ids = answer_ids(answer_of(run, ignore_progress))
    buttons = page.find("button")
    assert len(buttons) == len(ids)
    pressed = [button.attrs["aria-pressed"] for button in buttons]
    assert pressed == ["true" if number == 2 else "false" for number in range(len(ids))]
    assert buttons[2].attrs["data-set"] == '{"word": 2}'


def test_a_hint_if_the_selected_image_was_not_measured(run: Run) -> None:
    selections = [locate_token(run.inputs, run.positions, span.start) for span in run.inputs.spans]
    *_, found = influence.measured(run, ignore_progress, 2, 1, selections[0])
    assert "measure again" not in influence.facts(run, found, None, selections[0])
    assert "You have selected image 2" in influence.facts(run, found, None, selections[1])


def test_the_most_important_part_is_masked(run: Run) -> None:
    *_, found = influence.taken(run, ignore_progress, 1, 0, None)
    ids = answer_ids(answer_of(run, ignore_progress))
    measured = measure_influence(run.engine, run.inputs, run.merged, run.inputs.spans[0], ids[:2])
    left = np.exp(measured.log_prob - measured.drop.max())
    words = influence.changed(run, found)
    assert words is not None
    assert words.data[1].y[1] == pytest.approx(left, rel=1e-3)
    without = influence.without(run, found)
    assert "1 of" in read_html(without).find("figcaption")[0].text
    assert "of image 1 that" in without
    assert "Changed" in influence.verdict(run, found)
    # It has measured the word itself, and so the maps show it.
    assert influence.drops(run, None, found) is not None


def test_nothing_is_shown_before_it_is_asked_for(run: Run, text_run: Run) -> None:
    assert influence.words(run, None, None) == influence.maps(run, None, None) == ""
    assert influence.owed(run, None, None) is None
    assert influence.verdict(run, None) == influence.without(run, None) == ""
    assert influence.PART.shown is not None
    assert not influence.PART.shown(text_run)
    with pytest.raises(InputError, match="no image"):
        find_influence(text_run, ignore_progress, None, 1, None)


def test_an_answer_token_is_an_index(run: Run) -> None:
    *_, found = influence.measured(run, ignore_progress, 10_000, 0, None)
    first = choose_answer_token(run, found.owed, None, None)
    assert found.token == first  # of another run's answer: the default again
    for raw in (-1, 1.5, True, "red"):
        with pytest.raises(InputError):
            influence.WORD.parse(raw, run)
