"""Prompt and answer in one sequence, against ``generate``, a plain forward and a whole prefill."""

from __future__ import annotations

import gc
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from playground.answer.stage import MEMO, read_more_tokens, run_with_answer
from playground.answer.summary import predicting_rows
from playground.cache import describe_cache
from playground.decoder.attention import attention_rows, layer_queries_keys, mean_attention
from playground.decoder.rotation import rotate_head
from playground.decoder.stage import logit_lens, residual_norms, run_decoder, track_token
from playground.decoder.updates import layer_updates
from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.experiments.influence import attention_by_head
from playground.experiments.neutral import neutral_run
from playground.loading.load import load_engine
from playground.logits import apply_head
from playground.merge.stage import run_merge
from playground.pipeline import Run
from playground.preprocess.stage import model_kwargs
from playground.prompt import Prompt, Turn
from playground.sampling.score import read_answer
from playground.tokens import read_tokens
from tests.playground.answer.conftest import LOGITS_ATOL, NEW_TOKENS, write_answer
from tests.playground.sampling_prefills import poisoned_deltas

STATES_ATOL = 1e-4


def generate_scores(run: Run, count: int) -> tuple[list[int], torch.Tensor]:
    """The ids and ``(tokens, vocab)`` scores of ``generate``, greedy."""
    model: Any = run.engine.model
    shared = model.model.rope_deltas
    with torch.no_grad():
        out = model.generate(
            **model_kwargs(run.inputs),
            max_new_tokens=count,
            do_sample=False,
            output_scores=True,
            return_dict_in_generate=True,
        )
    model.model.rope_deltas = shared
    return out.sequences[0, run.inputs.num_tokens :].tolist(), torch.cat(out.scores)


def test_logits_are_the_scores_of_generate(run: Run) -> None:
    ids, scores = generate_scores(run, NEW_TOKENS)
    answered = run_with_answer(run, ids)
    rows = predicting_rows(answered.inputs)
    logits = apply_head(run.engine, answered.decoded.last_hidden_state[list(rows)])
    torch.testing.assert_close(logits, scores, rtol=0, atol=LOGITS_ATOL)
    grown = run  # one token at a time: the same forwards
    for number, token_id in enumerate(ids):
        assert torch.equal(grown.decoded.logits, scores[number])
        grown = run_with_answer(grown, [token_id])
    assert grown.inputs.num_answer_tokens == len(ids)
    assert grown.prompt_run is run


def test_records_are_those_of_a_whole_prefill(run: Run, answered: Run) -> None:
    engine, inputs = run.engine, answered.inputs
    merged = run_merge(engine, inputs, run.vision)
    for field in fields(merged):
        ours, theirs = (getattr(each, field.name) for each in (answered.merged, merged))
        if isinstance(theirs, tuple):
            assert all(map(torch.equal, ours, theirs))
        else:
            assert ours is theirs is None or ours.equal(theirs)
    np.testing.assert_array_equal(answered.positions, merged.position_ids[:, 0].numpy())
    whole, ours = run_decoder(engine, inputs, merged), answered.decoded
    for state, expected in zip(ours.hidden_states, whole.hidden_states, strict=True):
        torch.testing.assert_close(state, expected, rtol=1e-4, atol=STATES_ATOL)
    for name in ("last_hidden_state", "logits", "position_ids", "attention_norms", "mlp_norms"):
        torch.testing.assert_close(
            getattr(ours, name), getattr(whole, name), rtol=1e-4, atol=STATES_ATOL
        )
    assert describe_cache(ours.cache) == describe_cache(whole.cache)
    assert ours.num_deepstack == whole.num_deepstack
    if whole.experts is not None:
        assert ours.experts is not None
        assert torch.equal(ours.experts.ids, whole.experts.ids)
        torch.testing.assert_close(ours.experts.weights, whole.experts.weights)
    assert answered.parity.ok


@pytest.fixture(scope="module")
def eager_engines(tiny_random_folder: Path, tiny_random_moe_folder: Path) -> dict[str, Engine]:
    """Each checkpoint with eager attention, by the source of the engine on sdpa."""
    sources = ("tiny", str(tiny_random_folder), str(tiny_random_moe_folder))
    return {
        source: load_engine(source, device="cpu", dtype="float32", attn="eager")
        for source in sources
    }


