"""A second checkpoint beside the first: the same shape, room for both, one processor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from playground.engine import Engine
from playground.errors import CheckpointError
from playground.loading import second
from playground.loading.load import load_engine
from playground.loading.second import check_room, check_same_shape
from playground.moving import move_engine
from tests.components.runs import make_run
from tests.media_samples import make_image
from tests.playground.loading.edits import edit_json

GB = 1_000_000_000


def load(first: Engine, source: str = "brought") -> Engine:
    return load_engine(source, device="cpu", beside=first)


def test_two_checkpoints_run_side_by_side(tiny_random_engine: Engine, brought: Path) -> None:
    other = load(tiny_random_engine, str(brought))
    assert other.notices == ()
    assert other.processor is tiny_random_engine.processor
    assert other.lock is not tiny_random_engine.lock
    runs = [
        make_run(engine, "what is this", make_image(64, 64))
        for engine in (tiny_random_engine, other)
    ]
    first, same = (run.decoded.logits for run in runs)
    assert torch.equal(first, same)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("num_layers", 6, "num_layers 6 ≠ 4"),
        ("hidden_size", 128, "hidden_size 128 ≠ 64"),
        ("vocab_size", 9, "vocab_size 9 ≠"),
        ("vision_depth", 5, "vision_depth 5 ≠ 4"),
        ("model_type", "qwen3_vl_moe", "model_type qwen3_vl_moe ≠ qwen3_vl"),
        ("image_token_id", 3, "image_token_id 3 ≠"),
    ],
)
def test_another_shape_is_refused_by_the_fields_that_differ(
    tiny_random_engine: Engine, field: str, value: object, words: str
) -> None:
    facts = tiny_random_engine.facts
    with pytest.raises(CheckpointError, match=rf"'b' has another architecture .*: {words}[^,]*$"):
        check_same_shape(replace(facts, **{field: value}), facts, "b")
    check_same_shape(replace(facts, rope_theta=1.0, tied_embeddings=False), facts, "b")


def test_another_shape_is_refused_before_any_weight_is_read(
    tiny_random_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("playground.loading.load.load_model", None)
    with pytest.raises(CheckpointError, match=r"num_layers 6 ≠ 4, hidden_size 192 ≠"):
        load(tiny_random_engine, "tiny")


def test_what_does_not_fit_is_refused_before_any_weight_is_read(
    tiny_random_engine: Engine, brought: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("playground.loading.load.load_model", None)
    monkeypatch.setattr(second, "count_free_bytes", lambda _device: 1000)
    with pytest.raises(CheckpointError, match=r"needs about 0\.0 GB of memory beside the first"):
        load(tiny_random_engine, str(brought))


def test_the_room_is_the_weights_and_a_tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second, "count_free_bytes", lambda _device: 11 * GB)
    check_room(9 * GB, torch.device("cpu"))
    with pytest.raises(CheckpointError, match=r"about 11\.2 GB .*; 11\.0 GB are free\. Choose"):
        check_room(10_200_000_000, torch.device("cpu"))
    check_room(10_200_000_000, torch.device("cuda", 0))  # seen by choose_device_map


def other_template(folder: Path) -> None:
    with (folder / "chat_template.jinja").open("a") as file:
        file.write(" ")


def other_pixels(folder: Path) -> None:
    edit_json(folder / "processor_config.json", image_processor__image_mean=[0.1, 0.1, 0.1])


@pytest.mark.parametrize(
    ("change", "part"), [(other_template, "chat template"), (other_pixels, "image processor")]
)
def test_another_processor_is_noticed_and_not_used(
    change: Callable[[Path], None], part: str, tiny_random_engine: Engine, brought: Path
) -> None:
    change(brought)
    first = replace(tiny_random_engine)
    other = load(first, str(brought))
    assert f"another {part} than the first" in other.notices[0]
    assert other.processor is first.processor


def test_a_second_checkpoint_moves_along(tiny_random_engine: Engine) -> None:
    other = replace(tiny_random_engine)
    pair = replace(tiny_random_engine, other=other)
    moved = move_engine(pair, "cpu")
    assert moved.other is not None
    assert moved.other.model is other.model
    assert moved.other.lock is not other.lock
