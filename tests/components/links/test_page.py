"""Making links and opening them, as plain functions: the same page, the same tokens, no harm."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import gradio as gr
import pytest
from PIL import Image

from components.compute.engine_host import EngineHost
from components.links.page import joined
from components.page.layout import Page
from components.page.site import Site, build_site
from components.prompt.examples import load_examples
from components.run_events import RunEvents
from components.share.kept_files import KeptFiles
from components.share.link_prompt import PROMPT_NAMES
from components.tabs.open_parts import View
from components.tabs.sampling.lab import Lab, LabStore
from components.tabs.updates import read_update
from playground.engine import Engine
from playground.errors import InputError
from playground.loading.checkpoint_mark import mark_checkpoint
from playground.pipeline import STAGES
from tests.components.runs import ignore_progress
from tests.media_samples import make_clip, make_picture, write_clip


@pytest.fixture(scope="module")
def site(tiny_random_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Site:
    host = EngineHost("tiny")
    host._engine = tiny_random_engine
    site = build_site(host)
    for page in site.pages.values():
        kept = KeptFiles(tmp_path_factory.mktemp("kept"))
        object.__setattr__(page.links, "kept", kept)
    site.draw_opening(tiny_random_engine)
    return site


@pytest.fixture(scope="module")
def page(site: Site) -> Page:
    return site.home


@pytest.fixture
def labs(monkeypatch: pytest.MonkeyPatch) -> list[Lab]:
    """Every lab that the sampling tab keeps."""
    kept: list[Lab] = []
    add = LabStore.add

    def keep(store: LabStore, lab: Lab) -> str:
        kept.append(lab)
        return add(store, lab)

    monkeypatch.setattr(LabStore, "add", keep)
    return kept


class Visitor:
    """One visitor's page: what its controls hold, and what it shows."""

    def __init__(self, page: Page, name: str) -> None:
        self.page, self.links = page, page.links
        self.view: View = page.parts.open_page(name)
        self.run_key: str | None = None
        self.place: Any = None
        self.shown: dict[Any, Any] = {}
        first = load_examples()[0]
        self.prompt: dict[str, Any] = dict.fromkeys(PROMPT_NAMES) | {
            "images": list(first.images),
            "text": first.text,
            "system": first.system,
            "earlier": first.earlier,
        }
        self.values = {name: each.value for name, each in self.links.names.controls.items()}

    def take(self, updates: Iterator[dict[Any, Any]]) -> None:
        """What the browser does with updates."""
        names = self.links.names.of_controls
        panel = dict(zip(self.page.panel.values, PROMPT_NAMES, strict=True))
        for update in updates:
            for output, value in update.items():
                changed = read_update(value)
                if "value" not in changed:
                    continue
                self.shown[output] = changed["value"]
                if output in names:
                    self.values[names[output]] = changed["value"]
                elif output in panel:
                    self.prompt[panel[output]] = changed["value"]
        self.run_key = self.shown.get(self.page.run_key)

    def run(self) -> None:
        """Press Run."""
        controls = self.links.names.of_controls
        sent = [
            self.values[controls[each]] if each in controls else None
            for each in self.page.events.controls
        ]
        values = (self.run_key, *self.prompt.values(), *sent)
        self.take(self.page.events.run(self.page.tabs, values, ignore_progress, self.view))

    def select(self, *names: str) -> None:
        for name in names:
            tab = self.links.names.tabs[name]
            self.view.select(self.links.names.rows[tab], tab)

    def copy(self, *tabs: str) -> str:
        ids = [self.links.names.tabs[name].id for name in tabs]
        made = self.links.copy(
            self.view,
            json.dumps(ids),
            self.run_key,
            self.place,
            *self.prompt.values(),
            *self.values.values(),
        )
        link: str = made[self.page.panel.query]
        return link

    def open(self, link: str) -> None:
        asked = self.links.read_address(dict(parse_qsl(link[1:], keep_blank_values=True)))
        assert asked is not None
        self.take(self.links.open(asked, self.view, ignore_progress))


