"""Whatever there is to press, open or ask for on the page answers, for every kind of prompt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from components.parts.all_parts import Parts
from components.share.downloads.panel import KINDS
from components.tabs import STAGE_TABS
from components.tabs.decoder import influence
from components.tabs.preprocess import budget, video
from components.tabs.sampling import grounding, thinking
from components.tabs.vision.focus import ABSENT
from playground.pipeline import STAGES
from reliability.faults import kill_and_restart
from reliability.page_client import PageClient
from reliability.served import Server, running_app, stop_app

PATCH = {"span": 0, "row": 1, "column": 1}
NO_STILL = {"sampling.grounding.read": grounding.PART.absent}
NO_VIDEO = {"preprocess.video.misread": video.PART.absent}
NO_IMAGE = (
    NO_STILL
    | NO_VIDEO
    | {
        "preprocess.budget.measured": budget.PART.absent,
        "preprocess.budget.answered": budget.PART.absent,
        "vision.attention.measured": ABSENT,
        "vision.position-grid.nearest": ABSENT,
        "decoder.influence.measured": influence.PART.absent,
        "decoder.influence.taken": influence.PART.absent,
    }
)
# The number of the example, what is pointed at in it, and what is refused for want of media.
PROMPTS: dict[str, tuple[int, dict[str, int], dict[str, str]]] = {
    "two pictures": (6, PATCH, NO_VIDEO),
    "a video": (8, PATCH, NO_STILL),
    "text alone": (9, {"index": 2}, NO_IMAGE),
}
# Pressed without what they need: they say so.
REFUSED = {
    "decoder.facts.answered": "The sequence is the prompt alone.",
    "decoder.porters.compared": "No file has been uploaded.",
    "sampling.thinking.cut": thinking.PART.absent,
}


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    """Without the limits of a public page, which would refuse some of it."""
    with running_app() as running:
        yield running


@contextmanager
def page_with_example(server: Server, number: int) -> Iterator[PageClient]:
    """A page that has run this example, and is closed in the end."""
    page = PageClient(server)
    try:
        assert page.press(page.find("examples", "select"), {"index": number}).ok
        assert page.press(page.find("run")).ok
        assert page.run["stages"] == list(STAGES)
        yield page
    finally:
        page.vanish()


def run_experiments(page: PageClient, selection: dict[str, int]) -> dict[str, str]:
    """All of them, each part's drawings afterwards; what was refused, by full name."""
    refused: dict[str, str] = {}
    for key, part in page.parts.items():
        for name in part.experiments:
            answer = page.experiment(key, name, selection=selection)
            assert answer.get("done"), answer
            if "error" in answer:
                refused[f"{key}.{name}"] = answer["error"]
    return refused


def draw_everything(page: PageClient, selection: dict[str, Any]) -> list[str]:
    """Ask for every output of every part; what was wrong."""
    problems = []
    for key in page.parts:
        reply = page.draw(key, selection=selection)
        problems += [f"{key}: {each}" for each in (*reply.faults, *reply.errors.items())]
        is_absent = "absent" in reply.content
        if not is_absent and reply.drawn.keys() != page.parts[key].outputs.keys():
            problems.append(f"{key}: {reply.text[:200]}")
    return problems


def other_events(page: PageClient) -> dict[str, tuple[int, Any]]:
    """What is on the page besides Run, the examples and the experiments, by name."""
    events: dict[str, tuple[int, Any]] = {
        f"run {stage}": (page.find_run_button(stage), None)
        for stage in dict.fromkeys(part.stage for part in page.parts.values())
        if stage != "model"
    }
    events["enter"] = (page.find("input-text", "submit"), None)
    events["limit"] = (page.find("run-view", "rerun"), {"max_pixels": 65_536})
    events["preview"] = (page.find("input-images", "upload"), [])
    events["link"] = (page.find("copy-link"), None)
    events["report"] = (page.find_event("report"), page.state())
    for stage in (*STAGES, "sampling", "cache"):
        for kind in KINDS:
            data = page.state(stage=stage, kind=kind)
            events[f"{stage} {kind}"] = (page.find_event("download"), data)
    return events


@pytest.mark.parametrize("prompt", PROMPTS)
def test_every_event_answers(own_server: Server, prompt: str) -> None:
    number, selection, without_image = PROMPTS[prompt]
    with page_with_example(own_server, number) as page:
        assert draw_everything(page, {}) == []  # before anything was tried
        refused = run_experiments(page, selection)
        expected = REFUSED | without_image
        assert refused.keys() == expected.keys()
        wrong = [name for name, words in expected.items() if not refused[name].startswith(words)]
        assert wrong == []
        assert draw_everything(page, selection) == []
        for name, (index, data) in other_events(page).items():
            pressed = page.press(index, data)
            assert pressed.ok, f"{name}: {pressed.message}"


def test_the_page_has_every_part_and_event(own_server: Server) -> None:
    page = PageClient(own_server)
    declared = Parts(STAGE_TABS).by_key
    assert page.parts.keys() == declared.keys()
    for key, part in page.parts.items():
        assert part.outputs.keys() == declared[key].outputs.keys()
        assert part.experiments.keys() == declared[key].experiments.keys()
    pressed = {index for index, _ in other_events(page).values()}
    pressed |= {page.find("run"), page.find("stop"), page.find("examples", "select")}
    pressed |= {page.find_event(name) for name in ("load", "unload", "experiment")}
    followers = ("success", "then", "change")  # of others: they have no place of their own
    left = [
        event["targets"]
        for index, event in page.events.items()
        if index not in pressed
        and event["backend_fn"]
        and {target[0] for target in event["targets"]} & page.home
        and event["targets"][0][1] not in followers
    ]
    page.vanish()
    assert left == []


def test_killed_and_started_again(own_server: Server) -> None:
    """The app has nothing else to do by now. Each start takes seconds, so it is killed here."""
    report, server = kill_and_restart(own_server, own_server.folder, times=1)
    stop_app(server)
    assert report.problems == []
