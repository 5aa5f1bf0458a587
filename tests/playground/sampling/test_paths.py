"""Any step looked at again and any token branched from, against plain transformers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from playground.engine import Engine
from playground.errors import InputError, ModelError, StageCancelled
from playground.pipeline import Run
from playground.preprocess.stage import model_kwargs
from playground.prompt import Prompt, Turn
from playground.sampling import columns as sampling_columns
from playground.sampling.branches import (
    Branch,
    columns_as_branches,
    joint_log_prob,
    start_branch,
    start_first_tokens,
    take_branch,
)
from playground.sampling.columns import Sampler
from playground.sampling.generation_config import barred_token_ids, end_token_ids, own_settings
from playground.sampling.paths import (
    Prefix,
    all_logits,
    decode_states,
    force_tokens,
    prompt_prefix,
    step_logits,
)
from playground.sampling.score import read_answer, score_tokens
from playground.sampling.trace import SamplingSettings
from tests.media_samples import make_square_image

GREEDY = SamplingSettings(temperature=0)
WILD = SamplingSettings(temperature=1.4, top_p=0.95, seed=3)
SHORT = SamplingSettings(temperature=1.0, seed=8)


@pytest.fixture(scope="module")
def run(engine: Engine) -> Run:
    return Run(engine, Prompt((Turn("user", "Describe this image.", (make_square_image(),)),)))


@pytest.fixture(scope="module")
def prompt(run: Run) -> Prefix:
    return prompt_prefix(run.inputs, run.merged, run.decoded)


@pytest.fixture(scope="module")
def branches(engine: Engine, prompt: Prefix) -> tuple[Branch, ...]:
    sampler = Sampler(engine, prompt, [GREEDY, WILD, SHORT], max_new_tokens=10, keep_paths=True)
    *_, last = sampler.stream()
    return columns_as_branches(last, sampler.paths(), "ABC")


@contextmanager
def own_deltas(engine: Engine) -> Iterator[None]:
    """Put back what a plain forward writes on the shared model."""
    inner: Any = engine.model.model
    before = inner.rope_deltas
    try:
        yield
    finally:
        inner.rope_deltas = before


def extended(run: Run, ids: list[int]) -> dict[str, Any]:
    """The prompt's tensors with these tokens after it, for plain transformers."""
    kwargs: dict[str, Any] = model_kwargs(run.inputs)
    more = torch.tensor([ids])
    kwargs["input_ids"] = torch.cat([kwargs["input_ids"], more], 1)
    kwargs["attention_mask"] = torch.ones_like(kwargs["input_ids"])
    kwargs["mm_token_type_ids"] = torch.cat(
        [kwargs["mm_token_type_ids"], torch.zeros_like(more, dtype=torch.int32)], 1
    )
    return kwargs


def plain_logits(run: Run, ids: list[int]) -> torch.Tensor:
    """The logits before each of these tokens and after the last, by one plain forward."""
    model: Any = run.engine.model
    with run.engine.exclusive(), own_deltas(run.engine):
        logits: torch.Tensor = model(**extended(run, ids)).logits[0, -len(ids) - 1 :]
    return logits.float()


def plain_greedy(run: Run, ids: list[int], count: int) -> list[int]:
    """``generate``'s own continuation of prompt and tokens."""
    model: Any = run.engine.model
    with run.engine.exclusive(), own_deltas(run.engine):
        output = model.generate(
            **extended(run, ids),
            do_sample=False,
            max_new_tokens=count,
            suppress_tokens=list(barred_token_ids(run.engine)),
        )
    found: list[int] = output[0, run.inputs.num_tokens + len(ids) :].tolist()
    return found


# ---------------------------------------------------------------------------------- one step


def test_the_logits_of_every_step_are_those_of_a_plain_forward(
    run: Run, prompt: Prefix, branches: tuple[Branch, ...]
) -> None:
    for branch in branches:
        ids = [step.id for step in branch.trace.steps]
        expected = plain_logits(run, ids)
        for index in range(len(ids)):
            logits = step_logits(run.engine, prompt, branch.path, index).float()
            torch.testing.assert_close(logits, expected[index], rtol=1e-4, atol=1e-4)
    assert torch.equal(step_logits(run.engine, prompt, branches[0].path, 0), run.decoded.logits)


def test_there_is_no_step_past_the_end(
    engine: Engine, prompt: Prefix, branches: tuple[Branch, ...]
) -> None:
    with pytest.raises(InputError, match="There is no token 13"):
        step_logits(engine, prompt, branches[0].path, 12)


def test_states_are_small(branches: tuple[Branch, ...], engine: Engine) -> None:
    path, facts = branches[0].path, engine.facts
    per_token = facts.num_layers * 2 * facts.num_key_value_heads * facts.head_dim * 4
    assert path.num_bytes <= len(path.token_ids) * (per_token + facts.hidden_size * 4)


# ---------------------------------------------------------------------------------- branches