def test_attention_rows_equal_eager_attention(
    run: Run, answered: Run, eager_engines: dict[str, Engine]
) -> None:
    eager: Any = eager_engines[str(run.engine.source)].model
    weights: list[torch.Tensor] = []
    hooks = [
        layer.self_attn.register_forward_hook(lambda _m, _a, output: weights.append(output[1][0]))
        for layer in eager.model.language_model.layers
    ]
    with torch.no_grad():
        eager(**model_kwargs(answered.inputs))
    for hook in hooks:
        hook.remove()
    rows = [0, *predicting_rows(answered.inputs), answered.inputs.num_tokens - 1]
    for layer, expected in enumerate(weights):
        found = attention_rows(layer_queries_keys(run.engine, answered.decoded, layer), rows)
        torch.testing.assert_close(found, expected[:, rows], rtol=0, atol=2e-6)
    mean = mean_attention(run.engine, answered.decoded, rows)
    expected = torch.stack(weights).mean((0, 1))[rows]
    np.testing.assert_allclose(mean, expected.numpy(), rtol=0, atol=2e-6)


def test_every_view_takes_an_answer_token(run: Run, answered: Run) -> None:
    engine, decoded, seq = run.engine, answered.decoded, answered.inputs.num_tokens
    at = answered.inputs.num_prompt_tokens + 1
    assert residual_norms(decoded).shape == (decoded.num_layers + 1, seq)
    lens = logit_lens(engine, decoded, (at,), 3)
    final = apply_head(engine, decoded.last_hidden_state[[at]])[0].softmax(-1)
    np.testing.assert_allclose(lens.probs[-1, 0], final.topk(3).values.numpy(), rtol=1e-4)
    probs, _ = track_token(engine, decoded, at, int(lens.ids[-1, 0, 0]))
    np.testing.assert_allclose(probs[-1], lens.probs[-1, 0, 0], rtol=1e-4)
    assert layer_updates(decoded, answered.merged, at).residual.min() > 0
    rotation = rotate_head(engine, decoded, 1, 0, at, at - 1)
    assert rotation.distances == (1, 1, 1)
    by_head = attention_by_head(engine, answered.merged, decoded, ())
    assert by_head.shape[-1] == seq
    if decoded.experts is not None:
        assert decoded.experts.ids.shape[1] == seq


def test_only_the_answer_runs_and_nothing_of_the_prompt_changes(image_run: Run) -> None:
    run = image_run
    run.ensure("decoder")
    record, merged = run.decoded, run.merged
    states = [state.clone() for state in record.hidden_states]
    keys = [layer.keys.clone() for layer in record.cache.layers]
    lengths: list[int] = []
    layer = run.engine.model.model.language_model.layers[0]
    hook = layer.register_forward_pre_hook(lambda _m, args: lengths.append(args[0].shape[1]))
    ids = read_answer(run.engine, "A red circle.", with_end=True)
    with poisoned_deltas(run.engine):
        answered = run_with_answer(run, ids)
    hook.remove()
    assert lengths == [len(ids)]
    # Readers of the earlier record keep it as it was; the run's own has the same numbers.
    for each in (record, run.decoded):
        assert each.cache.get_seq_length() == run.inputs.num_tokens
        assert all(map(torch.equal, each.hidden_states, states))
        assert all(map(torch.equal, (one.keys for one in each.cache.layers), keys))
        assert torch.equal(each.logits, record.logits)
    assert torch.equal(run.merged.inputs_embeds, merged.inputs_embeds)
    assert answered.vision is run.vision
    assert answered.inputs.input_ids[0, -len(ids) :].tolist() == ids
    assert [token.role for token in answered.inputs.tokens[-len(ids) :]] == ["assistant"] * len(ids)
    assert answered.inputs.rendered_prompt == run.inputs.rendered_prompt + "A red circle.<|im_end|>"


