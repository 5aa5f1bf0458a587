"""The cache tab: a conversation, and the store that all visitors share."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from components.tabs.cache import conversation
from components.tabs.cache.conversation import MAX_TURNS, SharedStore, Talk
from components.tabs.cache.conversation_words import facts_html
from components.tabs.cache.scenes import NO_IMAGE, RUN_IMAGES
from playground.engine import Engine
from playground.errors import InputError
from playground.loading.load import load_engine
from playground.pipeline import Run
from playground.prompt import PromptImage
from tests.components.html_reader import read_html
from tests.components.runs import ignore_progress, make_run
from tests.thinking_checkpoint import make_thinking_checkpoint


@pytest.fixture(scope="module")
def run(tiny_random_engine: Engine, image: PromptImage) -> Run:
    run = make_run(tiny_random_engine, "Describe this image.", image)
    run.ensure("decoder")
    return run


@pytest.fixture(scope="module")
def trained_run(shipped_engine: Engine, image: PromptImage) -> Run:
    return make_run(shipped_engine, "Describe this image.", image)


def say_on(run: Run, talk: Talk | None, text: str, image: str) -> Talk:
    *_, found = conversation.send(run, ignore_progress, talk, text, image)
    return found


def test_a_follow_up_reuses_question_and_answer(trained_run: Run) -> None:
    blocks = conversation.STORE.get(trained_run.engine).blocks
    before = blocks.stats.num_blocks
    first = say_on(trained_run, None, "Describe this image.", RUN_IMAGES)
    stored = blocks.stats.num_blocks - before
    second = say_on(trained_run, first, "Why?", NO_IMAGE)
    third = say_on(trained_run, second, "Describe this image.", "star")
    facts = [facts_html(trained_run.engine, each) for each in third.exchanges]
    assert "pg-badge-miss" in facts[0]
    # Every token of the first exchange but the answer's last one.
    assert f"{stored} of" in facts[1]
    assert all("pg-badge-hit" in each for each in facts[1:])
    assert conversation.messages(trained_run, third).count("<img") == 2
    assert third.salt == first.salt
    assert third.exchanges[:1] == first.exchanges
    assert max(each.max_abs_diff for each in third.exchanges) <= 1e-4
    assert "(tolerance 0.0001 in float32)" in facts[1]
    assert third.inputs is not None
    assert third.inputs.pixel_values is None


def test_removed_thinking_costs_cached_tokens(tmp_path: Path) -> None:
    folder = make_thinking_checkpoint(tmp_path / "thinking")
    run = make_run(load_engine(folder, device="cpu", dtype="float32"), "Hi")
    one = say_on(run, None, "What?", NO_IMAGE)
    (first,) = one.exchanges
    thought = dataclasses.replace(first, answer="Well.\n</think>\n\nRed.")
    two = say_on(run, dataclasses.replace(one, exchanges=(thought,)), "Why?", NO_IMAGE)
    assert two.inputs is not None
    assert "Well." not in two.inputs.rendered_prompt
    second = two.exchanges[1]
    cached = first.lookup.num_tokens + first.answer_tokens
    words = facts_html(run.engine, second, thought)
    assert f"{cached - second.lookup.reused_tokens} of its {cached} cached tokens" in words
    assert "removed the thinking" in conversation.messages(run, two)
    assert "removed the thinking" not in facts_html(run.engine, second, first)


def test_conversations_do_not_see_one_another(trained_run: Run) -> None:
    say_on(trained_run, None, "My secret is 7.", NO_IMAGE)
    other = say_on(trained_run, None, "My secret is 7.", NO_IMAGE)
    assert other.exchanges[0].lookup.reused_tokens == 0


def test_a_conversation_is_limited_and_escaped(run: Run) -> None:
    one = say_on(run, None, "<img src=x onerror=alert(1)>", NO_IMAGE)
    assert "<img src=x" not in conversation.messages(run, one) + conversation.last(run, one)
    long = dataclasses.replace(one, exchanges=one.exchanges * MAX_TURNS)
    with pytest.raises(InputError, match="12 questions"):
        say_on(run, long, "And?", NO_IMAGE)
    with pytest.raises(InputError, match="empty"):
        say_on(run, None, " ", NO_IMAGE)


def test_a_new_conversation_starts_with_what_the_run_shows(run: Run) -> None:
    assert conversation.restart(run, None) == ""
    assert conversation.last(run, None) == ""
    assert "No messages yet" in conversation.messages(run, None)
    asked = (conversation.TEXT.parse(None, run), conversation.IMAGE.parse(None, run))
    assert asked == ("Describe this image.", RUN_IMAGES)
    text_only = make_run(run.engine, "你好")
    assert conversation.TEXT.parse(None, text_only) == "你好"
    assert conversation.IMAGE.parse(None, text_only) == NO_IMAGE
    one = say_on(run, None, "Hi", NO_IMAGE)
    (button,) = read_html(conversation.restart(run, one)).find("button")
    assert button.attrs["data-forget"] == "send"
    assert conversation.PART.experiments["send"].afterwards == {"text": "", "picture": NO_IMAGE}


def test_one_store_for_all(run: Run, trained_run: Run) -> None:
    shared = SharedStore()
    store = shared.get(run.engine)
    assert shared.get(run.engine) is store
    assert shared.get(trained_run.engine).engine is trained_run.engine
