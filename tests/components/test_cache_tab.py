"""The cache tab: requests, marks and numbers against the engine's own record."""

from __future__ import annotations

import dataclasses
from statistics import median

import numpy as np
import pytest

from components.charts.cache import plot_times
from components.tabs.cache.tab import (
    EXAMPLES,
    build_cache_tab,
    build_request,
    reuse_table,
    second_labels,
    stream_tab,
    verdict_html,
)
from playground.engine import Engine
from playground.errors import InputError
from playground.kv_cache import IMAGES_DIFFER, TOKENS_DIFFER, run_cache_reuse
from playground.pipeline import Run
from playground.preprocess import run_preprocess
from playground.records import CacheReuse, Picture, Prompt, Turn
from tests.components.html_reader import read_html
from tests.components.runs import build_alone, ignore_progress


@pytest.fixture(scope="module")
def run(tiny_random_engine: Engine, picture: Picture) -> Run:
    turn = Turn("user", "Describe this image.", pictures=(picture,))
    return Run(tiny_random_engine, Prompt((turn,), system="Be kind."))


@pytest.fixture(scope="module")
def text_run(tiny_random_engine: Engine) -> Run:
    return Run(tiny_random_engine, Prompt((Turn("user", "你好"),)))


@pytest.fixture(scope="module")
def reuse(run: Run) -> CacheReuse:
    first, second = (
        run_preprocess(run.engine, build_request(run, name, text, True))
        for name, text in (("first", "Describe this image."), ("second", "How many?"))
    )
    return run_cache_reuse(run.engine, first, second, repeats=3)


def test_requests_carry_the_run_s_pictures_and_system_prompt(run: Run) -> None:
    with_picture = build_request(run, "first", "Why?", True)
    assert with_picture.pictures == run.prompt.pictures
    assert with_picture.system == "Be kind."
    assert build_request(run, "first", "Why?", False).pictures == ()
    assert build_request(run, "first", "", True).pictures == run.prompt.pictures


