"""A loop found, marked, drawn and broken, on the shipped checkpoint."""

from __future__ import annotations

from dataclasses import replace

import pytest

from components.prompt.examples import load_examples
from components.prompt.reader import read_prompt
from components.tabs.sampling import loops, side, tab
from components.tabs.sampling.lab import Lab
from components.tabs.sampling.looping import count_given, find_own_loop
from components.tabs.sampling.loops_words import BrokenSoFar
from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.pipeline import Run
from playground.sampling.branches import Branch
from playground.sampling.loops import Loop, split_rounds
from playground.sampling.score import read_answer
from playground.sampling.trace import SamplingRun, SamplingSettings, SamplingTrace
from tests.components.drawings import draw_part, make_drawing
from tests.components.html_reader import read_html
from tests.components.runs import ignore_progress, make_run
from tests.components.tabs.sampling.columns import GREEDY


@pytest.fixture(scope="module")
def run(shipped_engine: Engine) -> Run:
    """The first example, which the page starts with."""
    example = load_examples()[0]
    prompt = read_prompt(
        shipped_engine,
        images=list(example.images),
        video=None,
        text=example.text,
        system="",
        max_pixels=None,
    )
    run = Run(shipped_engine, prompt)
    run.ensure("decoder")
    return run


@pytest.fixture(scope="module")
def typed(run: Run) -> SamplingTrace:
    *_, last = loops.start(run, ignore_progress, loops.START, 48)
    return last


@pytest.fixture(scope="module")
def loop(typed: SamplingTrace) -> Loop:
    found = find_own_loop(typed)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def found(run: Run, typed: SamplingTrace) -> list[BrokenSoFar]:
    return list(loops.broken(run, ignore_progress, None, typed, None, 24, ""))


def make_trace(
    typed: SamplingTrace, ids: list[int], given: int = 0, reason: str = "length"
) -> SamplingTrace:
    """A trace with these ids, of which the first ones were given."""
    step = typed.steps[0]
    steps = tuple(
        replace(
            step,
            id=each,
            text=f"<{each}>",
            top=(replace(step.top[0], id=each),),
            forced=index < given,
        )
        for index, each in enumerate(ids)
    )
    return SamplingTrace(GREEDY, steps, "", reason)


# ------------------------------------------------------------------------------------- the loop


def test_given_repetition_alone_is_no_loop_of_the_model(typed: SamplingTrace) -> None:
    ids = [1] * 20 + [2, 3, 4, 5]
    assert find_own_loop(make_trace(typed, ids)) == Loop(0, 1, 20)
    assert find_own_loop(make_trace(typed, ids, given=20)) is None
    assert find_own_loop(make_trace(typed, ids, given=14)) == Loop(0, 1, 20)
    assert count_given(make_trace(typed, ids, given=14)) == 14


def test_loop_before_the_end_token_is_the_last_one(typed: SamplingTrace) -> None:
    ids = [1] * 20 + [2, 3, 2, 3, 2, 3, 9]
    assert find_own_loop(make_trace(typed, ids)) == Loop(0, 1, 20)
    assert find_own_loop(make_trace(typed, ids, reason="stop")) == Loop(20, 2, 6)


def test_model_goes_on_from_the_typed_text(run: Run, typed: SamplingTrace, loop: Loop) -> None:
    given = len(read_answer(run.engine, loops.START))
    assert count_given(typed) == given
    assert len(typed.steps) == given + 48
    assert loop.start >= given
    page = read_html(loops.tokens(run, None, typed, None))
    tokens = page.find("b")
    assert len(tokens) == len(typed.steps)
    marked = [index for index, token in enumerate(tokens) if "pg-loop" in token.classes]
    assert marked == list(range(loop.start, loop.end))
    starts = [index for index, token in enumerate(tokens) if "pg-round" in token.classes]
    assert starts == list(range(loop.start, loop.end, loop.period))
    words = loops.words(run, None, typed, None)
    assert f"{loop.rounds} times, tokens {loop.start + 1} to {loop.end}." in words


def test_chart_shows_the_loop_locking_in(run: Run, typed: SamplingTrace, loop: Loop) -> None:
    chart = loops.rounds(run, None, typed, None)
    assert chart is not None
    (line,) = chart.data
    parts = split_rounds(loop, [step.raw_log_prob for step in typed.steps])
    assert list(line.x) == list(range(1, len(parts) + 1))
    assert list(line.y) == pytest.approx([part.mean_log_prob for part in parts])
    assert line.y[-1] > line.y[0]
    assert chart.layout.xaxis.title.text == "Round"
    assert chart.layout.yaxis.title.text == "Mean log-probability (nats per token)"
    assert line.customdata[0][1] == loop.start + 1


def test_rounds_that_were_given_have_their_own_mark(run: Run, typed: SamplingTrace) -> None:
    trace = make_trace(typed, [1, 2] * 6, given=5)
    chart = loops.rounds(run, None, trace, None)
    assert chart is not None
    assert [list(line.x) for line in chart.data] == [[4, 5, 6], [1, 2, 3]]
    assert chart.data[0].marker.symbol != chart.data[1].marker.symbol
    assert chart.data[0].customdata[0][0] == "&lt;1&gt;&lt;2&gt;"


def test_without_a_loop_the_part_says_so(run: Run, typed: SamplingTrace) -> None:
    trace = make_trace(typed, [1, 2, 3])
    assert "has not repeated itself" in loops.words(run, None, trace, None)
    assert loops.rounds(run, None, trace, None) is None
    with pytest.raises(InputError, match="There is no loop to break"):
        next(loops.broken(run, ignore_progress, None, trace, None, 8, ""))
    assert loops.words(run, None, None, None) == ""


