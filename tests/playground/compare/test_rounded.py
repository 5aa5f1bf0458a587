"""Rounded copies: the copy computes with rounded weights, and the loaded model never knows."""

from __future__ import annotations

import copy
import threading
import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from playground.compare import rounded
from playground.compare.rounded import (
    MODEL_PARTS,
    Formats,
    ModelPart,
    find_weights,
    rounded_model,
)
from playground.compare.rounding import Format, round_weight, stored_bytes
from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.loading.load import load_engine
from playground.loading.one_row import OneRowLinear
from playground.loading.patch_projection import PatchProjection
from playground.pipeline import Run
from playground.prompt import PromptImage
from tests.components.runs import make_run

MIXED: Formats = {
    "vision": Format("int8"),
    "merger": Format("fp8"),
    "attention": Format("int4"),
    "mlp": Format("int4", 32),
    "embeddings": Format("int8", 64),
}


@pytest.fixture(scope="module")
def half() -> Engine:
    return load_engine("tiny", device="cpu", dtype="bfloat16")


@pytest.fixture(params=["random", "experts", "shipped", "bfloat16"])
def loaded(request: pytest.FixtureRequest) -> Engine:
    names = {
        "random": "tiny_random_engine",
        "experts": "tiny_random_moe_engine",
        "shipped": "shipped_engine",
        "bfloat16": "half",
    }
    engine: Engine = request.getfixturevalue(names[request.param])
    return engine


def round_in_place(engine: Engine, formats: Formats) -> Engine:
    """A whole second model, rounded weight by weight."""
    model = copy.deepcopy(engine.model)
    for part, chosen in formats.items():
        for weight in find_weights(model, part).values():
            weight.copy_(round_weight(weight, chosen).values)
    return replace(engine, model=model, lock=threading.RLock())


def test_every_matrix_belongs_to_one_part(loaded: Engine) -> None:
    parts = [name for part in MODEL_PARTS for name in find_weights(loaded.model, part)]
    assert len(parts) == len(set(parts))
    kept = {name for name, weight in loaded.model.named_parameters() if weight.dim() > 1} - set(
        parts
    )
    routers = {name for name in kept if name.endswith(".mlp.gate.weight")}
    assert len(routers) == (loaded.facts.num_layers if loaded.facts.is_moe else 0)
    assert kept - routers == {"model.visual.pos_embed.weight"}
    assert all(find_weights(loaded.model, part) for part in MODEL_PARTS)


def test_the_copy_computes_as_a_model_with_rounded_weights(
    loaded: Engine, image: PromptImage
) -> None:
    prompt = make_run(loaded, "What is this?", image).prompt
    expected = Run(round_in_place(loaded, MIXED), prompt)
    with rounded_model(loaded, MIXED) as made:
        found = Run(made.engine, prompt)
        assert torch.equal(found.vision.image.pooler_output, expected.vision.image.pooler_output)  # type: ignore[union-attr]
        assert torch.equal(found.decoded.logits, expected.decoded.logits)
        assert found.parity.max_abs_diff <= found.parity.tolerance
    assert not torch.equal(found.decoded.logits, Run(loaded, prompt).decoded.logits)


def test_the_loaded_model_is_bit_equal_afterwards(loaded: Engine, image: PromptImage) -> None:
    weights = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    before = make_run(loaded, "What is this?", image)
    logits = before.decoded.logits
    with rounded_model(loaded, MIXED) as made:
        assert Run(made.engine, before.prompt).decoded.num_layers == loaded.facts.num_layers
        during = Run(loaded, before.prompt).decoded.logits
    assert torch.equal(during, logits)
    assert torch.equal(Run(loaded, before.prompt).decoded.logits, logits)
    after = loaded.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in weights.items())


@pytest.mark.parametrize("part", MODEL_PARTS)
def test_only_the_chosen_part_gets_weights_of_its_own(
    tiny_random_engine: Engine, part: ModelPart
) -> None:
    model = tiny_random_engine.model
    chosen = find_weights(model, part)
    with rounded_model(tiny_random_engine, {part: Format("int4")}) as made:
        assert made.engine.lock is tiny_random_engine.lock
        new = dict(made.engine.model.named_parameters())
        for name, weight in model.named_parameters():
            assert (new[name] is weight) == (name not in chosen), name
            assert torch.equal(new[name], weight) == (name not in chosen), name
        buffers = dict(made.engine.model.named_buffers())
        assert all(buffers[name] is buffer for name, buffer in model.named_buffers())
        (report,) = (each for each in made.parts if each.format)
        assert report.part == part
        assert report.num_weights == sum(weight.numel() for weight in chosen.values())
        assert report.model_bytes == 4 * report.num_weights
        shapes = [weight.shape for weight in chosen.values()]
        assert report.stored_bytes == sum(stored_bytes(shape, Format("int4")) for shape in shapes)
        squares = [sum(float(w.square().sum()) for w in chosen.values())]
        squares += [sum(float((new[n] - w).square().sum()) for n, w in chosen.items())]
        assert report.error == pytest.approx((squares[1] / squares[0]) ** 0.5, rel=1e-4)
        others = [each for each in made.parts if each.format is None]
        assert {(each.error, each.stored_bytes - each.model_bytes) for each in others} == {(0, 0)}


