"""Pairs of requests, by what they share and why the shared prefix ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from playground.kv_cache import shared_prefix as prefix
from playground.prompt import Prompt, PromptVideo, Turn
from tests.media_samples import make_image, make_square_image, make_video

TOLERANCE = 1e-4  # float32, |Δ logits|

RED, BLUE = make_square_image(), make_square_image((30, 30, 220))
WIDE, TALL = make_image(128, 96, seed=3), make_image(96, 128, seed=3)
VIDEO = make_video()


def user(text: str, *images: Any, video: PromptVideo | None = None) -> Turn:
    return Turn("user", text, images, video)


def one(text: str, *images: Any, video: PromptVideo | None = None, system: str = "") -> Prompt:
    return Prompt((user(text, *images, video=video),), system=system)


def change_last_frames(video: PromptVideo) -> PromptVideo:
    """The same video with another second half."""
    frames = video.frames.copy()
    frames[len(frames) // 2 :] = 255 - frames[len(frames) // 2 :]
    return replace(video, frames=frames)


# name: first request, second request, why the shared prefix ends
PAIRS: dict[str, tuple[Prompt, Prompt, str]] = {
    "text prefix": (one("你好"), one("你好世界。"), prefix.TOKENS_DIFFER),
    "same image, other question": (
        one("What colour is it?", RED),
        one("Describe this image.", RED),
        prefix.TOKENS_DIFFER,
    ),
    "prefix ends before an image": (
        one("Hello", system="Answer briefly."),
        one("Describe it.", RED, system="Answer briefly."),
        prefix.TOKENS_DIFFER,
    ),
    "second image after a cached first": (
        one("Describe it.", WIDE),
        Prompt(
            (user("Describe it.", WIDE), Turn("assistant", "红"), user("And this?", TALL)),
        ),
        prefix.FIRST_ENDED,
    ),
    "second of two images differs": (
        one("Which is red?", WIDE, RED),
        one("Which is red?", WIDE, BLUE),
        prefix.IMAGES_DIFFER,
    ),
    "video, other question": (
        one("Where does it move?", video=VIDEO),
        one("描述一下。", video=VIDEO),
        prefix.TOKENS_DIFFER,
    ),
    "video, last frames differ": (
        one("Where does it move?", video=VIDEO),
        one("Where does it move?", video=change_last_frames(VIDEO)),
        prefix.VIDEOS_DIFFER,
    ),
    "image and video, other video": (
        one("Describe it.", TALL, video=VIDEO),
        one("Describe it.", TALL, video=make_video(seed=5)),
        prefix.VIDEOS_DIFFER,
    ),
    "same request": (one("Describe it.", RED), one("Describe it.", RED), prefix.SAME_REQUEST),
    "other image, same ids": (
        one("Describe it.", RED),
        one("Describe it.", BLUE),
        prefix.IMAGES_DIFFER,
    ),
    "as many tokens, other grid": (
        one("Describe it.", WIDE),
        one("Describe it.", TALL),
        prefix.IMAGES_DIFFER,
    ),
    "larger image": (
        one("Describe it.", RED),
        one("Describe it.", make_square_image(width=192, height=192)),
        prefix.IMAGES_DIFFER,
    ),
}
