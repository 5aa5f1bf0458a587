"""Stage 4: states, lens and probabilities against torch; errors; the parity badge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from playground.decoder.stage import (
    decoder_kwargs,
    logit_lens,
    measure_parity,
    residual_norms,
    run_decoder,
)
from playground.engine import Engine
from playground.errors import ModelError, StageCancelled
from playground.logits import next_token_probs
from playground.pipeline import Run
from playground.preprocess.stage import model_kwargs
from playground.records import Parity, Progress
from tests.playground.prompt_samples import PROMPTS


@pytest.fixture(scope="module", params=["text", "image_and_video", "turns"])
def run(request: pytest.FixtureRequest, engine: Engine) -> Run:
    run = Run(engine, PROMPTS[request.param])
    run.ensure("decoder")
    return run


@torch.no_grad()
def plain_states(run: Run) -> list[torch.Tensor]:
    """Inputs of the layers and of the final norm in a plain forward."""
    model: Any = run.engine.model
    text = model.model.language_model
    states: list[torch.Tensor] = []
    handles = [
        module.register_forward_pre_hook(lambda _m, args: states.append(args[0][0].clone()))
        for module in (*text.layers, text.norm)
    ]
    try:
        model(**model_kwargs(run.inputs))
    finally:
        for handle in handles:
            handle.remove()
        model.model.rope_deltas = None
    return states


def test_states_are_those_of_a_plain_forward(run: Run) -> None:
    states = plain_states(run)
    assert run.decoded.num_layers == run.engine.facts.num_layers
    for mine, theirs in zip(run.decoded.hidden_states, states, strict=True):
        assert torch.equal(mine, theirs)
    assert torch.equal(run.decoded.hidden_states[0], run.merged.inputs_embeds[0])
    norms = torch.stack([state.norm(dim=-1) for state in states]).numpy()
    np.testing.assert_array_equal(residual_norms(run.decoded), norms)


def test_deepstack_is_in_the_states(tiny_random_engine: Engine) -> None:
    """``output_hidden_states`` reports the states before the add; ours are the layers' inputs."""
    run = Run(tiny_random_engine, PROMPTS["image"])
    model: Any = tiny_random_engine.model
    with torch.no_grad():
        reported = model(**model_kwargs(run.inputs), output_hidden_states=True).hidden_states
    model.model.rope_deltas = None
    mask, taps = run.merged.visual_pos_masks, run.merged.deepstack_visual_embeds
    assert mask is not None
    assert taps is not None
    assert run.decoded.num_deepstack == len(taps) == 3
    for layer, tap in enumerate(taps):
        expected = reported[layer + 1][0].clone()
        assert not torch.equal(run.decoded.hidden_states[layer + 1], expected)
        expected[mask[0]] += tap
        assert torch.equal(run.decoded.hidden_states[layer + 1], expected)


def test_text_has_no_deepstack(tiny_random_engine: Engine) -> None:
    run = Run(tiny_random_engine, PROMPTS["text"])
    assert run.decoded.num_deepstack == 0
    assert "visual_pos_masks" not in decoder_kwargs(tiny_random_engine, run.merged)