def test_a_branch_that_takes_the_same_token_is_its_parent_again(
    engine: Engine, prompt: Prefix, branches: tuple[Branch, ...]
) -> None:
    parent = branches[1]
    for index in (0, 1, 4):
        steps = parent.trace.steps
        left = len(steps) - index
        sampler = start_branch(engine, prompt, parent, index, steps[index].id, max_new_tokens=left)
        *_, last = sampler.stream()
        assert [step.id for step in last.traces[0].steps] == [step.id for step in steps]
        # The same numbers were drawn after it, and it is known that its first token was not.
        assert [step.uniform for step in last.traces[0].steps[index + 1 :]] == [
            step.uniform for step in steps[index + 1 :]
        ]
        assert last.traces[0].steps[index].forced


def test_a_branch_is_what_generate_writes_after_the_other_token(
    run: Run, prompt: Prefix, branches: tuple[Branch, ...]
) -> None:
    parent = branches[0]
    for index in (0, 2):
        step = parent.trace.steps[index]
        other = next(each.id for each in step.top if each.id not in {step.id} | end_ids(run))
        sampler = start_branch(run.engine, prompt, parent, index, other, max_new_tokens=8)
        *_, _last = sampler.stream()
        branch = take_branch(sampler, "A1", parent, index)
        ids = [each.id for each in branch.trace.steps]
        shared = [each.id for each in parent.trace.steps[:index]]
        assert ids == [*shared, other, *plain_greedy(run, [*shared, other], 7)]
        assert branch.parent == "A"
        assert [each.id for each in branch.own_steps] == ids[index:]


def end_ids(run: Run) -> set[int]:
    return set(end_token_ids(run.engine)) | set(barred_token_ids(run.engine))


def test_a_branch_of_a_branch(run: Run, prompt: Prefix, branches: tuple[Branch, ...]) -> None:
    parent = branches[0]
    for index in (1, 3):
        step = parent.trace.steps[index]
        other = next(each.id for each in step.top if each.id not in {step.id} | end_ids(run))
        sampler = start_branch(run.engine, prompt, parent, index, other, max_new_tokens=6)
        for _ in sampler.stream():
            pass
        parent = take_branch(sampler, "next", parent, index)
        ids = [each.id for each in parent.trace.steps]
        assert ids[index + 1 :] == plain_greedy(run, ids[: index + 1], 5)[: len(ids) - index - 1]


