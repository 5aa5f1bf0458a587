"""Thinking: the template against the tokenizer, the split, and the budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.engine import Engine
from playground.errors import InputError
from playground.loading.load import load_engine
from playground.pipeline import Run
from playground.preprocess.chat_template import knows_thinking
from playground.preprocess.stage import run_preprocess
from playground.prompt import Prompt, Turn
from playground.sampling.columns import Sampler
from playground.sampling.paths import prompt_prefix
from playground.sampling.stage import run_sampling
from playground.sampling.thinking import (
    END,
    START,
    ThinkingSplit,
    ThinkTags,
    describe_section,
    read_think_tags,
    split_ids,
    split_text,
)
from playground.sampling.trace import SamplingRun, SamplingSettings
from playground.sampling.views import step_context
from tests.components.runs import make_run
from tests.media_samples import make_square_image
from tests.thinking_checkpoint import ALWAYS, HYBRID, make_thinking_checkpoint

TURNS = (
    Turn("user", "One?", (make_square_image(),)),
    Turn("assistant", "<think>\nIt is\n\nred.\n</think>\n\nRed."),
    Turn("user", "Sure?"),
    Turn("assistant", "no start</think>\nYes."),
    Turn("user", "Really?"),
    Turn("assistant", "<think>not finished"),
    Turn("user", "Well?"),
)


@pytest.fixture(scope="module")
def thinking_engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = make_thinking_checkpoint(tmp_path_factory.mktemp("thinking"), ALWAYS)
    return load_engine(folder, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def hybrid_engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = make_thinking_checkpoint(tmp_path_factory.mktemp("hybrid"), HYBRID)
    return load_engine(folder, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def run(thinking_engine: Engine) -> Run:
    run = make_run(thinking_engine, "What is it?", make_square_image())
    run.ensure("decoder")
    return run


# --------------------------------------------------------------------------- the template


def write_messages(turns: tuple[Turn, ...]) -> list[dict[str, Any]]:
    return [
        {
            "role": turn.role,
            "content": [{"type": "image"}] * len(turn.images)
            + [{"type": "text", "text": turn.text}],
        }
        for turn in turns
    ]


@pytest.mark.parametrize("value", [None, True, False])
def test_text_equals_the_tokenizers_own(hybrid_engine: Engine, value: bool | None) -> None:
    arguments = {} if value is None else {"enable_thinking": value}
    theirs = hybrid_engine.tokenizer.apply_chat_template(
        write_messages(TURNS),
        chat_template=hybrid_engine.processor.chat_template,
        tokenize=False,
        add_generation_prompt=True,
        **arguments,
    )
    inputs = run_preprocess(hybrid_engine, Prompt(TURNS, enable_thinking=value))
    assert inputs.rendered_prompt == theirs
    assert theirs.endswith("assistant\n<think>\n\n</think>\n\n") == (value is False)


def test_earlier_turns_lose_their_thinking(thinking_engine: Engine) -> None:
    text = run_preprocess(thinking_engine, Prompt(TURNS)).rendered_prompt
    assert "<|im_start|>assistant\nRed.<|im_end|>" in text
    assert "<|im_start|>assistant\nYes.<|im_end|>" in text
    assert "<|im_start|>assistant\n<think>not finished<|im_end|>" in text
    assert text.endswith("<|im_start|>assistant\n<think>\n")


def test_argument_only_where_the_template_takes_it(
    thinking_engine: Engine, hybrid_engine: Engine, shipped_engine: Engine
) -> None:
    engines = (thinking_engine, hybrid_engine, shipped_engine)
    assert [knows_thinking(each) for each in engines] == [False, True, False]
    with pytest.raises(InputError, match="takes no enable_thinking"):
        run_preprocess(shipped_engine, Prompt((Turn("user", "Hi"),), enable_thinking=False))


def test_prompt_opens_the_thinking(
    run: Run, hybrid_engine: Engine, thinking_engine: Engine
) -> None:
    def is_open(engine: Engine, prompt: Prompt) -> bool:
        ids = run_preprocess(engine, prompt).input_ids[0]
        tags = read_think_tags(engine.tokenizer, ids)
        assert tags is not None
        return tags.is_open

    question = (Turn("user", f"What does {START} mean? {START}"),)
    assert is_open(thinking_engine, Prompt(question))
    assert not is_open(hybrid_engine, Prompt(question))
    assert not is_open(hybrid_engine, Prompt(question, enable_thinking=False))


# --------------------------------------------------------------------------- the split

OPENED, CLOSED = ThinkTags(1, 2, is_open=True), ThinkTags(1, 2, is_open=False)


@pytest.mark.parametrize(
    ("ids", "tags", "thinking", "answer", "is_finished"),
    [
        ([7, 8, 2, 9], OPENED, (0, 2), (3, 4), True),
        ([1, 7, 2, 9], CLOSED, (1, 2), (3, 4), True),
        ([6, 1, 7, 2, 9], CLOSED, (2, 3), (4, 5), True),  # text before it belongs to neither
        ([7, 2, 9], CLOSED, (0, 1), (2, 3), True),  # no start
        ([7, 8], OPENED, (0, 2), (2, 2), False),
        ([6, 1, 7], CLOSED, (2, 3), (3, 3), False),
        ([7, 8], CLOSED, None, (0, 2), True),
        ([1, 7, 1, 8, 2, 5, 2, 9], CLOSED, (1, 6), (7, 8), True),  # nested
        ([1, 7, 1, 8, 2, 9], CLOSED, (1, 4), (5, 6), True),  # two starts, one end
        ([1, 7, 2], OPENED, (0, 2), (3, 3), True),
        ([], OPENED, (0, 0), (0, 0), False),
        ([], CLOSED, None, (0, 0), True),
        ([7, 2], None, None, (0, 2), True),
    ],
)
def test_split_by_hand(
    ids: list[int],
    tags: ThinkTags | None,
    thinking: tuple[int, int] | None,
    answer: tuple[int, int],
    is_finished: bool,
) -> None:
    assert split_ids(ids, tags) == ThinkingSplit(thinking, answer, is_finished)


@given(st.lists(st.sampled_from([1, 2, 7, 8]), max_size=12), st.booleans())
def test_ids_and_text_agree(ids: list[int], is_open: bool) -> None:
    names = {1: START, 2: END, 7: "a", 8: "b"}
    split = split_ids(ids, ThinkTags(1, 2, is_open))
    thinking, answer, is_finished = split_text(
        "".join(names[each] for each in ids), is_open=is_open
    )
    first, last = split.thinking or (0, 0)
    assert "".join(names[each] for each in ids[first:last]) == thinking
    assert "".join(names[each] for each in ids[slice(*split.answer)]) == answer
    assert split.is_finished == is_finished


@given(st.lists(st.sampled_from([START, END, "a", "\n", " b"]), max_size=12).map("".join))
def test_answer_is_what_the_template_keeps(text: str) -> None:
    if END in text:
        assert split_text(text)[1] == text.split(END)[-1].strip()


# --------------------------------------------------------------------------- the budget


def generate(run: Run, *budgets: int | None, **others: Any) -> SamplingRun:
    columns = [SamplingSettings(seed=3, thinking_budget=each, **others) for each in budgets]
    return run_sampling(run.engine, run.inputs, run.merged, run.decoded, columns, max_new_tokens=12)


def test_budget_closes_the_thinking(run: Run) -> None:
    free, short, none, long = generate(run, None, 3, 0, 100).traces
    end_id = run.engine.tokenizer.convert_tokens_to_ids(END)
    assert [step.id for step in short.steps[:3]] == [step.id for step in free.steps[:3]]
    assert (short.steps[3].id, short.steps[3].prob, short.steps[3].num_kept) == (end_id, 1.0, 1)
    assert {each.removed_by for each in short.steps[3].top if each.id != end_id} == {
        "thinking_budget"
    }
    assert none.steps[0].id == end_id
    assert [step.id for step in long.steps] == [step.id for step in free.steps]
    assert len(short.steps) > 4  # and goes on freely
    assert all(step.num_kept > 1 for step in short.steps[4:])


def test_budget_holds_for_greedy_and_the_ngram_ban(run: Run) -> None:
    (trace,) = generate(run, 2, temperature=0.0, no_repeat_ngram_size=1).traces
    assert trace.steps[2].text == END


def test_budget_without_thinking_changes_nothing(shipped_engine: Engine) -> None:
    run = make_run(shipped_engine, "What is it?", make_square_image())
    free, short = generate(run, None, 1).traces
    assert [step.id for step in free.steps] == [step.id for step in short.steps]


def test_step_view_sees_the_budget(run: Run) -> None:
    prompt = prompt_prefix(run.inputs, run.merged, run.decoded)
    sampler = Sampler(
        run.engine, prompt, [SamplingSettings(thinking_budget=2)], max_new_tokens=4, keep_paths=True
    )
    *_, _ = sampler.stream()
    context = step_context(
        run.engine, prompt, sampler.paths()[0], 2, sampler.run.traces[0].settings
    )
    assert context.closing_rows.tolist() == [True]


def test_tokenizer_without_the_tags(tmp_path: Path) -> None:
    """A budget is refused there, before the model runs."""
    folder = make_thinking_checkpoint(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        path = folder / name
        path.write_text(path.read_text(encoding="utf-8").replace("think>", "thunk>"))
    run = make_run(load_engine(folder, device="cpu", dtype="float32"), "Hello")
    with pytest.raises(InputError, match="has no <think> and </think>"):
        generate(run, 4)
    assert len(generate(run, None).traces) == 1


def test_sections_count_and_time(run: Run) -> None:
    prompt = prompt_prefix(run.inputs, run.merged, run.decoded)
    sampler = Sampler(
        run.engine, prompt, [SamplingSettings(thinking_budget=3, seed=1)], max_new_tokens=10
    )
    *_, done = sampler.stream()
    trace, (seconds,) = done.traces[0], sampler.token_seconds
    tags = read_think_tags(run.engine.tokenizer, prompt.prompt_ids)
    split = split_ids([step.id for step in trace.steps], tags)
    assert split.thinking == (0, 3)
    thinking = describe_section(run.engine.tokenizer, trace, split.thinking, seconds)
    answer = describe_section(run.engine.tokenizer, trace, split.answer, seconds)
    assert thinking.num_tokens == 3
    assert answer.num_tokens == len(trace.steps) - 4
    assert thinking.seconds == seconds[2]
    assert answer.seconds == seconds[-1] - seconds[3]
    assert thinking.log_prob == pytest.approx(sum(s.raw_log_prob for s in trace.steps[:3]))
    assert answer.text in trace.text
    assert describe_section(run.engine.tokenizer, trace, (4, 4), seconds).seconds == 0.0
    assert describe_section(run.engine.tokenizer, trace, (4, 4)).mean_entropy == 0.0
    assert sampler.seconds == (seconds[-1],)
