"""Short form of ``reliability/exclusion.py``: who is in the model, and for how long."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from reliability.exclusion import FATES, Ended, crowd, end_many, lateness
from reliability.served import Server
from reliability.watched_app import Observer

# The cancelled calls would draw 8 x 200 tokens. A busy test machine may be slow to hear of it;
# the script measures how soon they end.
SOON_S = 5.0


def test_one_thread_at_a_time_whoever_asks(server: Server) -> None:
    before = server.command("forwards")["entries"]
    tally = crowd(server, requests=20)
    forwards = server.command("forwards")
    assert tally.problems == []
    assert sum(tally.routes.values()) == 20
    assert len(tally.routes) >= 6
    assert forwards["entries"] > before + 10
    assert forwards["most"] == 1


@pytest.mark.parametrize("fate", [fate for fate in FATES if fate != "finish"])
def test_work_ends_with_the_wish_for_it(server: Server, fate: str) -> None:
    tally = end_many(server, fate, count=2)
    assert tally.problems == []
    assert {each.fate for each in tally.ended} == {fate}
    assert max(seconds for seconds, _ in lateness(server, tally.ended)) < SOON_S


# ------------------------------------------------------------------- the checks can fail


def watched_model() -> tuple[Observer, torch.nn.Module]:
    """A model of one layer."""
    layer = torch.nn.Linear(2, 2)
    model: Any = torch.nn.ModuleDict({"model": torch.nn.ModuleDict()})
    model["model"]["visual"] = torch.nn.ModuleDict({"blocks": torch.nn.ModuleList()})
    model["model"]["language_model"] = torch.nn.ModuleDict({"layers": torch.nn.ModuleList([layer])})
    observer = Observer()
    observer.watch(SimpleNamespace(model=model))
    return observer, layer


def test_two_threads_at_once_are_seen() -> None:
    observer, layer = watched_model()
    together = threading.Barrier(2)

    def wait_inside(_module: torch.nn.Module, _args: Any) -> None:
        together.wait(60)

    layer.register_forward_pre_hook(wait_inside)
    threads = [threading.Thread(target=layer, args=(torch.ones(1, 2),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert observer.do_forwards()["most"] == 2
    assert observer.do_forwards()["entries"] == 2


def test_a_layer_that_raises_is_left_again() -> None:
    observer, layer = watched_model()
    observer.do_break("memory", after=0)
    with pytest.raises(torch.OutOfMemoryError):
        layer(torch.ones(1, 2))
    assert not observer.do_repair()
    assert torch.isfinite(layer(torch.ones(1, 2))).all()
    observer.do_break("nan", after=1)
    assert torch.isfinite(layer(torch.ones(1, 2))).all()
    assert layer(torch.ones(1, 2)).isnan().any()
    assert observer.do_forwards() | {"last": 0} == {"entries": 4, "most": 1, "last": 0}


def test_lateness_is_counted_from_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    server: Any = SimpleNamespace(command=lambda _name: {"last": {"a": 12.5, "b": 9.0}})
    ended = [Ended("page", "stop", event_id, 10.0) for event_id in ("a", "b", "never in")]
    assert [seconds for seconds, _ in lateness(server, ended)] == [2.5, 0.0, 0.0]
