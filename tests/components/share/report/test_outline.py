"""The run report of a whole page: what each tab shows, and what was clicked in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from gradio.context import LocalContext

from components.compute.engine_host import EngineHost
from components.page.layout import Page
from components.page.site import Site, build_site
from components.share.report.outline import Item, Outline, views
from components.share.report.page import draw_chapter, draw_model
from components.share.report.results import read_answer
from components.share.report.writer import write_report
from components.tabs.sampling.chips import TokenPicker
from components.views.tables import format_bytes
from playground.engine import Engine
from playground.language import speaking

CODE = re.compile(r"<(pre|code)\b.*?</\1>|<script\b.*?</script>|<[^>]*>", flags=re.DOTALL)


@pytest.fixture(scope="module")
def site(shipped_engine: Engine) -> Site:
    """The pages with the first example drawn."""
    host = EngineHost("tiny")
    host._engine = shipped_engine
    site = build_site(host)
    site.draw_opening(shipped_engine)
    return site


def chapters(page: Page) -> list[tuple[Outline, tuple[Item, ...]]]:
    events = page.events
    run = events.opening_run
    assert run is not None
    settings = {each: each.value for each in events.controls}
    found = []
    for tab in events.tabs:
        outline = Outline.around(tab.run_button)
        items = draw_chapter(events, tab, outline, run, settings=settings, kept={})
        found.append((outline, items))
    outline = Outline.around(events.model_tab.outputs[0])
    return [*found, (outline, draw_model(events, outline, run))]


def test_every_tab_has_a_chapter_with_something_in_it(site: Site) -> None:
    written = chapters(site.home)
    labels = [outline.label for outline, _ in written]
    assert labels == [*(outline.label for outline, _ in written[:6]), "Model"]
    assert all(any(view.value for view in views(items)) for _, items in written)


def test_the_model_tab_is_in_the_report(site: Site) -> None:
    outline, items = chapters(site.home)[-1]
    engine = site.home.events.opening_run.engine  # type: ignore[union-attr]
    shown = " ".join(view.value for view in views(items))
    assert outline.label == "Model"
    assert engine.facts.model_type in shown
    assert format_bytes(sum(each.nbytes for each in engine.model.parameters())) in shown


def test_the_chinese_report_has_no_marks_of_its_source(site: Site) -> None:
    page = site.pages["zh"]
    with speaking("zh"):
        page.events.draw_opening()
        run = page.events.opening_run
        assert run is not None
        report = write_report(run, chapters(page), "")
    assert re.search("<em>[\u4e00-\u9fff]+</em>", report)
    assert "*" not in CODE.sub(" ", report[report.index("<main>") : report.index("</main>")])


@pytest.fixture
def visitor() -> Iterator[str]:
    """Whose event this thread answers."""
    request: Any = SimpleNamespace(session_hash="visitor")
    token = LocalContext.request.set(request)
    yield request.session_hash
    LocalContext.request.reset(token)


def test_what_was_clicked_in_a_lab_is_in_the_report(site: Site, visitor: str) -> None:
    """A token of a column: looked at under *One step*, and chosen in the tree of *Branch*."""
    page = site.home
    run, sampling = page.events.opening_run, page.events.tabs[4]
    assert run is not None
    texts = next(each for each in sampling.outputs if isinstance(each, TokenPicker))
    event = next(each for each in site.demo.fns.values() if (texts._id, "select") in each.targets)
    choice = gr.EventData(texts, {"branch": "B", "step": 2})
    lab_key = page.events.opening[sampling.outputs[0]]
    answer = event.fn(page.events.opening_key, choice, lab_key)
    drawn = {
        output: props["value"]
        for output, props in read_answer(event.outputs, answer).items()
        if isinstance(output, gr.HTML)
    }
    assert len(drawn) == 7  # chosen; words, table, filters, draw; choice of a branch, tree

    kept = page.links.app.results.find(visitor, run)
    assert {output: props["value"] for output, props in kept.items()} == drawn
    outline = Outline.around(sampling.run_button)
    for what, shown in (({}, False), (kept, True)):
        items = draw_chapter(page.events, sampling, outline, run, settings={}, kept=what)
        values = {view.component: view.value for view in views(items)}
        assert all((values[output] == value) is shown for output, value in drawn.items())


def test_nothing_is_kept_of_what_a_run_draws_anew(site: Site, visitor: str) -> None:
    page = site.home
    run = page.events.opening_run
    app = page.links.app
    assert run is not None
    part = page.events.tabs[3].parts[0]
    follow = app.follow_view(lambda _run: ("drawn",), part.outputs[:1])
    follow(run)
    assert part.outputs[0] not in app.results.find(visitor, run)
