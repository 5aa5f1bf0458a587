"""Masking in batches equals masking one by one through the what-ifs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from components.prompt.examples import load_examples
from playground.decoder.attention import attention_rows, layer_queries_keys
from playground.decoder.stage import run_layers
from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.experiments.answers import answer_log_probs
from playground.experiments.influence import (
    MAX_ROWS,
    InfluenceMap,
    agreement_by_head,
    attention_by_head,
    measure_influence,
    rank_correlation,
    span_parts,
)
from playground.experiments.what_if import WhatIf, change_merged
from playground.experiments.what_if_runs import greedy_answer, run_what_if
from playground.merge.extend import extend_merged
from playground.pipeline import Run
from playground.preprocess.media import read_image
from playground.preprocess.stage import unpatchify
from playground.prompt import Prompt, Turn
from tests.components.runs import make_run
from tests.media_samples import make_image


@pytest.fixture(scope="module")
def run(tiny_random_engine: Engine) -> Run:
    """Two images, the second wide: 12 x 4 patches."""
    return make_run(tiny_random_engine, "What?", make_image(), make_image(192, 64, seed=1))


def test_each_drop_is_that_of_a_masked_run(run: Run) -> None:
    span = run.inputs.spans[1]
    plain = run_what_if(run.engine, run.inputs, run.merged, WhatIf(), max_new_tokens=1)
    word = plain.answer.steps[0].id
    measured = measure_influence(run.engine, run.inputs, run.merged, span, [word])
    assert measured.drop.shape == (span.merged_h, span.merged_w)
    assert len(run.inputs.tokens[span.start : span.end]) + 1 > MAX_ROWS  # several batches
    before = float(plain.decoded.logits.float().log_softmax(-1)[word])
    assert measured.log_prob == pytest.approx(before, abs=1e-5)
    for row, column in ((0, 0), (1, 2), (span.merged_h - 1, span.merged_w - 1)):
        index = span.start + row * span.merged_w + column
        masked = run_what_if(
            run.engine, run.inputs, run.merged, WhatIf(masked=(index,)), max_new_tokens=1
        )
        after = float(masked.decoded.logits.float().log_softmax(-1)[word])
        assert measured.drop[row, column] == pytest.approx(before - after, abs=2e-5)


def test_a_later_token_of_the_answer(run: Run) -> None:
    """The answer so far is given; the third word is measured."""
    span = run.inputs.spans[0]
    plain = run_what_if(run.engine, run.inputs, run.merged, WhatIf(), max_new_tokens=3)
    ids = [step.id for step in plain.answer.steps]
    assert len(ids) == 3
    size = max(span.merged_h, span.merged_w)
    measured = measure_influence(run.engine, run.inputs, run.merged, span, ids, block=size)
    assert measured.drop.shape == (1, 1)
    # Greedy: the third step's probability is of the whole vocabulary but the vision tokens.
    step = plain.answer.steps[2]
    raw = next(each.raw_prob for each in step.top if each.id == step.id)
    assert measured.log_prob == pytest.approx(np.log(raw), abs=1e-4)
    # The one block is the whole image.
    masked = WhatIf(masked=tuple(range(span.start, span.end)))
    merged = change_merged(run.merged, masked)
    bare = measure_influence(run.engine, run.inputs, merged, span, ids, block=size)
    assert bare.drop[0, 0] == pytest.approx(0, abs=1e-5)
    assert measured.log_prob - measured.drop[0, 0] == pytest.approx(bare.log_prob, abs=1e-4)
    hidden = measure_influence(run.engine, run.inputs, run.merged, span, ids, block=2)
    assert hidden.drop.shape == (-(-span.merged_h // 2), -(-span.merged_w // 2))


def test_a_part_is_a_block_with_its_margin(run: Run) -> None:
    span = run.inputs.spans[1]
    word = int(run.decoded.logits.argmax())
    measured = measure_influence(run.engine, run.inputs, run.merged, span, [word], margin=1)
    assert measured.drop.shape == (span.merged_h, span.merged_w)
    corner = measured.parts[0]
    assert corner == (span.start, span.start + 1, *(span.start + span.merged_w + i for i in (0, 1)))
    at = int(measured.drop.argmax())
    assert measured.strongest == measured.parts[at]
    assert len(set(measured.strongest)) in (4, 6, 9)  # a corner, an edge, the middle
    masked = run_what_if(
        run.engine, run.inputs, run.merged, WhatIf(masked=measured.strongest), max_new_tokens=1
    )
    after = float(masked.decoded.logits.float().log_softmax(-1)[word])
    assert measured.log_prob - measured.drop.max() == pytest.approx(after, abs=2e-5)


def test_parts_by_hand(run: Run) -> None:
    """Blocks of two with a margin of one, on a grid of 2 by 6 tokens that starts at 100."""
    span = replace(run.inputs.spans[1], start=100, end=112, grid_h=4, grid_w=12)
    parts = span_parts(span, 2, 1)
    assert parts == [
        (100, 101, 102, 106, 107, 108),
        (101, 102, 103, 104, 107, 108, 109, 110),
        (103, 104, 105, 109, 110, 111),
    ]


def test_masking_the_red_circle_removes_red_from_the_answer(shipped_engine: Engine) -> None:
    """The opening example: what "red" depends on lies on the circle, and without it "red" falls."""
    run = open_example(shipped_engine)
    answer = greedy_answer(run.engine, run.inputs, run.merged, run.decoded, max_new_tokens=24)
    ids = [step.id for step in answer.steps]
    texts = [step.text.strip().lower() for step in answer.steps]
    word = texts.index("red")
    span = run.inputs.spans[0]
    measured = measure_influence(
        run.engine, run.inputs, run.merged, span, ids[: word + 1], margin=1
    )
    row, column = np.unravel_index(int(measured.drop.argmax()), measured.drop.shape)
    pixels = unpatchify(run.inputs, span)[0].astype(int)
    side = 2 * run.inputs.patch_size
    cell = pixels[row * side : (row + 1) * side, column * side : (column + 1) * side]
    red, _, blue = cell.reshape(-1, 3).mean(0)
    assert red - blue > 100  # on the circle
    changed = run_what_if(
        run.engine, run.inputs, run.merged, WhatIf(masked=measured.strongest), max_new_tokens=24
    )
    before, after = (
        np.exp(answer_log_probs(engine, merged, decoded, ids))
        for engine, merged, decoded in (
            (run.engine, run.merged, run.decoded),
            (changed.engine, changed.merged, changed.decoded),
        )
    )
    assert before[word] > 0.9
    assert after[word] < 0.5
    assert after[texts.index("blue")] > 0.5  # the square is still there
    assert changed.answer.text != answer.text


def open_example(engine: Engine) -> Run:
    """The run with which the page opens."""
    first = load_examples()[0]
    images = tuple(read_image(path) for path in first.images)
    return Run(engine, Prompt((Turn("user", first.text, images),)))


@pytest.mark.parametrize("ids", [[], [5, 9]])
def test_attention_of_the_position_that_predicts_the_token(run: Run, ids: list[int]) -> None:
    """On the prefill's cache, as a whole forward over prompt and answer would have it."""
    attention = attention_by_head(run.engine, run.merged, run.decoded, ids)
    facts = run.engine.facts
    seq = run.inputs.num_tokens + len(ids)
    assert attention.shape == (facts.num_layers, facts.num_attention_heads, seq)
    np.testing.assert_allclose(attention.sum(-1), 1, atol=1e-5)
    extended = extend_merged(run.engine, run.merged, ids)
    output = run_layers(run.engine, extended, torch.ones(1, seq, dtype=torch.int64))
    for layer in range(facts.num_layers):
        rows = attention_rows(layer_queries_keys(run.engine, output, layer), [seq - 1])
        np.testing.assert_allclose(attention[layer], rows[:, 0], atol=1e-5)
    assert run.decoded.cache.get_seq_length() == run.inputs.num_tokens


