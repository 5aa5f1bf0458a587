"""One prompt of every kind that the playground accepts."""

from __future__ import annotations

from playground.prompt import Prompt, Turn
from tests.media_samples import make_image, make_video

_SMALL, _WIDE, _TALL = make_image(), make_image(192, 64, seed=1), make_image(64, 160, seed=2)
_VIDEO = make_video(num_frames=6)

PROMPTS: dict[str, Prompt] = {
    "text": Prompt((Turn("user", "Hello, 你好!"),)),
    "system": Prompt((Turn("user", "Hello"),), system="You are brief."),
    "image": Prompt((Turn("user", "What is this?", (_SMALL,)),)),
    "image_alone": Prompt((Turn("user", "", (_TALL,)),)),
    "max_pixels": Prompt((Turn("user", "Small.", (_WIDE,)),), max_pixels=6144),
    "two_images": Prompt((Turn("user", "描述这张图片。", (_SMALL, _WIDE)),), system="简短回答。"),
    "video": Prompt((Turn("user", "Where does it go?", video=_VIDEO),), max_pixels=40_000),
    "image_and_video": Prompt((Turn("user", "Both?", (_WIDE,), _VIDEO),), max_pixels=30_000),
    "video_then_image": Prompt(
        (
            Turn("user", "First.", video=_VIDEO),
            Turn("assistant", "Yes."),
            Turn("user", "Then?", (_TALL,)),
        ),
        system="Answer.",
        max_pixels=30_000,
    ),
    "turns": Prompt(
        (
            Turn("user", "One?", (_SMALL,)),
            Turn("assistant", "好的。"),
            Turn("user", "Two?", (_TALL, _WIDE)),
            Turn("assistant", "Two."),
            Turn("user", "Sure?"),
        )
    ),
}
