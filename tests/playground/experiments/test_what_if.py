"""Each change against a plain model that was changed by hand, and the shared one left alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.experiments.what_if import StatePatch, WhatIf, change_merged, edit_engine
from playground.experiments.what_if_runs import WhatIfRun, compare_logits, run_what_if
from playground.pipeline import Run
from playground.preprocess.stage import model_kwargs
from playground.prompt import Prompt, Turn
from playground.records import Progress
from playground.sampling.generation_config import barred_token_ids
from tests.media_samples import make_image, make_square_image

NEW_TOKENS = 12


def start_run(engine: Engine, text: str = "Describe this image.", seed: int = 0) -> Run:
    prompt = Prompt((Turn("user", text, (make_square_image(), make_image(seed=seed))),))
    run = Run(engine, prompt)
    run.ensure("decoder")
    return run


@pytest.fixture(scope="module")
def runs(tiny_random_engine: Engine, shipped_engine: Engine) -> dict[int, Run]:
    """One run of each checkpoint."""
    return {id(engine): start_run(engine) for engine in (tiny_random_engine, shipped_engine)}


@pytest.fixture
def run(engine: Engine, runs: dict[int, Run]) -> Run:
    """Two images and a question, on either checkpoint."""
    return runs[id(engine)]


def change(run: Run, what_if: WhatIf, **options: Any) -> WhatIfRun:
    """The changed run."""
    options = {"max_new_tokens": NEW_TOKENS, **options}
    return run_what_if(run.engine, run.inputs, run.merged, what_if, **options)


def answer_of(engine: Engine, run: Run, model: Any) -> list[int]:
    """What plain transformers answers greedily with this model."""
    ids = model.generate(
        **model_kwargs(run.inputs),
        do_sample=False,
        max_new_tokens=NEW_TOKENS,
        suppress_tokens=list(barred_token_ids(engine)),
    )
    return ids[0, run.inputs.num_tokens :].tolist()


def plain_logits(model: Any, **kwargs: Any) -> torch.Tensor:
    """The last position's logits of a plain decoder forward."""
    with torch.no_grad():
        hidden = model.model.language_model(**kwargs, use_cache=False).last_hidden_state
        return model.lm_head(hidden[:, -1:])[0, 0]


def zero(module: nn.Linear, columns: slice = slice(None)) -> None:
    with torch.no_grad():
        module.weight[:, columns] = 0


def test_no_change_is_the_original(run: Run) -> None:
    same = change(run, WhatIf(deepstack_gains=(1.0, 1.0, 1.0)))
    assert torch.equal(same.decoded.logits, run.decoded.logits)
    assert [step.id for step in same.answer.steps] == answer_of(run.engine, run, run.engine.model)


def test_gains_scale_each_tap(run: Run) -> None:
    merged = run.merged
    assert merged.deepstack_visual_embeds is not None
    first, second, third = merged.deepstack_visual_embeds
    changed = change(run, WhatIf(deepstack_gains=(0.0, 2.0)), max_new_tokens=1)
    expected = plain_logits(
        run.engine.model,
        inputs_embeds=merged.inputs_embeds,
        position_ids=merged.position_ids,
        visual_pos_masks=merged.visual_pos_masks,
        deepstack_visual_embeds=[torch.zeros_like(first), second + second, third],
    )
    torch.testing.assert_close(changed.decoded.logits, expected, rtol=0, atol=1e-5)
    assert not torch.equal(changed.decoded.logits, run.decoded.logits)


@pytest.mark.parametrize(("kind", "axes"), [("flat", None), ("swapped", [0, 2, 1])])
def test_positions_are_replaced(run: Run, kind: Any, axes: list[int] | None) -> None:
    merged = run.merged
    positions = (
        torch.arange(run.inputs.num_tokens).expand(3, 1, -1)
        if axes is None
        else merged.position_ids[axes]
    )
    changed = change(run, WhatIf(positions=kind), max_new_tokens=1)
    expected = plain_logits(
        run.engine.model,
        inputs_embeds=merged.inputs_embeds,
        position_ids=positions,
        visual_pos_masks=merged.visual_pos_masks,
        deepstack_visual_embeds=list(merged.deepstack_visual_embeds or ()),
    )
    torch.testing.assert_close(changed.decoded.logits, expected, rtol=0, atol=1e-5)
    # The generated tokens go on from the changed positions.
    assert int(changed.merged.rope_deltas) == int(positions.max()) + 1 - run.inputs.num_tokens


