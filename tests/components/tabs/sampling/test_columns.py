"""The sampling lab's columns, written together, and their cards."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from components.tabs.sampling import side
from components.tabs.sampling.columns import CHECKPOINT, FIRST, NAMES, SETTINGS, read_columns
from components.tabs.sampling.lab import Lab
from components.tabs.sampling.presets import (
    FIELDS,
    PRESETS,
    preset_options,
    start_settings,
    values_of,
)
from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.pipeline import Run
from playground.sampling.settings import MAX_COLUMNS
from playground.sampling.stage import run_sampling
from playground.sampling.trace import SamplingSettings
from tests.components.html_reader import read_html
from tests.components.runs import make_run
from tests.components.tabs.sampling.columns import GREEDY, WILD, card_rows, write

# ---------------------------------------------------------------------------------- the columns


def test_columns_are_the_engine_s_own(run: Run, lab: Lab) -> None:
    expected = run_sampling(
        run.engine, run.inputs, run.merged, run.decoded, [GREEDY, WILD], max_new_tokens=8
    )
    assert lab.sampled is not None
    for trace, other in zip(lab.sampled.traces, expected.traces, strict=True):
        assert [step.id for step in trace.steps] == [step.id for step in other.steps]
    assert lab.names == lab.branch_names == ("A", "B")
    assert lab.focus == ("A", lab.sampled.first_divergence)


def test_the_texts_are_tokens_to_choose(run: Run, lab: Lab) -> None:
    page = read_html(side.texts(run, lab, "probability"))
    sections = page.find("section")
    assert [each.attrs["data-set"] for each in sections] == ['{"branch": "A"}', '{"branch": "B"}']
    tokens = page.find("b")
    assert lab.sampled is not None
    counts = [len(trace.steps) for trace in lab.sampled.traces]
    assert len(tokens) == sum(counts)
    assert all(token.attrs["title"] for token in tokens)
    lists = page.find("p", "pg-picks")
    assert [(each.attrs["data-numbers"], each.attrs["data-first"]) for each in lists] == [
        ("step", "0")
    ] * 2
    first = lab.sampled.first_divergence
    assert first is not None
    marked = [index for index, token in enumerate(tokens) if "pg-diverges" in token.classes]
    assert marked == [first, counts[0] + first]
    assert f"first differ at token {first + 1}." in side.verdict(run, lab)


def test_a_bad_value_leaves_its_column_out_and_the_others_run(run: Run) -> None:
    for bad, message in (
        (math.nan, "Temperature is out of range: nan"),
        (-1, "Temperature is out of range: -1"),
        ("hot", "Temperature must be a number, not 'hot'"),
        ("", "Temperature is empty"),
    ):
        lab = write(run, GREEDY, values_of(GREEDY) | {"temperature": bad}, WILD, length=3)[-1]
        assert (lab.names, lab.branch_names) == (("A", "C"),) * 2
        # It is said where the column's text would be.
        sections = read_html(side.texts(run, lab, "probability")).find("section")
        assert message in sections[1].text
        assert [len(each.text) > 0 and message not in each.text for each in sections[::2]] == [
            True
        ] * 2


def test_without_any_good_column_nothing_is_lost(run: Run) -> None:
    bad = values_of(GREEDY) | {"temperature": math.inf}
    with pytest.raises(InputError, match=r"Column A was skipped: .* Column B was skipped"):
        write(run, bad, bad)


def test_the_same_random_numbers(run: Run) -> None:
    columns = [replace(WILD, temperature=heat, seed=seed) for heat, seed in ((2.0, 7), (2.1, 9))]
    sampled = write(run, *columns, same=True)[-1].sampled
    assert sampled is not None
    uniforms = [[step.uniform for step in trace.steps] for trace in sampled.traces]
    shared = min(map(len, uniforms))
    assert uniforms[0][:shared] == uniforms[1][:shared]
    assert {trace.settings.seed for trace in sampled.traces} == {7}


def test_eight_columns(run: Run) -> None:
    lab = write(run, *(replace(WILD, seed=seed) for seed in range(8)), length=3)[-1]
    assert len(read_html(side.texts(run, lab, "probability")).find("section")) == 8
    chart = side.probabilities(run, lab)
    assert chart is not None
    styles = {(line.line.color, line.line.dash, line.marker.symbol) for line in chart.data}
    assert len(styles) == 8
    assert len({symbol for _, _, symbol in styles}) == 8  # not by colour alone


def test_text_comes_at_most_ten_times_a_second(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: Iterator[int] = iter(range(1000))

    class Clock:
        """Every look at the clock takes 0.04 seconds."""

        @staticmethod
        def perf_counter() -> float:
            return next(ticks) * 0.04

    monkeypatch.setattr(side, "time", Clock)
    *partial, last = write(run, GREEDY, WILD, length=12)
    assert 1 <= len(partial) <= 5
    assert all(lab.is_live for lab in partial)
    assert not last.is_live
    # Nothing can be chosen before the end, and no other part gets to see it.
    assert partial[0].branches == ()
    assert "Generating" in side.verdict(run, partial[0])
    shown = read_html(side.texts(run, partial[0], "probability"))
    assert not shown.find("b")[0].attrs.get("title")
    assert "data-numbers" not in shown.find("p", "pg-picks")[0].attrs


def test_charts_are_not_drawn_while_the_text_comes() -> None:
    live = {name for name, output in side.PART.outputs.items() if output.live}
    assert live == {"verdict", "legend", "texts"}


def test_what_was_written_before_a_stop_is_shown(run: Run) -> None:
    calls = 0

    def stop_after_five(_what: str, _done: int, _total: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 5:
            raise StageCancelled

    found: list[Lab] = []
    with pytest.raises(StageCancelled):
        found.extend(side.columns(run, stop_after_five, card_rows(GREEDY, WILD), 50, False))
    assert [len(branch.trace.steps) for branch in found[-1].branches] == [5, 5]
    assert "stopped" in side.texts(run, found[-1], "probability")


@pytest.mark.parametrize("length", [0, "many", 10_000])
def test_a_bad_length_is_refused(run: Run, length: object) -> None:
    with pytest.raises(InputError):
        side.LENGTH.parse(length, run)


# ------------------------------------------------------------------------------------ the cards


def test_the_first_columns_are_presets_with_seeds_of_their_own(run: Run) -> None:
    shown = SETTINGS.details(run)
    first = {CHECKPOINT.id: FIRST}
    assert shown["value"] == [first | values_of(start_settings(index)) for index in range(2)]
    assert shown["starts"] == [
        first | values_of(start_settings(index)) for index in range(MAX_COLUMNS)
    ]
    assert [row["seed"] for row in shown["starts"]] == list(range(MAX_COLUMNS))
    assert shown["names"] == list(NAMES)
    # A checkpoint that does not think has no thinking budget.
    labels = [field.label for field in FIELDS if field.name != "thinking_budget"]
    assert [field["label"] for field in shown["fields"]] == labels


def test_two_columns_always_stay_and_there_are_never_more_than_eight(run: Run) -> None:
    for count in (1, 9):
        with pytest.raises(InputError, match="It takes 2 to 8"):
            SETTINGS.parse(card_rows(*[GREEDY] * count), run)
    assert SETTINGS.parse(card_rows(*[GREEDY] * 8), run)[-1] == {
        CHECKPOINT.id: FIRST,
        **values_of(GREEDY),
    }


def test_presets(shipped_engine: Engine) -> None:
    own, *others = preset_options(make_run(shipped_engine))
    for (_, values), settings in zip(others, PRESETS.values(), strict=True):
        assert read_columns([values_of(settings) | values]).settings == (settings,)
        assert "seed" not in values
    assert read_columns([{**own[1], "seed": 0}]).settings == (
        SamplingSettings(temperature=0.7, top_k=20, top_p=0.8),
    )


def test_problems_are_escaped_and_named(run: Run) -> None:
    read = read_columns(card_rows(GREEDY, values_of(GREEDY) | {"temperature": "<b>"}))
    ((name, why),) = read.problems
    assert name == "B"
    assert why.startswith("Temperature must be a number")
    lab = Lab(**_shown(write(run, GREEDY, WILD, length=2)[-1]) | {"problems": (("C", why),)})
    assert "'<b>'" not in side.texts(run, lab, "probability")
    assert "&lt;b&gt;" in side.texts(run, lab, "probability")


def _shown(lab: Lab) -> dict[str, Any]:
    return {name: getattr(lab, name) for name in ("sampled", "names", "seconds", "branches")}
