"""A run as a file, and mistakes of another implementation found at the step where they begin."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from playground.decoder.stage import run_decoder
from playground.dump import MANIFEST_KEY, compare_dump, dump_tensors, write_dump
from playground.engine import Engine
from playground.errors import InputError
from playground.experiments.what_if import WhatIf, change_merged
from playground.pipeline import Run
from playground.preprocess.stage import model_kwargs
from tests.components.runs import make_run
from tests.media_samples import make_image, make_video


@pytest.fixture(scope="module")
def run(tiny_random_engine: Engine) -> Run:
    """An image and a video, so that every step is there."""
    return make_run(tiny_random_engine, "What?", make_image(), video=make_video())


def faulty(run: Run, edit: Callable[[Any], None]) -> Run:
    """The run of a model in which something was changed."""
    model = copy.deepcopy(run.engine.model)
    edit(model)
    return Run(replace(run.engine, model=model), run.prompt)


def compare_runs(run: Run, other: Run | dict[str, torch.Tensor], path: Path) -> Any:
    if isinstance(other, Run):
        write_dump(other, path)
    else:
        save_file({name: tensor.clone() for name, tensor in other.items()}, path)
    return compare_dump(run, path)


def test_a_run_written_and_read_is_equal_in_every_step(run: Run, tmp_path: Path) -> None:
    comparison = compare_runs(run, Run(run.engine, run.prompt), tmp_path / "run.safetensors")
    assert {check.status for check in comparison.checks} == {"equal"}
    assert comparison.first_break is None
    assert [check.name for check in comparison.checks] == comparison.manifest["order"]
    assert comparison.manifest["dtype"] == "float32"
    assert "What?" in comparison.manifest["rendered_prompt"]
    assert [len(digest) for digest in comparison.manifest["media_sha256"]] == [64, 64]


def test_the_steps_are_transformers_own(run: Run) -> None:
    tensors = dump_tensors(run)
    with torch.no_grad():
        output = run.engine.model(**model_kwargs(run.inputs), logits_to_keep=1)
    assert torch.equal(tensors["decoder.logits"], output.logits[0, -1])
    stages = list(dict.fromkeys(name.split(".")[0] for name in tensors))
    assert stages == ["preprocess", "vision", "merge", "decoder"]
    names = list(tensors)
    # A tap follows the state that it reads: the output of its block.
    tap = names.index("vision.image.deepstack_features.0")
    block = run.engine.facts.deepstack_visual_indexes[0]
    assert names[tap - 1] == f"vision.image.hidden_states.{block + 1}"


def test_deepstack_shifted_by_one_layer(run: Run, tmp_path: Path) -> None:
    taps = run.merged.deepstack_visual_embeds
    assert taps is not None
    shifted = replace(run.merged, deepstack_visual_embeds=(torch.zeros_like(taps[0]), *taps))
    decoded = run_decoder(run.engine, run.inputs, shifted)
    dump = dump_tensors(run)
    for index, state in enumerate(decoded.hidden_states):
        dump[f"decoder.hidden_states.{index}"] = state
    dump["decoder.logits"] = decoded.logits
    broken = compare_runs(run, dump, tmp_path / "x.safetensors").first_break
    assert broken.name == "decoder.hidden_states.1"
    assert "only image tokens differ" in broken.words


@pytest.mark.parametrize(
    ("positions", "words"), [("swapped", "h and w are swapped"), ("flat", "1-D positions")]
)
def test_wrong_positions(run: Run, positions: Any, words: str, tmp_path: Path) -> None:
    changed = change_merged(run.merged, WhatIf(positions=positions))
    dump = dump_tensors(run) | {"merge.position_ids": changed.position_ids}
    comparison = compare_runs(run, dump, tmp_path / "x.safetensors")
    assert comparison.first_break.name == "merge.position_ids"
    assert words in comparison.first_break.words


def test_another_epsilon_of_the_decoders_norms(run: Run, tmp_path: Path) -> None:
    def edit(model: Any) -> None:
        for layer in model.model.language_model.layers:
            layer.input_layernorm.variance_epsilon = 1e-2

    broken = compare_runs(run, faulty(run, edit), tmp_path / "x.safetensors").first_break
    assert broken.name == "decoder.hidden_states.1"
    assert broken.stage == "decoder"


def test_another_activation_in_the_tower(run: Run, tmp_path: Path) -> None:
    def edit(model: Any) -> None:
        model.model.visual.blocks[2].mlp.act_fn = torch.nn.ReLU()

    broken = compare_runs(run, faulty(run, edit), tmp_path / "x.safetensors").first_break
    assert broken.name == "vision.image.hidden_states.3"


def test_another_mean_in_the_image_processor(run: Run, tmp_path: Path) -> None:
    dump = dump_tensors(run)
    dump["preprocess.pixel_values"] = dump["preprocess.pixel_values"] + 0.1
    broken = compare_runs(run, dump, tmp_path / "x.safetensors").first_break
    assert broken.name == "preprocess.pixel_values"
    assert broken.cosine is not None
    assert 0.9 < broken.cosine < 1


def test_rounding_is_no_break(run: Run, tmp_path: Path) -> None:
    dump = {
        name: tensor * (1 + 1e-6) if tensor.is_floating_point() else tensor
        for name, tensor in dump_tensors(run).items()
    }
    comparison = compare_runs(run, dump, tmp_path / "x.safetensors")
    assert comparison.first_break is None
    assert {check.status for check in comparison.checks} == {"equal", "close"}


def test_steps_left_out_wrong_shapes_and_nan(run: Run, tmp_path: Path) -> None:
    logits = dump_tensors(run)["decoder.logits"]
    only = {"decoder.logits": logits[None], "merge.rope_deltas": torch.zeros(2)}
    comparison = compare_runs(run, only, tmp_path / "x.safetensors")
    by_name = {check.name: check for check in comparison.checks}
    assert by_name["decoder.logits"].status == "equal"  # an axis of size 1 is no difference
    assert by_name["vision.image.pooler_output"].status == "missing"
    assert comparison.first_break.name == "merge.rope_deltas"
    assert "got (2,)" in comparison.first_break.words
    bad = {"decoder.logits": torch.full_like(logits, torch.nan)}
    assert "NaN" in compare_runs(run, bad, tmp_path / "x.safetensors").first_break.words


def test_files_of_another_kind_are_refused(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"not a tensor")
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        compare_dump(run, path)
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="no step of the forward pass"):
        compare_dump(run, path)
    save_file({"decoder.logits": run.decoded.logits}, path, metadata={MANIFEST_KEY: "{"})
    assert compare_dump(run, path).manifest == {}
    save_file({"decoder.logits": run.decoded.logits}, path, metadata={MANIFEST_KEY: json.dumps(3)})
    assert compare_dump(run, path).manifest == {}


def test_half_precision_survives(run: Run, tmp_path: Path) -> None:
    dump = {
        name: tensor.bfloat16() if tensor.is_floating_point() else tensor
        for name, tensor in dump_tensors(run).items()
    }
    save_file(dump, tmp_path / "x.safetensors")
    assert load_file(tmp_path / "x.safetensors")["decoder.logits"].dtype == torch.bfloat16
    checks = compare_dump(run, tmp_path / "x.safetensors").checks
    assert max(check.relative or 0 for check in checks) < 1e-2
