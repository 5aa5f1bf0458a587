"""What grows from the columns: branches, scored texts and sweeps."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch

from components.tabs.sampling import branch, growing, score, side, sweep
from components.tabs.sampling.branch import choose_alternative, others_of
from components.tabs.sampling.growing import check_room
from components.tabs.sampling.lab import Lab
from components.tabs.sampling.sweep import RANGES, SweepSoFar
from playground.errors import InputError, StageCancelled
from playground.pipeline import Run
from playground.sampling.trace import SamplingSettings
from tests.components.html_reader import read_html
from tests.components.runs import ignore_progress
from tests.components.tabs.sampling.columns import GREEDY, WILD, card_rows

# ------------------------------------------------------------------------------------- branches


def finish(found: Iterator[Lab]) -> Lab:
    *_, last = found
    assert not last.is_live
    return last


def test_a_branch_grows_in_the_tree(run: Run, lab: Lab) -> None:
    step = lab.branch("A").trace.steps[2]
    assert "Token 3 of A" in branch.chosen(run, lab, "A", 2)
    page = read_html(branch.alternatives(run, lab, "A", 2, None))
    buttons = [each for each in page.find("button") if "aria-pressed" in each.attrs]
    offered = [json.loads(each.attrs["data-set"])["alternative"] for each in buttons]
    assert all(name == "A" and at == 2 and token != step.id for name, at, token in offered)
    assert [each.attrs["aria-pressed"] for each in buttons[:2]] == ["true", "false"]
    other = offered[1][2]
    grown = finish(branch.grow(run, ignore_progress, lab, "A", 2, ("A", 2, other), 5))
    new = grown.branch("A.1")
    assert (new.parent, new.fork) == ("A", 2)
    assert new.trace.steps[2].id == other
    assert grown.focus == ("A.1", 2)
    page = read_html(branch.tree(run, grown, None, None))
    nested = next(each for each in page.find("div", "pg-branch") if "A.1" in each.attrs["data-set"])
    assert nested.parents.count("ul") == 2
    assert "pg-on" in nested.classes
    assert "branches from A at token 3" in nested.text
    # Only what it does not share with its parent is shown again as tokens of its own.
    (own,) = [each for each in page.find("p", "pg-picks") if each.attrs["data-first"] != "0"]
    assert own.attrs["data-first"] == "2"
    assert lab.branch_names == ("A", "B")  # the old finding stays as it was


def test_an_alternative_counts_where_it_was_chosen(lab: Lab) -> None:
    parent = lab.branch("A")
    others = others_of(parent.trace.steps[2])
    assert choose_alternative(parent, 2, ("A", 2, others[1].id)) == others[1].id
    for elsewhere in (None, ("A", 3, others[1].id), ("B", 2, others[1].id)):
        assert choose_alternative(parent, 2, elsewhere) == others[0].id


@pytest.mark.parametrize("raw", [None, ["A", 2], ["A", 2, "x"], ["A", -1, 5], {"a": 1}])
def test_alternatives_from_the_page_are_checked(run: Run, raw: object) -> None:
    with pytest.raises(InputError):
        branch.read_alternative(raw, run)
    assert branch.read_alternative(["A", 2, 5], run) == ("A", 2, 5)


def test_what_grows_takes_the_place_of_the_columns() -> None:
    for part in (branch.PART, score.PART):
        names = {part.finding_name(each) for each in part.experiments.values()}
        assert names == {"sampling.side.columns"}


def test_first_words_are_branches(run: Run, lab: Lab) -> None:
    grown = finish(branch.first_words(run, ignore_progress, lab, "A", 3, 4))
    assert grown.branch_names == ("A", "B", "W1", "W2", "W3")
    firsts = [each.trace.steps[0] for each in grown.branches[2:]]
    probs = [next(c.raw_prob for c in step.top if c.id == step.id) for step in firsts]
    assert probs == sorted(probs, reverse=True)
    control = branch.PART.control("count")
    assert control is not None
    for count in (0, 9, 2.5):
        with pytest.raises(InputError):
            control.parse(count, run)


def test_branches_are_removed(run: Run, lab: Lab) -> None:
    grown = finish(branch.first_words(run, ignore_progress, lab, "A", 2, 2))
    assert finish(branch.clear(run, ignore_progress, grown)).branches == lab.branches
    with pytest.raises(InputError, match="no columns"):
        next(branch.clear(run, ignore_progress, None))
    with pytest.raises(InputError, match="only scored texts"):
        next(branch.clear(run, ignore_progress, replace(lab, names=())))


def test_the_tree_is_drawn_while_it_grows(
    run: Run, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing, "MIN_INTERVAL_S", 0)
    other = choose_alternative(lab.branch("A"), 1, None)
    assert other is not None
    first, *_ = branch.grow(run, ignore_progress, lab, "A", 1, ("A", 1, other), 4)
    assert first.is_live
    (on,) = read_html(branch.tree(run, first, "B", 5)).find("div", "pg-on")
    assert on.attrs["data-set"] == '{"side.branch": "A.1"}'


def test_the_tree_has_room_for_so_many(lab: Lab) -> None:
    many = replace(lab, branches=lab.branches * 12)
    with pytest.raises(InputError, match="24 branches"):
        check_room(many, 1)


# --------------------------------------------------------------------------------------- scores


def test_a_text_is_scored(run: Run) -> None:
    lab = finish(score.score(run, ignore_progress, None, "a red <b>", True))
    rows = read_html(score.table(run, lab)).rows()[1:]
    page = read_html(score.chips(run, lab))
    assert len(rows) == len(page.find("b"))
    assert page.find("p", "pg-picks")[0].attrs["data-numbers"] == ""  # only to be looked at
    logits = run.decoded.logits.float()
    ids = run.engine.tokenizer.encode("a")
    prob = logits.softmax(-1)[ids[0]].item()
    assert rows[0][2] == f"{prob:.2%}"
    assert rows[0][3] == f"{int((logits > logits[ids[0]]).sum()) + 1:,}"
    assert f"{len(rows)} tokens with log-probability" in score.words(run, lab)
    assert (lab.names, lab.sampled, lab.branch_names) == ((), None, ("T1",))


def test_a_forced_text_goes_on(run: Run, lab: Lab) -> None:
    grown = finish(score.go_on(run, ignore_progress, lab, "a red", 4))
    assert grown.branch_names == ("A", "B", "T1", "T1.1")
    text, on = grown.branches[2:]
    assert on.trace.steps[: len(text.trace.steps)] == text.trace.steps
    assert on.trace.settings == GREEDY  # as column A
    assert 1 <= len(on.own_steps) <= 4
    assert "The model continued it with" in score.words(run, grown)


def test_a_score_outlives_other_columns(run: Run, lab: Lab) -> None:
    scored = finish(score.score(run, ignore_progress, lab, "a red", True))
    again = finish(side.columns(run, ignore_progress, card_rows(GREEDY, WILD), 2, False, scored))
    assert again.branch_names == ("A", "B")
    assert score.words(run, again) == score.words(run, scored)


# --------------------------------------------------------------------------------------- sweeps


def sweep_over(
    run: Run, lab: Lab | None, name: str, low: float | None, high: float | None, **more: Any
) -> Iterator[SweepSoFar]:
    progress = more.get("progress", ignore_progress)
    base = more.get("base")
    return sweep.sweep(run, progress, lab, base, name, low, high, 3, 4, 6)


def test_a_sweep(run: Run) -> None:
    first, *_, swept = sweep_over(run, None, "temperature", None, None)
    assert sweep.words(run, first).endswith(" answers …</p>")
    assert sweep.words(run, swept).startswith('<p class="pg-fact">12 answers in')
    answers, lengths = sweep.answers(run, swept), sweep.lengths(run, swept)
    entropy = sweep.entropy(run, swept)
    assert answers is not None
    assert lengths is not None
    assert entropy is not None
    totals = torch.stack([torch.tensor(bar.y) for bar in answers.data]).sum(0)
    assert totals.tolist() == [4, 4, 4]
    assert len(lengths.data[0].y) == len(entropy.data[0].y) == 12
    assert entropy.data[1].y[0] == 0
    rows = read_html(sweep.table(run, swept)).rows()[1:]
    assert rows[0][:2] == ["0", "4"]
    assert sum(int(row[1]) for row in rows) == 12


def test_all_else_is_as_in_the_chosen_column(run: Run, lab: Lab) -> None:
    for base, expected in ((None, GREEDY), ("B", WILD), ("Z", GREEDY)):
        *_, swept = sweep_over(run, lab, "temperature", 0, 1, base=base)
        assert replace(swept.sweep.base, temperature=0) == replace(expected, temperature=0)
        assert f"All other settings are those of {swept.column}." in sweep.words(run, swept)
    page = read_html(sweep.plan(run, "top_k", lab, "B"))
    pressed = [each.text for each in page.find("button") if each.attrs["aria-pressed"] == "true"]
    assert pressed == ["B"]
    ends = json.loads(html.unescape(page.find("div")[0].attrs["data-defaults"]))
    assert (ends["low"], ends["high"]) == RANGES["top_k"]


def test_every_range_is_one_that_the_engine_takes() -> None:
    from playground.sampling.sweep import plan_sweep

    for name, (low, high) in RANGES.items():
        planned = plan_sweep(SamplingSettings(), name, low, high, 3)
        assert next(asdict(each)[name] for each in planned) == low


def test_a_stopped_sweep_shows_what_is_there(run: Run, lab: Lab) -> None:
    def stop(what: str, done: int, _total: int) -> None:
        if what == "answers" and done >= 9:
            raise StageCancelled

    found: list[SweepSoFar] = []
    with pytest.raises(StageCancelled):
        found.extend(sweep_over(run, lab, "temperature", 0.5, 2, base="B", progress=stop))
    assert sweep.words(run, found[-1]).startswith('<p class="pg-fact">8 answers in')


def test_nothing_is_there_before_the_columns(run: Run) -> None:
    assert "no columns" in branch.chosen(run, None, None, None)
    with pytest.raises(InputError, match="no columns"):
        next(branch.grow(run, ignore_progress, None, None, None, None, 3))
