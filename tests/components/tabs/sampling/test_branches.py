"""What grows from the columns: branches, scored texts and sweeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch

from components.tabs.sampling.branch import (
    branch_values,
    check_room,
    grow_alternative,
    grow_first_words,
)
from components.tabs.sampling.lab import Lab, new_lab
from components.tabs.sampling.score import force_text, score_text
from components.tabs.sampling.sweep import RANGES, stream_sweep_part
from components.tabs.sampling.writing import SamplingParts
from playground.errors import InputError, StageCancelled
from playground.pipeline import Run
from playground.records import SamplingSettings
from tests.components.html_reader import read_html
from tests.components.runs import ignore_progress
from tests.components.tabs.sampling.columns import GREEDY, WILD

# ------------------------------------------------------------------------------------- branches


def finish(stream: Iterator[tuple[Any, ...]]) -> tuple[Any, ...]:
    *_, final = stream
    return final


def test_a_branch_grows_in_the_tree(parts: SamplingParts, run: Run, lab: Lab) -> None:
    key = parts.store.add(lab)
    _, _, radio, words, _ = branch_values(lab, "A", 2)
    step = lab.branch("A").trace.steps[2]
    assert all(token_id != step.id for _, token_id in radio.choices)
    assert "Token 3 of A" in words
    other = radio.choices[0][1]
    new_key, dropdown, token, _, _, tree = finish(
        grow_alternative(run, ignore_progress, parts.store, key, "A", 3, other, 5)
    )
    grown = parts.store.get(new_key, run).branch("A.1")
    assert (grown.parent, grown.fork) == ("A", 2)
    assert grown.trace.steps[2].id == other
    assert (dropdown.value, token.value) == ("A.1", 3)
    page = read_html(tree)
    nested = page.find("div", "pg-branch", data_branch="A.1")[0]
    assert nested.parents.count("ul") == 2
    assert "leaves A at token 3" in nested.text
    # Only what it does not share with its parent is shown again as tokens of its own.
    assert parts.store.get(key, run).branches == lab.branches
    with pytest.raises(InputError, match="No token is chosen"):
        next(grow_alternative(run, ignore_progress, parts.store, key, "A", 3, None, 5))


def test_first_words_are_branches(parts: SamplingParts, run: Run, lab: Lab) -> None:
    key = parts.store.add(lab)
    final = finish(grow_first_words(run, ignore_progress, parts.store, key, "A", 3, 4))
    grown = parts.store.get(final[0], run)
    assert [each.name for each in grown.branches] == ["A", "B", "W1", "W2", "W3"]
    firsts = [each.trace.steps[0] for each in grown.branches[2:]]
    probs = [next(c.raw_prob for c in step.top if c.id == step.id) for step in firsts]
    assert probs == sorted(probs, reverse=True)
    for count in (0, 9, 2.5, None):
        with pytest.raises(InputError):
            next(grow_first_words(run, ignore_progress, parts.store, key, "A", count, 4))


def test_the_tree_has_room_for_so_many(lab: Lab) -> None:
    many = replace(lab, branches=lab.branches * 12)
    with pytest.raises(InputError, match="24 branches"):
        check_room(many, 1)


# --------------------------------------------------------------------------------------- scores


def test_a_text_is_scored(parts: SamplingParts, run: Run) -> None:
    *_, words, chips, table = finish(
        score_text(run, ignore_progress, parts.store, None, "a red <b>", True)
    )
    rows = read_html(table).rows()[1:]
    assert len(rows) == len(read_html(chips).find("b"))
    logits = run.decoded.logits.float()
    ids = run.engine.tokenizer.encode("a")
    prob = logits.softmax(-1)[ids[0]].item()
    assert rows[0][2] == f"{prob:.2%}"
    assert rows[0][3] == f"{int((logits > logits[ids[0]]).sum()) + 1:,}"
    assert f"{len(rows)} tokens with log-probability" in words


def test_a_forced_text_goes_on(parts: SamplingParts, run: Run, lab: Lab) -> None:
    key = parts.store.add(lab)
    final = finish(force_text(run, ignore_progress, parts.store, key, "a red", 4))
    grown = parts.store.get(final[0], run)
    assert [each.name for each in grown.branches] == ["A", "B", "T1", "T1.1"]
    text, on = grown.branches[2:]
    assert on.trace.steps[: len(text.trace.steps)] == text.trace.steps
    assert on.trace.settings == GREEDY  # as column A
    assert 1 <= len(on.own_steps) <= 4
    assert "After it the model wrote" in final[-3]


# --------------------------------------------------------------------------------------- sweeps


def test_a_sweep(run: Run) -> None:
    *_, final = stream_sweep_part(
        run, ignore_progress, SamplingSettings(), "temperature", 0, 2, 3, 4, 6
    )
    words, answers, lengths, entropy, table = final
    assert words.startswith('<p class="pg-fact">12 answers in')
    totals = torch.stack([torch.tensor(bar.y) for bar in answers.data]).sum(0)
    assert totals.tolist() == [4, 4, 4]
    assert len(lengths.data[0].y) == len(entropy.data[0].y) == 12
    assert entropy.data[1].y[0] == 0
    rows = read_html(table).rows()[1:]
    assert rows[0][:2] == ["0", "4"]
    assert sum(int(row[1]) for row in rows) == 12


def test_every_range_is_one_that_the_engine_takes(run: Run) -> None:
    from playground.sampling.sweep import plan_sweep

    for name, (low, high) in RANGES.items():
        planned = plan_sweep(SamplingSettings(), name, low, high, 3)
        assert next(asdict(each)[name] for each in planned) == low


def test_a_stopped_sweep_shows_what_is_there(run: Run) -> None:
    def stop(what: str, done: int, _total: int) -> None:
        if what == "answers" and done >= 9:
            raise StageCancelled

    updates: list[tuple[Any, ...]] = []
    with pytest.raises(StageCancelled):
        updates.extend(stream_sweep_part(run, stop, WILD, "temperature", 0.5, 2, 3, 4, 6))
    assert updates[-1][0].startswith('<p class="pg-fact">8 answers')


def test_an_empty_lab_has_no_columns(run: Run) -> None:
    lab = new_lab(run)
    assert (lab.names, lab.branches, lab.num_bytes) == ((), (), 0)
