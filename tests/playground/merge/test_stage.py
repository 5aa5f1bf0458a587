"""Stage 3: positions by hand, and everything that the text model gets in a plain forward."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from playground.engine import Engine
from playground.pipeline import Run
from playground.preprocess.stage import model_kwargs
from playground.prompt import Prompt, Turn
from playground.records import ModelInputs
from tests.media_samples import make_image, make_video
from tests.playground.prompt_samples import PROMPTS


@pytest.fixture(params=sorted(PROMPTS))
def run(request: pytest.FixtureRequest, engine: Engine) -> Run:
    return Run(engine, PROMPTS[request.param])


@torch.no_grad()
def text_model_arguments(run: Run) -> dict[str, Any]:
    """What a plain forward hands to ``Qwen3VLTextModel.forward``."""
    model: Any = run.engine.model
    caught: list[dict[str, Any]] = []
    handle = model.model.language_model.register_forward_pre_hook(
        lambda _m, _a, kwargs: caught.append(kwargs), with_kwargs=True
    )
    try:
        model(**model_kwargs(run.inputs))
    finally:
        handle.remove()
        model.model.rope_deltas = None
    return caught[0]


def test_the_text_model_gets_the_same(run: Run) -> None:
    merged, plain = run.merged, text_model_arguments(run)
    assert torch.equal(merged.inputs_embeds, plain["inputs_embeds"])
    if plain["visual_pos_masks"] is None:
        assert merged.visual_pos_masks is merged.deepstack_visual_embeds is None
        assert plain["position_ids"] is None  # the text model counts by itself
        return
    assert torch.equal(merged.visual_pos_masks, plain["visual_pos_masks"])  # type: ignore[arg-type]
    assert torch.equal(merged.position_ids, plain["position_ids"])
    mine = merged.deepstack_visual_embeds
    assert mine is not None
    for tap, theirs in zip(mine, plain["deepstack_visual_embeds"], strict=True):
        assert torch.equal(tap, theirs)


def test_features_stand_at_their_placeholders(run: Run) -> None:
    """Row by row: the n-th visual token of a kind is the n-th row of that kind's tower."""
    merged, seen = run.merged, {"image": 0, "video": 0}
    joined = 0
    for token in run.inputs.tokens:
        embed = merged.inputs_embeds[0, token.index]
        if token.kind not in ("image", "video"):
            assert torch.equal(embed, merged.token_embeds[0, token.index])
            continue
        tower, row = run.vision.tower(token.kind), seen[token.kind]
        assert tower is not None
        assert torch.equal(embed, tower.pooler_output[row])
        for tap, features in zip(
            merged.deepstack_visual_embeds or (), tower.deepstack_features, strict=True
        ):
            assert torch.equal(tap[joined], features[row])
        seen[token.kind] += 1
        joined += 1
    assert joined == sum(int(tap.shape[0]) for tap in (merged.deepstack_visual_embeds or ())[:1])


def positions_by_hand(inputs: ModelInputs) -> list[list[int]]:
    """Text counts up in all three axes; an image's tokens share t and spread over h and w."""
    rows: list[list[int]] = [[], [], []]
    spans = {span.start: span for span in inputs.spans}
    index = following = 0
    while index < inputs.num_tokens:
        span = spans.get(index)
        if span is None:
            for axis in rows:
                axis.append(following)
            index, following = index + 1, following + 1
            continue
        for down in range(span.merged_h):
            for across in range(span.merged_w):
                rows[0].append(following)
                rows[1].append(following + down)
                rows[2].append(following + across)
        index, following = span.end, following + max(span.merged_h, span.merged_w)
    return rows


def test_positions_follow_the_rule(run: Run) -> None:
    expected = positions_by_hand(run.inputs)
    assert run.merged.position_ids[:, 0].tolist() == expected
    largest = max(max(axis) for axis in expected)
    assert int(run.merged.rope_deltas) == largest + 1 - run.inputs.num_tokens


def test_positions_of_one_small_image(tiny_random_engine: Engine) -> None:
    """96 x 64 pixels: 4 x 6 patches, 2 x 3 tokens, after four tokens of template."""
    prompt = Prompt((Turn("user", "", (make_image(96, 64),)),), max_pixels=96 * 64)
    run = Run(tiny_random_engine, prompt)
    (span,) = run.inputs.spans
    assert (span.grid_h, span.grid_w) == (4, 6)
    start, seq = span.start, run.inputs.num_tokens
    before = list(range(start))
    after = list(range(start + 3, start + 3 + seq - span.end))  # max(2, 3) further on
    t, h, w = run.merged.position_ids[:, 0].tolist()
    assert t == [*before, *[start] * 6, *after]
    assert h == [*before, *(start + step for step in (0, 0, 0, 1, 1, 1)), *after]
    assert w == [*before, *(start + step for step in (0, 1, 2, 0, 1, 2)), *after]
    assert int(run.merged.rope_deltas) == 3 - 6


def test_positions_of_a_video(tiny_random_engine: Engine) -> None:
    """Each temporal patch is an image of its own, behind its timestamp."""
    video = make_video(num_frames=4, width=64, height=64)
    run = Run(tiny_random_engine, Prompt((Turn("user", "", video=video),), max_pixels=4 * 64 * 64))
    first, second = run.inputs.spans
    assert (first.grid_h, first.grid_w, first.frame, second.frame) == (4, 4, 0, 1)
    timestamp = "".join(token.text for token in run.inputs.tokens[first.end : second.start])
    # Frames 2 and 3 of a video with two frames a second: their mean time is 1.25 s.
    assert timestamp == "<|vision_end|><1.2 seconds><|vision_start|>"
    t, h, w = run.merged.position_ids[:, 0].tolist()
    for span in (first, second):
        at = t[span.start]
        assert t[span.start : span.end] == [at] * 4
        assert h[span.start : span.end] == [at, at, at + 1, at + 1]
        assert w[span.start : span.end] == [at, at + 1, at, at + 1]
    assert t[first.end] == t[first.start] + 2
    assert t[second.start] == t[first.end] + second.start - first.end


def test_text_counts_up(tiny_random_engine: Engine) -> None:
    merged = Run(tiny_random_engine, PROMPTS["text"]).merged
    seq = merged.inputs_embeds.shape[1]
    assert merged.position_ids[:, 0].tolist() == [list(range(seq))] * 3
    assert merged.rope_deltas.tolist() == [[0]]
    assert torch.equal(merged.inputs_embeds, merged.token_embeds)
