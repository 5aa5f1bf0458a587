"""The cache tab: requests in words, in a table and in a chart, against the engine's numbers."""

from __future__ import annotations

import dataclasses
from statistics import median
from typing import Any

import numpy as np
import pytest

from components.charts.cache import plot_request_times
from components.tabs.cache.scenes import RUN_IMAGES, build_prompt
from components.tabs.cache.words import (
    cached_labels,
    end_words,
    format_count,
    formula_html,
    request_html,
    requests_summary_html,
    requests_table,
)
from playground.cache import empty_cache
from playground.engine import Engine
from playground.kv_cache.block_hash import HashRules
from playground.kv_cache.compare import Compared, compare_requests
from playground.kv_cache.prefix_lookup import HitEnd
from playground.kv_cache.stage import serve_rest
from playground.pipeline import Run
from playground.preprocess.stage import run_preprocess
from playground.prompt import Prompt, PromptImage, Turn
from tests.components.html_reader import read_html


@pytest.fixture(scope="module")
def run(tiny_random_engine: Engine, image: PromptImage) -> Run:
    turn = Turn("user", "Describe this image.", images=(image,))
    return Run(tiny_random_engine, Prompt((turn,), system="Be kind."))


@pytest.fixture(scope="module")
def rows(run: Run) -> list[Compared]:
    prompts = [
        build_prompt(run, "request", text, RUN_IMAGES)
        for text in ("Describe this image.", "How many?", "How many?")
    ]
    inputs = [run_preprocess(run.engine, prompt) for prompt in prompts]
    return list(compare_requests(run.engine, inputs, HashRules(8), repeats=3, max_new_tokens=4))


def test_labels_tell_what_was_kept() -> None:
    assert cached_labels(5, 2, 4) == [
        "reused",
        "reused",
        "computed",
        "computed",
        "computed, not kept",
    ]
    assert cached_labels(2, 1, 0) == ["reused", "computed, not kept"]


def test_request_in_words(run: Run, rows: list[Compared]) -> None:
    page = read_html(request_html(rows[0], 1, run.engine, 8))
    assert page.find("span", "pg-badge-miss")[0].text == "Miss"
    assert f"All {rows[0].inputs.num_tokens} tokens are computed" in page.find("p")[0].text
    html = request_html(rows[1], 2, run.engine, 8)
    assert read_html(html).find("span", "pg-badge-hit")[0].text == "Hit"
    (span,) = rows[1].inputs.spans
    assert ("ends inside an image" in html) == (span.start < rows[1].reused_tokens < span.end)
    assert 'data-label="computed, not kept"' in html  # the last block is not whole


def test_an_answer_cannot_bring_markup(run: Run, rows: list[Compared]) -> None:
    evil = dataclasses.replace(rows[1], answer="<img src=x onerror=alert(1)>")
    assert "<img src=x" not in request_html(evil, 2, run.engine, 8)


def test_each_end_has_its_sentence(run: Run, rows: list[Compared]) -> None:
    lookup = rows[1].lookup

    def words(kind: Any, index: int, stored: int | None = None) -> str:
        end = HitEnd(kind, index, stored)
        return end_words(run.engine, dataclasses.replace(lookup, end=end), 8)

    token = run.engine.tokenizer.encode("red", add_special_tokens=False)[0]
    assert "Token 3 differs" in words("tokens", 3, token)
    assert "“" in words("tokens", 3, token)
    assert "The image at token 4 is different" in words("picture", 4)
    assert "block of 8 tokens at position 16 was cached" in words("evicted", 16)
    assert "continues" in words("goes on", 40)
    kinds = ("last token", "short", "tail", "empty", "goes on", "evicted")
    assert len({words(kind, 0) for kind in kinds}) == 6


