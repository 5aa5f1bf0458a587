"""The sampling tab: the stream, its messages, and its charts against the engine's own numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from components.charts.sampling import (
    filter_name,
    plot_candidates,
    plot_entropy,
    plot_probabilities,
)
from components.sampling_words import divergence_html, step_html
from components.tabs.sampling import tab as sampling_tab
from components.tabs.sampling.tab import (
    DEFAULT_PRESETS,
    FIELDS,
    NAMES,
    PRESETS,
    build_sampling_tab,
    draw_step,
    point_values,
    read_settings,
    stream_tab,
)
from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.pipeline import Run
from playground.records import (
    Picture,
    Prompt,
    SamplingRun,
    SamplingSettings,
    SamplingTrace,
    Turn,
)
from playground.sampling import stream_sampling
from tests.components.html_reader import read_html
from tests.components.runs import build_alone, ignore_progress

GREEDY = SamplingSettings(temperature=0.0)
WILD = SamplingSettings(temperature=1.5, top_k=5, seed=3)


def values_of(settings: SamplingSettings) -> list[Any]:
    return [getattr(settings, field.name) for field in FIELDS]


@pytest.fixture(scope="module")
def run(tiny_random_engine: Engine, picture: Picture) -> Run:
    return Run(
        tiny_random_engine, Prompt((Turn("user", "Describe this image.", pictures=(picture,)),))
    )


@pytest.fixture(scope="module")
def sampled(run: Run) -> SamplingRun:
    columns = stream_sampling(
        run.engine, run.inputs, run.merged, run.decoded, [GREEDY, WILD], max_new_tokens=12
    )
    *_, last = columns
    return last


# ---------------------------------------------------------------------------------- the tab


def test_controls_are_the_settings_of_both_columns() -> None:
    tab = build_alone(build_sampling_tab)
    assert len(tab.controls) == 1 + len(NAMES) * len(FIELDS)
    shown = [control.value for control in tab.controls[1:]]
    expected = [value for name in DEFAULT_PRESETS for value in values_of(PRESETS[name])]
    assert shown == expected
    assert all(control.label for control in tab.controls)


def test_every_preset_is_accepted() -> None:
    for preset in PRESETS.values():
        assert read_settings("A", values_of(preset)) == preset


def test_the_stream_ends_with_the_engine_s_own_columns(
    run: Run,
    sampled: SamplingRun,
) -> None:
    tab = build_alone(build_sampling_tab)
    *_, last = tab.stream(run, ignore_progress, 12, *values_of(GREEDY), *values_of(WILD))
    assert len(last) == len(tab.outputs)
    kept = next(value for value in last if isinstance(value, SamplingRun))
    assert kept == sampled
    texts = [read_html(last[index]).find("span", "pg-token") for index in range(2)]
    assert [len(chips) for chips in texts] == [len(trace.steps) for trace in sampled.traces]
    assert "Column A" in last[-1]


def test_text_comes_at_most_ten_times_a_second(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(1000))

    class Clock:
        """Every look at the clock takes 0.04 seconds."""

        @staticmethod
        def perf_counter() -> float:
            return next(ticks) * 0.04

    monkeypatch.setattr(sampling_tab, "time", Clock)
    updates = list(stream_tab(run, ignore_progress, 12, *values_of(GREEDY), *values_of(WILD)))
    assert 2 <= len(updates) <= 6
    assert "Writing" in updates[0][2]
    # Charts are left alone until the end.
    assert all(isinstance(value, dict) for value in updates[0][3:])


def test_what_was_written_before_a_stop_is_shown(run: Run) -> None:
    calls = 0

    def stop_after_five(what: str, _done: int, _total: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 5:
            raise StageCancelled

    run.ensure("decoder")
    updates: list[tuple[Any, ...]] = []
    stream = stream_tab(run, stop_after_five, 50, *values_of(GREEDY), *values_of(WILD))
    with pytest.raises(StageCancelled):
        updates.extend(stream)
    kept = next(value for value in updates[-1] if isinstance(value, SamplingRun))
    assert 1 <= len(kept.traces[0].steps) < 50


@pytest.mark.parametrize("value", [None, float("nan"), -1, "hot"])
def test_a_bad_value_names_its_column(run: Run, value: object) -> None:
    bad = [value, *values_of(GREEDY)[1:]]
    with pytest.raises(InputError, match="Column B: temperature"):
        next(stream_tab(run, ignore_progress, 5, *values_of(GREEDY), *bad))


def test_a_bad_length_is_refused(run: Run) -> None:
    with pytest.raises(InputError, match="max_new_tokens"):
        next(stream_tab(run, ignore_progress, 0, *values_of(GREEDY), *values_of(GREEDY)))


def test_the_glass_shows_the_chosen_step(run: Run, sampled: SamplingRun) -> None:
    words, chart = draw_step(run, sampled, 3.0, "B")
    step = sampled.traces[1].steps[2]
    assert f"{step.uniform:.4f}" in words
    assert f"{step.num_kept} tokens were left" in words
    np.testing.assert_allclose(chart.data[0].x, [each.raw_prob for each in step.top], rtol=1e-6)
    assert draw_step(run, sampled, float("nan"), "A")[0] == draw_step(run, sampled, 1, "A")[0]
    past_the_end = draw_step(run, sampled, 999, "A")[0]
    assert f"token {len(sampled.traces[0].steps)}:" in past_the_end


def test_a_click_on_a_point_chooses_step_and_column(sampled: SamplingRun) -> None:
    step, column, words, _ = point_values([{"curve": 1, "x": 4}], sampled)
    assert (step, column) == (4, "B")
    assert "Column B, token 4" in words
    assert all(isinstance(value, dict) for value in point_values([], sampled))


def test_greedy_steps_are_told_from_drawn_ones(sampled: SamplingRun) -> None:
    greedy = read_html(step_html(sampled.traces[0], 0, "A")).find("p")[0].text
    assert "without a draw" in greedy
    assert "1 token was left" in greedy
    assert "greedy choice" in greedy
    drawn = read_html(step_html(sampled.traces[1], 0, "B")).find("p")[0].text
    assert "The number drawn was 0." in drawn


def test_the_first_difference_in_words(sampled: SamplingRun) -> None:
    first = sampled.first_divergence
    assert first is not None
    assert f"first differ at token {first + 1}." in divergence_html(sampled, NAMES, 1.0)
    same = SamplingRun((sampled.traces[0], sampled.traces[0]))
    assert "the same to the end" in divergence_html(same, NAMES, 1.0)
    shorter = dataclasses.replace(sampled.traces[0], steps=sampled.traces[0].steps[:4])
    words = divergence_html(SamplingRun((sampled.traces[0], shorter)), NAMES, 1.0)
    assert "first differ at token 5" in words
    assert "B has ended before it" in words


# ------------------------------------------------------------------------------- the charts


def test_lines_are_the_model_s_probabilities(run: Run, sampled: SamplingRun) -> None:
    figure = plot_probabilities(sampled, NAMES)
    raw = run.decoded.logits.float().softmax(-1)
    for line, trace in zip(figure.data, sampled.traces, strict=True):
        assert line.x.tolist() == list(range(1, len(trace.steps) + 1))
        assert line.y.dtype == np.float32
        # The first token's probability is that of the prefill's own logits.
        assert line.y[0] == pytest.approx(raw[trace.steps[0].id].item(), rel=1e-5)
    assert figure.layout.xaxis.title.text == "Token"
    assert figure.layout.yaxis.title.text == "Probability before the filters"
    assert tuple(figure.layout.yaxis.range) == (0, 1.05)
    first = sampled.first_divergence
    assert first is not None
    assert figure.layout.shapes[0].x0 == first + 1
    assert f"token {first + 1}" in figure.layout.annotations[0].text
    styles = {(line.line.dash, line.marker.symbol) for line in figure.data}
    assert len(styles) == 2  # not by colour alone


def test_entropy_of_the_first_choice(run: Run, sampled: SamplingRun) -> None:
    figure = plot_entropy(sampled, NAMES)
    assert figure.data[0].y.tolist() == [0.0] * 12  # greedy leaves one token
    logits = run.decoded.logits.float() / WILD.temperature
    kept = logits.topk(WILD.top_k).values.double().softmax(-1)
    assert figure.data[1].y[0] == pytest.approx(torch.special.entr(kept).sum().item(), abs=1e-5)
    assert figure.layout.yaxis.title.text == "Entropy (nats)"


def test_columns_that_agree_have_no_mark(sampled: SamplingRun) -> None:
    same = SamplingRun((sampled.traces[0], sampled.traces[0]))
    assert plot_probabilities(same, NAMES).layout.shapes == ()


def test_candidates_before_and_after(run: Run, sampled: SamplingRun) -> None:
    trace: SamplingTrace = sampled.traces[1]
    figure = plot_candidates(trace, 0, "B")
    before, after = figure.data
    step = trace.steps[0]
    raw = run.decoded.logits.float().softmax(-1)
    ids = [each.id for each in step.top]
    np.testing.assert_allclose(before.x, raw[ids].numpy(), rtol=1e-5)
    kept = (run.decoded.logits.float() / WILD.temperature).topk(WILD.top_k)
    probs = dict(zip(kept.indices.tolist(), kept.values.softmax(-1).tolist(), strict=True))
    for row, token_id in enumerate(ids):
        removed = token_id not in probs
        assert (after.marker.pattern.shape[row] == "/") == removed
        if removed:
            assert after.text[row] == "removed: top-k"
            assert "removed by the top-k" in after.customdata[row][1]
        else:
            assert after.x[row] == pytest.approx(probs[token_id], rel=1e-4)
    assert any(each.removed_by for each in step.top)
    chosen = figure.layout.yaxis.ticktext[ids.index(step.id)]
    assert chosen.startswith("✓ ")
    assert sum(label.startswith("✓ ") for label in figure.layout.yaxis.ticktext) == 1
    assert figure.layout.xaxis.title.text == "Probability"


def test_labels_are_safe_for_plotly(sampled: SamplingRun) -> None:
    trace = sampled.traces[0]
    odd = dataclasses.replace(trace.steps[0].top[0], text="<b>\n")
    step = dataclasses.replace(trace.steps[0], top=(odd, *trace.steps[0].top[1:]))
    figure = plot_candidates(dataclasses.replace(trace, steps=(step,)), 0, "A")
    assert figure.layout.yaxis.ticktext[0].endswith("&lt;b&gt;⏎")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("top_k", "top-k"),
        ("repetition_penalty", "repetition penalty"),
        ("temperature", "greedy choice"),
    ],
)
def test_filters_in_words(name: str, words: str) -> None:
    assert filter_name(name) == words
