"""Making links and opening them: the same page and the same numbers elsewhere, and no harm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pytest
from PIL import Image

from components.pointer.selection import read_selection
from components.prompt.examples import load_examples
from components.share.kept_files import KeptFiles
from components.share.links import Links, known_settings
from components.share.view import read_state
from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.language import speaking
from playground.loading.checkpoint_mark import mark_checkpoint
from playground.loading.load import load_engine
from playground.pipeline import STAGES
from tests.components.runs import ignore_progress
from tests.components.visits import Visitor, first_prompt, make_events
from tests.media_samples import make_image, make_video, write_video
from tests.thinking_checkpoint import HYBRID, make_thinking_checkpoint

MOVED = {"merge.embeddings.shown": "embeddings", "merge.distances.quantity": "likeness"}


@pytest.fixture(scope="module")
def links(tiny_random_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Links:
    return Links(make_events(tiny_random_engine), KeptFiles(tmp_path_factory.mktemp("kept")))


def press_run(links: Links, visitor: Visitor) -> None:
    visitor.take(links.events.run(STAGES, visitor.run_key, visitor.panel, ignore_progress))


def copy(links: Links, visitor: Visitor) -> str:
    sent = json.loads(json.dumps(visitor.state))  # as the browser sends it
    return links.make(sent, visitor.prompt)[0]


def open_link(links: Links, link: str, progress: Any = ignore_progress) -> Visitor:
    visitor = Visitor()
    asked = links.read_address(dict(parse_qsl(link[1:], keep_blank_values=True)))
    assert asked is not None
    visitor.take(links.open(asked, progress))
    return visitor


def parameters(link: str) -> dict[str, str]:
    return dict(parse_qsl(link[1:], keep_blank_values=True))


# -------------------------------------------------------------------------------------- making


def test_a_page_left_alone_is_its_example_and_no_more(
    links: Links, tiny_random_engine: Engine
) -> None:
    visitor = Visitor(tabs=[links.events.drawing.parts.stages[0].stage])
    first = load_examples()[0].name.replace(" ", "%20")
    assert copy(links, visitor) == f"?example={first}&model={mark_checkpoint(tiny_random_engine)}"
    assert not links.make(visitor.state, visitor.prompt)[1]


def test_a_run_by_itself_adds_no_setting(links: Links) -> None:
    visitor = Visitor(first_prompt(text="Which colours are there?"))
    press_run(links, visitor)
    press_run(links, visitor)
    assert list(parameters(copy(links, visitor))) == ["example", "text", "model"]


def test_a_setting_is_kept_through_further_runs(links: Links) -> None:
    visitor = Visitor(values=dict(MOVED))
    press_run(links, visitor)
    visitor.prompt["text"] = "Which colours are there?"
    press_run(links, visitor)
    assert MOVED.items() <= parameters(copy(links, visitor)).items()


def test_what_no_part_has_and_where_a_file_lies_is_left_out(links: Links) -> None:
    given = {
        **MOVED,
        "decoder.porters.dump": "/srv/x",
        "nobody.knows.this": 1,
        "merge.embeddings.nothing": 2,
        "x": 3,
        4: 5,
    }
    assert known_settings(links.events.drawing.parts, given) == MOVED
    assert known_settings(links.events.drawing.parts, [1]) == {}


def test_what_cannot_be_run_cannot_be_linked_to(links: Links, tmp_path: Path) -> None:
    visitor = Visitor(first_prompt(images=[], text=" "))
    with pytest.raises(InputError, match="nothing to run"):
        copy(links, visitor)
    (tmp_path / "x.png").write_bytes(b"no picture")
    visitor.prompt["images"] = [str(tmp_path / "x.png")]
    with pytest.raises(InputError, match="not a readable image"):
        copy(links, visitor)
    assert links.kept.find("a" * 64) is None


@pytest.mark.parametrize("sent", [None, "", "{", 3, {"a": 1}, ["<b>", 7, None, {}], ["merge.x"]])
def test_tabs_that_no_page_has_are_left_out(links: Links, sent: Any) -> None:
    link, _ = links.make({"tabs": sent}, first_prompt())
    assert "tab" not in parameters(link)


def test_only_tabs_that_are_not_the_first_of_their_row_are_named(links: Links) -> None:
    visitor = Visitor(tabs=["merge", "merge.embeddings"])
    first = links.events.drawing.parts.stages[0].stage
    expected = {} if first == "merge" else {"tab": "merge"}
    assert parameters(copy(links, visitor)).get("tab") == expected.get("tab")
    visitor.tabs = ["merge", "merge.positions"]
    assert parameters(copy(links, visitor))["tab"].split(",")[-1] == "merge.positions"


@pytest.mark.parametrize("sent", [None, "", "{", "3", "[]", "[" * 9_999, 5, '{"run": 3}'])
def test_a_state_that_is_none_makes_a_link_to_the_prompt(links: Links, sent: Any) -> None:
    link, _ = links.make(read_state(sent), first_prompt())
    assert list(parameters(link)) == ["example", "model"]


# ------------------------------------------------------------------------------------- opening


def save_image(folder: Path) -> str:
    path = folder / "mine.png"
    Image.fromarray(make_image(96, 64, seed=3).pixels).save(path)
    return str(path)


def test_somebody_else_gets_the_same_page_and_the_same_numbers(
    links: Links, tmp_path: Path
) -> None:
    mine = Visitor(values=dict(MOVED), tabs=["merge", "merge.distances"])
    mine.prompt |= {
        "images": [save_image(tmp_path)],
        "video": str(write_video(tmp_path / "clip.mp4", make_video().frames, fps=2)),
        "text": "有什么？“红色”…",
        "system": "Be brief.",
        "earlier": "User: Hello\nAssistant: Yes?",
        "max_pixels": 8192,
        "video_frames": 3,
        "video_start": 0.5,
    }
    press_run(links, mine)
    link = copy(links, mine)
    assert links.make(mine.state, mine.prompt)[1]

    theirs = open_link(links, link)
    run, other = mine.run(links.events), theirs.run(links.events)
    assert other is not run
    np.testing.assert_array_equal(other.decoded.logits, run.decoded.logits)
    for name in ("text", "system", "earlier", "max_pixels", "video_frames", "video_start"):
        assert theirs.prompt[name] == mine.prompt[name]
    for name in ("images", "video"):
        (own,), (kept,) = (
            [each] if isinstance(each, str) else each
            for each in (mine.prompt[name], theirs.prompt[name])
        )
        assert Path(kept).read_bytes() == Path(own).read_bytes()
        assert kept != own
    assert theirs.values == mine.values
    assert theirs.tabs[-1] == "merge.distances"
    assert theirs.notice == ""
    assert copy(links, theirs) == link


def test_settings_are_shown_before_the_run_begins(links: Links) -> None:
    visitor = open_link(links, "?text=Hello&merge.embeddings.shown=embeddings&tab=merge,nowhere")
    first, *others = visitor.sent
    assert first["restored"]["values"] == {"merge.embeddings.shown": "embeddings"}
    assert first["restored"]["tabs"] == ["merge", "nowhere"]  # opened where it is there
    assert first["stages"] == []
    assert not any("restored" in each for each in others)


@pytest.mark.parametrize(
    ("selection", "written"),
    [({"span": 0, "row": 2, "column": 3, "index": 99}, "0.2.3"), ({"index": 5}, "5")],
)
def test_the_pointer_comes_back(links: Links, selection: dict[str, int], written: str) -> None:
    mine = Visitor(selection=selection)
    press_run(links, mine)
    mine.selection = selection
    link = copy(links, mine)
    assert parameters(link)["at"] == written
    theirs = open_link(links, link)
    pointed = [read_selection(each.run(links.events), each.selection) for each in (mine, theirs)]
    assert pointed[0] == pointed[1] is not None


def test_a_selection_that_is_not_there_is_refused_or_left_out(links: Links) -> None:
    visitor = Visitor(selection={"index": 10_000})
    assert "at" not in parameters(copy(links, visitor))  # nothing has run
    press_run(links, visitor)
    visitor.selection = {"index": 10_000}
    with pytest.raises(InputError, match="no token"):
        copy(links, visitor)
    theirs = open_link(links, "?text=Hello&at=9999")
    assert all(theirs.run(links.events).has(stage) for stage in STAGES)


def test_the_page_learns_of_its_run_before_anything_is_computed(links: Links) -> None:
    """However fast the run is; and where the page leaves at that moment, the run is given up."""
    runs = links.events.drawing.runs
    num_runs = len(runs)
    updates = links.open('{"text": "Told at once"}', ignore_progress)
    key = next(update["run_key"] for update in updates if "run_key" in update)
    assert not runs.get(key).has("preprocess")
    updates.close()  # type: ignore[attr-defined]
    assert runs.peek(key) is None
    assert len(runs) == num_runs


def test_a_page_has_one_run_of_its_own(links: Links) -> None:
    visitor = open_link(links, "?text=Mine")
    num_runs, first = len(links.events.drawing.runs), visitor.run_key
    visitor.prompt["text"] = "Another one"
    press_run(links, visitor)
    assert links.events.drawing.runs.peek(first) is None
    assert len(links.events.drawing.runs) == num_runs


def test_a_link_that_is_stopped_says_so(links: Links) -> None:
    def stop(what: str, _done: int, _total: int) -> None:
        if what == "decoder layer":
            raise StageCancelled

    visitor = open_link(links, "?text=Stop+me&merge.embeddings.shown=embeddings", stop)
    assert "Stopped" in visitor.status
    assert visitor.sent[-1]["stages"] == ["preprocess", "vision", "merge"]
    assert visitor.values == {"merge.embeddings.shown": "embeddings"}


def test_a_lost_image_is_asked_for_and_all_else_is_there(links: Links, tmp_path: Path) -> None:
    mine = Visitor(first_prompt(images=[save_image(tmp_path)], text="Where?"))
    mine.values |= MOVED
    mine.tabs = ["merge", "merge.positions"]
    link = copy(links, mine)
    kept = links.kept.find(parameters(link)["images"])
    assert kept is not None
    kept.unlink()
    theirs = open_link(links, link)
    assert "no longer on the server" in theirs.notice
    assert "7 days" in theirs.notice
    assert theirs.prompt["text"] == "Where?"
    assert theirs.prompt["images"] == []
    assert theirs.values == MOVED
    assert theirs.tabs[-1] == "merge.positions"
    assert theirs.run_key is None  # other numbers than the link's would be shown


def test_another_checkpoint_is_said(links: Links) -> None:
    visitor = open_link(links, "?text=Hello&model=Qwen/<b>Qwen3@0123,bfloat16")
    assert "another checkpoint, Qwen/&lt;b&gt;Qwen3@0123,bfloat16" in visitor.notice
    assert visitor.run_key is not None


def test_an_example_that_is_gone_is_said(links: Links) -> None:
    visitor = open_link(links, "?example=nobody&system=Short.")
    assert "The example in this link no longer exists" in visitor.notice
    assert visitor.prompt["text"] == load_examples()[0].text
    assert visitor.prompt["system"] == "Short."


def test_a_link_of_one_language_opens_in_the_other(links: Links) -> None:
    mine = Visitor(values=dict(MOVED))
    link = copy(links, mine)
    with speaking("zh"):
        theirs = open_link(links, link)
        assert theirs.values == MOVED
        assert copy(links, theirs) == link


# --------------------------------------------------------------------------------- no harm

HOSTILE = {
    "merge.embeddings.shown": ["999", '"mean"', "-7", "true", "null", '["directions"]'],
    "merge.distances.quantity": ["[1e9]", '{"a": 1}', "<b>", "\x00", "x" * 900],
    "merge.positions.first-row": ["1e9", "-1", "NaN", '"x"', "[1]", "1.5", "9" * 400, "1e308"],
    "__proto__.x": ["1"],
    "nobody.knows": ["1"],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_setting_stops_no_more_than_what_needs_it(links: Links, name: str) -> None:
    drawing = links.events.drawing
    for value in HOSTILE[name]:
        visitor = Visitor()
        asked = links.read_address({"text": "Hello", name: value})
        assert asked is not None
        visitor.take(links.open(asked, ignore_progress))
        run = visitor.run(links.events)
        assert all(run.has(stage) for stage in STAGES), value
        known = drawing.parts.control(name) is not None
        assert set(visitor.values) == ({name} if known else set())
        if not known:
            continue
        question = {"run": visitor.run_key, "part": name.rpartition(".")[0]}
        part = drawing.parts.by_key[question["part"]]
        sent = {**question, "outputs": list(part.outputs), "values": visitor.values}
        for output, drawn in drawing.answer(sent)["outputs"].items():
            needs = part.outputs[output].needs
            assert "error" not in drawn or name.rpartition(".")[2] in needs, (value, output)
            assert "Something went wrong" not in drawn.get("error", ""), (value, output)


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
    links: Links, query: dict[str, str], message: str
) -> None:
    visitor = Visitor()
    asked = links.read_address(query)
    assert asked is not None
    if message:
        with pytest.raises(InputError, match=message):
            visitor.take(links.open(asked, ignore_progress))
    else:
        visitor.take(links.open(asked, ignore_progress))
    assert visitor.prompt["text"] == query["text"]  # nothing is lost


def test_an_address_that_is_too_long_opens_the_first_example_and_says_so(links: Links) -> None:
    visitor = open_link(links, "?text=" + "a" * 9_000)
    assert "This link is too long" in visitor.notice
    assert visitor.prompt["text"] == load_examples()[0].text
    assert visitor.run_key is not None


def test_a_plain_address_asks_for_nothing(links: Links) -> None:
    assert links.read_address({}) is None
    assert links.read_address(None) is None
    assert links.read_address({"__theme": "dark", "lang": "en"}) is None


@pytest.fixture(scope="module")
def hybrid_links(tmp_path_factory: pytest.TempPathFactory) -> Links:
    """Of a checkpoint whose template takes ``enable_thinking``."""
    folder = make_thinking_checkpoint(tmp_path_factory.mktemp("hybrid"), HYBRID)
    engine = load_engine(folder, device="cpu", dtype="float32")
    return Links(make_events(engine), KeptFiles(tmp_path_factory.mktemp("kept-thinking")))


def test_a_link_keeps_the_thinking_where_the_template_knows_it(
    hybrid_links: Links, links: Links
) -> None:
    mine = Visitor()
    mine.prompt["thinking"] = "off"
    press_run(hybrid_links, mine)
    link = copy(hybrid_links, mine)
    assert "thinking=off" in link
    theirs = open_link(hybrid_links, link)
    assert theirs.prompt["thinking"] == "off"
    assert theirs.run(hybrid_links.events).inputs.rendered_prompt.endswith("</think>\n\n")
    # The page of another checkpoint has no control for it.
    other = open_link(links, link)
    assert other.prompt["thinking"] == ""
    assert other.run(links.events).prompt.enable_thinking is None