def test_numbers_of_the_table(rows: list[Compared]) -> None:
    cells = read_html(requests_table(rows)).rows()
    for row, cell in zip(rows, cells[1:], strict=True):
        assert cell[1:4] == [
            str(row.inputs.num_tokens),
            str(row.reused_tokens),
            str(row.computed_tokens),
        ]
        assert cell[4] == f"{median(row.miss_ms):,.2f} ms"
        assert cell[5] == f"{median(row.hit_ms):,.2f} ms"
        # Keys and values of 4 layers, 2 heads of 16 numbers, 4 bytes each.
        assert row.kv_bytes == row.reused_tokens * 4 * 2 * 2 * 16 * 4
    assert "|Δ logit|: tolerance 0.0001 in float32" in requests_table(rows)
    assert cells[1][6] == "0%"
    assert int(cells[2][6].rstrip("%")) == round(
        100 * (1 - rows[1].hit_flops.total / rows[1].miss_flops.total)
    )


def test_the_formula_has_this_model_s_numbers(run: Run, rows: list[Compared]) -> None:
    page = formula_html(rows[-1], run.engine)
    # 64 hidden, 4 query heads and 2 key-value heads of 16; MLP 3 × 64 × 96.
    assert "4 layers × (64 × (2 × 64 + 2 × 32) for attention + 18,432 for the MLP)" in page
    assert f"{rows[-1].reused_tokens:,} × 1,024" in page
    cells = read_html(page).rows()
    assert cells[-1][1] == format_count(rows[-1].miss_flops.total)
    assert [format_count(value) for value in (950, 2.5e6, 3e9, 4e12)] == [
        "950",
        "2.5 million",
        "3.0 billion",
        "4.0 trillion",
    ]


def test_summary_does_not_promise_time_where_there_is_none(rows: list[Compared]) -> None:
    fast = dataclasses.replace(rows[1], miss_ms=(30.0,), hit_ms=(10.0,))
    assert "10.0 ms to the first token instead of 30.0" in requests_summary_html([rows[0], fast])
    slow = dataclasses.replace(rows[1], miss_ms=(10.0,), hit_ms=(10.0,))
    assert "tolerance 0.0001 in float32" in requests_summary_html([rows[0], fast])
    assert "but no time saved" in requests_summary_html([rows[0], slow])
    assert "finds no cached prefix" in requests_summary_html(rows[:1])


# --------------------------------------------------------------------------- the chart


def test_times_in_the_chart(rows: list[Compared]) -> None:
    figure = plot_request_times(rows)
    miss, hit, single_miss, single_hit = figure.data
    np.testing.assert_allclose(miss.y, [median(row.miss_ms) for row in rows], rtol=1e-6)
    np.testing.assert_allclose(hit.y, [median(row.hit_ms) for row in rows], rtol=1e-6)
    assert (miss.x < hit.x).all()
    np.testing.assert_allclose(
        single_miss.y, [value for row in rows for value in row.miss_ms], rtol=1e-6
    )
    assert len(set(np.concatenate([single_miss.x, single_hit.x]).tolist())) == 18
    assert figure.layout.yaxis.title.text == "Time to first token (ms)"
    reused = f"{rows[1].reused_tokens:,} of {rows[1].inputs.num_tokens:,}"
    assert figure.layout.xaxis.ticktext[1].endswith(reused)
    assert hit.marker.pattern.shape != miss.marker.pattern.shape  # colour is not all


def test_the_title_names_the_hit_that_gained_most(rows: list[Compared]) -> None:
    changed = [
        dataclasses.replace(rows[0], miss_ms=(90.0,), hit_ms=(1.0,)),  # a miss: mere noise
        dataclasses.replace(rows[1], miss_ms=(8.0,), hit_ms=(4.0,)),
        dataclasses.replace(rows[2], miss_ms=(9.0,), hit_ms=(3.0,)),
    ]
    assert plot_request_times(changed).layout.title.text.startswith("Request 3 takes 3.0 times")
    same = [dataclasses.replace(row, miss_ms=(4.0,), hit_ms=(4.0,)) for row in rows]
    assert "about the same time" in plot_request_times(same).layout.title.text


def test_answers_are_those_without_a_cache(run: Run, rows: list[Compared]) -> None:
    for row in rows:
        scratch = serve_rest(run.engine, row.inputs, empty_cache(run.engine), 0)
        assert row.next_token.id == int(scratch.argmax())
