"""The run report's pieces: nothing that a visitor wrote becomes markup, scripts or requests."""

from __future__ import annotations

import re
from dataclasses import replace

from components.parts.part import Output
from components.share.report.body import Body, script_text
from components.share.report.outline import ControlValue, Group, View, Words
from components.share.report.writer import bundle, write_report
from playground.engine import Engine
from playground.prompt import NO_CHOICE, FrameChoice
from tests.components.runs import make_run
from tests.media_samples import make_image, make_video

HOSTILE = '<script>alert("x")</script>'


def test_what_was_asked_is_text(tiny_random_engine: Engine) -> None:
    run = make_run(tiny_random_engine, HOSTILE, make_image())
    report = write_report(run, (), "")
    assert HOSTILE not in report
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;" in report
    assert "default-src 'none'" in report
    body = report[report.index("<body>") : report.index("<script>")]
    assert not re.search(r'(?:src|href)="(?!data:|#)', body), "the report asks for something"


def test_the_chosen_frames_of_a_video_are_named(tiny_random_engine: Engine) -> None:
    chosen = FrameChoice(num_frames=4, start_s=0.5)
    for given, words in ((chosen, "num_frames = 4, start_s = 0.5"), (None, "processor default")):
        video = replace(make_video(), chosen=given or NO_CHOICE)
        report = write_report(make_run(tiny_random_engine, "a", video=video), (), "")
        assert f"<td>Frames of the video</td><td><code>{words}</code></td>" in report


def test_a_figure_cannot_end_its_script() -> None:
    assert "<" not in script_text('{"text": "</script><script>alert(1)</script>"}')
    body = Body()
    chart = Output("bars", "chart", lambda _run: None, (), label=HOSTILE, empty=HOSTILE)
    figure = '{"data": [], "layout": {"title": {"text": "<img src=x>"}, "height": 200}}'
    assert "<img" not in body.chart_html(chart, figure)
    assert HOSTILE not in body.chart_html(chart, "")
    assert body.chart_html(replace(chart, empty=""), "") == ""
    assert "\\u003cimg" in body.charts_html()


def words_html(text: str) -> str:
    return Body().items_html([Words(text)], 4)


def test_explanations_keep_their_markdown() -> None:
    assert Body().items_html([Words("A <b>", is_heading=True)], 4) == "<h4>A &lt;b&gt;</h4>"
    shown = words_html("### A `b<c` title\n\n**Bold** and <i>not</i>")
    assert "A <code>b&lt;c</code> title</h3>" in shown
    assert "<strong>Bold</strong> and &lt;i&gt;not&lt;/i&gt;" in shown


def test_choices_are_one_line_and_text() -> None:
    shown = Body().items_html([ControlValue("Layer", "3"), ControlValue(HOSTILE, HOSTILE)], 4)
    assert shown.count("<ul") == 1
    assert shown.count("<li") == 2
    assert HOSTILE not in shown


def test_an_empty_fold_says_nothing() -> None:
    code = Output("script", "code", lambda _run: "", (), label="Code")
    assert Body().items_html([Group("fold", "More", (View(code, ""),))], 4) == ""
    assert "<summary>More</summary>" in Body().items_html(
        [Group("fold", "More", (View(code, "x"),))], 4
    )


def test_the_bundle_has_no_modules() -> None:
    assert not re.search(r"^\s*(?:export|import)\b", bundle(), flags=re.MULTILINE)
