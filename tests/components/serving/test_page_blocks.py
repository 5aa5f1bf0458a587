"""The pages are described to Gradio once, and rightly; what is skipped costs nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gradio as gr
import pytest
from anyio.from_thread import start_blocking_portal
from gradio.state_holder import SessionState

from components.compute.engine_host import EngineHost
from components.page.site import Site, build_site
from components.serving.page_blocks import PageBlocks


@pytest.fixture(scope="module")
def site() -> Site:
    return build_site(EngineHost("tiny"))


def as_json(described: Any) -> str:
    return json.dumps(described, default=str, sort_keys=True)


def test_what_is_served_is_what_gradio_would_describe(site: Site) -> None:
    served = site.demo.get_config_file()
    config = site.demo.default_config
    described = type(config).get_config(config)
    assert set(described["page"]) == {"", "zh"}
    for part, expected in described.items():
        assert as_json(served[part]) == as_json(expected), part


def test_components_are_described_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight times while it starts took most of the start."""
    asked = []
    monkeypatch.setattr(gr.blocks.Block, "get_config", lambda *_: asked.append(1))
    assert len(site.demo.get_config_file()["components"]) > 100
    assert not asked


# ------------------------------------------------------------------------------ what is skipped

SKIPPED = {"__type__": "update"}


class Small:
    """A page of four outputs, of which one stays on the server."""

    def __init__(self, kind: type[gr.Blocks], fn: Callable[..., Any], count: int = 4) -> None:
        with kind() as self.demo:
            self.html, self.slider = gr.HTML("a"), gr.Slider(0, 9, value=1)
            self.state, self.text = gr.State(0), gr.Textbox("b")
            self.outputs = [self.html, self.slider, self.state, self.text][:count]
            gr.Button().click(lambda: fn(self), None, self.outputs)
        if isinstance(self.demo, PageBlocks):
            self.demo.finish()
        self.session = SessionState(self.demo)

    def answer(self) -> list[Any]:
        function = self.demo.fns[0]
        values = function.fn()  # type: ignore[misc]
        with start_blocking_portal() as portal:  # a browser's loop may run in this thread
            post = self.demo.postprocess_data
            return portal.call(post, function, values, self.session)  # type: ignore[arg-type]


def told_of_html(page: Small) -> dict[str, Any]:
    told: dict[str, Any] = page.answer()[0]
    return told


def test_gradio_tells_the_page_of_skipped_html() -> None:
    """The reason for all this; where it no longer holds, the override may go."""
    assert told_of_html(Small(gr.Blocks, lambda _: [gr.skip()] * 4)) == {
        "props": SKIPPED,
        "__type__": "update",
    }


@pytest.mark.parametrize("count", [4, 1])
@pytest.mark.parametrize(
    "fn",
    [
        lambda page: [gr.skip()] * len(page.outputs) if len(page.outputs) > 1 else gr.skip(),
        lambda _: gr.skip(),
        lambda page: {page.html: gr.skip()},
    ],
)
def test_nothing_is_told_of_what_is_skipped(
    fn: Callable[..., Any], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Small(PageBlocks, fn, count)
    built = []
    monkeypatch.setattr(gr.HTML, "__init__", lambda *_, **__: built.append(1))
    assert page.answer() == [SKIPPED] * count
    assert not built


@pytest.mark.parametrize(
    "fn",
    [
        lambda _: ["<p>", 3, 7, gr.Textbox(value="c", visible=False)],
        lambda page: {page.html: "<p>", page.slider: 3, page.state: 7, page.text: gr.skip()},
        lambda page: {page.slider: gr.update(value=3, maximum=5)},
        lambda page: {page.state: 7},
    ],
)
def test_what_changes_is_told_as_gradio_tells_it(fn: Callable[..., Any]) -> None:
    ours, gradios = Small(PageBlocks, fn), Small(gr.Blocks, fn)
    told, expected = ours.answer(), gradios.answer()
    for output, ours_told, gradios_told in zip(ours.outputs, told, expected, strict=True):
        quiet = output is ours.state or gradios_told in (SKIPPED, {"props": SKIPPED, **SKIPPED})
        assert ours_told == (SKIPPED if quiet else gradios_told)
    assert ours.session[ours.state._id] == gradios.session[gradios.state._id]


def test_a_message_changes_nothing_in_the_message_before() -> None:
    """The page may not have shown it yet, and edits its objects in place."""
    page = Small(PageBlocks, lambda _: None)
    function = page.demo.fns[0]
    update = {"__type__": "update", "choices": [["a", 1]], "value": 1}
    messages = [
        [SKIPPED, SKIPPED, SKIPPED, "one"],
        [SKIPPED, update, SKIPPED, "one two"],
        [SKIPPED, SKIPPED, SKIPPED, "one two"],
        [SKIPPED, {"__type__": "update", "value": 2}, SKIPPED, None],
    ]
    sent = [
        page.demo.handle_streaming_diffs(function, list(each), "session", "run", final=False)
        for each in messages
    ]
    assert sent[0] == messages[0]
    assert sent[1] == [[], [["replace", [], update]], [], [["append", [], " two"]]]
    assert sent[2] == [[], [["replace", [], SKIPPED]], [], []]
    assert sent[3][1:] == [[["replace", [], messages[3][1]]], [], [["replace", [], None]]]
    last = page.demo.handle_streaming_diffs(function, [None] * 4, "session", "run", final=True)
    assert last == messages[3]


def test_a_handler_that_gives_too_little_is_gradios_to_judge() -> None:
    with pytest.raises(ValueError, match="didn't return enough"):
        Small(PageBlocks, lambda _: ["<p>", 3]).answer()