def test_a_tied_head_is_rounded_once(shipped_engine: Engine) -> None:
    assert shipped_engine.facts.tied_embeddings
    with rounded_model(shipped_engine, {"embeddings": Format("int4")}) as made:
        model = made.engine.model
        assert model.lm_head.weight is model.get_input_embeddings().weight
        assert len(find_weights(model, "embeddings")) == 1


def test_own_kernels_use_the_copy_s_weights(half: Engine) -> None:
    with rounded_model(half, MIXED) as made:
        model: Any = made.engine.model
        projection = model.model.visual.patch_embed.proj
        assert type(projection) is PatchProjection
        patches = torch.randn(3, *projection.weight.shape[1:]).bfloat16()
        matrix, bias = projection.weight.flatten(1), projection.bias
        expected = nn.functional.linear(patches.flatten(1), matrix, bias)
        assert torch.equal(projection(patches).flatten(1), expected)
        assert not torch.equal(projection.weight, half.model.model.visual.patch_embed.proj.weight)
        layer = model.model.language_model.layers[0].mlp.up_proj
        assert type(layer) is OneRowLinear
        row = torch.randn(layer.in_features).bfloat16()
        assert torch.equal(layer(row), torch.mv(layer.weight, row))
        own = half.model.model.language_model.layers[0].mlp.up_proj
        assert not torch.equal(layer(row), own(row))


def test_the_copy_is_freed(tiny_random_engine: Engine, image: PromptImage) -> None:
    with rounded_model(tiny_random_engine, MIXED) as made:
        assert Run(made.engine, make_run(tiny_random_engine, "Hi", image).prompt).decoded
        model = made.engine.model
        kept = [weakref.ref(module) for module in model.modules()]
        own = {id(weight) for weight in tiny_random_engine.model.parameters()}
        kept += [weakref.ref(w) for w in model.parameters() if id(w) not in own]
        del model
    del made
    assert [each() for each in kept if each() is not None] == []


# ------------------------------------------------------------------------------------ refusals


def test_what_does_not_fit_is_refused_before_it_is_made(
    tiny_random_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = sum(w.nbytes for w in find_weights(tiny_random_engine.model, "mlp").values())
    monkeypatch.setattr(rounded, "count_free_bytes", lambda _device: needed)
    monkeypatch.setattr(rounded, "share_weights", None)  # nothing is copied
    with (
        pytest.raises(InputError, match="GB are free"),
        rounded_model(tiny_random_engine, {"mlp": Format("int8")}),
    ):
        pytest.fail("there is no room")


def test_weights_that_are_quantised_already_are_refused(tiny_random_engine: Engine) -> None:
    engine = replace(tiny_random_engine, model=copy.deepcopy(tiny_random_engine.model))
    layer = engine.model.model.language_model.layers[0].mlp.up_proj
    layer.weight = nn.Parameter(layer.weight.to(torch.float8_e4m3fn), requires_grad=False)
    with (
        pytest.raises(InputError, match=r"up_proj\.weight is quantised already"),
        rounded_model(engine, {"mlp": Format("int8")}),
    ):
        pytest.fail("there is nothing to round")
    with rounded_model(engine, {"attention": Format("int8")}) as made:
        assert made.parts


def test_packed_weights_are_refused(tiny_random_engine: Engine) -> None:
    """GPTQ and AWQ keep them in buffers of other names."""
    engine = replace(tiny_random_engine, model=copy.deepcopy(tiny_random_engine.model))
    for layer in engine.model.model.language_model.layers:
        for linear in (layer.mlp.gate_proj, layer.mlp.up_proj, layer.mlp.down_proj):
            packed = linear.weight.to(torch.int32)
            del linear.weight
            linear.register_buffer("qweight", packed)
    with (
        pytest.raises(InputError, match="no plain weights of the chosen part: mlp"),
        rounded_model(engine, {"mlp": Format("int8")}),
    ):
        pytest.fail("there is nothing to round")


def test_a_second_copy_waits_and_can_be_stopped(tiny_random_engine: Engine) -> None:
    said: list[str] = []

    def stop(what: str, _done: int, _total: int) -> None:
        said.append(what)
        raise StageCancelled

    with (
        rounded_model(tiny_random_engine, {}),
        pytest.raises(StageCancelled),
        rounded_model(tiny_random_engine, {}, progress=stop),
    ):
        pytest.fail("there are two copies")
    assert said == ["waiting for another computation"]
    with (
        pytest.raises(StageCancelled),
        rounded_model(tiny_random_engine, {"mlp": Format("int8")}, progress=stop),
    ):
        pytest.fail("it was stopped")
    assert said[1:] == ["rounding, weight"]
    with rounded_model(tiny_random_engine, {}) as made:  # the stopped one has made room
        assert made.parts
