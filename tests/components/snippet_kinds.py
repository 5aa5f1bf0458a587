"""The kinds of prompts that every snippet is run for, and the files that they need."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from components.snippets.parts import SHIPPED_PATH, name_files
from playground.loading.load import SHIPPED
from playground.prompt import Prompt, PromptImage

TRICKY = "Say \"'hi'\"\\n {braces} \\ \n two lines\t<|im_end|> 描述这张图片。🙂"
KINDS = ("text", "chinese", "tricky", "image", "two_images", "video", "image_and_video")


def save_files(folder: Path, video: Path, *prompts: Prompt) -> None:
    """Lay out a folder as a snippet expects it: the shipped checkpoint, images and video."""
    checkpoint = folder / SHIPPED_PATH
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    if not checkpoint.exists():
        checkpoint.symlink_to(SHIPPED)
    for name, media in name_files(*prompts).items():
        if isinstance(media, PromptImage):
            Image.fromarray(media.pixels).save(folder / name)
        elif not (folder / name).exists():
            (folder / name).symlink_to(video)