@pytest.mark.parametrize("fill", ["zero", "mean"])
@pytest.mark.parametrize("leave", [False, True])
def test_masked_tokens_are_replaced(run: Run, fill: Any, leave: bool) -> None:
    merged, span = run.merged, run.inputs.spans[1]
    assert merged.visual_pos_masks is not None
    assert merged.deepstack_visual_embeds is not None
    masked = (span.start, span.start + 1)
    what_if = WhatIf(masked=masked, fill=fill, leave_deepstack=leave)
    changed = change_merged(merged, what_if)
    visual = [index for each in run.inputs.spans for index in range(each.start, each.end)]
    for index in range(run.inputs.num_tokens):
        row = merged.inputs_embeds[0, index]
        if index in masked:
            row = merged.inputs_embeds[0, visual].mean(0) if fill == "mean" else 0 * row
        torch.testing.assert_close(changed.inputs_embeds[0, index], row, rtol=0, atol=1e-6)
    assert changed.deepstack_visual_embeds is not None
    for before, after in zip(
        merged.deepstack_visual_embeds, changed.deepstack_visual_embeds, strict=True
    ):
        for row, index in enumerate(visual):
            expected = before[row]
            if index in masked and not leave:
                expected = before.mean(0) if fill == "mean" else 0 * expected
            torch.testing.assert_close(after[row], expected, rtol=0, atol=1e-6)


def test_deepstack_leaks_masked_tokens(run: Run) -> None:
    every = tuple(range(run.inputs.spans[0].start, run.inputs.spans[0].end))
    hidden = change(run, WhatIf(masked=every), max_new_tokens=1)
    leaking = change(run, WhatIf(masked=every, leave_deepstack=True), max_new_tokens=1)
    assert not torch.equal(hidden.decoded.logits, leaking.decoded.logits)


def by_hand(run: Run, edit: Callable[[Any], None]) -> Any:
    """A copy of the model with changed weights."""
    model = copy.deepcopy(run.engine.model)
    edit(model.model.language_model.layers)
    return model


def test_a_skipped_layer_adds_nothing(run: Run) -> None:
    """As if the layer's two output projections were zero."""

    def edit(layers: Any) -> None:
        zero(layers[1].self_attn.o_proj)
        zero(layers[1].mlp.down_proj)

    changed = change(run, WhatIf(skipped_layers=(1,)))
    assert [step.id for step in changed.answer.steps] == answer_of(
        run.engine, run, by_hand(run, edit)
    )
    states = changed.decoded.hidden_states
    deepstack = run.merged.deepstack_visual_embeds
    assert deepstack is not None
    assert run.merged.visual_pos_masks is not None
    expected = states[1].clone()
    expected[run.merged.visual_pos_masks[0]] += deepstack[1]
    assert torch.equal(states[2], expected)


def test_zeroed_heads_write_nothing(run: Run) -> None:
    """As if their columns of ``o_proj`` were zero; composed with another layer's."""
    size = run.engine.facts.head_dim

    def edit(layers: Any) -> None:
        zero(layers[0].self_attn.o_proj, slice(size, 2 * size))
        zero(layers[0].self_attn.o_proj, slice(0, size))
        zero(layers[2].self_attn.o_proj, slice(3 * size, 4 * size))

    changed = change(run, WhatIf(zeroed_heads=((0, 1), (2, 3), (0, 0))))
    model = by_hand(run, edit)
    with torch.no_grad():
        expected = model(**model_kwargs(run.inputs), logits_to_keep=1).logits[0, -1]
    torch.testing.assert_close(changed.decoded.logits, expected, rtol=0, atol=1e-5)
    assert [step.id for step in changed.answer.steps] == answer_of(run.engine, run, model)


def test_everything_composes(run: Run) -> None:
    size = run.engine.facts.head_dim

    def edit(layers: Any) -> None:
        zero(layers[2].self_attn.o_proj)
        zero(layers[2].mlp.down_proj)
        zero(layers[0].self_attn.o_proj, slice(0, size))

    what_if = WhatIf(
        deepstack_gains=(0.5,), positions="flat", skipped_layers=(2,), zeroed_heads=((0, 0),)
    )
    changed = change(run, what_if, max_new_tokens=1)
    taps = list(run.merged.deepstack_visual_embeds or ())
    expected = plain_logits(
        by_hand(run, edit),
        inputs_embeds=run.merged.inputs_embeds,
        position_ids=torch.arange(run.inputs.num_tokens).expand(3, 1, -1),
        visual_pos_masks=run.merged.visual_pos_masks,
        deepstack_visual_embeds=[taps[0] * 0.5, *taps[1:]],
    )
    torch.testing.assert_close(changed.decoded.logits, expected, rtol=0, atol=1e-5)