@pytest.mark.parametrize(
    "head", ["零点", "<|im_start|>user\n你好<|im_end|>\n<|im_start|>assistant\n"]
)
@pytest.mark.parametrize("more", ["Hi.<|im_end|>", "👩‍🚀 零", "<|im_end|>\n<|im_start|>user\nA"])
def test_more_tokens_are_read_like_all_at_once(
    tiny_random_engine: Engine, head: str, more: str
) -> None:
    """Also in the middle of a character: each token of it is added alone."""
    engine = tiny_random_engine
    ids, added = (engine.tokenizer.encode(each, add_special_tokens=False) for each in (head, more))
    tokens, text = read_tokens(engine, ids)
    for count, token_id in enumerate(added, 1):
        tokens, text = read_more_tokens(engine, tokens, text, [token_id])
        assert (tokens, text) == read_tokens(engine, ids + added[:count])
    assert read_more_tokens(engine, *read_tokens(engine, ids), added) == (tokens, text)


def test_a_character_of_several_tokens_is_written_once_it_is_whole(image_run: Run) -> None:
    ids = read_answer(image_run.engine, "a🜁")
    assert len(ids) > 2
    grown = image_run
    for token_id in ids:
        grown = run_with_answer(grown, [token_id])
    for name in ("rendered_prompt", "expanded_prompt"):
        assert getattr(grown.inputs, name) == getattr(image_run.inputs, name) + "a🜁"


def test_the_latest_answer_is_kept_and_counted(image_run: Run) -> None:
    run = image_run
    run.ensure("decoder")
    ids, alone = write_answer(run), run.num_bytes
    told: list[int] = []
    run.on_growth = lambda: told.append(run.num_bytes)
    first = run_with_answer(run, ids)
    assert run_with_answer(run, ids) is first is run.recall(MEMO)
    # The prompt's states, keys and values are held once.
    added = len(ids) / run.inputs.num_tokens
    assert alone < run.num_bytes == told[-1] < alone * (1 + 2 * added)
    run.num_bytes  # noqa: B018
    first.memo("grown", lambda: np.zeros(100_000))
    assert told[-1] >= alone + 800_000
    second = run_with_answer(run, ids[:2])
    assert second is run.recall(MEMO)
    assert run.num_bytes < alone * (1 + 2 * added)
    # An answer that is still in use keeps its own numbers.
    assert first.decoded.num_tokens == run.inputs.num_tokens + len(ids)
    assert neutral_run(first) is neutral_run(run)


def test_an_answered_run_can_move_to_another_process(image_run: Run) -> None:
    answered = run_with_answer(image_run, [5, 6])
    again = Run.resume(answered.engine, answered.export())
    assert again.inputs.num_answer_tokens == 2
    assert torch.equal(again.decoded.logits, answered.decoded.logits)


def test_answers_that_are_refused(image_run: Run) -> None:
    facts = image_run.engine.facts
    with pytest.raises(InputError, match="answer is empty"):
        run_with_answer(image_run, [])
    with pytest.raises(InputError, match="no token"):
        run_with_answer(image_run, [facts.vocab_size])
    with pytest.raises(InputError, match="vision token"):
        run_with_answer(image_run, [5, facts.image_token_id])
    with pytest.raises(InputError, match="room for"):
        run_with_answer(image_run, [5] * facts.max_position_embeddings)
    assert image_run.recall(MEMO) is None


def test_it_stops_at_the_next_layer(image_run: Run) -> None:
    image_run.ensure("decoder")
    record = image_run.decoded

    def stop(_what: str, done: int, _total: int) -> None:
        if done == 1:
            raise StageCancelled

    with pytest.raises(StageCancelled):
        run_with_answer(image_run, [5, 6], progress=stop)
    assert image_run.decoded is record
    assert image_run.recall(MEMO) is None


def test_the_prompt_of_an_answer_may_be_gone(tiny_random_engine: Engine) -> None:
    """Its answer must not count as the prompt then."""
    prompt = Prompt((Turn("user", "Hello"),))
    asked = Run(tiny_random_engine, prompt)
    answered = run_with_answer(asked, [5, 6])
    assert answered.prompt_run is asked
    del asked
    gc.collect()
    with pytest.raises(InputError, match="This run has expired"):
        _ = answered.prompt_run
