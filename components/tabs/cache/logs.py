"""Preset logs, and reading a log into requests for the store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING

from cachetools import LRUCache

import playground
from components.tabs.cache.scenes import NO_IMAGE, build_prompt, parse_log, without_pixels
from playground.language import mark, say

if TYPE_CHECKING:
    from playground.kv_cache.log import LoggedRequest
    from playground.pipeline import Run

# Two of the thirty requests have no image; one image occurs far more often than the others.
_SCENES = ("circle and square", "circle and square", "four shapes", "circle and square", "heart")
_QUESTIONS = (
    "How many shapes are there?",
    "What color is the circle?",
    "Is there a heart?",
    "How many shapes are there?",
    "Where is the square?",
    "Is there a star?",
)


def _thirty_requests() -> str:
    lines = []
    for number in range(30):
        session = "AB"[number % 7 > 4]
        scene = _SCENES[number * number % 7 % len(_SCENES)]
        question = _QUESTIONS[(number + number // 8) % len(_QUESTIONS)]
        lines.append(f"{session} | {scene} | {question}")
    lines[9], lines[21] = (f"A | {NO_IMAGE} | 你好", f"B | {NO_IMAGE} | 你好世界。")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Preset:
    """A log with the settings that make its point."""

    name: str
    log: str
    share: int = 100  # budget in percent of the bytes that would hold everything
    images: bool = True
    salt: bool = True
    replay: bool = True  # with the model, as soon as it is chosen


PRESETS = (
    Preset(mark("30 requests about 3 images"), _thirty_requests(), share=50, replay=False),
    Preset(
        mark("The wrong image"),
        "A | star | Describe this image.\nA | heart | Describe this image.\n"
        "A | heart | What color is it?",
        images=False,
    ),
    Preset(
        mark("Two sessions"),
        "A | heart | Describe this image.\nB | heart | Describe this image.\n"
        "B | star | Describe this image.\nA | heart | Describe this image.",
        salt=False,
    ),
)

MAX_KEPT = 8  # parsed logs in memory; about 100 kB each
_kept: LRUCache[tuple[int, str, str], tuple[LoggedRequest, ...]] = LRUCache(MAX_KEPT)
_lock = Lock()


def read_log(run: Run, text: object) -> tuple[LoggedRequest, ...]:
    """Read a log into requests for the model.

    Raises:
        InputError: a line is not a request, or names an unknown image.
    """
    log = []
    for session, scene, question in parse_log(text):
        prompt = build_prompt(run, say("The request"), question, scene)
        inputs = playground.preprocess.stage.run_preprocess(run.engine, prompt)
        log.append(playground.kv_cache.log.LoggedRequest.of(session, inputs))
    return tuple(log)


def read_log_names(run: Run, key: str, text: str) -> tuple[LoggedRequest, ...]:
    """``read_log`` without pixel values, which a rehearsal does not need; recent logs are cached.

    Args:
        run: the page's run.
        key: fingerprint of the run, whose images a log may name.
        text: the log.

    Raises:
        InputError: as ``read_log``.
    """
    name = (id(run.engine), key, str(text))
    with _lock:
        requests: tuple[LoggedRequest, ...] | None = _kept.get(name)
    if requests is None:
        requests = tuple(
            replace(request, inputs=without_pixels(request.inputs))
            for request in read_log(run, text)
        )
        with _lock:
            _kept[name] = requests
    return requests
