"""Texts of public reports. The threads are at each test."""

from __future__ import annotations

import pytest

from playground.engine import Engine
from playground.errors import InputError
from playground.preprocess.stage import run_preprocess
from playground.prompt import Prompt, PromptImage, Turn


@pytest.mark.parametrize(
    "text",
    [
        "a \udbc0 b",  # openai/tiktoken#82: from a PDF
        "\ud83d\udc4d",  # openai/tiktoken#541: an emoji in two halves, as UTF-16 has it
        "\ud83d",  # HKUDS/nanobot#3697: half an emoji, from a Windows console
    ],
)
def test_half_a_character_is_refused_in_words(engine: Engine, text: str) -> None:
    with pytest.raises(InputError, match="unpaired surrogate"):
        run_preprocess(engine, Prompt((Turn("user", text),)))


@pytest.mark.parametrize("typed", ["<image>", "<image>\n", "<image> <image>"])
def test_the_placeholder_of_other_libraries_is_text(
    engine: Engine, image: PromptImage, typed: str
) -> None:
    """MIV-XJTU/FSDrive#17, 2U1/Qwen-VL-Series-Finetune#128: it is counted there, not here."""
    inputs = run_preprocess(engine, Prompt((Turn("user", f"{typed}What?", (image,)),)))
    assert len(inputs.spans) == 1
    assert f"<|vision_end|>{typed}What?" in inputs.rendered_prompt
    assert inputs.notices == ()
