"""The cache tab: requests in a row, their marks and numbers against the engine's own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.parts.all_parts import Parts
from components.parts.drawing import Drawing
from components.parts.experiments import run_experiment
from components.parts.findings import Findings
from components.parts.question import Question
from components.tabs.cache import conversation, requests
from components.tabs.cache.requests import EXAMPLES, PART, serve
from components.tabs.cache.scenes import NO_IMAGE, RUN_IMAGES, build_prompt, split_turns
from components.tabs.cache.served import ServedRequests
from components.tabs.cache.tab import TAB
from playground.engine import Engine
from playground.errors import InputError
from playground.kv_cache.shared_prefix import shared_prefix
from playground.pipeline import Run
from playground.preprocess.stage import run_preprocess
from playground.prompt import Prompt, PromptImage, Turn
from playground.run_store import RunStore
from tests.components.html_reader import read_html
from tests.components.runs import ignore_progress, make_run


@pytest.fixture(scope="module")
def run(tiny_random_engine: Engine, image: PromptImage) -> Run:
    turn = Turn("user", "Describe this image.", images=(image,))
    return Run(tiny_random_engine, Prompt((turn,), system="Be kind."))


@pytest.fixture(scope="module")
def text_run(tiny_random_engine: Engine) -> Run:
    return Run(tiny_random_engine, Prompt((Turn("user", "你好"),)))


def values(example: int, *, size: int = 1, repeats: int = 2) -> tuple[Any, ...]:
    """What *Serve these requests* is given for an example, in the order of ``SETTINGS``."""
    chosen = EXAMPLES[example]
    return tuple(chosen.rows), chosen.system, size, repeats


def serve_all(run: Run, *settings: Any) -> ServedRequests:
    *_, served = serve(run, ignore_progress, *settings)
    return served


# --------------------------------------------------------------------------- requests as typed


def test_a_conversation_is_split_at_its_turns() -> None:
    assert split_turns("Hello\nthere") == [("user", "Hello\nthere")]
    assert split_turns("Hi\nAssistant: Yes.\nuser:  And?\nnow") == [
        ("user", "Hi"),
        ("assistant", "Yes."),
        ("user", "And?\nnow"),
    ]
    assert split_turns("User: Hi") == [("user", "Hi")]
    assert split_turns("用户：你好\n助手：你好。") == [("user", "你好"), ("assistant", "你好。")]
    assert split_turns("Say Assistant: no") == [("user", "Say Assistant: no")]
    assert split_turns("") == [("user", "")]


def test_requests_carry_images_and_system_prompt(run: Run, text_run: Run) -> None:
    own = build_prompt(run, "request 1", "Why?", RUN_IMAGES)
    assert own.images == run.prompt.images
    assert own.system == "Be kind."
    assert build_prompt(run, "r", "Why?", NO_IMAGE, "Be brief.").system == "Be brief."
    assert build_prompt(run, "r", "", RUN_IMAGES).images == run.prompt.images
    scene = build_prompt(text_run, "r", "Why?\nAssistant: So.\nUser: Ah?", "star")
    assert [len(turn.images) for turn in scene.turns] == [1, 0, 0]
    assert build_prompt(text_run, "r", "你好", RUN_IMAGES).images == ()


@pytest.mark.parametrize(
    ("text", "image", "message"),
    [
        (" ", NO_IMAGE, "Request 2 is empty"),
        (3, NO_IMAGE, "Request 2"),
        ("Hi", "../../etc/passwd", "no image named"),
        ("Hi", None, "by name"),
        ("", RUN_IMAGES, "Request 2 is empty"),
    ],
)
def test_a_bad_request_is_named(text_run: Run, text: Any, image: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_prompt(text_run, "Request 2", text, image)


# --------------------------------------------------------------------------- the stream


def test_every_example_is_served(run: Run) -> None:
    for number, example in enumerate(EXAMPLES):
        served = serve_all(run, *values(number, repeats=1))
        count = len(example.requests)
        sections = read_html(requests.strips(run, served)).find("section", "pg-request")
        assert len(sections) == count
        assert len(read_html(requests.table(run, served)).rows()) == count + 1
        chart = requests.times(run, served)
        assert chart is not None
        assert len(chart.data[0].x) == count
        assert "cache" in requests.script(run, served)
        assert 'class="pg-badge pg-badge-hit"' in requests.summary(run, served)


def test_strips_mark_what_the_cache_did(run: Run) -> None:
    """“Same image, different question”: everything before the first different token is reused."""
    drawn = requests.strips(run, serve_all(run, *values(1)))
    inputs = [
        run_preprocess(run.engine, build_prompt(run, "", text, image))
        for text, image in EXAMPLES[1].requests
    ]
    shared, _ = shared_prefix(*inputs)
    assert shared > inputs[0].spans[0].end
    second = read_html("<section" + drawn.split("<section")[2])
    by_label: dict[str, int] = {}
    for chip in second.find("li"):
        if "data-start" in chip.attrs:
            length = int(chip.attrs["data-end"]) - int(chip.attrs["data-start"])
            label = chip.attrs["data-label"]
            by_label[label] = by_label.get(label, 0) + length
    assert by_label == {"reused": shared, "computed": inputs[1].num_tokens - shared}
    assert f"{shared} of {inputs[1].num_tokens} tokens come from the cache" in drawn


def test_requests_are_found_one_by_one(run: Run) -> None:
    found = list(serve(run, ignore_progress, *values(4)))
    assert [len(each.rows) for each in found] == [1, 2, 3]
    assert requests.strips(run, found[0]).count("<section") == 1
    assert PART.outputs["strips"].live
    assert not PART.outputs["times"].live


def test_what_is_found_holds_no_pixels(run: Run) -> None:
    """The findings of all visitors share one budget; a photo's patches are 25 MB a request."""
    served = serve_all(run, *values(1))
    kept = [row.inputs for row in served.rows] + [served.reuse.first, served.reuse.second]
    assert all(inputs.pixel_values is None for inputs in kept)
    assert served.reuse.shared_tokens > run.inputs.spans[0].end  # worked out while they were there


