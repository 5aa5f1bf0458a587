"""The run report's pieces: nothing that a visitor wrote becomes markup, scripts or requests."""

from __future__ import annotations

import re
import weakref
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from components.chart_view.view import PlotlyView
from components.share.report.body import Body, script_text, words_html
from components.share.report.results import KeptResults, read_answer
from components.share.report.writer import bundle, write_report
from playground.engine import Engine
from tests.components.runs import make_run
from tests.media_samples import make_picture

HOSTILE = '<script>alert("x")</script>'


def test_what_was_asked_is_text(tiny_random_engine: Engine) -> None:
    run = make_run(tiny_random_engine, HOSTILE, make_picture())
    report = write_report(run, (), "")
    assert HOSTILE not in report
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;" in report
    assert "default-src 'none'" in report
    body = report[report.index("<body>") : report.index("<script>")]
    assert not re.search(r'(?:src|href)="(?!data:|#)', body), "the report asks for something"


def test_a_figure_cannot_end_its_script() -> None:
    assert "<" not in script_text('{"text": "</script><script>alert(1)</script>"}')
    body = Body()
    with gr.Blocks(analytics_enabled=False):
        chart = PlotlyView(label=HOSTILE)
    figure = '{"data": [], "layout": {"title": {"text": "<img src=x>"}, "height": 200}}'
    assert "<img" not in body.chart_html(chart, figure)
    assert HOSTILE not in body.chart_html(chart, "")
    assert "\\u003cimg" in body.charts_html()


def test_explanations_keep_their_markdown() -> None:
    shown = words_html("### A `b<c` title\n\n**Bold** and <i>not</i>", 4)
    assert "<h4>A <code>b&lt;c</code> title</h4>" in shown
    assert "<strong>Bold</strong> and &lt;i&gt;not&lt;/i&gt;" in shown


def test_stress_needs_no_spaces_around_it() -> None:
    shown = words_html("重放**按名称和大小**；*用模型重放*则真正处理。2 * 3 * 4", 4)
    assert "重放<strong>按名称和大小</strong>；<em>用模型重放</em>则真正处理。2 * 3 * 4" in shown


def test_the_bundle_has_no_modules() -> None:
    assert not re.search(r"^\s*(?:export|import)\b", bundle(), flags=re.MULTILINE)


@pytest.fixture
def run() -> Any:
    """Something that results can belong to."""
    return type("Run", (), {"__slots__": ("__weakref__",)})()


def test_results_are_the_visitors_own(run: Any) -> None:
    results, output = KeptResults(), SimpleNamespace()
    key: Any = id(output)
    results.note("mine", run, {key: {"value": "secret"}})
    assert results.find("mine", run) == {key: {"value": "secret"}}
    assert results.find("other", run) == {}
    assert results.find("mine", type(run)()) == {}
    assert weakref.ref(run)() is run


def test_results_keep_to_their_budget(run: Any) -> None:
    results = KeptResults(max_bytes=100)
    for session in "abc":
        results.note(session, run, {1: {"value": "x" * 40}})
    assert [bool(results.find(session, run)) for session in "abc"] == [False, True, True]


def test_a_skipped_output_sets_nothing() -> None:
    outputs: Any = ("first", "second")
    assert read_answer(outputs, (gr.skip(), "new")) == {"second": {"value": "new"}}
