"""Whatever there is to press, move or open on the page answers, for every kind of prompt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from reliability.page_client import PageClient
from reliability.served import Server, running_app

PATCH = {"span": 0, "row": 1, "column": 1}
# The number of the example, what is pointed at in it, and what is refused for want of a picture.
PROMPTS = {
    "a picture": (0, PATCH, {}),
    "two pictures": (6, PATCH, {}),
    "a video": (8, PATCH, {}),
    "text alone": (
        9,
        {"index": 2},
        {
            "Measure prefill times": "This prompt has no picture",
            "Measure what it depends on": "There is no picture",
            "Take the strongest part away": "There is no picture",
        },
    ),
}
# Pressed without what they need: they say so.
REFUSED = {
    "A file of another implementation": "There is no file to compare.",
    "Your message": "The message is empty.",
}
# Of these a browser says what was clicked inside them.
CLICKED_IN = ("html", "plotlyview")


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    """Without strangers' limits, which would refuse some of it."""
    with running_app() as running:
        yield running


@contextmanager
def page(server: Server) -> Iterator[PageClient]:
    """A page that is closed in the end."""
    visitor = PageClient(server)
    try:
        yield visitor
    finally:
        visitor.vanish()


def events_by_kind(visitor: PageClient) -> dict[str, list[int]]:
    """The home page's events: of tabs, of the pointer and the examples, and all others."""
    components = {each["id"]: each for each in visitor.config["components"]}
    found: dict[str, list[int]] = {"tabs": [], "pointer": [], "examples": [], "others": []}
    for index, event in visitor.events.items():
        targets = [target for target in event["targets"] if target[0] in visitor.home]
        if not event["backend_fn"] or not targets:
            continue
        component, name = components[targets[0][0]], targets[0][1]
        if name != "select":
            found["others"].append(index)
        elif component["type"] == "tabitem":
            found["tabs"].append(index)
        elif "pg-pointer-bar" in (component["props"].get("elem_classes") or ()):
            found["pointer"].append(index)
        elif visitor.label(index).startswith('<div class="example-cards"'):
            found["examples"].append(index)
        else:
            assert component["type"] in CLICKED_IN
    return found


@pytest.mark.parametrize("prompt", PROMPTS)
def test_every_event_answers(own_server: Server, prompt: str) -> None:
    example, place, without_picture = PROMPTS[prompt]
    with page(own_server) as visitor:
        events = events_by_kind(visitor)
        assert len(events["tabs"]) > 30
        assert len(events["others"]) > 120
        # All that follows the pointer does so with one event: a page sends the next one of a
        # click when the last one is complete.
        (choose,), (point,) = events["examples"], events["pointer"]
        assert visitor.press(choose, {"index": example}).ok
        assert visitor.press(visitor.find("run")).ok
        refused = {}
        for index in events["tabs"]:  # so that nothing is left out for being out of sight
            assert visitor.press(index).ok
        for data in (place, {}, place):
            assert visitor.press(point, data).ok
        for index in events["others"]:
            pressed = visitor.press(index)
            if not pressed.ok:
                refused[visitor.label(index)] = pressed.message
    expected = REFUSED | without_picture
    assert refused.keys() == expected.keys()
    assert [name for name, words in expected.items() if not refused[name].startswith(words)] == []