def test_agreement_by_hand() -> None:
    """Two parts of two tokens each; one head attends to the part that matters, one elsewhere."""
    drop = np.array([[1.0, 3.0]], np.float32)
    measured = InfluenceMap(drop, 2, 0, -0.1, ((4, 5), (6, 7)))
    attention = np.zeros((1, 3, 8), np.float32)
    attention[0, 0, [4, 6, 7]] = 0.1, 0.2, 0.2
    attention[0, 1, [4, 5, 6]] = 0.3, 0.3, 0.2
    agreement = agreement_by_head(measured, attention)
    np.testing.assert_allclose(agreement[0, :2], [1, -1], atol=1e-6)
    assert np.isnan(agreement[0, 2])


def test_a_stop_ends_within_a_layer(run: Run) -> None:
    """Not only between batches: the second layer of the second one is never entered."""
    batches: list[int] = []
    entered: list[int] = []
    layers = run.engine.model.model.language_model.layers
    hooks = [
        layer.register_forward_hook(lambda _m, _a, _o, at=at: entered.append(at))
        for at, layer in enumerate(layers)
    ]

    def stop(_what: str, done: int, _total: int) -> None:
        batches.append(done)
        if done and batches.count(done) == 2:
            raise StageCancelled

    try:
        with pytest.raises(StageCancelled):
            measure_influence(
                run.engine, run.inputs, run.merged, run.inputs.spans[0], [5], progress=stop
            )
    finally:
        for hook in hooks:
            hook.remove()
    assert entered == [*range(len(layers)), 0]
    for module in run.engine.model.modules():
        assert not module._forward_pre_hooks


def test_nothing_to_measure_is_said(run: Run, tiny_random_engine: Engine) -> None:
    span = run.inputs.spans[0]
    with pytest.raises(InputError, match="nothing to measure"):
        measure_influence(run.engine, run.inputs, run.merged, span, [])
    with pytest.raises(InputError, match="nothing to measure"):
        measure_influence(run.engine, run.inputs, run.merged, span, [1], block=0)
    with pytest.raises(InputError, match="nothing to measure"):
        measure_influence(run.engine, run.inputs, run.merged, span, [1], margin=-1)
    text = make_run(tiny_random_engine, "Hello")
    with pytest.raises(InputError, match="no image"):
        measure_influence(text.engine, text.inputs, text.merged, span, [1])


def test_rank_correlation_by_hand() -> None:
    rising = np.array([1.0, 2.0, 10.0, 50.0])
    assert rank_correlation(rising, rising**3) == pytest.approx(1)
    assert rank_correlation(rising, -rising) == pytest.approx(-1)
    # Ranks 1, 2, 3, 4 against 2.5, 2.5, 1, 4: covariance 1.5, variances 5 and 4.5.
    assert rank_correlation(rising, np.array([3.0, 3.0, 1.0, 9.0])) == pytest.approx(
        1.5 / np.sqrt(5 * 4.5)
    )
    assert np.isnan(rank_correlation(rising, np.ones(4)))
