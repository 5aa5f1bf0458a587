"""The page as Gradio knows it: how much there is of it, and what its events read and write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, NoneType
from typing import Any

import gradio as gr
import pytest

from components.compute.engine_host import EngineHost
from components.page.site import Site, build_site
from components.parts.run_view import RunView
from components.serving.language_switch import PATHS
from components.tabs import STAGE_TABS
from playground.engine import Engine
from playground.language import LANGUAGES, Language
from playground.loading.load import load_engine
from reliability.door import read_parts
from tests.components.visits import ready_host
from tests.thinking_checkpoint import HYBRID, make_thinking_checkpoint

# What a browser builds before it shows anything; a stage is one component, whatever it holds. The
# arguments and answers of the public endpoints count, too: they are on the first page.
MOST_COMPONENTS = 110
MOST_EVENTS = 40
MOST_OF_A_RUN = 12  # inputs, and outputs


@pytest.fixture(scope="module")
def site() -> Site:
    return build_site(EngineHost("tiny"))


def components_of(site: Site, language: Language) -> list[dict[str, Any]]:
    """The components of one page, as its browser gets them."""
    config = site.demo.get_config_file()
    ids = set(config["page"][PATHS[language].strip("/")]["components"])
    return [each for each in config["components"] if each["id"] in ids]


def events_of(site: Site, language: Language) -> list[dict[str, Any]]:
    """Its events; those of the public endpoints belong to nothing on a page."""
    config = site.demo.get_config_file()
    ids = set(config["page"][PATHS[language].strip("/")]["dependencies"])
    return [each for each in config["dependencies"] if each["id"] in ids]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_is_small(site: Site, language: Language) -> None:
    components = components_of(site, language)
    parts = [part for stage in STAGE_TABS for part in stage.all_parts]
    assert len(STAGE_TABS) < len(components) <= MOST_COMPONENTS
    events = events_of(site, language)
    experiments = [part for part in parts if part.experiments]
    assert len(experiments) < len(events) <= MOST_EVENTS


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_run_reads_the_input_panel_and_writes_what_all_parts_follow(
    site: Site, language: Language
) -> None:
    page = site.pages[language]
    (run,) = [
        each for each in events_of(site, language) if [page.panel.run._id, "click"] in
        [list(target) for target in each["targets"]]
    ]  # fmt: skip
    assert 0 < len(run["inputs"]) <= MOST_OF_A_RUN
    assert 0 < len(run["outputs"]) <= MOST_OF_A_RUN
    assert run["inputs"] == [page.run_key._id, *(each._id for each in page.panel.values)]
    written = [page.status, page.run_key, page.run_view, page.pointer]
    assert run["outputs"] == [each._id for each in written]


def test_nothing_that_a_visitor_can_do_is_public_but_the_endpoints(site: Site) -> None:
    public = {
        each["api_name"]
        for each in site.demo.get_config_file()["dependencies"]
        if each["api_visibility"] == "public"
    }
    assert public == {
        "preprocess", "vision_tower", "merge", "decoder", "sampling", "cache_reuse", "grounding"
    }  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_stage_has_its_tab_and_every_part_its_place(site: Site, language: Language) -> None:
    page = site.pages[language]
    assert [view.stage for view in page.stages] == list(STAGE_TABS)
    shown = components_of(site, language)
    assert {view._id for view in page.stages} <= {each["id"] for each in shown}
    tabs = [each["props"].get("id") for each in shown if each["type"] == "tabitem"]
    assert tabs == [stage.stage for stage in STAGE_TABS]
    parts = read_parts(site.demo.get_config_file())
    assert list(parts) == [part.key for stage in STAGE_TABS for part in stage.all_parts]


def test_what_runs_the_model_waits_in_one_queue(site: Site) -> None:
    page = site.pages["en"]
    starters: list[Any] = [page.panel.run, page.experiments]
    starters += [view for view in page.stages if view.stage.runs]
    ids = {each._id for each in starters}
    found = [fn for fn in site.demo.fns.values() if ids & {target[0] for target in fn.targets}]
    assert len(found) >= len(starters)
    assert {fn.concurrency_id for fn in found if fn.fn is not None} == {"model"}


def test_pages_share_runs_but_no_component(site: Site) -> None:
    english, chinese = (site.pages[language] for language in LANGUAGES)
    assert english.shared is chinese.shared
    assert not {each._id for each in english.stages} & {each._id for each in chinese.stages}


def test_a_page_has_one_run_view(site: Site) -> None:
    views = [each for each in site.demo.blocks.values() if isinstance(each, RunView)]
    assert len(views) == len(LANGUAGES)
    assert not any(isinstance(each, gr.Plot) for each in site.demo.blocks.values())


def test_what_is_copied_for_each_visitor_holds_nothing_but_words(site: Site) -> None:
    """A method in it would bring its object: all runs, and the model."""

    def walk(value: Any) -> Iterator[Any]:
        if isinstance(value, dict):
            yield from (each for part in value.values() for each in walk(part))
        elif isinstance(value, list | tuple):
            yield from (each for part in value for each in walk(part))
        else:
            yield value

    plain = str | int | float | NoneType | FunctionType
    assert [each for each in walk(site.demo.config) if not isinstance(each, plain)] == []


def test_pages_are_served_with_the_first_examples_run(shipped_engine: Engine) -> None:
    site = build_site(ready_host(shipped_engine))
    ids = [site.pages[language].run_view._id for language in LANGUAGES]

    def served() -> list[Any]:
        components = site.demo.config["components"]
        return [each["props"].get("value") for each in components if each["id"] in ids]

    assert served() == [None, None]
    site.begin_with_first_example(shipped_engine)
    opening = site.shared.events.opening
    assert opening is not None
    for value in served():
        sent = json.loads(value)
        assert (sent["key"], sent["isDefault"]) == (opening.key, True)
        assert site.shared.drawing.runs.get(sent["key"]) is opening.run


@pytest.mark.parametrize("template", [None, HYBRID], ids=["no thinking", "hybrid"])
def test_thinking_is_offered_where_the_template_takes_it(
    template: str | None, tiny_random_engine: Engine, tmp_path: Path
) -> None:
    engine = tiny_random_engine
    if template is not None:
        folder = make_thinking_checkpoint(tmp_path / "hybrid", template)
        engine = load_engine(folder, device="cpu", dtype="float32")
    site = build_site(ready_host(engine))
    site.begin_with_first_example(engine)
    ids = [page.panel.thinking._id for page in site.pages.values()]
    shown = [
        each["props"]["visible"] for each in site.demo.config["components"] if each["id"] in ids
    ]
    assert shown == [template is not None] * len(LANGUAGES)


def test_every_output_can_be_left_as_it_is(site: Site) -> None:
    """Gradio then builds it anew, from what it was built with."""
    private = [fn for fn in site.demo.fns.values() if fn.api_visibility == "private"]
    outputs = {each._id: each for fn in private for each in fn.outputs}
    assert len(outputs) > 10
    with gr.Blocks(analytics_enabled=False):
        for each in outputs.values():
            type(each)(**{**each.constructor_args, "render": False})