def token_ids(lab: Lab) -> list[list[int]]:
    assert lab.sampled is not None
    return [[step.id for step in trace.steps] for trace in lab.sampled.traces]


# -------------------------------------------------------------------------------------- making


def test_a_page_left_alone_is_its_example_and_no_more(
    page: Page, tiny_random_engine: Engine
) -> None:
    link = Visitor(page, "a").copy("preprocess", "preprocess.template-and-tokens")
    first = load_examples()[0].name.replace(" ", "%20")
    assert link == f"?example={first}&model={mark_checkpoint(tiny_random_engine)}"


def test_a_run_by_itself_adds_no_setting(page: Page) -> None:
    visitor = Visitor(page, "b")
    visitor.select("decoder", "decoder.attention")
    visitor.prompt["text"] = "Which colours are there?"
    visitor.run()
    visitor.run()
    assert visitor.values["decoder.attention.decoder-layer"] != 0  # set by the run
    assert [name for name, _ in parse_qsl(visitor.copy()[1:])] == ["example", "text", "model"]


def test_a_setting_is_kept_through_further_runs(page: Page) -> None:
    visitor = Visitor(page, "c")
    visitor.select("decoder", "decoder.attention")
    visitor.run()
    visitor.values["decoder.attention.decoder-layer"] = 1
    visitor.prompt["text"] = "Which colours are there?"
    visitor.run()
    assert "decoder.attention.decoder-layer=1&" in visitor.copy()


def test_what_cannot_be_run_cannot_be_linked_to(page: Page, tmp_path: Path) -> None:
    visitor = Visitor(page, "d")
    visitor.prompt |= {"images": [], "text": " "}
    with pytest.raises(InputError, match="nothing to run"):
        visitor.copy()
    (tmp_path / "x.png").write_bytes(b"no picture")
    visitor.prompt["images"] = [str(tmp_path / "x.png")]
    with pytest.raises(InputError, match="no image that can be read"):
        visitor.copy()
    assert page.links.kept.find("a" * 64) is None


@pytest.mark.parametrize("sent", [None, "", "{", "3", '{"a": 1}', '["<b>", 7, null, {}]', "[" * 99])
def test_tabs_that_no_page_has_are_left_out(page: Page, sent: Any) -> None:
    assert page.links._link_tabs(sent) == ()


# ------------------------------------------------------------------------------------- opening


def save_picture(folder: Path) -> str:
    path = folder / "mine.png"
    Image.fromarray(make_picture(96, 64, seed=3).pixels).save(path)
    return str(path)


def test_somebody_else_gets_the_same_page_and_the_same_tokens(
    page: Page, tmp_path: Path, labs: list[Lab]
) -> None:
    mine = Visitor(page, "mine")
    mine.select("sampling", "sampling.one-step")
    mine.prompt |= {
        "images": [save_picture(tmp_path)],
        "video": str(write_clip(tmp_path / "clip.mp4", make_clip().frames, fps=2)),
        "text": "有什么？“红色”…",
        "system": "Be brief.",
        "earlier": "User: Hello\nAssistant: Yes?",
        "max_pixels": 8192,
    }
    mine.values |= {
        "sampling.side-by-side.columns": 3,
        "sampling.side-by-side.max-new-tokens": 9,
        "sampling.column-a.seed": 41,
        "sampling.column-b.seed": 2**53 - 1,
        "sampling.column-b.temperature": 1.95,
        "sampling.column-c.top-k": 3,
        "sampling.score-a-text.text-to-score": "12",
    }
    mine.run()
    written = token_ids(labs[-1])
    link = mine.copy("sampling", "sampling.one-step")

    theirs = Visitor(page, "theirs")
    theirs.open(link)
    assert token_ids(labs[-1]) == written
    assert len(written) == 3
    assert len({id(lab.run()) for lab in labs}) == 2  # a run of their own
    for name in ("text", "system", "earlier", "max_pixels"):
        assert theirs.prompt[name] == mine.prompt[name]
    for name in ("images", "video"):
        (own,), (kept,) = (
            [each] if isinstance(each, str) else each
            for each in (mine.prompt[name], theirs.prompt[name])
        )
        assert Path(kept).read_bytes() == Path(own).read_bytes()
        assert kept != own
    assert theirs.values == mine.values
    assert theirs.copy("sampling", "sampling.one-step") == link
    rows = [each for each in theirs.shown if isinstance(each, gr.Tabs)]
    assert rows == []  # a selection is no value


