"""Calls on a lent GPU, with a stand-in that forks a process for each, as ZeroGPU does."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

import playground
from components.compute import gpu_process
from components.compute.gpu_process import compute_ahead, in_place, on_gpu
from components.tabs.cache import requests
from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.language import say, speaking
from playground.pipeline import Run
from playground.prompt import PromptImage
from playground.records import Progress
from tests.components.lent_gpu import FakeSpaces
from tests.components.runs import ignore_progress, make_run

SEEN: list[int] = []


@pytest.fixture
def spaces(monkeypatch: pytest.MonkeyPatch) -> FakeSpaces:
    """A Space with ZeroGPU."""
    fake = FakeSpaces()
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setitem(sys.modules, "spaces", fake)
    monkeypatch.setattr(gpu_process, "_compute_stage", on_gpu(gpu_process._compute_stage))
    return fake


@pytest.fixture
def run(tiny_random_engine: Engine, image: PromptImage) -> Run:
    return make_run(tiny_random_engine, "What is left?", image)


def test_without_zero_gpu_nothing_changes(run: Run) -> None:
    assert on_gpu(requests.serve) is requests.serve
    compute_ahead(run, ["decoder"], ignore_progress)
    assert not run.has("preprocess")


def test_hit_and_miss_in_one_call_are_what_they_are_in_place(
    spaces: FakeSpaces, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playground.kv_cache.compare, "time_ms", lambda _engine, work: (work(), 1.0))
    run.ensure("decoder")
    asked = {
        "你好": requests.NO_IMAGE,
        "你好世界。": requests.NO_IMAGE,
        "Describe.": "star",
        "Describe it.": requests.RUN_IMAGES,
    }
    rows = tuple({"text": text, "picture": image} for text, image in asked.items())
    values = (rows, "Be brief.", 1, 1)
    said: list[str] = []
    lent = list(on_gpu(requests.serve)(run, lambda what, *_: said.append(what), *values))
    assert len(spaces.calls) == 1, "a second process would not have the first one's cache"
    assert spaces.calls[0] != os.getpid()
    assert any("request 4" in what for what in said)
    expected = list(requests.serve(run, ignore_progress, *values))
    assert len(lent) == len(expected) == 4
    for ours, theirs in zip(lent, expected, strict=True):
        assert ours.requests == theirs.requests
        assert requests.strips(run, ours) == requests.strips(run, theirs)
        assert requests.changed(run, ours, *values) == ""
    ours, theirs = lent[-1], expected[-1]
    assert requests.table(run, ours) == requests.table(run, theirs)
    assert requests.script(run, ours) == requests.script(run, theirs)


def test_a_page_s_run_comes_back_whole(spaces: FakeSpaces, run: Run) -> None:
    compute_ahead(run, ["preprocess", "vision", "merge", "decoder", "sampling"], ignore_progress)
    assert len(spaces.calls) == 1
    assert run.has("decoder")
    assert run.has("parity")
    here = make_run(run.engine, "What is left?", *run.prompt.images)
    assert run.decoded.logits.equal(here.decoded.logits)
    assert run.inputs.input_ids.equal(here.inputs.input_ids)
    # The cache that came back serves on in this process.
    sampled = playground.sampling.stage.run_sampling(
        run.engine, run.inputs, run.merged, run.decoded, [{}], max_new_tokens=3
    )
    again = playground.sampling.stage.run_sampling(
        here.engine, here.inputs, here.merged, here.decoded, [{}], max_new_tokens=3
    )
    assert sampled.traces[0].text == again.traces[0].text
    compute_ahead(run, ["decoder"], ignore_progress)
    assert len(spaces.calls) == 1, "what is there already needs no GPU"


def note_process(_run: Run, _progress: Progress) -> Iterator[int]:
    SEEN.append(os.getpid())
    yield os.getpid()


def test_what_a_call_leaves_in_its_process_is_lost(spaces: FakeSpaces, run: Run) -> None:
    note = on_gpu(note_process)
    first, second = list(note(run, ignore_progress)), list(note(run, ignore_progress))
    assert first + second == spaces.calls
    assert SEEN == []


def stay_long(_run: Run, progress: Progress) -> Iterator[int]:
    for step in range(10_000):
        progress("step", step, 10_000)
    yield step


def test_stop_ends_the_forked_process(spaces: FakeSpaces, run: Run) -> None:
    seen = []

    def stop_at_three(_what: str, done: int, _total: int) -> None:
        seen.append(done)
        if done == 3:
            raise StageCancelled

    with pytest.raises(StageCancelled):
        list(on_gpu(stay_long)(run, stop_at_three))
    assert seen == [0, 1, 2, 3]
    with pytest.raises(ProcessLookupError):
        os.kill(spaces.calls[0], 0)


def refuse(_run: Run, _progress: Progress, text: str) -> Iterator[None]:
    if text:
        raise InputError(f"{text} is refused.", remedy="Write another.")
    raise KeyError("a secret")
    yield


@pytest.mark.usefixtures("spaces")
def test_errors_come_through_in_words(run: Run) -> None:
    lent = on_gpu(refuse)
    with pytest.raises(InputError, match=r"^Cat is refused\. Write another\.$"):
        list(lent(run, ignore_progress, "Cat"))
    with pytest.raises(playground.errors.ModelError, match="KeyError") as raised:
        list(lent(run, ignore_progress, ""))
    assert "secret" not in str(raised.value)


def greet(_run: Run, _progress: Progress) -> Iterator[str]:
    yield say("Stopped")


@pytest.mark.usefixtures("spaces")
def test_the_page_s_language_is_spoken_there_too(run: Run) -> None:
    with speaking("zh"):
        (spoken,) = on_gpu(greet)(run, ignore_progress)
        assert spoken == say("Stopped") != "Stopped"


def test_the_start_and_the_shipped_checkpoint_borrow_no_gpu(
    spaces: FakeSpaces, run: Run, shipped_engine: Engine
) -> None:
    note = on_gpu(note_process)
    shipped = make_run(shipped_engine, "Hello")
    SEEN.clear()
    assert in_place(lambda: list(note(run, ignore_progress)))() == [os.getpid()]
    assert list(note(shipped, ignore_progress)) == [os.getpid()]
    assert spaces.calls == []
    SEEN.clear()
