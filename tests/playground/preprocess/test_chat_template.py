"""Chat templates as they are published: what they refuse, and what they expect."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from playground.engine import Engine
from playground.errors import InputError
from playground.preprocess.stage import run_preprocess
from playground.prompt import Prompt, PromptImage, Turn
from tests.media_samples import make_image

TEXT_ONLY = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] "
    "+ '<|im_end|>\n' }}{% endfor %}{{ '<|im_start|>assistant\n' }}"
)
PRINTED = TEXT_ONLY.replace("' + message['content'] + '", "' ~ message['content'] ~ '")
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}" + TEXT_ONLY
)
HELLO = Prompt((Turn("user", "Hello."), Turn("assistant", "Hi."), Turn("user", "Who?")))
RENDERED = (
    "<|im_start|>user\nHello.<|im_end|>\n<|im_start|>assistant\nHi.<|im_end|>\n"
    "<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n"
)


def with_template(engine: Engine, template: Any) -> Engine:
    processor: Any = copy.copy(engine.processor)
    processor.chat_template = template
    return replace(engine, processor=processor)


@pytest.fixture(scope="module")
def picture() -> PromptImage:
    return make_image(64, 64)


@pytest.mark.parametrize("template", [TEXT_ONLY, PRINTED, NO_SYSTEM])
def test_a_template_for_text_gets_text(tiny_random_engine: Engine, template: str) -> None:
    inputs = run_preprocess(with_template(tiny_random_engine, template), HELLO)
    assert inputs.rendered_prompt == RENDERED


def test_a_template_that_takes_parts_gets_parts(tiny_random_engine: Engine) -> None:
    plain = tiny_random_engine.processor.apply_chat_template(
        [
            {"role": turn.role, "content": [{"type": "text", "text": turn.text}]}
            for turn in HELLO.turns
        ],
        tokenize=False,
        add_generation_prompt=True,
    )
    assert run_preprocess(tiny_random_engine, HELLO).rendered_prompt == plain == RENDERED


def test_a_template_that_refuses_a_system_prompt(tiny_random_engine: Engine) -> None:
    prompt = replace(HELLO, system="Be brief.")
    with pytest.raises(InputError) as caught:
        run_preprocess(with_template(tiny_random_engine, NO_SYSTEM), prompt)
    assert str(caught.value) == (
        "The checkpoint's chat template cannot render this prompt: System role not supported. "
        "Leave the system prompt empty: some templates refuse it."
    )


@pytest.mark.parametrize("template", [TEXT_ONLY, PRINTED])
def test_a_template_for_text_and_an_image(
    tiny_random_engine: Engine, picture: PromptImage, template: str
) -> None:
    prompt = Prompt((Turn("user", "What?", (picture,)),))
    with pytest.raises(InputError, match="chat template") as caught:
        run_preprocess(with_template(tiny_random_engine, template), prompt)
    assert "image" in str(caught.value)


def test_a_list_of_templates_none_of_which_is_the_default(tiny_random_engine: Engine) -> None:
    templates = {"tool_use": TEXT_ONLY, "rag": TEXT_ONLY}
    with pytest.raises(InputError, match=r"cannot render this prompt: .*(tool_use|rag)") as caught:
        run_preprocess(with_template(tiny_random_engine, templates), HELLO)
    assert "chat_template.jinja" in str(caught.value)
    named = with_template(tiny_random_engine, templates | {"default": TEXT_ONLY})
    assert run_preprocess(named, HELLO).rendered_prompt == RENDERED


@pytest.mark.parametrize(
    "template", ["{{ messages[0].content[0].nothing.at_all }}", "{% for %}", "{{ 1 / 0 }}"]
)
def test_a_broken_template_is_put_into_words(tiny_random_engine: Engine, template: str) -> None:
    with pytest.raises(InputError, match=r"chat_template\.jinja"):
        run_preprocess(with_template(tiny_random_engine, template), HELLO)


def test_a_template_that_forgets_the_image(
    tiny_random_engine: Engine, picture: PromptImage
) -> None:
    forgets = TEXT_ONLY.replace("message['content']", "message['content'][-1]['text']")
    prompt = Prompt((Turn("user", "What?", (picture,)),))
    with pytest.raises(InputError, match=r"wrote <\|image_pad\|> 0 times for 1 image"):
        run_preprocess(with_template(tiny_random_engine, forgets), prompt)