def test_a_patched_state_carries_the_other_runs_answer(run: Run) -> None:
    """The last position's last state is all that the next token depends on."""
    other = start_run(run.engine, seed=5)
    last, layers = run.inputs.num_tokens - 1, run.decoded.num_layers
    assert other.inputs.num_tokens == last + 1
    assert not torch.equal(other.decoded.logits, run.decoded.logits)
    for layer in (0, layers):
        own = StatePatch(layer, last, run.decoded.hidden_states[layer][last])
        same = change(run, WhatIf(patches=(own,)), max_new_tokens=3)
        assert torch.equal(same.decoded.logits, run.decoded.logits)
    theirs = StatePatch(layers, last, other.decoded.hidden_states[layers][last])
    changed = change(run, WhatIf(patches=(theirs,)), max_new_tokens=1)
    assert torch.equal(changed.decoded.logits, other.decoded.logits)


def list_hooks(model: torch.nn.Module) -> list[tuple[dict[int, Any], dict[int, Any]]]:
    modules = model.modules()
    return [(dict(each._forward_pre_hooks), dict(each._forward_hooks)) for each in modules]


def test_the_shared_model_is_left_as_it_was(run: Run) -> None:
    model = run.engine.model
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    hooks = list_hooks(model)  # transformers leaves some after output_hidden_states=True
    what_if = WhatIf(
        positions="swapped",
        skipped_layers=(0,),
        zeroed_heads=((1, 0),),
        patches=(StatePatch(1, 2, torch.ones(run.engine.facts.hidden_size)),),
        masked=(run.inputs.spans[0].start,),
    )
    change(run, what_if)

    def stop_at(layer: int, token: int) -> Progress:
        def stop(what: str, done: int, _total: int) -> None:
            if (what, done) in (("decoder layer", layer), ("token", token)):
                raise StageCancelled

        return stop

    for progress in (stop_at(1, -1), stop_at(-1, 2)):
        with pytest.raises(StageCancelled):
            change(run, what_if, progress=progress)
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())
    assert list_hooks(model) == hooks
    again = Run(run.engine, run.prompt)
    assert torch.equal(again.decoded.logits, run.decoded.logits)
    assert again.parity.max_abs_diff == run.parity.max_abs_diff == 0.0


def test_only_layer_changes_need_an_edited_engine(run: Run) -> None:
    seq = run.inputs.num_tokens
    assert (
        edit_engine(run.engine, WhatIf(positions="flat", deepstack_gains=(0,)), seq) is run.engine
    )
    edited = edit_engine(run.engine, WhatIf(skipped_layers=(0,)), seq)
    assert edited.lock is run.engine.lock
    assert edited.model is run.engine.model


@pytest.mark.parametrize(
    ("what_if", "message"),
    [
        (WhatIf(deepstack_gains=(1.0,) * 4), "more gains than DeepStack taps"),
        (WhatIf(deepstack_gains=(-0.1,)), "between 0 and 4"),
        (WhatIf(deepstack_gains=(float("nan"),)), "between 0 and 4"),
        (WhatIf(masked=(0,)), "Token 0 is not an image token"),
        (WhatIf(skipped_layers=(99,)), "no layer 99"),
        (WhatIf(zeroed_heads=((0, -1),)), "no head -1"),
        (WhatIf(zeroed_heads=((-1, 0),)), "no layer -1"),
        (WhatIf(patches=(StatePatch(0, 10**6, torch.zeros(1)),)), "no hidden state at layer 0"),
        (WhatIf(patches=(StatePatch(0, 0, torch.zeros(1)),)), "has the wrong size"),
    ],
)
def test_what_does_not_fit_is_refused(run: Run, what_if: WhatIf, message: str) -> None:
    with pytest.raises(InputError, match=message):
        change(run, what_if)


def test_logits_are_compared_by_hand(run: Run) -> None:
    """p = (1/2, 1/4, 1/4) against q = (1/4, 1/2, 1/4): KL = (ln 2) / 4."""
    p, q = (torch.tensor(x).log() for x in ([0.5, 0.25, 0.25], [0.25, 0.5, 0.25]))
    shift = compare_logits(run.engine, p, q, 1)
    assert shift.kl == pytest.approx(0.25 * torch.tensor(2.0).log().item(), abs=1e-7)
    assert shift.max_abs_dp == pytest.approx(0.25, abs=1e-7)
    assert not shift.same_top
    assert {token.id for token in shift.tokens} == {0, 1}
    by_id = {token.id: token for token in shift.tokens}
    assert by_id[1].before == pytest.approx(0.25, abs=1e-7)
    assert by_id[1].after == pytest.approx(0.5, abs=1e-7)
    assert compare_logits(run.engine, p, p, 2).kl == 0.0


def test_a_record_is_not_changed(run: Run) -> None:
    before = run.merged.inputs_embeds.clone()
    start = run.inputs.spans[0].start
    changed = change_merged(run.merged, replace(WhatIf(), masked=(start,), deepstack_gains=(0.0,)))
    assert torch.equal(run.merged.inputs_embeds, before)
    assert not torch.equal(changed.inputs_embeds, before)
