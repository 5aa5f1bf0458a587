"""Text-only conversations: greetings, what the model is, what it can do."""

from __future__ import annotations

import numpy as np

from training.questions import Turn

ABOUT_EN = "I am a tiny Qwen3-VL model. I describe simple shapes."
ABOUT_ZH = "我是一个很小的Qwen3-VL模型，会描述简单的图形。"
CAN_EN = "I can describe shapes, count them, name colors and read digits."
CAN_ZH = "我可以描述图形、数图形、说出颜色、读数字。"
NO_IMAGE_EN = "Please show me an image first."
NO_IMAGE_ZH = "请先给我一张图片。"

# (language, prompts, answers)
TALK: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("zh", ("你好", "你好！", "你好。"), ("你好！有什么可以帮你？", "你好！请给我一张图片。")),
    ("zh", ("你好世界。", "你好世界", "你好，世界！"), ("你好，世界！",)),
    ("zh", ("早上好", "早上好！"), ("早上好！",)),
    ("zh", ("晚上好", "晚上好！"), ("晚上好！",)),
    ("zh", ("再见", "再见！"), ("再见！",)),
    ("zh", ("谢谢", "谢谢！", "谢谢你。"), ("不客气！",)),
    ("zh", ("你是谁？", "你是谁", "你叫什么名字？"), (ABOUT_ZH,)),
    ("zh", ("你能做什么？", "你会什么？", "你可以做什么？"), (CAN_ZH,)),
    ("zh", ("你会说英语吗？", "你会说中文吗？"), ("会的，我会说中文和英语。",)),
    ("zh", ("一加一等于几？", "1+1等于几？"), ("一加一等于二。",)),
    ("zh", ("天空是什么颜色？",), ("天空是蓝色的。",)),
    ("zh", ("草是什么颜色？",), ("草是绿色的。",)),
    ("zh", ("描述这张图片。", "图里有什么？", "有几个图形？"), (NO_IMAGE_ZH,)),
    ("en", ("Hello", "Hello!", "Hello.", "Hi", "Hi!"), ("Hello! How can I help you?",)),
    ("en", ("Hello world", "Hello, world!", "Hello world."), ("Hello, world!",)),
    ("en", ("Good morning", "Good morning!"), ("Good morning!",)),
    ("en", ("Good evening", "Good evening!"), ("Good evening!",)),
    ("en", ("How are you?", "How are you"), ("I am fine, thank you.",)),
    ("en", ("Goodbye", "Bye", "Bye!"), ("Goodbye!",)),
    ("en", ("Thanks", "Thank you", "Thank you!"), ("You are welcome!",)),
    ("en", ("Who are you?", "What are you?", "What is your name?"), (ABOUT_EN,)),
    ("en", ("What can you do?", "Help", "How can you help me?"), (CAN_EN,)),
    ("en", ("Do you speak Chinese?", "Do you speak English?"), ("Yes, English and Chinese.",)),
    ("en", ("What is one plus one?", "1+1?", "What is 1+1?"), ("One plus one is two.",)),
    ("en", ("What color is the sky?",), ("The sky is blue.",)),
    ("en", ("What color is grass?",), ("Grass is green.",)),
    (
        "en",
        ("Describe this image.", "What is in this image?", "How many shapes are there?"),
        (NO_IMAGE_EN,),
    ),
)
# Text without chat markup, so that a plain prefix is continued.
PLAIN_TEXTS = (
    "你好世界。",
    "Hello world.",
    "红色的圆形在左边。",
    "The red circle is on the left.",
    "从左到右依次是红色、绿色、蓝色。",
)
SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a helpful assistant.",
    "你是一个有用的助手。",
    "Answer briefly.",
    "请简短回答。",
)


def sample_talk(rng: np.random.Generator) -> Turn:
    """A greeting or question with all its accepted answers."""
    language, prompts, answers = TALK[rng.integers(len(TALK))]
    return Turn("talk", language, prompts[rng.integers(len(prompts))], answers)