def test_a_branch_runs_nothing_twice(
    engine: Engine,
    prompt: Prefix,
    branches: tuple[Branch, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fed: list[tuple[int, ...]] = []
    real = decode_states

    def count(engine: Engine, cache: Any, ids: torch.Tensor, positions: Any) -> torch.Tensor:
        fed.append(tuple(ids.shape))
        return real(engine, cache, ids, positions)

    monkeypatch.setattr(sampling_columns, "decode_states", count)
    parent = branches[1]
    sampler = start_branch(engine, prompt, parent, 4, parent.trace.steps[4].id, max_new_tokens=3)
    for _ in sampler.stream():
        pass
    assert 1 <= len(fed) <= 2  # the last token is not fed back
    assert set(fed) == {(1, 1)}


def test_the_most_likely_first_tokens(run: Run, prompt: Prefix) -> None:
    sampler = start_first_tokens(run.engine, prompt, 3, GREEDY, max_new_tokens=5)
    for _ in sampler.stream():
        pass
    grown = columns_as_branches(sampler.run, sampler.paths(), ["1", "2", "3"])
    logits = run.decoded.logits.float().clone()
    logits[list(barred_token_ids(run.engine))] = -math.inf
    assert [branch.trace.steps[0].id for branch in grown] == logits.topk(3).indices.tolist()
    for branch in grown:
        first, *rest = [step.id for step in branch.trace.steps]
        if first not in end_token_ids(run.engine):
            assert rest == plain_greedy(run, [first], 4)


def test_joint_log_probability(run: Run, branches: tuple[Branch, ...]) -> None:
    steps = branches[1].trace.steps
    ids = [step.id for step in steps]
    logs = plain_logits(run, ids)[:-1].log_softmax(-1)
    expected = float(logs.gather(1, torch.tensor(ids)[:, None]).sum())
    assert joint_log_prob(steps) == pytest.approx(expected, abs=1e-3)


def test_tokens_that_cannot_be_taken(
    engine: Engine, prompt: Prefix, branches: tuple[Branch, ...]
) -> None:
    barred = barred_token_ids(engine)[0]
    refused = ((barred, "never generated"), (-1, "no token -1"), (10**9, "no token"))
    for token_id, message in refused:
        with pytest.raises(InputError, match=message):
            start_branch(engine, prompt, branches[0], 0, token_id, max_new_tokens=2)


# ------------------------------------------------------------------------------- many columns


def test_one_column_s_error_leaves_the_others(
    engine: Engine, prompt: Prefix, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = Sampler(engine, prompt, [GREEDY, SHORT], max_new_tokens=5)
    *_, expected = alone.stream()
    real = sampling_columns.sample_next_token

    def fail(logits: torch.Tensor, context: Any, *args: Any, **kwargs: Any) -> Any:
        if context.settings == WILD and context.generated_ids.shape[1] == 2:
            raise ModelError("Nothing is left.")
        return real(logits, context, *args, **kwargs)

    monkeypatch.setattr(sampling_columns, "sample_next_token", fail)
    columns = [GREEDY, WILD, SHORT]
    sampler = Sampler(engine, prompt, columns, max_new_tokens=5, keep_paths=True, keep_going=True)
    *_, run = sampler.stream()
    for trace, other in zip((run.traces[0], run.traces[2]), expected.traces, strict=True):
        assert [step.id for step in trace.steps] == [step.id for step in other.steps]
        assert trace.finish_reason == other.finish_reason
    failed = run.traces[1]
    assert (failed.finish_reason, len(failed.steps)) == ("error", 2)
    assert "Nothing is left" in failed.error
    assert [len(path.token_ids) for path in sampler.paths()] == [
        len(trace.steps) for trace in run.traces
    ]
    with pytest.raises(ModelError, match="Nothing is left"):
        list(Sampler(engine, prompt, columns, max_new_tokens=5).stream())


def test_a_stopped_run_can_be_looked_at_and_branched_from(run: Run, prompt: Prefix) -> None:
    sampler = Sampler(run.engine, prompt, [WILD, GREEDY], max_new_tokens=9, keep_paths=True)

    def stop(_what: str, done: int, _total: int) -> None:
        if done == 3:
            raise StageCancelled

    with pytest.raises(StageCancelled):
        list(sampler.stream(stop))
    grown = columns_as_branches(sampler.run, sampler.paths(), "AB")
    assert [len(branch.trace.steps) for branch in grown] == [3, 3]
    ids = [step.id for step in grown[1].trace.steps]
    # From its end on, as if it had never been stopped.
    sampler = start_branch(run.engine, prompt, grown[1], 3, None, max_new_tokens=4)
    *_, last = sampler.stream()
    assert [step.id for step in last.traces[0].steps] == [*ids, *plain_greedy(run, ids, 4)]


def test_own_settings_are_the_checkpoint_s(shipped_engine: Engine) -> None:
    assert own_settings(shipped_engine) == SamplingSettings(temperature=0.7, top_k=20, top_p=0.8)


# -------------------------------------------------------------------------------- score a text


def test_probability_and_rank_of_a_text(run: Run, prompt: Prefix) -> None:
    ids = read_answer(run.engine, "There is 一个 red square.", with_end=True)
    assert ids[-1] in end_token_ids(run.engine)
    scored = score_tokens(run.engine, prompt, ids)
    logits = plain_logits(run, ids)[:-1]
    probs = logits.softmax(-1)
    for step, rank, row, token_id in zip(scored.trace.steps, scored.ranks, probs, ids, strict=True):
        assert step.id == token_id
        assert step.prob == pytest.approx(row[token_id].item(), rel=2e-3)
        assert rank == pytest.approx(int((row > row[token_id]).sum()) + 1, abs=1)
    assert scored.trace.finish_reason == "stop"
    assert "".join(step.text for step in scored.trace.steps[:-1]) == "There is 一个 red square."


def test_the_model_goes_on_after_a_forced_text(run: Run, prompt: Prefix) -> None:
    ids = read_answer(run.engine, "There is a")
    scored = score_tokens(run.engine, prompt, ids)
    whole = Branch("text", None, 0, scored.trace, scored.path)
    sampler = start_branch(
        run.engine, prompt, whole, len(ids), None, max_new_tokens=6, settings=GREEDY
    )
    *_, last = sampler.stream()
    assert [step.id for step in last.traces[0].steps] == [*ids, *plain_greedy(run, ids, 6)]


def test_long_texts_are_scored_in_chunks(
    tiny_random_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from playground.sampling import paths as sampling_paths

    run = Run(tiny_random_engine, Prompt((Turn("user", "Hello"),)))
    prompt = prompt_prefix(run.inputs, run.merged, run.decoded)
    path = force_tokens(tiny_random_engine, prompt, list(range(20, 50)))
    whole = torch.cat(all_logits(tiny_random_engine, path))
    monkeypatch.setattr(sampling_paths, "LOGITS_CHUNK", 7)
    chunks = all_logits(tiny_random_engine, path)
    assert [len(chunk) for chunk in chunks] == [7, 7, 7, 7, 2]
    torch.testing.assert_close(torch.cat(chunks), whole)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (None, "is empty"),
        ("a\ud800", "unpaired surrogate"),
        ("a" * 9000, "9,000 characters"),
        ("ю" * 3000, "tokens"),
    ],
)
def test_texts_that_are_refused(tiny_random_engine: Engine, text: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_answer(tiny_random_engine, text)


def test_special_tokens_in_a_text_stay_text(tiny_random_engine: Engine) -> None:
    ids = read_answer(tiny_random_engine, "a<|im_end|><|image_pad|>")
    specials = set(tiny_random_engine.tokenizer.get_added_vocab().values())
    assert not specials & set(ids)