def test_stopping_keeps_what_was_generated(run: Run) -> None:
    def stop(_what: str, done: int, _total: int) -> None:
        if done == 3:
            raise StageCancelled

    found: list[SamplingTrace] = []
    with pytest.raises(StageCancelled):
        found.extend(loops.start(run, stop, "red", 20))
    assert len(found[-1].steps) == len(read_answer(run.engine, "red")) + 3


# ------------------------------------------------------------------------------------ the columns


@pytest.fixture(scope="module")
def lab(typed: SamplingTrace) -> Lab:
    """Column A loops, column B does not."""
    traces = (make_trace(typed, [1, 2] * 6), make_trace(typed, [1, 2, 3]))
    branches = tuple(
        Branch(name, None, 0, trace, None)  # type: ignore[arg-type]  # no path is needed
        for name, trace in zip("AB", traces, strict=True)
    )
    return Lab(SamplingRun(traces), ("A", "B"), (1.0, 1.0), branches=branches)


def test_loop_of_a_column_is_marked_and_named(run: Run, lab: Lab) -> None:
    page = read_html(side.texts(run, lab, "probability"))
    first, second = page.find("section")
    assert "Loop: “<1><2>” (2 tokens) 6 times, tokens 1 to 12." in first.text
    assert "Loop" not in second.text
    assert len(page.find("b", "pg-loop")) == 12
    assert len(page.find("b", "pg-round")) == 6
    live = replace(lab, is_live=True)
    assert "pg-loop" not in side.texts(run, live, "probability")


def test_looping_columns_can_be_chosen(run: Run, lab: Lab, typed: SamplingTrace) -> None:
    buttons = read_html(loops.sources(run, lab, typed, None)).find("button")
    assert [each.text for each in buttons] == ["typed text", "A"]
    assert [each.attrs["aria-pressed"] for each in buttons] == ["true", "false"]
    assert "tokens 1 to 12" in loops.words(run, lab, typed, "A")
    assert "tokens 1 to 12" in loops.words(run, lab, None, None)
    assert loops.choose_source(lab, typed, "B") == ("text", typed)  # it does not loop


# ----------------------------------------------------------------------------------- breaking it


def test_rows_come_one_kind_after_the_other(run: Run, found: list[BrokenSoFar]) -> None:
    assert len(found) == 3
    widths = [len(read_html(loops.outcomes(run, each)).rows()[0]) for each in found]
    assert widths == [3, 5, 5]
    assert loops.costs(run, found[1]) == ""
    assert loops.outcome(run, None) == loops.outcomes(run, None) == loops.costs(run, None) == ""


def test_table_says_what_stops_the_loop(run: Run, found: list[BrokenSoFar]) -> None:
    rows = read_html(loops.outcomes(run, found[-1])).rows()[1:]
    assert [row[0] for row in rows] == [
        "unchanged",
        "Repetition penalty 1.2",
        "Frequency penalty 0.5",
        "Presence penalty 1.5",
        "N-gram ban 4",
        "Temperature 1",
    ]
    for row, shown in zip(found[-1].rows, rows, strict=True):
        for continuation, words in ((row.with_image, shown[1]), (row.without_image, shown[3])):
            assert continuation is not None
            assert continuation.has_stopped == words.startswith("stops after")
    assert rows[0][1] == "goes on"
    assert rows[4][1].startswith("stops after")
    words = loops.outcome(run, found[-1])
    assert "N-gram ban 4" in words or "All 5 settings stop it" in words


def test_cost_of_the_answer_twice(run: Run, found: list[BrokenSoFar]) -> None:
    ids = loops.read_reference(run, "", ignore_progress)
    half = len(ids) // 2
    assert ids[:half] == ids[half:]
    assert run.engine.tokenizer.decode(ids) == found[-1].reference
    page = read_html(loops.costs(run, found[-1]))
    _, unchanged, *_, banned, _ = page.rows()
    assert unchanged[2:] == ["+0.00", unchanged[3], "–"]
    best = int(unchanged[3].split()[0])
    assert best >= 0.8 * len(ids)  # the checkpoint copies it well
    assert banned[1:3] == ["−∞", "−∞"]
    assert half <= int(banned[4]) - 1 < half + 4  # the first 4-gram of the second copy
    assert "can't be generated any more with N-gram ban 4" in loops.costs(run, found[-1])


def test_reference_that_was_typed(run: Run) -> None:
    assert loops.read_reference(run, "red, red", ignore_progress) == read_answer(
        run.engine, "red, red"
    )


def test_text_prompt_has_no_half_without_images(shipped_engine: Engine) -> None:
    run = make_run(shipped_engine, "Hello")
    run.ensure("decoder")
    *_, typed = loops.start(run, ignore_progress, "ha", 1)
    trace = make_trace(typed, read_answer(run.engine, "ha" * 12))
    *_, last = loops.broken(run, ignore_progress, None, trace, None, 4, "ha")
    assert len(read_html(loops.outcomes(run, last)).rows()[0]) == 3
    assert "masked" not in loops.outcome(run, last)


def test_column_s_own_settings_are_the_base(run: Run, typed: SamplingTrace) -> None:
    warm = replace(typed, settings=SamplingSettings(temperature=0.5, top_k=3, seed=2))
    first = next(loops.broken(run, ignore_progress, None, warm, None, 2, "red"))
    assert first.rows[0].settings == warm.settings
    assert {row.settings.top_k for row in first.rows} == {3}


def test_everything_is_drawn_before_and_after(run: Run, typed: SamplingTrace) -> None:
    drawing = make_drawing(tab.TAB)
    before = draw_part(drawing, loops.PART, run)
    assert before["rounds"] is None
    assert not any(before.values())
    after = draw_part(drawing, loops.PART, run, findings={"sampling.loops.start": typed})
    assert after["tokens"]
    assert after["rounds"] is not None
