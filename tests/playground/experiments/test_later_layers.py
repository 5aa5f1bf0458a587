"""A what-if that starts at the first changed layer, against one that runs every layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from accelerate.hooks import ModelHook, add_hook_to_module, remove_hook_from_module

from playground.cache import describe_cache
from playground.engine import Engine
from playground.experiments.what_if import StatePatch, WhatIf, first_changed_layer
from playground.experiments.what_if_runs import run_changed, run_what_if
from playground.pipeline import Run
from playground.records import DecoderOutput
from tests.components.runs import make_run
from tests.media_samples import make_image, make_square_image

NAMES = ("tiny_random_engine", "shipped_engine", "tiny_random_moe_engine")


@pytest.fixture(scope="module", params=NAMES)
def run(request: pytest.FixtureRequest) -> Run:
    """Two images and a question, on each checkpoint."""
    engine: Engine = request.getfixturevalue(request.param)
    run = make_run(engine, "Describe this image.", make_square_image(), make_image())
    run.ensure("decoder")
    return run


def patch(run: Run, layer: int) -> StatePatch:
    """The state of the first token in the place of the sixth one's."""
    return StatePatch(layer, 5, run.decoded.hidden_states[layer][0])


# Each kind of change, and the first layer that it reaches, by the number of the last layer.
CHANGES: dict[str, Callable[[Run, int], tuple[WhatIf, int]]] = {
    "no change": lambda _, last: (WhatIf(deepstack_gains=(1.0, 1.0)), last + 1),
    "flat positions": lambda *_: (WhatIf(positions="flat"), 0),
    "swapped positions": lambda *_: (WhatIf(positions="swapped", skipped_layers=(3,)), 0),
    "masked": lambda run, _: (WhatIf(masked=(run.inputs.spans[0].start,)), 0),
    "first tap": lambda *_: (WhatIf(deepstack_gains=(0.5, 2.0)), 0),
    "second tap": lambda *_: (WhatIf(deepstack_gains=(1.0, 2.0)), 1),
    "third tap": lambda *_: (WhatIf(deepstack_gains=(1.0, 1.0, 0.0)), 2),
    "layer 1 skipped": lambda *_: (WhatIf(skipped_layers=(1,)), 1),
    "last layer skipped": lambda _, last: (WhatIf(skipped_layers=(last,)), last),
    "a head of layer 2": lambda *_: (WhatIf(zeroed_heads=((2, 1), (3, 0))), 2),
    "a state of layer 3": lambda run, _: (WhatIf(patches=(patch(run, 3),)), 3),
    "a state of the norm": lambda run, last: (WhatIf(patches=(patch(run, last + 1),)), last + 1),
    "several": lambda run, last: (
        WhatIf(
            skipped_layers=(3,), zeroed_heads=((2, 0),), patches=(patch(run, 1), patch(run, last))
        ),
        1,
    ),
}


@contextmanager
def entered(engine: Engine) -> Iterator[list[int]]:
    """The decoder layers that run, by number; all of them must stay in the model meanwhile."""
    layers: Any = engine.model.model.language_model.layers
    seen: list[int] = []

    def record(module: Any, *_: Any) -> None:
        assert engine.model.model.language_model.layers is layers
        assert len(layers) == engine.facts.num_layers
        seen.append(list(layers).index(module))

    hooks = [layer.register_forward_pre_hook(record) for layer in layers]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def assert_same_record(some: DecoderOutput, other: DecoderOutput) -> None:
    """To the last bit, with the cache and the experts."""
    assert len(some.hidden_states) == len(other.hidden_states)
    for a, b in zip(some.hidden_states, other.hidden_states, strict=True):
        assert torch.equal(a, b)
    for name in ("last_hidden_state", "logits", "position_ids", "attention_norms", "mlp_norms"):
        assert torch.equal(getattr(some, name), getattr(other, name)), name
    assert some.num_deepstack == other.num_deepstack
    assert_same_cache(some.cache, other.cache)
    assert (some.experts is None) == (other.experts is None)
    if some.experts is not None and other.experts is not None:
        assert some.experts.layers == other.experts.layers
        assert torch.equal(some.experts.ids, other.experts.ids)
        assert torch.equal(some.experts.weights, other.experts.weights)


def assert_same_cache(some: Any, other: Any) -> None:
    assert describe_cache(some) == describe_cache(other)
    for a, b in zip(some.layers, other.layers, strict=True):
        assert torch.equal(a.keys, b.keys)
        assert torch.equal(a.values, b.values)


@pytest.mark.parametrize("name", CHANGES)
def test_only_the_layers_from_the_change_on_run(run: Run, name: str) -> None:
    num_layers = run.engine.facts.num_layers
    what_if, start = CHANGES[name](run, num_layers - 1)
    assert first_changed_layer(run.merged, what_if, num_layers) == start
    full = run_changed(run.engine, run.inputs, run.merged, what_if)
    steps: list[tuple[int, int]] = []
    with entered(run.engine) as seen:
        later = run_changed(
            run.engine,
            run.inputs,
            run.merged,
            what_if,
            decoded=run.decoded,
            progress=lambda _, done, total: steps.append((done, total)),
        )
    assert seen == list(range(start, num_layers))
    count = num_layers - start + 1  # the final norm is the last
    assert steps == [(index, count) for index in range(count)]
    assert_same_record(later, full)


@pytest.mark.parametrize("name", ["no change", "third tap", "last layer skipped", "several"])
def test_the_answer_goes_on_alike(run: Run, name: str) -> None:
    """Token by token with the same probabilities, and the original is left as it was."""
    what_if, _ = CHANGES[name](run, run.engine.facts.num_layers - 1)
    before = run_changed(run.engine, run.inputs, run.merged, WhatIf())
    full, later = (
        run_what_if(
            run.engine, run.inputs, run.merged, what_if, decoded=decoded, max_new_tokens=6
        ).answer
        for decoded in (None, run.decoded)
    )
    assert later.finish_reason == full.finish_reason
    assert [step.top for step in later.steps] == [step.top for step in full.steps]
    assert_same_record(run.decoded, before)


def test_a_prompt_without_images_has_no_taps_to_change(tiny_random_engine: Engine) -> None:
    run = make_run(tiny_random_engine, "Hello")
    run.ensure("decoder")
    what_if = WhatIf(deepstack_gains=(0.0,), skipped_layers=(2,))
    full = run_changed(run.engine, run.inputs, run.merged, what_if)
    with entered(run.engine) as seen:
        later = run_changed(run.engine, run.inputs, run.merged, what_if, decoded=run.decoded)
    assert seen == [2, 3]
    assert_same_record(later, full)


def test_a_forward_that_accelerate_put_on_the_decoder_is_left_out(
    tiny_random_engine: Engine,
) -> None:
    """It is bound to the whole decoder, and would run all layers on the later layers' input."""
    run = make_run(tiny_random_engine, "Hello")
    run.ensure("decoder")
    decoder = run.engine.model.model.language_model
    what_if = WhatIf(skipped_layers=(3,))
    full = run_changed(run.engine, run.inputs, run.merged, what_if)
    add_hook_to_module(decoder, ModelHook())
    try:
        with entered(run.engine) as seen:
            later = run_changed(run.engine, run.inputs, run.merged, what_if, decoded=run.decoded)
    finally:
        remove_hook_from_module(decoder)
    assert seen == [3]
    assert_same_record(later, full)
