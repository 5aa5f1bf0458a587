"""Weights compared: nothing against itself, a planted change in its module and nowhere else."""

from __future__ import annotations

import math

import pytest
import torch

from playground.compare.weights import compare_weights
from playground.engine import Engine
from playground.errors import StageCancelled
from tests.playground.compare.changed_engines import changed_engine


def test_a_checkpoint_does_not_differ_from_itself(engine: Engine) -> None:
    changes = compare_weights(engine.model, changed_engine(engine).model)
    assert changes.touched == ()
    assert all(module.relative == 0 == module.max_abs for module in changes.modules)
    expected = sum(weight.numel() for weight in engine.model.parameters())
    assert changes.below("").num_parameters == expected


def test_a_planted_change_is_the_only_one_marked(tiny_random_engine: Engine) -> None:
    for name, weight in tiny_random_engine.model.named_parameters():
        other = changed_engine(tiny_random_engine, [name], amount=0.25)
        if not weight.any():
            with torch.no_grad():
                other.model.get_parameter(name).fill_(1)
        path = name.rpartition(".")[0]
        (marked,) = compare_weights(tiny_random_engine.model, other.model).touched
        assert marked.path == path
        assert marked.num_changed <= weight.numel()


def test_a_planted_change_in_a_mixture_of_experts(tiny_random_moe_engine: Engine) -> None:
    name = "model.language_model.layers.1.mlp.experts.down_proj"
    other = changed_engine(tiny_random_moe_engine, [name], amount=0.25)
    (marked,) = compare_weights(tiny_random_moe_engine.model, other.model).touched
    assert marked.path == name.rpartition(".")[0]


def test_norms_by_hand() -> None:
    first, second = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[3.0, 0.0]]))
        first.bias.copy_(torch.tensor([4.0]))
        second.weight.copy_(torch.tensor([[3.0, 1.5]]))
        second.bias.copy_(torch.tensor([2.0]))
    changes = compare_weights(torch.nn.Sequential(first), torch.nn.Sequential(second))
    (module,) = changes.modules
    assert (module.path, module.kind, module.num_parameters) == ("0", "Linear", 3)
    assert (module.norm, module.change_norm, module.max_abs) == (5.0, 2.5, 2.0)
    assert (module.relative, module.num_changed) == (0.5, 2)
    assert changes.below("").relative == 0.5


def test_a_change_of_zeros_is_infinite() -> None:
    first, second = torch.nn.LayerNorm(4), torch.nn.LayerNorm(4)
    with torch.no_grad():
        first.weight.zero_()
        second.weight.zero_()
        second.bias[0] = 1
    (module,) = compare_weights(first, second).modules
    assert module.relative == math.inf


def test_a_tied_head_counts_once_and_an_untied_one_is_compared(shipped_engine: Engine) -> None:
    assert shipped_engine.facts.tied_embeddings
    other = changed_engine(shipped_engine)
    paths = {module.path for module in compare_weights(shipped_engine.model, other.model).modules}
    assert "lm_head" not in paths
    other.model.lm_head.weight = torch.nn.Parameter(other.model.lm_head.weight.detach() * 2)
    (marked,) = compare_weights(shipped_engine.model, other.model).touched
    assert marked.path == "lm_head"
    assert marked.relative == pytest.approx(1)


def test_packed_weights_cannot_be_compared() -> None:
    first, second = torch.nn.Linear(4, 4, bias=False), torch.nn.Linear(4, 4, bias=False)
    second.weight = torch.nn.Parameter(torch.zeros(8, 1, dtype=torch.uint8), requires_grad=False)
    (module,) = compare_weights(first, second).modules
    assert not module.is_untouched
    assert math.isnan(module.relative)


def test_the_comparison_can_be_stopped(tiny_random_engine: Engine) -> None:
    def stop(what: str, done: int, total: int) -> None:
        assert (what, done < total) == ("comparing weights, module", True)
        if done == 3:
            raise StageCancelled

    with pytest.raises(StageCancelled):
        compare_weights(tiny_random_engine.model, tiny_random_engine.model, progress=stop)
