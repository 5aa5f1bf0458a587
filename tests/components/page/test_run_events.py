"""A page's run events as plain functions: what is computed, kept, told and said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.compute.engine_host import EngineHost
from components.page.site import Site, build_site
from components.parts.controls import Toggle
from components.parts.drawing import Drawing
from components.parts.part import Part, StageParts
from components.parts.run_events import RunEvents, stages_until
from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.language import speaking
from playground.pipeline import STAGES, Run
from tests.components.runs import ignore_progress
from tests.components.visits import Visitor, first_prompt, make_events
from tests.tiny_random import make_tiny_random_checkpoint

SECRET = "a detail of the server"
REFUSES_IMAGES = """{%- for message in messages -%}{%- for part in message.content -%}
{%- if part.type == "image" -%}{{ raise_exception("Text only, please.") }}{%- endif -%}
{%- endfor -%}{%- endfor -%}
"""

LAB = Part("lab", "Lab", stage="sampling", controls=(Toggle(id="on", label="On"),))


@LAB.experiment("Measure", needs=("on",), auto=True)
def measured(run: Run, progress: Any, on: bool) -> Iterator[int]:
    """Counts the sequence."""
    yield 0
    yield run.inputs.num_tokens


@LAB.experiment("More")
def more(run: Run, progress: Any) -> Iterator[int]:
    """Only when it is asked for."""
    raise AssertionError("nobody has asked")
    yield


@LAB.html(needs=("measured", "more"))
def words(run: Run, measured: int | None, more: int | None) -> str:
    """What was found."""
    return f"{measured} {more}"


STAGE = StageParts(stage="sampling", label="5", title="", sentence="", parts=(LAB,))


@pytest.fixture(scope="module")
def events(tiny_random_engine: Engine) -> RunEvents:
    """A site's events that the tests of this file share."""
    return make_site(tiny_random_engine)


def make_site(engine: Engine) -> RunEvents:
    events = make_events(engine, (STAGE,))
    events.compute_opening(engine)
    return events


def press(events: RunEvents, visitor: Visitor, stage: str = "decoder", **more: Any) -> None:
    """Press Run, or the button of one stage."""
    progress = more.pop("progress", ignore_progress)
    run = events.run(stages_until(stage), visitor.run_key, visitor.panel, progress, **more)
    visitor.take(run)


def test_a_run_computes_every_stage_and_ends_with_its_badge(events: RunEvents) -> None:
    visitor = Visitor()
    press(events, visitor)
    assert all(visitor.run(events).has(stage) for stage in STAGES)
    assert "max |Δ logits| = 0," in visitor.status
    assert "last run" in visitor.status
    assert [sent["stages"] for sent in visitor.sent] == [
        *(list(STAGES[:count]) for count in range(5)),
        list(STAGES),
    ]
    assert [sent["running"] for sent in visitor.sent] == [*STAGES, "", ""]


def test_a_mixture_of_experts_runs_to_its_badge(tiny_random_moe_engine: Engine) -> None:
    events, visitor = make_site(tiny_random_moe_engine), Visitor()
    press(events, visitor)
    assert all(visitor.run(events).has(stage) for stage in STAGES)
    assert "max |Δ logits| = 0," in visitor.status
    assert "last run" in visitor.status


def test_one_stage_runs_what_is_missing_and_no_more(events: RunEvents) -> None:
    visitor = Visitor()
    press(events, visitor, "vision")
    key, run = visitor.run_key, visitor.run(events)
    assert [stage for stage in STAGES if run.has(stage)] == ["preprocess", "vision"]
    vision = run.vision
    visitor.sent.clear()
    press(events, visitor, "merge")
    assert visitor.run_key == key
    assert run.vision is vision
    assert [sent["running"] for sent in visitor.sent] == ["merge", "", ""]
    assert not run.has("decoder")


@pytest.mark.parametrize(
    ("stage", "last"), [("preprocess", 1), ("merge", 3), ("decoder", 4), ("cache", 4)]
)
def test_a_tabs_button_runs_up_to_its_stage(stage: str, last: int) -> None:
    assert stages_until(stage) == STAGES[:last]


