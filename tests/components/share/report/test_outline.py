"""The run report of the page's parts: what each tab shows, with the visitor's own settings."""

from __future__ import annotations

import re
from typing import Any

import plotly.graph_objects as go
import pytest

from components.parts.compound_controls import Upload
from components.parts.controls import Choice, IndexSlider
from components.parts.part import LABS, Fold, Heading, Part, StageParts, Text
from components.parts.question import Question
from components.share.report.outline import ControlValue as Shown
from components.share.report.outline import Group, View, Words, part_items, stage_items, views
from components.share.view import run_report
from components.tabs import STAGE_TABS
from playground.engine import Engine
from playground.errors import InputError
from playground.language import speaking
from playground.pipeline import Run
from tests.components.drawings import make_drawing
from tests.components.runs import make_run
from tests.media_samples import make_image

CODE = re.compile(r"<(pre|code)\b.*?</\1>|<script\b.*?</script>|<[^>]*>", flags=re.DOTALL)

LAB = Part(
    "lab",
    "Lab",
    stage="merge",
    heading="All about it",
    controls=(
        IndexSlider("size", "Size", last=lambda run: run.inputs.num_tokens - 1, value=1),
        Choice(id="kind", label="Kind", options=(("Raw", "raw"), ("Less", "less"))),
        Upload(id="file", label="File", read=str),
    ),
    layout=(
        Text("**About** it"),
        ("size", "kind", "file"),
        "measured",
        ("words", "bars"),
        Fold("More", (Heading("Inside"), "wrong", "script")),
    ),
    shown=lambda run: "hide" not in run.prompt.turns[0].text,
    absent="Nothing to see.",
)


@LAB.experiment("Measure")
def measured(run: Run, progress: Any) -> Any:
    """One number."""
    yield 7


@LAB.html(needs=("size", "kind", "measured"))
def words(run: Run, size: int, kind: str, measured: int | None) -> str:
    """All that it is given."""
    return f"<p>{size} {kind} {measured}</p>"


@LAB.chart("Bars", needs=("measured",))
def bars(run: Run, measured: int | None) -> go.Figure | None:
    """What was measured."""
    return None if measured is None else go.Figure(go.Bar(y=[measured]))


@LAB.html()
def wrong(run: Run) -> str:
    """Fails."""
    raise InputError("This is wrong.")


@LAB.code("Code")
def script(run: Run) -> str:
    """A line."""
    return "print(1)"


STAGE = StageParts(stage="merge", label="3 Merge", title="", sentence="", parts=(LAB,))


@pytest.fixture(scope="module")
def run(shipped_engine: Engine) -> Run:
    """An image through all stages."""
    run = make_run(shipped_engine, "Describe this image.", make_image())
    run.ensure("decoder")
    return run


def state(**more: Any) -> Question:
    return Question(run="", part="", **more)


def test_a_part_is_shown_in_the_page_s_order(run: Run) -> None:
    heading, about, size, kind, row, fold = part_items(make_drawing(STAGE), LAB, run, state())
    assert heading == Words("All about it", is_heading=True)
    assert about == Words("**About** it")
    assert (size, kind) == (Shown("Size", "1"), Shown("Kind", "Raw"))
    assert isinstance(row, Group)
    assert (row.kind, [type(each) for each in row.inside]) == ("row", [View, View])
    assert isinstance(fold, Group)
    assert (fold.kind, fold.title) == ("fold", "More")
    assert [type(each) for each in fold.inside] == [Words, View, View]


def test_the_visitor_s_settings_and_findings_are_in_it(run: Run) -> None:
    drawing = make_drawing(STAGE)
    key = drawing.findings.add(run, "merge.lab.measured", 7)
    moved = state(
        # Where a file lies on the server is nobody's business.
        values={"merge.lab.size": 3, "merge.lab.kind": "less", "merge.lab.file": "/srv/x"},
        findings={"merge.lab.measured": key},
    )
    items = part_items(drawing, LAB, run, moved)
    assert [each.value for each in items if isinstance(each, Shown)] == ["3", "Less"]
    shown = [view.value for view in views(items)]
    assert shown[0] == "<p>3 less 7</p>"
    assert '"y":[7]' in shown[1]
    plain = [view.value for view in views(part_items(drawing, LAB, run, state()))]
    assert plain[:2] == ["<p>1 raw None</p>", ""]


def test_what_cannot_be_drawn_is_left_out(run: Run) -> None:
    drawing = make_drawing(STAGE)
    items = part_items(drawing, LAB, run, state(values={"merge.lab.size": 10**9}))
    assert [each.label for each in items if isinstance(each, Shown)] == ["Kind"]
    drawn = {view.output.name: view.value for view in views(items)}
    assert drawn["words"] == drawn["wrong"] == ""
    assert "print" in drawn["script"]


def test_a_part_that_does_not_apply_says_why(shipped_engine: Engine) -> None:
    hidden = make_run(shipped_engine, "hide")
    hidden.ensure("merge")
    (group,) = stage_items(make_drawing(STAGE), STAGE, hidden, state())
    assert isinstance(group, Group)
    assert group.inside == (Words("Nothing to see."),)


# ------------------------------------------------------------------------------ the whole file


def report(run: Run, **sent: Any) -> str:
    drawing = make_drawing(*STAGE_TABS)
    return run_report(drawing, run, {"run": drawing.runs.add(run), **sent}).decode()


def test_every_tab_that_has_run_has_a_chapter_with_something_in_it(run: Run) -> None:
    drawing = make_drawing(*STAGE_TABS)
    for stage in STAGE_TABS:
        if stage.stage in LABS:  # experiments that nobody has started
            continue
        items = stage_items(drawing, stage, run, state())
        titles = [each.title for each in items if isinstance(each, Group) and each.kind == "part"]
        assert titles == [part.title for part in stage.parts]
        assert any(view.value for view in views(items)), stage.stage


def test_a_tab_that_has_not_run_says_so(run: Run, shipped_engine: Engine) -> None:
    early = make_run(shipped_engine, "Hello", make_image())
    early.ensure("preprocess")
    left_out = "This stage has not run on this prompt, so it is left out."
    assert report(early).count(left_out) >= 1
    labs = sum(stage.stage in LABS for stage in STAGE_TABS)
    assert report(run).count(left_out) == labs
    with pytest.raises(InputError, match="Nothing has run"):
        report(make_run(shipped_engine, "Hello"))


def test_a_moved_control_is_in_the_file(run: Run) -> None:
    chip = '<span class="chip-name">Compare</span> Similarity of the rotations'
    assert chip not in report(run)
    assert chip in report(run, values={"merge.distances.quantity": "likeness"})


@pytest.mark.parametrize("sent", [{"values": 3}, {"findings": []}])
def test_nonsense_is_refused(run: Run, sent: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="does not contain"):
        report(run, **sent)


def test_the_chinese_report_has_no_marks_of_its_source(run: Run) -> None:
    with speaking("zh"):
        written = report(run)
    assert re.search("[\u4e00-\u9fff]+", written)
    assert "**" not in CODE.sub(" ", written[written.index("<main>") : written.index("</main>")])
