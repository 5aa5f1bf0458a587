"""The sampling lab's columns, written together, and their cards."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from components.tabs.sampling import writing
from components.tabs.sampling.columns import (
    NAMES,
    add_column,
    copy_column,
    problem_html,
    read_columns,
    remove_column,
)
from components.tabs.sampling.lab import Lab
from components.tabs.sampling.presets import (
    FIELDS,
    OWN,
    PRESETS,
    choose_preset,
    start_settings,
    values_of,
)
from components.tabs.sampling.tab import build_sampling_tab
from components.tabs.sampling.words import problems_html
from components.tabs.sampling.writing import SamplingParts
from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.pipeline import Run
from playground.records import SamplingSettings
from playground.sampling.stage import run_sampling
from tests.components.html_reader import read_html
from tests.components.runs import build_alone, ignore_progress, make_run
from tests.components.tabs.sampling.columns import GREEDY, WILD, control_values, write

# ---------------------------------------------------------------------------------- the columns


def test_the_tab_has_a_value_for_every_output(run: Run) -> None:
    tab = build_alone(build_sampling_tab)
    assert len(tab.controls) == 5 + len(NAMES) * len(FIELDS)
    *_, drawn = tab.stream(run, ignore_progress, *control_values(GREEDY, WILD))
    assert len(drawn) == len(tab.outputs)


def test_the_first_columns_are_presets_with_seeds_of_their_own() -> None:
    tab = build_alone(build_sampling_tab)
    shown = [control.value for control in tab.controls[5:]]
    for index in range(len(NAMES)):
        values = shown[index * len(FIELDS) : (index + 1) * len(FIELDS)]
        assert values == values_of(start_settings(index))
        assert values[-1] == index
    assert all(control.label for control in tab.controls[5:])


def test_columns_are_the_engine_s_own(run: Run, lab: Lab) -> None:
    expected = run_sampling(
        run.engine, run.inputs, run.merged, run.decoded, [GREEDY, WILD], max_new_tokens=8
    )
    assert lab.sampled is not None
    for trace, other in zip(lab.sampled.traces, expected.traces, strict=True):
        assert [step.id for step in trace.steps] == [step.id for step in other.steps]
    assert lab.names == ("A", "B")
    assert [branch.name for branch in lab.branches] == ["A", "B"]


def test_the_texts_are_tokens_to_choose(
    parts: SamplingParts, last: dict[Any, Any], lab: Lab
) -> None:
    page = read_html(last[parts.side.texts])
    assert [each.attrs["data-branch"] for each in page.find("section")] == ["A", "B"]
    tokens = page.find("b")
    assert lab.sampled is not None
    counts = [len(trace.steps) for trace in lab.sampled.traces]
    assert len(tokens) == sum(counts)
    assert all(token.attrs["title"] for token in tokens)
    assert [text.attrs["data-first"] for text in page.find("p", "pg-picks")] == ["0", "0"]
    first = lab.sampled.first_divergence
    assert first is not None
    marked = [index for index, token in enumerate(tokens) if "pg-diverges" in token.classes]
    assert marked == [first, counts[0] + first]
    assert f"first differ at token {(first or 0) + 1}." in last[parts.side.verdict]


def test_a_bad_value_leaves_its_column_out_and_the_others_run(
    parts: SamplingParts, run: Run
) -> None:
    for bad, message in (
        (math.nan, "Temperature is out of range: nan"),
        (-1, "Temperature is out of range: -1"),
        ("hot", "Temperature is not a number: &#x27;hot&#x27;"),
        (None, "Temperature is empty"),
    ):
        column = [bad, *values_of(GREEDY)[1:]]
        first, *_, drawn = write(parts, run, *control_values(GREEDY, column, WILD, length=3))
        assert message in first[parts.side.cards.messages[1]]
        assert "Column B is left out" in first[parts.side.problems]
        assert [drawn[parts.side.cards.messages[index]] for index in (0, 2)] == ["", ""]
        lab = parts.store.get(drawn[parts.lab_key], run)
        assert lab.names == ("A", "C")
        assert message in drawn[parts.side.cards.messages[1]]


def test_without_any_good_column_nothing_is_lost(parts: SamplingParts, run: Run) -> None:
    bad = [math.inf, *values_of(GREEDY)[1:]]
    (drawn,) = write(parts, run, *control_values(bad, bad))
    assert set(drawn) == {parts.side.problems, *parts.side.cards.messages}
    assert len(read_html(drawn[parts.side.problems]).find("li")) == 2


def test_the_same_random_numbers(parts: SamplingParts, run: Run) -> None:
    columns = [replace(WILD, temperature=heat, seed=seed) for heat, seed in ((2.0, 7), (2.1, 9))]
    drawn = write(parts, run, *control_values(*columns, same=True))[-1]
    sampled = parts.store.get(drawn[parts.lab_key], run).sampled
    assert sampled is not None
    uniforms = [[step.uniform for step in trace.steps] for trace in sampled.traces]
    shared = min(map(len, uniforms))
    assert uniforms[0][:shared] == uniforms[1][:shared]
    assert {trace.settings.seed for trace in sampled.traces} == {7}


def test_eight_columns(parts: SamplingParts, run: Run) -> None:
    columns = [replace(WILD, seed=seed) for seed in range(8)]
    drawn = write(parts, run, *control_values(*columns, length=3))[-1]
    assert len(read_html(drawn[parts.side.texts]).find("section")) == 8
    styles = {
        (line.line.color, line.line.dash, line.marker.symbol)
        for line in drawn[parts.side.probabilities].data
    }
    assert len(styles) == 8
    assert len({symbol for _, _, symbol in styles}) == 8  # not by colour alone


def test_text_comes_at_most_ten_times_a_second(
    parts: SamplingParts, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks: Iterator[int] = iter(range(1000))

    class Clock:
        """Every look at the clock takes 0.04 seconds."""

        @staticmethod
        def perf_counter() -> float:
            return next(ticks) * 0.04

    monkeypatch.setattr(writing, "time", Clock)
    updates = write(parts, run, *control_values(GREEDY, WILD, length=12))
    assert 2 <= len(updates) <= 6
    # Charts are left alone until the end.
    assert set(updates[0]) == {parts.side.verdict, parts.side.texts}
    assert "Writing" in updates[0][parts.side.verdict]
    assert not read_html(updates[0][parts.side.texts]).find("b")[0].attrs.get("title")


def test_what_was_written_before_a_stop_is_shown(parts: SamplingParts, run: Run) -> None:
    run.ensure("decoder")
    calls = 0

    def stop_after_five(_what: str, _done: int, _total: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 5:
            raise StageCancelled

    updates: list[dict[Any, Any]] = []
    with pytest.raises(StageCancelled):
        updates.extend(
            writing.stream_columns(
                parts, run, stop_after_five, *control_values(GREEDY, WILD, length=50)
            )
        )
    lab = parts.store.get(updates[-1][parts.lab_key], run)
    assert [len(branch.trace.steps) for branch in lab.branches] == [5, 5]
    assert "stopped" in updates[-1][parts.side.texts]


@pytest.mark.parametrize(("length", "colour"), [(0, ""), ("many", ""), (8, "<b>")])
def test_bad_choices_are_refused(
    parts: SamplingParts, run: Run, length: object, colour: str
) -> None:
    with pytest.raises(InputError):
        write(parts, run, *control_values(GREEDY, WILD, length=length, colour=colour))


# ------------------------------------------------------------------------------------ the cards


def cards_after(drawn: tuple[Any, ...]) -> list[list[Any]]:
    count = drawn[0]
    fields = drawn[1 + len(NAMES) : -len(NAMES)]
    return [list(fields[index * len(FIELDS) : (index + 1) * len(FIELDS)]) for index in range(count)]


def test_columns_are_added_copied_and_removed() -> None:
    _, _, _, _, count, *fields = control_values(GREEDY, WILD)
    added = add_column(count, *fields)
    assert cards_after(added) == [values_of(GREEDY), values_of(WILD), values_of(start_settings(2))]
    assert [card.visible for card in added[1:9]] == [True] * 3 + [False] * 5
    copied = copy_column(0, count, *fields)
    assert cards_after(copied) == [values_of(GREEDY), values_of(GREEDY), values_of(WILD)]
    removed = remove_column(0, 3, *copied[9:-8])
    assert cards_after(removed) == [values_of(GREEDY), values_of(WILD)]
    # Two always stay, and there are never more than eight.
    assert cards_after(remove_column(1, 2, *fields)) == [values_of(GREEDY), values_of(WILD)]
    assert add_column(8, *fields)[0] == copy_column(0, 8, *fields)[0] == 8


def test_presets(shipped_engine: Engine) -> None:
    run = make_run(shipped_engine)
    for name, settings in PRESETS.items():
        assert choose_preset(run, name) == settings
        (read,) = read_columns(1, values_of(settings)).settings
        assert read == settings
    assert choose_preset(run, OWN) == SamplingSettings(temperature=0.7, top_k=20, top_p=0.8)
    with pytest.raises(InputError):
        choose_preset(run, "<b>")


def test_problems_are_escaped_and_named() -> None:
    read = read_columns(1, ["<b>", *values_of(GREEDY)[1:]])
    shown = problem_html(read.problems["A"])
    assert read_html(shown).find("p", role="alert")[0].text.startswith("Temperature is not")
    assert "<b>" not in shown + problems_html(read.problems)
    assert problem_html(None) == ""