def test_another_text_is_another_run_and_the_old_one_goes(events: RunEvents) -> None:
    visitor = Visitor()
    press(events, visitor)
    key, old = visitor.run_key, visitor.run(events)
    visitor.prompt["text"] = "What else?"
    press(events, visitor)
    new = visitor.run(events)
    assert new.prompt.turns[-1].text == "What else?"
    assert new.vision is old.vision  # the same image
    assert events.drawing.runs.peek(key) is None


def test_the_pointer_s_layout_comes_with_the_first_stage_of_a_new_run(events: RunEvents) -> None:
    visitor = Visitor(first_prompt(text="Where?"))
    changes = list(events.run(STAGES, None, visitor.panel, ignore_progress))
    assert ["pointer" in each for each in changes] == [False, True, *[False] * 4]
    again = events.run(STAGES, changes[0]["run_key"], visitor.panel, ignore_progress)
    assert not any("pointer" in each for each in again)  # what is pointed at stays


def test_a_bad_value_changes_nothing(events: RunEvents) -> None:
    visitor = Visitor()
    press(events, visitor, "preprocess")
    key = visitor.run_key
    visitor.prompt["max_pixels"] = -5
    with pytest.raises(InputError, match="max pixels"):
        press(events, visitor)
    assert visitor.run_key == key
    assert events.drawing.runs.get(key).has("preprocess")


@pytest.mark.parametrize(
    ("at", "last", "missing"),
    [("decoder layer", "merge", "decoder"), ("parity, layer", "decoder", "parity")],
)
def test_a_stopped_run_says_so_and_keeps_what_was_done(
    events: RunEvents, at: str, last: str, missing: str
) -> None:
    def stop(what: str, _done: int, _total: int) -> None:
        if what == at:
            raise StageCancelled

    visitor = Visitor(first_prompt(text="Stop me"))
    press(events, visitor, progress=stop)
    assert "Stopped" in visitor.status
    assert visitor.sent[-1]["running"] == ""
    assert visitor.sent[-1]["stages"][-1] == last
    kept = visitor.run(events)
    assert kept.has(last)
    assert not kept.has(missing)
    assert kept.engine.lock.acquire(blocking=False)
    kept.engine.lock.release()


def test_a_page_that_leaves_takes_its_new_run_with_it(events: RunEvents) -> None:
    runs, visitor = events.drawing.runs, Visitor(first_prompt(text="Leave"))
    updates = events.run(STAGES, None, visitor.panel, ignore_progress)
    key = next(updates)["run_key"]
    next(updates)
    updates.close()  # type: ignore[attr-defined]
    assert runs.peek(key) is None
    press(events, visitor, "preprocess")
    updates = events.run(STAGES, visitor.run_key, visitor.panel, ignore_progress)
    next(updates)
    updates.close()  # type: ignore[attr-defined]
    assert runs.peek(visitor.run_key) is not None  # a page that comes back finds it


# ------------------------------------------------------------------------------ the opening