def test_requests_that_were_changed_since_are_shown(run: Run) -> None:
    given = values(0)
    served = serve_all(run, *given)
    assert requests.changed(run, served, *given) == ""
    assert requests.changed(run, None, *given) == ""
    assert "settings above have changed" in requests.changed(run, served, given[0][:1], *given[1:])
    assert "settings above have changed" in requests.changed(run, served, *given[:3], 3)


@pytest.mark.parametrize(
    ("control", "raw"),
    [
        ("requests", [{}] * 5),
        ("requests", []),
        ("repeats", float("nan")),
        ("repeats", 0),
        ("repeats", 21),
        ("block-size", 65),
        ("block-size", "8"),
        ("block-size", 1.5),
    ],
)
def test_a_bad_value_is_refused(text_run: Run, control: str, raw: Any) -> None:
    chosen = PART.control(control)
    assert chosen is not None
    with pytest.raises(InputError):
        chosen.parse(raw, text_run)


def test_a_bad_request_is_refused_when_it_is_served(text_run: Run) -> None:
    rows = ({"text": "Hi", "picture": NO_IMAGE}, {"text": "", "picture": NO_IMAGE})
    with pytest.raises(InputError, match="Request 2 is empty"):
        next(serve(text_run, ignore_progress, rows, "", 1, 1))


def test_a_download_has_every_request_in_numbers(run: Run) -> None:
    served = serve_all(run, *values(1))
    first, second = served.requests
    assert first["request"] == 1
    assert second["reused_tokens"] == served.rows[1].reused_tokens > 0
    assert second["miss_ms"] == list(served.rows[1].miss_ms)
    assert json.loads(json.dumps(served.requests)) == list(served.requests)


# --------------------------------------------------------------------------- the whole tab


def draw_everything(drawing: Drawing, run: Run, findings: dict[str, str]) -> dict[str, Any]:
    """Every output of every part at the defaults of all controls, as the page asks for them."""
    key = drawing.runs.add(run)
    drawn: dict[str, Any] = {}
    for part in TAB.all_parts:
        question = {
            "run": key,
            "part": part.key,
            "outputs": list(part.outputs),
            "controls": True,
            "findings": findings,
        }
        answer = drawing.answer(question)
        assert len(answer["controls"]) == len(part.controls)
        drawn |= {f"{part.id}.{name}": each for name, each in answer["outputs"].items()}
    return drawn


@pytest.fixture
def drawing() -> Drawing:
    return Drawing(Parts((TAB,)), RunStore(), Findings())


def test_everything_is_drawn(drawing: Drawing, shipped_engine: Engine, image: PromptImage) -> None:
    run = make_run(shipped_engine, "Describe this image.", image)
    run.ensure("decoder")
    before = draw_everything(drawing, run, {})
    assert not {name: each for name, each in before.items() if "error" in each}
    assert before["policy.tree"]["figure"]
    assert before["requests.strips"]["html"] == ""
    findings: dict[str, str] = {}
    for part in TAB.all_parts:
        for each in part.experiments.values():
            if each.name == "replay":
                continue  # thirty requests; test_policy.py replays three
            question = Question(run=drawing.runs.add(run), part=part.key, findings=findings)
            needs = drawing.needs(part, each, run, question)
            *_, found = each.run(run, ignore_progress, *needs)
            name = part.full_name(each.name)
            findings[name] = drawing.findings.add(run, name, found)
    after = draw_everything(drawing, run, findings)
    assert not {name: each for name, each in after.items() if "error" in each}
    silent = {name for name, each in after.items() if not any(each.values())}
    assert silent == {"requests.changed", "policy.lesson"}


def test_a_message_goes_on_from_the_last_one(
    drawing: Drawing, shipped_engine: Engine, image: PromptImage
) -> None:
    """The experiment's own finding comes back to it, and another run knows nothing of it."""
    run = make_run(shipped_engine, "Describe this image.", image)
    key = drawing.runs.add(run)
    part = conversation.PART
    data: dict[str, Any] = {"run": key, "part": part.key, "experiment": "send"}
    *_, first = run_experiment(drawing, part, data, ignore_progress)
    finding = first["finding"]
    again = data | {
        "values": {"cache.conversation.text": "Why?", "cache.conversation.picture": NO_IMAGE},
        "findings": {finding["name"]: finding["key"]},
    }
    *_, second = run_experiment(drawing, part, again, ignore_progress)
    assert second["outputs"]["messages"]["html"].count("pg-role-user") == 2
    other = drawing.runs.add(make_run(shipped_engine, "Describe this image.", image))
    *_, fresh = run_experiment(drawing, part, again | {"run": other}, ignore_progress)
    assert fresh["outputs"]["messages"]["html"].count("pg-role-user") == 1