@torch.no_grad()
def test_lens_against_torch(run: Run) -> None:
    model: Any = run.engine.model
    last = run.inputs.num_tokens - 1
    positions = (last, 0, last // 2)
    lens = logit_lens(run.engine, run.decoded, positions, 3)
    assert lens.positions == positions
    assert lens.ids.shape == lens.probs.shape == (run.decoded.num_layers + 1, 3, 3)
    for layer, state in enumerate(run.decoded.hidden_states):
        norm = model.model.language_model.norm(state[list(positions)])
        probs = model.lm_head(norm).softmax(-1)
        np.testing.assert_array_equal(lens.ids[layer], probs.topk(3).indices)
        np.testing.assert_allclose(lens.probs[layer], probs.topk(3).values, rtol=1e-4)
    assert lens.texts[0][0][0] == next_token_text(run, int(lens.ids[0, 0, 0]))


def next_token_text(run: Run, token_id: int) -> str:
    logits = torch.full((run.engine.facts.vocab_size,), -1.0)
    logits[token_id] = 1.0
    return next_token_probs(run.engine, logits, 1)[0].text


def test_the_lens_after_the_last_layer_is_the_answer(run: Run) -> None:
    lens = logit_lens(run.engine, run.decoded, (run.inputs.num_tokens - 1,), 8)
    probs = run.decoded.logits.softmax(-1).topk(8)
    assert lens.ids[-1, 0].tolist() == probs.indices.tolist()
    np.testing.assert_allclose(lens.probs[-1, 0], probs.values, rtol=1e-5)


def test_chunks_and_single_layers_give_the_same(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    positions = tuple(range(run.inputs.num_tokens))
    whole = logit_lens(run.engine, run.decoded, positions, 2)
    monkeypatch.setattr("playground.decoder.stage.LENS_ROWS", 7)
    chunked = logit_lens(run.engine, run.decoded, positions, 2)
    np.testing.assert_allclose(chunked.probs, whole.probs, rtol=1e-4)
    one = logit_lens(run.engine, run.decoded, positions, 2, layers=(2,))
    assert one.ids.shape == (1, len(positions), 2)
    np.testing.assert_allclose(one.probs[0], whole.probs[2], rtol=1e-4)


def test_a_stop_ends_the_lens_within_a_chunk(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playground.decoder.stage.LENS_ROWS", 4)
    seen: list[tuple[str, int, int]] = []

    def stop(what: str, done: int, total: int) -> None:
        seen.append((what, done, total))
        if done:
            raise StageCancelled

    normed: list[int] = []
    norm = run.engine.model.model.language_model.norm
    hook = norm.register_forward_hook(lambda *_: normed.append(1))
    try:
        with pytest.raises(StageCancelled):
            logit_lens(run.engine, run.decoded, (0, 1, 2), 2, progress=stop)
    finally:
        hook.remove()
    rows = 3 * (run.decoded.num_layers + 1)
    assert seen == [("logit lens", 0, rows), ("logit lens", 4, rows)]
    assert len(normed) == 1


@pytest.fixture
def broken(tiny_random_engine: Engine) -> Iterator[Engine]:
    """The engine with one NaN in its final norm."""
    model: Any = tiny_random_engine.model
    weight = model.model.language_model.norm.weight
    kept = weight[0].item()
    with torch.no_grad():
        weight[0] = torch.nan
    yield tiny_random_engine
    with torch.no_grad():
        weight[0] = kept


def test_nan_logits_are_an_error(broken: Engine) -> None:
    run = Run(broken, PROMPTS["image"])
    with pytest.raises(ModelError, match=r"NaN or infinity.*--dtype"):
        run.ensure("decoder")
    assert run.has("merge")
    assert not run.has("decoder")


def test_parity_finds_a_difference_and_restores_the_model(tiny_random_engine: Engine) -> None:
    run = Run(tiny_random_engine, PROMPTS["image"])
    model: Any = tiny_random_engine.model
    poison = torch.tensor([[77]])
    model.model.rope_deltas = poison
    try:
        changed = run.decoded.logits.clone()
        changed[3] += 0.5
        other = replace(run.decoded, logits=changed)
        parity = measure_parity(tiny_random_engine, run.inputs, other)
        assert parity.max_abs_diff == pytest.approx(0.5, abs=1e-5)
        assert not parity.ok
        assert model.model.rope_deltas is poison
    finally:
        model.model.rope_deltas = None
    assert Parity(1e-5, True, 1e-5).ok


def test_parity_restores_the_model_after_an_error(
    tiny_random_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tiny_random_engine, PROMPTS["image"])
    run.ensure("decoder")
    model: Any = tiny_random_engine.model
    poison = torch.tensor([[77]])
    model.model.rope_deltas = poison

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(model.model.language_model.layers[-1], "forward", fail)
    try:
        with pytest.raises(RuntimeError, match="out of memory"):
            measure_parity(tiny_random_engine, run.inputs, run.decoded)
        assert model.model.rope_deltas is poison
    finally:
        model.model.rope_deltas = None


@pytest.mark.parametrize(("name", "num_blocks"), [("image", 4), ("text", 0)])
def test_a_stop_ends_the_parity_check_before_any_layer(
    tiny_random_engine: Engine, name: str, num_blocks: int
) -> None:
    run = Run(tiny_random_engine, PROMPTS[name])
    run.ensure("decoder")
    model: Any = tiny_random_engine.model
    modules = [*model.model.visual.blocks[:num_blocks], *model.model.language_model.layers]
    reached: list[Any] = []
    hooks = [each.register_forward_hook(lambda mine, *_: reached.append(mine)) for each in modules]
    steps: list[tuple[str, int, int]] = []

    def stop_at(last: int) -> Progress:
        def progress(*step: Any) -> None:
            steps.append(step)
            if step[1] == last:
                raise StageCancelled

        return progress

    try:
        for last in range(len(modules)):
            reached.clear()
            with pytest.raises(StageCancelled):
                run.check_parity(stop_at(last))
            assert reached == modules[:last]
            assert not run.has("parity")
        steps.clear()
        assert run.check_parity(lambda *step: steps.append(step)).ok
    finally:
        for hook in hooks:
            hook.remove()
    assert steps == [("parity, layer", at, len(modules)) for at in range(len(modules))]


def test_progress_counts_layers_and_the_norm(tiny_random_engine: Engine) -> None:
    run = Run(tiny_random_engine, PROMPTS["text"])
    steps: list[tuple[str, int, int]] = []
    run_decoder(
        tiny_random_engine, run.inputs, run.merged, progress=lambda *step: steps.append(step)
    )
    assert steps == [("decoder layer", index, 5) for index in range(5)]


def test_the_tail_of_a_sequence_gets_its_own_part(tiny_random_engine: Engine) -> None:
    """``start`` inside an image: masks, positions and DeepStack rows are cut alike."""
    run = Run(tiny_random_engine, PROMPTS["two_images"])
    start = run.inputs.spans[1].start + 3
    kwargs = decoder_kwargs(tiny_random_engine, run.merged, start)
    seq = run.inputs.num_tokens - start
    assert kwargs["inputs_embeds"].shape[1] == seq
    assert torch.equal(kwargs["position_ids"], run.merged.position_ids[:, :, start:])
    left = run.inputs.spans[1].end - start
    assert int(kwargs["visual_pos_masks"].sum()) == left
    for mine, whole in zip(
        kwargs["deepstack_visual_embeds"], run.merged.deepstack_visual_embeds or (), strict=True
    ):
        assert torch.equal(mine, whole[-left:])