def test_a_part_that_does_not_apply_starts_nothing_by_itself(
    tiny_random_engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    started: list[str] = []

    def start(run: Run, progress: Any) -> Iterator[str]:
        started.append(run.engine.source)
        yield "found"

    parts = [
        Part(name, name, stage="sampling", shown=lambda run, shown=shown: shown)
        for name, shown in (("hidden", False), ("shown", True))
    ]
    for part in parts:
        part.experiment(auto=True)(start)
    stage = StageParts(stage="sampling", label="5", title="", sentence="", parts=tuple(parts))
    events = make_events(tiny_random_engine, (stage,))
    events.compute_opening(tiny_random_engine)
    assert events.opening is not None
    assert list(events.opening.findings) == ["sampling.shown.start"]
    assert len(started) == 1
    assert caplog.text == ""


def test_a_page_opens_with_the_first_example_s_run(events: RunEvents) -> None:
    pages = [Visitor(), Visitor()]
    for each in pages:
        each.take(events.open_page())
    assert pages[0].run_key == pages[1].run_key
    assert "max |Δ logits| = 0," in pages[0].status
    (sent,) = pages[0].sent
    assert sent["stages"] == list(STAGES)
    assert list(sent["findings"]) == ["sampling.lab.measured"]
    run = pages[0].run(events)
    assert _drawn(events.drawing, sent) == f"{run.inputs.num_tokens} None"
    press(events, pages[0])
    assert pages[0].run_key == pages[1].run_key  # it had run already
    pages[0].prompt["text"] = "Mine"
    press(events, pages[0], "preprocess")
    assert events.drawing.runs.peek(pages[1].run_key) is run  # shared by all pages: never dropped


def _drawn(drawing: Drawing, sent: dict[str, Any]) -> str:
    question = {"run": sent["key"], "part": LAB.key, "outputs": ["words"]}
    answer = drawing.answer({**question, "findings": sent["findings"]})
    return str(answer["outputs"]["words"]["html"])


@pytest.fixture
def text_only_site(tmp_path: Path) -> Site:
    """A site whose checkpoint has a chat template that refuses images."""
    folder = make_tiny_random_checkpoint(tmp_path)
    template = folder / "chat_template.jinja"
    template.write_text(REFUSES_IMAGES + template.read_text(encoding="utf-8"), encoding="utf-8")
    host = EngineHost(str(folder), device="cpu", dtype="float32")
    site = build_site(host)
    host.start(then=site.begin_with_first_example)
    assert host.wait(60).phase == "ready"
    return site


def test_a_first_example_that_the_template_refuses_leaves_the_page_usable(
    text_only_site: Site,
) -> None:
    events, visitor = text_only_site.shared.events, Visitor()
    visitor.take(events.open_page())
    assert "The first example does not run on this checkpoint. The" in visitor.status
    assert "chat template cannot render this prompt: Text only, please." in visitor.status
    assert 'data-tone="warn"' in visitor.status
    assert "parity" not in visitor.status
    assert [sent["stages"] for sent in visitor.sent] == [[]]
    with speaking("zh"):
        (changes,) = events.open_page()
    assert "第一个示例在这个模型检查点上无法运行。" in changes["status"]
    assert "cannot render" not in changes["status"]
    with pytest.raises(InputError, match="Text only, please"):
        press(events, visitor)
    visitor.prompt |= {"images": [], "text": "Hello"}
    press(events, visitor)
    assert visitor.sent[-1]["stages"] == list(STAGES)
    assert "max |Δ logits| = 0," in visitor.status
    assert "first example" not in visitor.status


def test_a_first_example_that_the_model_fails_on_shows_the_stages_before(
    tiny_random_engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_args: Any, **_more: Any) -> None:
        raise ZeroDivisionError(SECRET)

    text_model = tiny_random_engine.model.model.language_model
    with monkeypatch.context() as patch:
        patch.setattr(text_model.layers[0], "forward", fail)
        events = make_site(tiny_random_engine)
    visitor = Visitor()
    visitor.take(events.open_page())
    assert "The first example does not run on this checkpoint. Something went" in visitor.status
    assert "(ZeroDivisionError)" in visitor.status
    assert SECRET not in visitor.status + caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert [sent["stages"] for sent in visitor.sent] == [["preprocess", "vision", "merge"]]
    press(events, visitor)
    assert visitor.sent[-1]["stages"] == list(STAGES)
    assert "max |Δ logits| = 0," in visitor.status


def test_a_checkpoint_that_does_not_come_is_said(tiny_random_engine: Engine) -> None:
    from components.compute.engine_host import HostStatus

    events = make_events(tiny_random_engine, (STAGE,))
    events.host._status = HostStatus("failed", "No such checkpoint.")
    (said,) = events.open_page()
    assert list(said) == ["status"]
    assert "No such checkpoint." in said["status"]


def test_a_run_is_written_as_json(events: RunEvents) -> None:
    first = next(events.run(STAGES, None, Visitor().panel, ignore_progress, findings={"a.b": "k"}))
    sent = json.loads(first["run"])
    assert sent["key"] == first["run_key"]
    assert sent["findings"] == {"a.b": "k"}
    assert "restored" not in sent