@pytest.mark.parametrize(("text", "message"), [(" ", "The second request is empty"), (3, "second")])
def test_a_bad_request_is_named(run: Run, text: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_request(run, "second", text, False)  # type: ignore[arg-type]


def test_the_stream_marks_what_the_record_says(run: Run) -> None:
    tab = build_alone(build_cache_tab)
    values = [*EXAMPLES["Same image, other question"], 2]
    assert len(tab.controls) == len(values)
    (drawn,) = tab.stream(run, ignore_progress, *values)
    assert len(drawn) == len(tab.outputs)
    verdict, first, second, table, chart, code = drawn

    inputs = [run_preprocess(run.engine, build_request(run, "", text, True)) for text in values[:2]]
    ids = [each.input_ids[0].tolist() for each in inputs]
    shared = next(i for i, (a, b) in enumerate(zip(*ids, strict=False)) if a != b)
    assert shared > inputs[0].spans[0].end  # the whole image is in the shared beginning
    chips = [each for each in read_html(second).find("li") if "data-start" in each.attrs]
    by_label: dict[str, int] = {"reused": 0, "computed": 0}
    for chip in chips:
        by_label[chip.attrs["data-label"]] += int(chip.attrs["data-end"]) - int(
            chip.attrs["data-start"]
        )
    assert by_label == {"reused": shared, "computed": len(ids[1]) - shared}
    labels = [
        each.attrs["data-label"]
        for each in read_html(first).find("li")
        if "data-start" in each.attrs
    ]
    assert set(labels) == {"reused", "stored"}
    assert f"{shared} of {len(ids[1])} tokens" in verdict
    assert TOKENS_DIFFER in verdict
    assert read_html(table).rows()[1] == ["Tokens reused", "0", str(shared)]
    assert len(chart.data[1].y) == 4
    assert "past_key_values" in code


def test_without_a_picture_the_requests_are_text_only(text_run: Run) -> None:
    (drawn,) = stream_tab(text_run, ignore_progress, "你好", "你好世界。", True, 1)
    assert "no picture" in drawn[0]
    assert "image_pad" not in drawn[1]


@pytest.mark.parametrize("repeats", [float("nan"), 1.5, "3", 0, 1000])
def test_a_bad_number_of_repeats_is_refused(text_run: Run, repeats: float) -> None:
    with pytest.raises(InputError, match=r"timed runs|repeats"):
        next(stream_tab(text_run, ignore_progress, "a", "b", False, repeats))


def test_labels_cover_the_second_request(reuse: CacheReuse) -> None:
    labels = second_labels(reuse)
    assert len(labels) == reuse.second.num_tokens
    assert labels.count("reused") == reuse.reused_tokens
    assert labels == sorted(labels, reverse=True)  # first the reused ones


def test_numbers_of_the_table(reuse: CacheReuse) -> None:
    rows = {row[0]: row[1:] for row in read_html(reuse_table(reuse, same_token=True)).rows()}
    miss, hit = median(reuse.miss_ms), median(reuse.hit_ms)
    assert rows["Tokens computed"] == [str(reuse.second.num_tokens), str(reuse.computed_tokens)]
    assert rows["Median time"] == [f"{miss:,.2f} ms", f"{hit:,.2f} ms"]
    assert rows["Speed-up"][1] == f"{miss / hit:.2f} ×"
    # Keys and values of 4 layers, 2 heads of 16 numbers, 4 bytes each.
    kv_bytes = reuse.reused_tokens * 4 * 2 * 2 * 16 * 4
    assert rows["Keys and values reused"][1] == f"{kv_bytes / 1000:,.1f} kB"
    assert float(rows["Largest |Δ logit|"][1]) == pytest.approx(reuse.max_abs_diff, rel=0.1)
    assert rows["Likeliest next token"][0] == rows["Likeliest next token"][1]
    other = read_html(reuse_table(reuse, same_token=False)).rows()[-1]
    assert other[1] == "another one"


def test_a_miss_is_called_a_miss(reuse: CacheReuse) -> None:
    missed = dataclasses.replace(reuse, shared_tokens=0, reused_tokens=0, reason=IMAGES_DIFFER)
    page = read_html(verdict_html(missed))
    assert page.find("span", "pg-badge-miss")[0].text == "Miss"
    assert f"All {reuse.second.num_tokens} tokens are computed" in page.find("p")[0].text
    assert IMAGES_DIFFER in page.find("p")[0].text
    assert read_html(verdict_html(reuse)).find("span", "pg-badge-hit")[0].text == "Hit"


def test_times_in_the_chart(reuse: CacheReuse) -> None:
    figure = plot_times(reuse)
    bars, points = figure.data
    medians = [median(reuse.miss_ms), median(reuse.hit_ms)]
    np.testing.assert_allclose(bars.y, medians, rtol=1e-6)
    np.testing.assert_allclose(points.y, [*reuse.miss_ms, *reuse.hit_ms], rtol=1e-6)
    assert all(abs(x) < 0.5 for x in points.x[:3])
    assert all(abs(x - 1) < 0.5 for x in points.x[3:])
    assert len(set(points.x.tolist())) == 6  # no run hides another
    assert figure.layout.yaxis.title.text == "Time to the next token's logits (ms)"
    assert f"{medians[0] / medians[1]:.2f} times" in figure.layout.title.text
    labels = figure.layout.xaxis.ticktext
    assert f"computes {reuse.computed_tokens}<br>" in labels[1]


def test_one_timed_run_is_enough_for_a_chart(reuse: CacheReuse) -> None:
    once = dataclasses.replace(reuse, miss_ms=(4.0,), hit_ms=(2.0,))
    figure = plot_times(once)
    assert figure.data[1].x.tolist() == [0.0, 1.0]
    assert figure.layout.title.text.startswith("The second request takes 2.00 times")
