"""The tokenizer's round trip, Qwen3-VL's special tokens, and the chat template."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer

from training.tokenizer import ADDED_TOKENS, VOCAB_SIZE, split_words


@pytest.mark.parametrize(
    "text",
    [
        "Describe this image.",
        "描述这张图片。",
        "零点几个字",
        "emoji 🙂, tabs\tand\n\nlines",
        "Ünïcödé ＋ 全角",
        "I'm 42 years old; don't panic!",
    ],
)
def test_round_trip(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_nfc_and_special_ids(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("e\u0301").ids == tokenizer.encode("é").ids
    first = tokenizer.token_to_id("<|endoftext|>")
    assert [tokenizer.token_to_id(text) for text in ADDED_TOKENS] == list(range(first, first + 26))
    assert tokenizer.get_vocab_size() <= VOCAB_SIZE
    assert len(tokenizer.encode("<|im_start|>user\n<|image_pad|><|im_end|>").ids) == 5


def test_words_stay_whole_and_rare_characters_fall_apart(tokenizer: Tokenizer) -> None:
    for word in ("红色", "圆形", "正方形", " circle", " purple"):
        assert len(tokenizer.encode(word).ids) == 1, word
    assert len(tokenizer.encode("点").ids) == 3
    prefix = tokenizer.encode("你好").ids
    assert tokenizer.encode("你好世界。").ids[: len(prefix)] == prefix


def test_colour_and_shape_are_never_glued(tokenizer: Tokenizer) -> None:
    tokens = [tokenizer.decode([i]) for i in tokenizer.encode("左边有一个大的红色圆形").ids]
    assert "红色" in tokens
    assert "圆形" in tokens


def test_split_words() -> None:
    assert split_words("红色圆形。") == ["红色", "圆形", "。"]
    assert split_words("A red circle.") == ["A", " red", " circle", "."]


def test_chat_template(processor: Any) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "image"}, {"type": "video"}, {"type": "text", "text": "Hi"}],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "Hello!"}]},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "And?"}]},
    ]
    image, video = (f"<|vision_start|><|{n}_pad|><|vision_end|>" for n in ("image", "video"))
    expected = (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        f"<|im_start|>user\n{image}{video}Hi<|im_end|>\n"
        "<|im_start|>assistant\nHello!<|im_end|>\n"
        f"<|im_start|>user\n{image}And?<|im_end|>\n"
    )
    assert processor.apply_chat_template(messages) == expected
    prompted = processor.apply_chat_template(messages, add_generation_prompt=True)
    assert prompted == expected + "<|im_start|>assistant\n"
    numbered = processor.apply_chat_template(messages, add_vision_id=True)
    assert f"Picture 1: {image}Video 1: {video}Hi" in numbered
    assert f"Picture 2: {image}And?" in numbered


def test_loaded_tokenizer_keeps_ids_and_pads_left(processor: Any, tokenizer: Tokenizer) -> None:
    loaded = processor.tokenizer
    text = "<|im_start|>user\n描述这张图片。<|im_end|>"
    assert loaded(text)["input_ids"] == tokenizer.encode(text).ids
    assert loaded.padding_side == "left"
    assert loaded.eos_token == "<|im_end|>"
    assert loaded.pad_token == "<|endoftext|>"
    skipped = loaded.decode(tokenizer.encode(text).ids, skip_special_tokens=True)
    assert skipped == "user\n描述这张图片。"
