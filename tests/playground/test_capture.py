"""Hooks record what they should and always come off."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from playground.capture import capture_inputs, capture_outputs
from playground.engine import Engine
from playground.errors import StageCancelled
from playground.merge.stage import run_merge
from playground.preprocess.stage import run_preprocess
from playground.vision.stage import run_vision
from tests.playground.prompt_samples import PROMPTS


class Doubling(nn.Module):
    """Doubles; raises where it is told to."""

    fails = False

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        if self.fails:
            raise RuntimeError("broken layer")
        return hidden_states * 2


def count_hooks(module: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules())


@pytest.fixture
def chain() -> nn.Sequential:
    return nn.Sequential(Doubling(), Doubling(), Doubling())


def test_inputs_and_outputs_in_order(chain: nn.Sequential) -> None:
    with capture_inputs(list(chain)) as inputs, capture_outputs(list(chain)) as outputs:
        chain(torch.tensor([1.0]))
    assert [tensor.item() for tensor in inputs] == [1, 2, 4]
    assert [tensor.item() for tensor in outputs] == [2, 4, 8]
    assert count_hooks(chain) == 0
    chain(torch.tensor([1.0]))
    assert len(inputs) == len(outputs) == 3  # nothing is recorded after the block


def test_inputs_given_by_name_and_without_gradients(chain: nn.Sequential) -> None:
    with capture_inputs([chain[0]]) as inputs:
        chain[0](hidden_states=torch.ones(1, requires_grad=True))
    assert inputs[0].item() == 1
    assert not inputs[0].requires_grad


def test_hooks_come_off_when_the_forward_raises(chain: nn.Sequential) -> None:
    chain[1].fails = True  # type: ignore[assignment]
    with (
        pytest.raises(RuntimeError, match="broken layer"),
        capture_inputs(list(chain)) as inputs,
        capture_outputs(list(chain)),
    ):
        chain(torch.tensor([1.0]))
    assert len(inputs) == 2
    assert count_hooks(chain) == 0


def test_hooks_come_off_when_one_cannot_be_set(chain: nn.Sequential) -> None:
    class Stubborn(Doubling):
        def register_forward_pre_hook(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("no hooks here")

    with (
        pytest.raises(RuntimeError, match="no hooks here"),
        capture_inputs([chain[0], Stubborn()]),
    ):
        pass
    assert count_hooks(chain) == 0


def test_progress_stops_before_the_next_module(chain: nn.Sequential) -> None:
    steps: list[tuple[str, int, int]] = []

    def stop_at_second(what: str, done: int, total: int) -> None:
        steps.append((what, done, total))
        if done == 1:
            raise StageCancelled

    with (
        pytest.raises(StageCancelled, match="Stopped"),
        capture_outputs(list(chain)) as outputs,
        capture_inputs(list(chain), progress=stop_at_second, what="layer"),
    ):
        chain(torch.tensor([1.0]))
    assert steps == [("layer", 0, 3), ("layer", 1, 3)]
    assert len(outputs) == 1
    assert count_hooks(chain) == 0


def _stages(engine: Engine) -> dict[str, Callable[..., Any]]:
    from playground.decoder.stage import run_decoder

    inputs = run_preprocess(engine, PROMPTS["image"])
    merged = run_merge(engine, inputs, run_vision(engine, inputs))
    return {
        "vision": lambda progress: run_vision(engine, inputs, progress=progress),
        "decoder": lambda progress: run_decoder(engine, inputs, merged, progress=progress),
    }


@pytest.mark.parametrize("stage", ["vision", "decoder"])
def test_a_cancelled_stage_leaves_no_hook_and_no_lock(
    tiny_random_engine: Engine, stage: str
) -> None:
    engine = tiny_random_engine
    run = _stages(engine)[stage]
    model: Any = engine.model
    layers = model.model.visual.blocks if stage == "vision" else model.model.language_model.layers
    # Not zero: transformers keeps hooks of its own once output_hidden_states has been used.
    unhooked = count_hooks(engine.model)
    entered: list[int] = []
    spies = [
        layer.register_forward_hook(lambda *_, index=index: entered.append(index))
        for index, layer in enumerate(layers)
    ]
    before = count_hooks(engine.model)

    def stop(what: str, done: int, total: int) -> None:
        if done == 2:
            raise StageCancelled

    try:
        with pytest.raises(StageCancelled):
            run(stop)
        assert entered == [0, 1]  # not one layer more
        assert count_hooks(engine.model) == before
    finally:
        for spy in spies:
            spy.remove()
    assert count_hooks(engine.model) == unhooked
    assert _can_lock(engine)
    run(None)  # and it still works


def test_a_failing_forward_leaves_no_hook_and_no_lock(
    tiny_random_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = tiny_random_engine
    stages = _stages(engine)
    unhooked = count_hooks(engine.model)
    model: Any = engine.model

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of memory")

    for stage, layer in (
        ("vision", model.model.visual.blocks[1]),
        ("decoder", model.model.language_model.layers[2]),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(layer, "forward", fail)
            with pytest.raises(RuntimeError, match="out of memory"):
                stages[stage](None)
        assert count_hooks(engine.model) == unhooked
        assert _can_lock(engine)


def _can_lock(engine: Engine) -> bool:
    """Whether another thread gets the engine's lock."""
    got: list[bool] = []

    def attempt() -> None:
        got.append(engine.lock.acquire(blocking=False))
        if got[0]:
            engine.lock.release()

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return got[0]


def test_the_lock_is_held_during_a_forward(tiny_random_engine: Engine) -> None:
    seen: list[bool] = []
    for run in _stages(tiny_random_engine).values():
        run(lambda *_: seen.append(_can_lock(tiny_random_engine)))
    assert seen
    assert not any(seen)
