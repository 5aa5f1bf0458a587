"""The sampling lab: columns written together, one step, branches, scores and sweeps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch

from components.charts.sampling import plot_entropy, plot_probabilities
from components.plotly_view import encode_figure
from components.sampling_chips import picked_chips_html, read_choice
from components.sampling_words import (
    columns_html,
    diff_html,
    divergence_html,
    problems_html,
    repetition,
    trace_words,
)
from components.tabs.sampling import tab as sampling_tab
from components.tabs.sampling import writing
from components.tabs.sampling.branch import (
    branch_values,
    check_room,
    grow_alternative,
    grow_first_words,
)
from components.tabs.sampling.columns import (
    NAMES,
    add_column,
    copy_column,
    problem_html,
    read_columns,
    remove_column,
)
from components.tabs.sampling.lab import Lab, LabStore, new_lab
from components.tabs.sampling.one_step import (
    ORDERS,
    SLIDERS,
    draw_step,
    one_step_values,
    own_uniform,
    slider_values,
    step_index,
)
from components.tabs.sampling.presets import (
    FIELDS,
    OWN,
    PRESETS,
    choose_preset,
    start_settings,
    values_of,
)
from components.tabs.sampling.score import force_text, score_text
from components.tabs.sampling.side_by_side import chosen_words, winner_snippet
from components.tabs.sampling.sweep import RANGES, stream_sweep_part
from components.tabs.sampling.tab import build_sampling_tab, pick_values, read_point
from components.tabs.sampling.tree import tree_html
from components.tabs.sampling.writing import SamplingParts
from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.pipeline import Run
from playground.records import SamplingRun, SamplingSettings
from playground.sampling import run_sampling
from playground.sampling_views import ORDERS as ENGINE_ORDERS
from tests.components.html_reader import read_html
from tests.components.runs import build_alone, ignore_progress, make_run
from tests.media_samples import make_square_picture

GREEDY = SamplingSettings(temperature=0.0)
WILD = SamplingSettings(temperature=1.5, top_k=5, seed=3)


@pytest.fixture(scope="module")
def run(tiny_random_engine: Engine) -> Run:
    return make_run(tiny_random_engine, "Describe this image.", make_square_picture())


@pytest.fixture(scope="module")
def parts() -> SamplingParts:
    """The tab's parts, as its wiring sees them."""
    caught: list[SamplingParts] = []
    real = sampling_tab._wire

    def catch(app: Any, built: SamplingParts) -> None:
        caught.append(built)
        real(app, built)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling_tab, "_wire", catch)
        build_alone(build_sampling_tab)
    return caught[0]


def control_values(
    *columns: SamplingSettings | list[Any], length: Any = 8, same: bool = False, colour: str = ""
) -> list[Any]:
    """What the page sends for these columns."""
    rows = [values_of(each) if isinstance(each, SamplingSettings) else each for each in columns]
    rows += [values_of(GREEDY)] * (len(NAMES) - len(rows))
    shown = [value for row in rows for value in row]
    return [None, length, same, colour or "probability", len(columns), *shown]


def write(parts: SamplingParts, run: Run, *values: Any) -> list[dict[Any, Any]]:
    return list(writing.stream_columns(parts, run, ignore_progress, *values))


@pytest.fixture(scope="module")
def last(parts: SamplingParts, run: Run) -> dict[Any, Any]:
    return write(parts, run, *control_values(GREEDY, WILD))[-1]


@pytest.fixture(scope="module")
def lab(parts: SamplingParts, run: Run, last: dict[Any, Any]) -> Lab:
    return parts.store.get(last[parts.lab_key], run)


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


def test_a_lab_belongs_to_its_run(run: Run, lab: Lab) -> None:
    store = LabStore()
    key = store.add(lab)
    with pytest.raises(InputError, match="Run this stage"):
        store.get(key, make_run(run.engine))
    with pytest.raises(InputError):
        store.get(None, run)


# ------------------------------------------------------------------------------------- one step


def test_orders_are_the_engine_s() -> None:
    assert ORDERS == ENGINE_ORDERS


def test_the_glass_shows_the_chosen_step(run: Run, lab: Lab) -> None:
    branch = lab.branch("B")
    column, token, uniform, *rest = one_step_values(run, lab, "B", 2)
    assert (column.value, token.value, token.maximum) == ("B", 3, 8)
    step = branch.trace.steps[2]
    assert uniform == step.uniform
    assert rest[: len(SLIDERS)] == slider_values(WILD)
    words, table, filters, bar = rest[len(SLIDERS) :]
    assert "as the column has it" in words
    assert f"{step.num_kept} tokens can be drawn" in words
    rows = read_html(table).rows()
    assert [row[0] for row in rows[1:]] == ["bar on vision tokens", "temperature", "top-k"]
    vocab = run.engine.facts.vocab_size
    assert rows[3][1] == f"{vocab - 5 - 5:,}"
    assert rows[3][3] == "5"
    assert filters.layout.xaxis.ticktext == ("before", "no vision tokens", "temperature", "top-k")
    assert float(bar.data[0].x.sum()) == pytest.approx(1)
    assert bar.data[1].x[0] == step.uniform


def test_another_setting_redraws_the_same_logits(run: Run, lab: Lab) -> None:
    greedy = slider_values(GREEDY)
    words, table, _, bar = draw_step(run, lab, "B", 1, ORDERS[0], 0.5, *greedy)
    best = int(run.decoded.logits.argmax())
    assert "1 token can" in words
    assert "greedy choice" in table
    assert bar.layout.title.text.startswith("No draw")
    step = lab.branch("B").trace.steps[0]
    assert ("as the column has it" in words) == (step.id == best)


def test_the_order_of_the_filters(run: Run, lab: Lab) -> None:
    hot = slider_values(SamplingSettings(temperature=1.9, top_p=0.7))
    _, first, _, _ = draw_step(run, lab, "A", 1, ORDERS[0], 0.5, *hot)
    _, last, _, _ = draw_step(run, lab, "A", 1, ORDERS[1], 0.5, *hot)
    names = [row[0] for row in read_html(first).rows()[1:]]
    assert [row[0] for row in read_html(last).rows()[1:]] == [names[0], names[2], names[1]]
    assert "of the probability lies elsewhere" in first


@pytest.mark.parametrize(
    ("order", "uniform", "temperature"),
    [("x", 0.5, 1.0), (ORDERS[0], 1.0, 1.0), (ORDERS[0], None, 1.0), (ORDERS[0], 0.5, math.nan)],
)
def test_what_the_glass_refuses(
    run: Run, lab: Lab, order: str, uniform: object, temperature: float
) -> None:
    values = [temperature, *slider_values(GREEDY)[1:]]
    with pytest.raises(InputError):
        draw_step(run, lab, "A", 1, order, uniform, *values)


def test_steps_beyond_the_end_are_the_last(lab: Lab) -> None:
    branch = lab.branch("A")
    assert [step_index(branch, token) for token in (1, 8, 99, -3, math.nan, "x")] == [
        0,
        7,
        7,
        0,
        0,
        0,
    ]
    assert 0 <= own_uniform(branch, 3) < 1  # a greedy column would have drawn it


def test_a_picked_token_is_chosen_everywhere(parts: SamplingParts, run: Run, lab: Lab) -> None:
    values = pick_values(run, lab, "B", 4)
    assert len(values) == 1 + len(parts.glass.outputs) + len(parts.branch.outputs)
    assert "token 5 of column B" in values[0]
    assert values[2].value == 5


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
    from playground.sampling_sweep import plan_sweep

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
