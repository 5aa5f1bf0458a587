"""Rows of shared prefixes: the same ids, positions and loss as one prompt at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch.nn import functional as F
from transformers.video_utils import VideoMetadata

from training.corpus import ask
from training.draw import render_scene
from training.forward import run_text, run_vision
from training.joint_stage import build_joint_batch, embed_units, make_unit
from training.motion import sample_clip
from training.patches import PATCH, patchify
from training.questions import Turn
from training.rows import (
    Encoder,
    Row,
    VisionUnit,
    add_branch,
    collate,
    encode_branch,
    image_prefix,
    start_row,
    text_prefix,
    video_prefix,
)
from training.scenes import sample_scene

WHOLE = torch.tensor([0.0, 1.0, 0.0, 1.0])


def make_units(*canvases: tuple[int, int]) -> tuple[list[VisionUnit], list[Image.Image]]:
    scenes = [sample_scene(np.random.default_rng(i), 2, c) for i, c in enumerate(canvases)]
    images = [Image.fromarray(render_scene(scene)) for scene in scenes]
    return [make_unit(scene, WHOLE) for scene in scenes], images


def inputs_of(processor: Any, messages: list[dict[str, Any]], **media: Any) -> Any:
    numbered = media.pop("add_vision_id", False)
    text = processor.apply_chat_template(
        messages, add_generation_prompt=True, add_vision_id=numbered
    )
    return processor(text=[text], return_tensors="pt", **media)


def rope_positions(model: Any, inputs: Any) -> torch.Tensor:
    names = ("input_ids", "mm_token_type_ids", "image_grid_thw", "video_grid_thw")
    known = {name: inputs[name] for name in names if name in inputs}
    return model.model.get_rope_index(**known)[0][:, 0]


def check_row(row: Row, model: Any, inputs: Any) -> None:
    """The row (one branch, answer cut off) is the prompt that the processor writes."""
    length = inputs["input_ids"].shape[1]
    assert row.input_ids[:length] == inputs["input_ids"][0].tolist()
    positions = torch.tensor(row.positions).T[:, :length]
    assert torch.equal(positions, rope_positions(model, inputs))


def add_turn(row: Row, encoder: Encoder, question: str, *, text_only: bool = False) -> None:
    turn = Turn("color", "en", question, ("Red.",))
    ids, weights = encode_branch(encoder, [turn], ["Red."], text_only=text_only)
    add_branch(row, ids, weights, turn.task)


def test_patchify_equals_the_processor(processor: Any) -> None:
    units, images = make_units((160, 128))
    expected = processor.image_processor(images=images, return_tensors="pt")
    assert expected["image_grid_thw"].tolist() == [[1, 8, 10]]
    assert torch.allclose(units[0].pixels, expected["pixel_values"], atol=1e-6)


def test_odd_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        patchify(np.zeros((100, 128, 3), np.uint8))


def test_one_image_with_system_prompt(processor: Any, model: Any, encoder: Encoder) -> None:
    units, images = make_units((192, 128))
    row = start_row(encoder, image_prefix(units, system="You are a helpful assistant."), units)
    add_turn(row, encoder, "What color is the shape?")
    content = [{"type": "image"}, {"type": "text", "text": "What color is the shape?"}]
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": content},
    ]
    check_row(row, model, inputs_of(processor, messages, images=images))


@pytest.mark.parametrize("numbered", [False, True])
def test_two_images(processor: Any, model: Any, encoder: Encoder, numbered: bool) -> None:
    units, images = make_units((128, 128), (224, 160))
    row = start_row(encoder, image_prefix(units, numbered=numbered), units)
    add_turn(row, encoder, "哪张图有圆形？")
    content = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "哪张图有圆形？"}]
    messages = [{"role": "user", "content": content}]
    inputs = inputs_of(processor, messages, images=images, add_vision_id=numbered)
    check_row(row, model, inputs)


def test_every_branch_starts_where_the_prefix_ends(
    processor: Any, model: Any, encoder: Encoder
) -> None:
    units, images = make_units((128, 160))
    row = start_row(encoder, image_prefix(units), units)
    add_turn(row, encoder, "How many shapes are there?")
    second = len(row.input_ids)
    add_turn(row, encoder, "Where is it?")
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Where is it?"}]}
    ]
    expected = rope_positions(model, inputs_of(processor, messages, images=images))
    prefix = row.segments.count(0)
    branch = torch.tensor(row.positions[second:]).T
    assert torch.equal(branch[:, : expected.shape[1] - prefix], expected[:, prefix:])


def test_video(processor: Any, model: Any, encoder: Encoder) -> None:
    clip = sample_clip(np.random.default_rng(1))
    frames = np.stack([render_scene(frame) for frame in clip.frames])
    grid = (frames.shape[1] // PATCH, frames.shape[2] // PATCH)
    pairs = zip(frames[::2], frames[1::2], strict=True)
    units = [VisionUnit(patchify(first, second), grid, WHOLE) for first, second in pairs]
    row = start_row(encoder, video_prefix(units, clip.timestamps), units)
    add_turn(row, encoder, "Which way?")
    messages = [
        {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "Which way?"}]}
    ]
    metadata = VideoMetadata(
        total_num_frames=clip.total_frames, fps=clip.fps, frames_indices=list(clip.frame_indices)
    )
    inputs = inputs_of(
        processor, messages, videos=[frames], video_metadata=[metadata], do_sample_frames=False
    )
    check_row(row, model, inputs)
    pixels = torch.cat([unit.pixels for unit in units])
    assert torch.allclose(pixels, inputs["pixel_values_videos"], atol=1e-6)


def test_text_only_and_several_turns(processor: Any, model: Any, encoder: Encoder) -> None:
    row = start_row(encoder, text_prefix(), [])
    turns = [Turn("talk", "zh", "你好", ("你好！",)), Turn("talk", "en", "Who are you?", ("Me.",))]
    ids, weights = encode_branch(encoder, turns, ["你好！", "Me."], text_only=True)
    add_branch(row, ids, weights, "talk")
    messages = [
        {"role": "user", "content": "你好"},
        {"role": "assistant", "content": "你好！"},
        {"role": "user", "content": "Who are you?"},
    ]
    inputs = inputs_of(processor, messages)
    length = inputs["input_ids"].shape[1]
    assert row.input_ids[:length] == inputs["input_ids"][0].tolist()
    assert [p[0] for p in row.positions[:length]] == list(range(length))


def test_loss_is_on_answers_only_and_heavier_on_key_words(
    encoder: Encoder, tokenizer: Tokenizer
) -> None:
    row = start_row(encoder, text_prefix(), [])
    turn = Turn("talk", "en", "What color?", ("It is red.",))
    ids, weights = encode_branch(encoder, [turn], ["It is red."], text_only=True)
    add_branch(row, ids, weights, "talk")
    learned = [
        (tokenizer.decode([target], skip_special_tokens=False), weight)
        for target, weight in zip(row.targets, row.weights, strict=True)
        if weight
    ]
    words = dict(learned)
    assert "".join(words) == "It is red.<|im_end|>"
    assert words[" red"] > words[" is"]
    assert "What" not in words


@torch.no_grad()
def test_vision_equals_transformers(model: Any) -> None:
    units, _ = make_units((160, 128), (160, 128))
    merged, taps = run_vision(model.model.visual, torch.stack([u.pixels for u in units]), (8, 10))
    output = model.model.visual(
        torch.cat([u.pixels for u in units]), grid_thw=torch.tensor([[1, 8, 10]] * 2)
    )
    assert torch.allclose(merged.flatten(0, 1), output.pooler_output, atol=2e-5)
    for tap, expected in zip(taps, output.deepstack_features, strict=True):
        assert torch.allclose(tap.flatten(0, 1), expected, atol=2e-5)


@torch.no_grad()
def test_loss_equals_transformers(processor: Any, model: Any, encoder: Encoder) -> None:
    """Three conversations on one shared prefix against three plain forward passes."""
    units, images = make_units((160, 128))
    row = start_row(encoder, image_prefix(units), units)
    rng = np.random.default_rng(3)
    scene = sample_scene(np.random.default_rng(0), 2, (160, 128))
    turns = [ask(scene, task, rng, "en") for task in ("describe", "count", "size")]
    total, count = 0.0, 0
    for turn in turns:
        assert turn is not None
        ids, weights = encode_branch(encoder, [turn], [turn.answers[0]])
        add_branch(row, ids, [float(weight > 0) for weight in weights], turn.task)
        content = [{"type": "image"}, {"type": "text", "text": turn.question}]
        text = processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        inputs = processor(
            text=[text + turn.answers[0] + "<|im_end|>"], images=images, return_tensors="pt"
        )
        num_answer = len(encoder.encode(turn.answers[0] + "<|im_end|>"))
        labels = inputs["input_ids"].clone()
        labels[:, :-num_answer] = -100
        total += model(**inputs, labels=labels).loss.item() * num_answer
        count += num_answer
    batch = collate([row], encoder)
    outputs, _ = embed_units(model, batch.units)
    hidden = run_text(
        model,
        batch.input_ids,
        batch.position_ids,
        batch.attention_mask,
        visual_mask=batch.visual_mask,
        visual_embeds=outputs[0],
        deepstack_embeds=outputs[1:],
    )
    positions = batch.weights > 0
    assert int(positions.sum()) == count
    loss = F.cross_entropy(model.lm_head(hidden[positions]), batch.targets[positions])
    assert abs(loss.item() - total / count) < 1e-5


def test_batches_repeat_and_mix_all_kinds(tokenizer: Tokenizer, tmp_path: Any) -> None:
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    first, second = (build_joint_batch(path, 0, 3, 7, 0, 0.5) for _ in range(2))
    assert torch.equal(first.input_ids, second.input_ids)
    assert torch.equal(first.weights, second.weights)
    other_rank = build_joint_batch(path, 0, 3, 7, 1, 0.5)
    assert not torch.equal(first.input_ids, other_rank.input_ids)
    # No token sees another branch, and none sees the future.
    seen = first.attention_mask[:, 0]
    assert not seen.triu(1).any()
    segments = first.segments
    apart = (segments[:, :, None] != segments[:, None, :]) & (segments[:, None, :] > 0)
    assert not (seen & apart).any()