def test_tabs_are_selected_for_the_browser_and_for_the_run(page: Page) -> None:
    visitor = Visitor(page, "tabs")
    updates = list(
        page.links.open(
            json.dumps({"tab": "merge,merge.positions,decoder.experts,nowhere,,merge"}),
            visitor.view,
            ignore_progress,
        )
    )
    selected = {
        name: updates[0][page.links.names.rows[tab]]["selected"]
        for name, tab in page.links.names.tabs.items()
        if updates[0].get(page.links.names.rows[tab], {}).get("selected") == tab.id
    }
    assert selected == {"merge": "3", "merge.positions": "merge.positions"}
    assert [
        each for each in visitor.view.shown if not visitor.view.is_open(page.parts._paths[each])
    ] == []
    assert visitor.view.shown


def test_settings_of_closed_parts_and_of_labs_come_back(page: Page, labs: list[Lab]) -> None:
    mine = Visitor(page, "closed")
    settings = {
        "vision-tower.attention.head": 1,
        "decoder.attention.decoder-layer": 1,
        "decoder.what-if.painted": [20, 21],
        "sampling.side-by-side.max-new-tokens": 6,
        "sampling.one-step.token": 3,
        "sampling.one-step.temperature": 0.5,
    }
    query = "&".join(f"{name}={json.dumps(value)}" for name, value in settings.items())
    mine.open(f"?{query}")
    assert labs, "the columns had to be written for the token to be there"
    for name, value in settings.items():
        assert (
            list(mine.values[name]) == value
            if isinstance(value, list)
            else (mine.values[name] == value)
        ), name
    names = page.links.names
    drawn = mine.shown[
        next(
            each.outputs[0]
            for each in page.links.app.views
            if each.control is names.controls["sampling.one-step.temperature-comes"]
        )
    ]
    assert "token 3:" in drawn
    assert page.links.notice in mine.shown
    assert mine.shown[page.links.notice] == ""


def test_the_pointer_comes_back(page: Page) -> None:
    mine = Visitor(page, "points")
    mine.run()
    run = page.runs.get(mine.run_key)
    from playground.pointer import locate_patch, locate_token

    for place, written in (
        (locate_patch(run.inputs, run.positions, 0, 2, 3), "0.2.3"),
        (locate_token(run.inputs, run.positions, 5), "5"),
    ):
        mine.place = place
        link = mine.copy()
        assert f"&at={written}&" in link
        theirs = Visitor(page, f"theirs {written}")
        theirs.open(link)
        layout = json.loads(theirs.shown[page.pointer])
        assert ".".join(str(each) for each in layout["place"].values()) == written
    mine.place = replace(place, index=10_000)
    assert "&at=" not in mine.copy()


def test_the_page_is_told_of_its_run_before_anything_is_computed(page: Page) -> None:
    """However fast the run is; and where the page leaves at that moment, the run is given up."""
    page.parts.open_page("told")
    num_runs = len(page.runs)
    updates = page.links._open('{"text": "Told at once"}', gr.Request(session_hash="told"))
    key = next(update[page.run_key] for update in updates if page.run_key in update)
    assert not page.runs.get(key).has("preprocess")
    updates.close()  # type: ignore[attr-defined]
    assert page.runs.peek(key) is None
    assert len(page.runs) == num_runs


def test_a_run_whose_page_was_told_of_it_stays_with_the_page(page: Page) -> None:
    page.parts.open_page("told")
    updates = page.links._open('{"text": "Told"}', gr.Request(session_hash="told"))
    key = next(update[page.run_key] for update in updates if page.run_key in update)
    next(updates)
    updates.close()  # type: ignore[attr-defined]
    assert page.runs.get(key).has("preprocess")


