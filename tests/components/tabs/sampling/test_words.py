"""What is said of the columns."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from components.chart_view.figures import figure_content, write_json
from components.charts.sampling import plot_entropy, plot_probabilities
from components.tabs.sampling import side
from components.tabs.sampling.chips import picked_chips_html
from components.tabs.sampling.lab import Lab
from components.tabs.sampling.tree import tree_html
from components.tabs.sampling.words import (
    columns_html,
    diff_html,
    divergence_html,
    repetition,
    trace_words,
)
from playground.pipeline import Run
from playground.sampling.trace import SamplingRun, SamplingTrace
from tests.components.html_reader import read_html

# ------------------------------------------------------------------------------------- in words


def test_repetition_by_hand(lab: Lab) -> None:
    assert lab.sampled is not None
    step = lab.sampled.traces[0].steps[0]
    steps = [replace(step, id=each) for each in (1, 2, 3, 1, 2, 3, 4)]
    assert repetition(steps) == pytest.approx(1 / 5)  # 123 231 312 123 234
    assert repetition(steps[:2]) == 0


def test_a_column_in_numbers(lab: Lab) -> None:
    assert lab.sampled is not None
    trace = lab.sampled.traces[0]
    words = trace_words(trace, 2.0)
    facts = ["8 tokens, stopped at the token limit", "4 tokens/s", "mean log-probability -"]
    assert words.startswith(" · ".join(facts))
    empty = replace(trace, steps=(), finish_reason="error", error="Nothing <left>.")
    shown = columns_html(Lab(SamplingRun((empty,)), ("A",), (0.0,)))
    assert "Nothing &lt;left&gt;." in shown


def test_the_first_difference_in_words(lab: Lab) -> None:
    assert lab.sampled is not None
    trace = lab.sampled.traces[0]
    same = SamplingRun((trace, trace))
    assert "All columns are identical" in divergence_html(same, ["A", "B"], 1.0)
    shorter = replace(trace, steps=trace.steps[:4])
    words = divergence_html(SamplingRun((trace, shorter)), ["A", "B"], 1.0)
    assert "first differ at token 5" in words
    assert "B has already ended" in words


def test_a_diff_by_hand(lab: Lab) -> None:
    assert lab.sampled is not None
    trace = lab.sampled.traces[0]
    step = trace.steps[0]
    texts = {1: "a", 2: "<b>", 3: "c", 4: "d"}
    one, other = (
        replace(trace, steps=tuple(replace(step, id=each, text=texts[each]) for each in ids))
        for ids in ((1, 2, 3), (1, 3, 4))
    )
    page = read_html(diff_html(one, other, ("A", "B")))
    assert [each.text for each in page.find("del") if "title" in each.attrs] == ["<b>"]
    assert [each.text for each in page.find("ins") if "title" in each.attrs] == ["d"]
    assert "2 tokens in common" in page.elements[0].text


def test_colours_by_surprisal(lab: Lab) -> None:
    assert lab.sampled is not None
    steps = lab.sampled.traces[1].steps
    page = read_html(picked_chips_html(steps, colour_by="surprisal", first=2))
    (text,), tokens = page.find("p", "pg-by-nats"), page.find("b")
    assert text.attrs["data-first"] == "2"
    assert len(tokens) == len(steps) - 2
    raw = next(each.raw_prob for each in steps[2].top if each.id == steps[2].id)
    assert f"({-math.log(raw):.2f} nats)" in tokens[0].attrs["title"]
    assert tokens[0].attrs["style"] == f"--nats:{min(1, -math.log(raw) / 8):.2g}"


def test_eight_long_columns_are_small(lab: Lab) -> None:
    """An update carries the texts twice, in the columns and in the tree, and two charts."""
    assert lab.sampled is not None
    trace = lab.sampled.traces[1]
    long = replace(trace, steps=(trace.steps * 512)[:512])
    names = "ABCDEFGH"
    sampled = SamplingRun((long,) * len(names))
    branches = tuple(replace(lab.branches[0], name=name, trace=long) for name in names)
    parts = (
        columns_html(Lab(sampled, tuple(names), (1.0,) * len(names))),
        tree_html(branches, "A", 3),
        write_json(figure_content(plot_probabilities(sampled, names))),
        write_json(figure_content(plot_entropy(sampled, names))),
    )
    assert sum(len(part.encode()) for part in parts) <= 400_000


def test_a_click_on_a_line_chooses_its_token(run: Run, lab: Lab) -> None:
    for chart in (side.probabilities(run, lab), side.entropy(run, lab)):
        assert chart is not None
        assert chart.layout.meta["pick"] == {"branch": "curve", "step": "point_index"}
        assert [len(line.x) for line in chart.data] == [8, 8]  # a point is a step
    assert "token 5 of column B" in side.chosen(run, lab, 1, 4)
    named = replace(lab, branches=(replace(lab.branches[0], trace=_say("<b>", lab)),))
    assert "&lt;b&gt;" in side.chosen(run, named, None, None)


def _say(text: str, lab: Lab) -> SamplingTrace:
    trace = lab.branches[0].trace
    return replace(trace, steps=(replace(trace.steps[0], text=text),))


def test_what_differs_between_two_branches(run: Run, lab: Lab) -> None:
    page = read_html(side.diff(run, lab, None, None))
    pressed = [each.text for each in page.find("button") if each.attrs["aria-pressed"] == "true"]
    assert pressed == ["A", "B"]
    assert "8 tokens in common" in side.diff(run, lab, "B", "B")


def test_the_winner_s_script(run: Run, lab: Lab) -> None:
    code = side.script(run, lab, "B")
    assert code.startswith("# Column B")
    assert "TopKLogitsWarper(5)" in code
    assert "max_new_tokens=8" in code
    assert side.script(run, lab, "Z") == side.script(run, lab, None) == side.script(run, lab, "A")
    assert '"A"' in read_html(side.winners(run, lab, "Z")).find("button")[0].attrs["data-set"]
