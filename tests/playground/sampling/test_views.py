"""One step under the glass: by hand, and against what the columns themselves drew."""

from __future__ import annotations

import math

import pytest
import torch

from playground.engine import Engine
from playground.errors import ModelError
from playground.pipeline import Run
from playground.prompt import Prompt, Turn
from playground.sampling.branches import Branch, columns_as_branches
from playground.sampling.columns import Sampler
from playground.sampling.filter_chain import FilterContext
from playground.sampling.paths import Prefix, prompt_prefix
from playground.sampling.trace import SamplingSettings
from playground.sampling.views import (
    StepView,
    order_filters,
    seeded_uniform,
    view_step,
    walk_filters,
)
from tests.media_samples import make_square_image

NO_IDS = torch.zeros(0, dtype=torch.int64)
COLUMNS = (
    SamplingSettings(temperature=1.5, top_k=12, top_p=0.9, seed=3),
    SamplingSettings(temperature=0),
    SamplingSettings(temperature=2.0, seed=1, repetition_penalty=1.2, frequency_penalty=0.4),
    SamplingSettings(min_p=0.05, typical_p=0.9, presence_penalty=0.3, seed=9),
)


@pytest.fixture(scope="module")
def run(engine: Engine) -> Run:
    return Run(engine, Prompt((Turn("user", "Describe this image.", (make_square_image(),)),)))


@pytest.fixture(scope="module")
def prompt(run: Run) -> Prefix:
    return prompt_prefix(run.inputs, run.merged, run.decoded)


@pytest.fixture(scope="module")
def branches(engine: Engine, prompt: Prefix) -> tuple[Branch, ...]:
    sampler = Sampler(engine, prompt, COLUMNS, max_new_tokens=8, keep_paths=True)
    *_, last = sampler.stream()
    return columns_as_branches(last, sampler.paths(), "ABCD")


def look(logits: torch.Tensor, column: SamplingSettings, uniform: float = 0.0) -> StepView:
    context = FilterContext(column, NO_IDS, NO_IDS[None], NO_IDS)
    return walk_filters(
        logits, context, "temperature first", uniform=uniform, top=4, text_of="ABCDE".__getitem__
    )


def test_every_filter_by_hand() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.04, 0.01]).log()
    view = look(logits, SamplingSettings(top_k=4, top_p=0.75, min_p=0.7), uniform=0.4)
    assert [effect.name for effect in view.effects] == ["top_k", "top_p", "min_p"]
    k, p, m = view.effects
    assert (k.num_removed, k.num_left) == (1, 4)
    assert [text for text, _ in k.removed] == ["E"]
    assert k.removed[0][1] == pytest.approx(0.01)
    assert k.mass_kept == pytest.approx(0.99)
    # Of the 0.99 that are left A and B hold 0.8081.
    assert [text for text, _ in p.removed] == ["C", "D"]
    assert p.mass_kept == pytest.approx(0.8 / 0.99)
    assert p.entropy == pytest.approx(-(0.625 * math.log(0.625) + 0.375 * math.log(0.375)))
    # B has 0.6 of A's probability, and so is under the limit.
    assert [text for text, _ in m.removed] == ["B"]
    assert (m.num_left, m.entropy) == (1, 0)
    token = view.tokens[1]
    assert (token.text, token.removed_by) == ("B", "min_p")
    assert token.probs == pytest.approx((0.3, 0.3 / 0.99, 0.375, 0))
    assert (view.sampled_text, view.num_left) == ("A", 1)


def test_the_bar_is_the_distribution_in_the_order_of_the_draw() -> None:
    logits = torch.tensor([0.1, 0.2, 0.3, 0.4]).log()
    for uniform, text in ((0.05, "A"), (0.1001, "B"), (0.59, "C"), (0.61, "D"), (0.9999, "D")):
        view = look(logits, SamplingSettings(), uniform)
        assert [segment.text for segment in view.segments] == ["A", "B", "C", "D"]
        ends = [segment.end for segment in view.segments]
        assert ends == pytest.approx([0.1, 0.3, 0.6, 1])
        (hit,) = [each for each in view.segments if each.start <= uniform < each.end]
        assert hit.text == view.sampled_text == text


def test_many_tokens_are_joined_on_the_bar() -> None:
    logits = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    context = FilterContext(SamplingSettings(), NO_IDS, NO_IDS[None], NO_IDS)
    view = walk_filters(
        logits, context, "temperature first", uniform=0.3, top=5, text_of=lambda each: str(each)
    )
    assert view.num_left == 1000
    assert len(view.segments) <= 61
    assert view.segments[0].start == 0
    assert view.segments[-1].end == pytest.approx(1)
    for before, after in zip(view.segments, view.segments[1:], strict=False):
        assert before.end == after.start
    probs = logits.double().softmax(-1)
    for segment in view.segments:
        if segment.token_id is not None:
            width = segment.end - segment.start
            assert width == pytest.approx(probs[segment.token_id].item(), rel=1e-6)


def test_a_step_draws_what_its_column_drew(
    engine: Engine, prompt: Prefix, branches: tuple[Branch, ...]
) -> None:
    for branch, column in zip(branches, COLUMNS, strict=True):
        for index, step in enumerate(branch.trace.steps):
            view, _ = view_step(engine, prompt, branch.path, index, column)
            assert view.sampled_id == step.id
            assert view.uniform == step.uniform
            assert view.num_left == step.num_kept
            final = view.effects[-1].entropy if view.effects else view.entropy
            assert final == pytest.approx(step.entropy, abs=1e-4)
            shown = {token.id: token for token in view.tokens}
            for candidate in step.top:
                if candidate.id in shown:
                    assert shown[candidate.id].removed_by == candidate.removed_by
                    assert shown[candidate.id].probs[-1] == pytest.approx(candidate.prob, abs=1e-5)


def test_a_slider_needs_no_forward_pass(
    engine: Engine,
    prompt: Prefix,
    branches: tuple[Branch, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("the decoder ran")

    monkeypatch.setattr(engine.model.model.language_model, "forward", refuse)
    view, _ = view_step(engine, prompt, branches[0].path, 3, SamplingSettings(temperature=0.2))
    assert view.vocab_size == engine.facts.vocab_size


def test_seeded_numbers_are_the_columns_own(branches: tuple[Branch, ...]) -> None:
    steps = branches[0].trace.steps
    assert [seeded_uniform(3, index) for index in range(len(steps))] == [
        step.uniform for step in steps
    ]


def test_temperature_last_cuts_the_untouched_distribution(
    engine: Engine, prompt: Prefix, branches: tuple[Branch, ...]
) -> None:
    column = SamplingSettings(temperature=5.0, top_p=0.8)
    view, difference = view_step(
        engine, prompt, branches[0].path, 0, column, order="temperature last"
    )
    assert [effect.name for effect in view.effects][-1] == "temperature"
    assert view.num_left == difference.num_left[1] < difference.num_left[0]
    assert difference.only_first
    assert not difference.only_last
    assert 0 < difference.total_variation <= 1
    _, none = view_step(engine, prompt, branches[0].path, 0, SamplingSettings(top_p=0.8))
    assert none.total_variation == 0
    assert none.num_left[0] == none.num_left[1]
    names = [each.name for each in order_filters("temperature last")]
    assert names[-1] == "temperature"
    assert sorted(names) == sorted(each.name for each in order_filters("temperature first"))


def test_nothing_to_draw_from_is_said() -> None:
    with pytest.raises(ModelError, match="no distribution"):
        look(torch.tensor([3e38, 1.0]), SamplingSettings(temperature=0.01))