def test_a_page_has_one_run_of_its_own(page: Page) -> None:
    visitor = Visitor(page, "one run")
    num_runs = len(page.runs)
    visitor.run()
    first, visitor.run_key = visitor.run_key, None  # as where the page was not told of it
    visitor.prompt["text"] = "Another one"
    visitor.run()
    assert page.runs.peek(first) is None
    assert page.runs.get(visitor.run_key).has("decoder")
    assert len(page.runs) == num_runs + 1


def test_a_link_that_is_run_again_without_its_settings_leaves_one_run(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    run_stages = RunEvents._run_stages

    def stumble_once(self: RunEvents, tabs: Any, run: Any, *rest: Any) -> Iterator[Any]:
        started.append(run)
        if len(started) == 1:
            raise LookupError
        return run_stages(self, tabs, run, *rest)

    monkeypatch.setattr(RunEvents, "_run_stages", stumble_once)
    visitor = Visitor(page, "misfit")
    num_runs = len(page.runs)
    visitor.open("?text=Hello&sampling.column-a.seed=5")
    assert "1 settings of the link" in visitor.shown[page.links.notice]
    assert page.runs.get(visitor.run_key) is started[1]
    assert len(page.runs) == num_runs + 1


def test_a_link_marks_nothing_on_a_run_that_is_not_its_own(page: Page) -> None:
    visitor = Visitor(page, "hasty")
    updates = page.links.open('{"text": "Slow", "at": "5"}', visitor.view, ignore_progress)
    told = [update for _, update in zip(range(2), updates, strict=False)]
    assert page.run_key in told[-1]
    visitor.prompt["text"] = "Run before the link was there"
    visitor.run()
    rest = list(updates)
    assert not any('"place"' in update.get(page.pointer, "") for update in rest)


def test_a_lost_picture_is_asked_for_and_all_else_is_there(page: Page, tmp_path: Path) -> None:
    mine = Visitor(page, "lost")
    mine.prompt |= {"images": [save_picture(tmp_path)], "text": "Where?"}
    mine.values["sampling.column-a.seed"] = 9
    link = mine.copy()
    (found,) = dict(parse_qsl(link[1:]))["images"].split(",")
    kept = page.links.kept.find(found)
    assert kept is not None
    kept.unlink()
    theirs = Visitor(page, "lost too")
    theirs.open(link)
    notice = theirs.shown[page.links.notice]
    assert "no longer on the server" in notice
    assert "7 days" in notice
    assert theirs.prompt["text"] == "Where?"
    assert theirs.prompt["images"] == []
    assert theirs.values["sampling.column-a.seed"] == 9
    assert theirs.run_key is None  # other numbers than the link's would be shown


def test_another_checkpoint_is_said(page: Page) -> None:
    visitor = Visitor(page, "other")
    visitor.open("?text=Hello&model=Qwen/<b>Qwen3@0123,bfloat16")
    notice = visitor.shown[page.links.notice]
    assert "another checkpoint: Qwen/&lt;b&gt;Qwen3@0123,bfloat16" in notice
    assert visitor.run_key is not None


def test_an_example_that_is_gone_is_said(page: Page) -> None:
    visitor = Visitor(page, "renamed")
    visitor.open("?example=nobody&system=Short.")
    assert "The example of this link is no longer here" in visitor.shown[page.links.notice]
    assert visitor.prompt["text"] == load_examples()[0].text
    assert visitor.prompt["system"] == "Short."


def test_a_link_of_one_language_opens_in_the_other(site: Site, labs: list[Lab]) -> None:
    mine = Visitor(site.home, "english")
    mine.select("sampling")
    mine.values |= {"sampling.column-a.seed": 5, "sampling.side-by-side.max-new-tokens": 7}
    mine.run()
    theirs = Visitor(site.pages["zh"], "chinese")
    theirs.open(mine.copy("sampling"))
    assert token_ids(labs[-1]) == token_ids(labs[-2])
    assert theirs.values["sampling.column-a.seed"] == 5


def test_updates_are_joined_and_none_is_lost() -> None:
    updates = [{"a": 1}, {"b": 2}, {"a": 3}, {"c": 4}]
    sent = list(joined(iter(updates)))
    assert len(sent) < len(updates)
    assert [each["a"] for each in sent if "a" in each] == [1, 3]
    assert {key for each in sent for key in each} == {"a", "b", "c"}
    assert all(sent)

    def broken() -> Iterator[dict[str, int]]:
        yield from updates[:2]
        raise InputError("refused")

    told = joined(iter([{"a": 1}, {"key": 2}, {"b": 3}, {"c": 4}]), at_once="key")
    assert list(told) == [{"a": 1}, {"key": 2}, {"b": 3, "c": 4}]

    refused = joined(broken())
    assert [next(refused), next(refused)] == [{"a": 1}, {"b": 2}]
    with pytest.raises(InputError, match="refused"):
        next(refused)


HOSTILE = {
    "decoder.attention.decoder-layer": ["1e9", "-1", "NaN", '"x"', "[1]", "null", "1.5", "9" * 400],
    "decoder.attention.head": ["999", '"mean"', "-7", "true"],
    "vision-tower.attention.head": ["999", "1e300"],
    "vision-tower.picture-or-video-frame": ["9", "-1"],
    "decoder.what-if.painted": ["[1e9]", '["a"]', "[999999999]", "7"],
    "decoder.what-if.layers-to-skip": ["[99]", '["x"]', "[[1]]"],
    "cache-reuse.the-cache-itself.layer": ["77", "-1"],
    "sampling.side-by-side.columns": ["0", "9", "1e9", "2.0", '"2"'],
    "sampling.side-by-side.max-new-tokens": ["100000", "0", "-1"],
    "sampling.column-a.temperature": ["-5", "1e308", '"hot"'],
    "sampling.column-a.seed": ["-1", "0.5", "null"],
    "sampling.one-step.token": ["1e6", "0"],
    "sampling.one-step.column-or-branch": ['"<b>"', "1"],
    "decoder.layers.word-to-follow": ["\x00", "<|im_start|>", "x" * 61],
    "__proto__.x": ["1"],
    "nobody.knows": ["1"],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_setting_is_left_out_or_refused(page: Page, name: str) -> None:
    for value in HOSTILE[name]:
        visitor = Visitor(page, f"{name} {value}")
        asked = page.links.read_address({"text": "Hello", name: value})
        assert asked is not None
        visitor.take(page.links.open(asked, visitor.view, ignore_progress))
        assert "Traceback" not in visitor.shown.get(page.links.notice, "")
        run = page.runs.get(visitor.run_key)
        assert all(run.has(stage) for stage in STAGES), value


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"text": "", "images": ""}, "nothing to run"),
        ({"text": "Hello", "pixels": "1"}, "max pixels"),
        ({"text": "a " * 3_900, "system": "x"}, ""),
        ({"text": "x", "earlier": "no speaker"}, "who speaks first"),
    ],
)
def test_a_hostile_prompt_gives_the_prompts_own_message(
    page: Page, query: dict[str, str], message: str
) -> None:
    visitor = Visitor(page, "hostile")
    asked = page.links.read_address(query)
    assert asked is not None
    if message:
        with pytest.raises(InputError, match=message):
            visitor.take(page.links.open(asked, visitor.view, ignore_progress))
    else:
        visitor.take(page.links.open(asked, visitor.view, ignore_progress))
    assert visitor.prompt["text"] == query["text"]  # nothing is lost


def test_an_address_that_is_too_long_opens_the_first_example_and_says_so(page: Page) -> None:
    visitor = Visitor(page, "long")
    visitor.open("?text=" + "a" * 9_000)
    assert "This link is too long" in visitor.shown[page.links.notice]
    assert visitor.prompt["text"] == load_examples()[0].text


def test_a_plain_address_asks_for_nothing(page: Page) -> None:
    assert page.links.read_address({}) is None
    assert page.links.read_address(None) is None
    assert page.links.read_address({"__theme": "dark", "lang": "en"}) is None
