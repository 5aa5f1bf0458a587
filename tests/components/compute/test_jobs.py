"""One job per page; stopping raises in the stage's own progress call."""

from __future__ import annotations

import contextvars
import time
from types import SimpleNamespace
from typing import Any

import pytest
from gradio.context import LocalContext

from components.compute.jobs import MAX_STOPS, Jobs, stop_without_client
from playground.errors import StageCancelled


def test_progress_reaches_the_bar() -> None:
    seen = []

    def bar(position: tuple[int, int | None], *, desc: str, unit: str) -> None:
        seen.append((position, desc))

    with Jobs().running("page", bar) as report:  # type: ignore[arg-type]
        report("decoder layer", 3, 6)
        report("vision", 0, 0)
    assert seen == [((3, 6), "decoder layer"), ((0, None), "vision")]


def test_stop_raises_at_the_next_report() -> None:
    jobs = Jobs()
    with jobs.running("page") as report:
        report("layer", 0, 2)
        assert jobs.stop("page")
        with pytest.raises(StageCancelled):
            report("layer", 1, 2)


def test_stop_of_one_page_leaves_others_alone() -> None:
    jobs = Jobs()
    with jobs.running("a") as report_a, jobs.running("b") as report_b:
        jobs.stop("a")
        report_b("layer", 0, 1)
        with pytest.raises(StageCancelled):
            report_a("layer", 0, 1)


def test_a_new_job_of_the_same_page_stops_the_older_one() -> None:
    jobs = Jobs()
    with jobs.running("page") as older:
        with jobs.running("page") as newer:
            newer("layer", 0, 1)
            with pytest.raises(StageCancelled):
                older("layer", 0, 1)
        assert not jobs.stop("page")


def test_an_ended_older_job_does_not_forget_the_newer_one() -> None:
    jobs = Jobs()
    older = jobs.running("page")
    older.__enter__()
    with jobs.running("page"):
        older.__exit__(None, None, None)
        assert jobs.stop("page")


def test_nothing_to_stop_after_the_end() -> None:
    jobs = Jobs()
    with jobs.running("page"):
        pass
    assert not jobs.stop("page")


# --------------------------------------------------------------------- clients that have gone


def an_event(
    blocks: Any, alive: bool = True, cancelled: bool = False, enqueue_time: float = 0.0
) -> Any:
    """What Gradio's queue holds of an event under way."""
    task = SimpleNamespace(get_name=lambda: "page_3<gradio-sep>e1", cancelling=lambda: cancelled)
    event = SimpleNamespace(alive=alive, enqueue_time=enqueue_time)
    blocks._queue = SimpleNamespace(
        event_ids_to_events={"e1": event},
        _asyncio_tasks=[task],
    )
    return blocks


@pytest.mark.parametrize(
    ("alive", "cancelled", "stops"),
    [(True, False, False), (False, False, True), (True, True, True)],
    ids=["waits", "disconnected", "cancelled"],
)
def test_work_stops_once_its_client_is_gone(alive: bool, cancelled: bool, stops: bool) -> None:
    def handle() -> bool:
        LocalContext.blocks.set(an_event(SimpleNamespace(), alive, cancelled))
        LocalContext.event_id.set("e1")
        try:
            stop_without_client("decoder layer", 0, 6)
            with Jobs().running("page") as report:
                report("decoder layer", 0, 6)
        except StageCancelled:
            return True
        return False

    assert contextvars.Context().run(handle) is stops


def test_work_stops_once_the_queue_has_let_go_of_it() -> None:
    def handle() -> None:
        blocks = an_event(SimpleNamespace())
        blocks._queue.event_ids_to_events.clear()
        LocalContext.blocks.set(blocks)
        LocalContext.event_id.set("e1")
        with pytest.raises(StageCancelled):
            stop_without_client("decoder layer", 0, 6)

    contextvars.Context().run(handle)


def test_without_a_queue_nobody_is_missed() -> None:
    contextvars.Context().run(stop_without_client, "decoder layer", 0, 6)


@pytest.mark.parametrize("joined_later", [False, True])
def test_a_stop_also_ends_what_still_waits_for_its_turn(joined_later: bool) -> None:
    jobs = Jobs()
    before = time.monotonic()
    assert not jobs.stop("page")
    joined = time.monotonic() + 1.0 if joined_later else before

    def handle() -> bool:
        LocalContext.blocks.set(an_event(SimpleNamespace(), enqueue_time=joined))
        LocalContext.event_id.set("e1")
        with jobs.running("page") as report:
            try:
                report("decoder layer", 0, 6)
            except StageCancelled:
                return True
        return False

    assert contextvars.Context().run(handle) is not joined_later


def test_stops_are_not_remembered_for_ever() -> None:
    jobs = Jobs()
    for number in range(MAX_STOPS + 5):
        jobs.stop(f"page {number}")
    assert len(jobs._stopped_at) == MAX_STOPS
