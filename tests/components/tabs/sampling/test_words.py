"""What is said of the columns, and how long they are kept."""

from __future__ import annotations

import gc
import math
import weakref
from dataclasses import replace

import pytest

from components.chart_view.view import encode_figure
from components.charts.sampling import plot_entropy, plot_probabilities
from components.tabs.sampling.chips import picked_chips_html, read_choice
from components.tabs.sampling.lab import Lab, LabStore
from components.tabs.sampling.side_by_side import chosen_words, winner_snippet
from components.tabs.sampling.tab import read_point
from components.tabs.sampling.tree import tree_html
from components.tabs.sampling.words import (
    columns_html,
    diff_html,
    divergence_html,
    repetition,
    trace_words,
)
from playground.errors import InputError
from playground.pipeline import Run
from playground.records import SamplingRun
from tests.components.html_reader import read_html
from tests.components.runs import make_run

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
    assert words.startswith("8 tokens, cut at the limit · 4 tokens/s · mean log-probability -")
    empty = replace(trace, steps=(), finish_reason="error", error="Nothing <left>.")
    shown = columns_html(SamplingRun((empty,)), ["A"], seconds=[0.0])
    assert "Nothing &lt;left&gt;." in shown


def test_the_first_difference_in_words(lab: Lab) -> None:
    assert lab.sampled is not None
    trace = lab.sampled.traces[0]
    same = SamplingRun((trace, trace))
    assert "the same to the end" in divergence_html(same, ["A", "B"], 1.0)
    shorter = replace(trace, steps=trace.steps[:4])
    words = divergence_html(SamplingRun((trace, shorter)), ["A", "B"], 1.0)
    assert "first differ at token 5" in words
    assert "B has ended before it" in words


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
        columns_html(sampled, names, seconds=[1.0] * len(names)),
        tree_html(branches, "A", 3),
        encode_figure(plot_probabilities(sampled, names)) or "",
        encode_figure(plot_entropy(sampled, names)) or "",
    )
    assert sum(len(part.encode()) for part in parts) <= 400_000


@pytest.mark.parametrize("data", [None, {}, {"branch": 1, "step": 1}, {"branch": "A", "step": "1"}])
def test_choices_of_the_page_are_checked(data: object) -> None:
    with pytest.raises(InputError):
        read_choice(data)
    assert read_choice({"branch": "A", "step": 3}) == ("A", 3)


def test_a_click_on_a_line(lab: Lab) -> None:
    assert read_point(lab, [{"curve": 1, "x": 4}]) == ("B", 3)
    with pytest.raises(InputError):
        read_point(lab, [])
    assert "&lt;b&gt;" in chosen_words("A", 0, "<b>")


def test_the_winner_s_script(run: Run, lab: Lab) -> None:
    code = winner_snippet(run, lab, "B")
    assert code.startswith("# Column B")
    assert "TopKLogitsWarper(5)" in code
    assert "max_new_tokens=8" in code
    with pytest.raises(InputError, match="no branch"):
        winner_snippet(run, lab, "Z")


# ----------------------------------------------------------------------------------------- labs


def test_labs_share_a_budget_and_the_first_stays(run: Run, lab: Lab) -> None:
    store = LabStore(max_bytes=int(lab.num_bytes * 2.5))
    keys = [store.add(replace(lab)) for _ in range(4)]
    held = [store.find(key, run) is not None for key in keys]
    assert held == [True, False, False, True]
    store.discard(keys[0])
    assert store.find(keys[0], run) is not None
    store.discard(keys[3])
    with pytest.raises(InputError, match="no columns of this prompt"):
        store.get(keys[3], run)


def test_a_lab_goes_with_its_run(run: Run, lab: Lab) -> None:
    store = LabStore()
    store.add(lab)  # the opening page's, which stays
    other = make_run(run.engine)
    key = store.add(replace(lab, run=weakref.ref(other)))
    assert store.find(key, other) is not None
    del other
    gc.collect()
    store.add(replace(lab))
    assert key not in store._labs
    assert len(store._labs) == 2


def test_a_lab_belongs_to_its_run(run: Run, lab: Lab) -> None:
    store = LabStore()
    key = store.add(lab)
    with pytest.raises(InputError, match="Run this stage"):
        store.get(key, make_run(run.engine))
    with pytest.raises(InputError):
        store.get(None, run)
