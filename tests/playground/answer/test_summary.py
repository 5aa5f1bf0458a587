"""The summary of an answer's tokens, against the parts that it is made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from benchmarks.scenes import read_first_example
from playground.answer.stage import run_with_answer
from playground.answer.summary import (
    answer_attention,
    answer_attention_less_sink,
    answer_without_images,
    describe_answer,
    media_tokens,
    predicting_rows,
)
from playground.decoder.attention import attention_rows, layer_queries_keys
from playground.decoder.stage import track_token
from playground.engine import Engine
from playground.errors import InputError
from playground.experiments.answers import answer_log_probs, without_images
from playground.experiments.first_object import find_first_object
from playground.experiments.neutral import neutral_run
from playground.experiments.what_if import WhatIf
from playground.experiments.what_if_runs import run_changed
from playground.logits import apply_head
from playground.pipeline import Run
from playground.sampling.paths import prompt_prefix
from playground.sampling.score import score_tokens
from tests.playground.answer.conftest import write_answer
from tests.playground.sampling_prefills import PROMPTS


def test_probabilities_are_those_of_a_scored_text(run: Run, answered: Run) -> None:
    ids = answered.inputs.input_ids[0, run.inputs.num_tokens :].tolist()
    prompt = prompt_prefix(run.inputs, run.merged, run.decoded)
    scored = score_tokens(run.engine, prompt, ids)
    tokens = describe_answer(answered, measure_images=False)
    np.testing.assert_allclose(
        [token.prob for token in tokens], [step.prob for step in scored.trace.steps], rtol=1e-4
    )
    assert tuple(token.rank for token in tokens) == scored.ranks
    assert [token.id for token in tokens] == ids
    assert [token.text for token in tokens] == [step.text for step in scored.trace.steps]
    assert [token.index for token in tokens] == list(
        range(run.inputs.num_tokens, answered.inputs.num_tokens)
    )
    read = answer_log_probs(run.engine, run.merged, run.decoded, ids)
    np.testing.assert_allclose([token.log_prob for token in tokens], read, atol=5e-5)


def test_shares_are_the_mean_of_all_heads_and_layers(run: Run, answered: Run) -> None:
    decoded, rows = answered.decoded, predicting_rows(answered.inputs)
    layers = [
        attention_rows(layer_queries_keys(run.engine, decoded, layer), rows).mean(0).numpy()
        for layer in range(decoded.num_layers)
    ]
    expected = np.mean(layers, 0)
    np.testing.assert_allclose(answer_attention(answered), expected, atol=2e-6)
    tokens = describe_answer(answered, measure_images=False)
    for token, weights in zip(tokens, expected, strict=True):
        shares = [weights[indices].sum() for indices in media_tokens(run.inputs)]
        np.testing.assert_allclose(token.image_attention, shares, atol=1e-5)
        assert token.image_attention_less_sink is token.log_prob_without_images is None
        assert token.log_prob_lost is None


def test_the_first_layer_is_where_the_rank_stays_one(run: Run) -> None:
    ids = write_answer(run)
    answered = run_with_answer(run, [*ids[:3], 5, *ids[3:]])  # 5 is not the model's own word
    found = []
    for token in describe_answer(answered, measure_images=False):
        _, ranks = track_token(run.engine, answered.decoded, token.index - 1, token.id)
        others = np.flatnonzero(ranks != 1)
        first = int(others[-1]) + 1 if len(others) else 0
        assert token.first_layer == (None if first == len(ranks) else first)
        assert (token.first_layer is None) == (token.rank > 1)
        found.append(token.first_layer)
    assert found[3] is None
    assert found[0] is not None


def test_what_the_images_add(run: Run, answered: Run) -> None:
    if not run.inputs.spans:
        assert describe_answer(answered)[0].image_attention == ()
        assert describe_answer(answered)[0].image_attention_less_sink is None
        for measure in (answer_without_images, answer_attention_less_sink):
            with pytest.raises(InputError, match="no image"):
                measure(answered)
        return
    ids = answered.inputs.input_ids[0, run.inputs.num_tokens :].tolist()
    shift = without_images(run.engine, run.inputs, run.merged, run.decoded, ids)
    tokens = describe_answer(answered)
    np.testing.assert_allclose([token.log_prob_lost for token in tokens], shift.drop, atol=1e-4)
    neutral = neutral_run(run)
    last = neutral.inputs.num_tokens - 1
    base = np.mean(
        [
            attention_rows(layer_queries_keys(run.engine, neutral.decoded, layer), [last])
            .mean((0, 1))
            .numpy()
            for layer in range(neutral.decoded.num_layers)
        ],
        0,
    )
    for token, weights in zip(tokens, answer_attention(answered), strict=True):
        expected = [
            np.clip(weights[indices] - base[indices], 0, None).sum()
            for indices in media_tokens(run.inputs)
        ]
        assert token.image_attention_less_sink is not None
        np.testing.assert_allclose(token.image_attention_less_sink, expected, atol=1e-5)


def test_a_video_is_one_medium_and_two_images_are_two(tiny_random_engine: Engine) -> None:
    both = media_tokens(Run(tiny_random_engine, PROMPTS["image and video"]).inputs)
    run = Run(tiny_random_engine, PROMPTS["two images"])
    spans = run.inputs.spans
    assert len(both[0]) < len(both[1])
    assert len(both) == 2
    assert [indices.tolist() for indices in media_tokens(run.inputs)] == [
        list(range(span.start, span.end)) for span in spans
    ]


@contextmanager
def counted(run: Run) -> Iterator[list[int]]:
    """The length of every forward through the first layer."""
    layer, lengths = run.engine.model.model.language_model.layers[0], []
    hook = layer.register_forward_pre_hook(lambda _m, args: lengths.append(args[0].shape[1]))
    yield lengths
    hook.remove()


def test_each_part_is_measured_once(image_run: Run) -> None:
    image_run.ensure("decoder")
    answered = run_with_answer(image_run, write_answer(image_run))
    with counted(image_run) as lengths:
        describe_answer(answered, measure_images=False)
        assert not lengths
        described = describe_answer(answered)
        assert len(lengths) == 2  # the neutral prompt, and the sequence without the images
        assert describe_answer(answered) == described
        assert len(lengths) == 2


def test_red_looks_at_the_red_circle_and_depends_on_it(shipped_engine: Engine) -> None:
    """In the page's first example: "A large red circle on the left and a large blue square …"."""
    run = Run(shipped_engine, read_first_example(shipped_engine))
    run.ensure("decoder")
    answered = run_with_answer(run, write_answer(run, 20))
    tokens = describe_answer(answered)
    number, red = next((n, token) for n, token in enumerate(tokens) if token.text == " red")
    assert red.prob > 0.9
    assert red.log_prob_lost is not None
    assert red.log_prob_lost > 1
    assert red.first_layer is not None
    circle = find_first_object(run.inputs, run.inputs.spans[0])
    (image,) = media_tokens(run.inputs)
    rest = np.setdiff1d(image, circle)
    weights = answer_attention_less_sink(answered)[number]
    assert weights[list(circle)].mean() > 3 * weights[rest].mean()
    what_if = WhatIf(masked=circle)
    changed = run_changed(run.engine, answered.inputs, answered.merged, what_if)
    logits = apply_head(run.engine, changed.last_hidden_state[[red.index - 1]])[0]
    masked = logits.log_softmax(-1)[red.id]
    assert red.log_prob - float(masked) > 3
