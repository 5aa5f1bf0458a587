"""Held-out questions, greedy answers from transformers' `generate`, and their scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import regex
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.video_utils import VideoMetadata

from training.corpus import ask
from training.corpus_pairs import ask_clip, ask_pair
from training.draw import render_scene
from training.foreign_scenes import recolor, render_foreign
from training.motion import sample_clip
from training.questions import Turn
from training.scenes import COLORS, KINDS, Scene, Shape, sample_scene, sample_writing_scene
from training.talk import TALK
from training.words import EN_PLACES, LANGUAGES, ZH_COLORS, ZH_KINDS, ZH_POSITIONS, ZH_SIZES

# First number of every held-out seed; training's seeds start with the run's seed and a stage.
HELD_OUT = 424_242
BATCH_SIZE = 25


@dataclass(frozen=True, slots=True)
class Item:
    """One held-out prompt and the reference for its answer."""

    turn: Turn
    images: tuple[np.ndarray, ...] = ()  # each (height, width, 3) uint8
    frames: np.ndarray | None = None  # (frames, height, width, 3) uint8
    metadata: VideoMetadata | None = None
    shapes: tuple[Shape, ...] = ()  # the facts of a description


Draw = Callable[[Scene], np.ndarray]


def _image_item(scene: Scene, turn: Turn, foreign: bool) -> Item:
    image = render_foreign(scene) if foreign else render_scene(scene)
    return Item(turn, (image,), shapes=scene.shapes)


def _scene_item(
    task: str, rng: np.random.Generator, language: str, *, foreign: bool = False
) -> Item | None:
    """An item about one image; a foreign scene is drawn by the second renderer."""
    written = task in ("digits", "letters")
    if written:
        scene = sample_writing_scene(rng)
        if (scene.writing.text[0].isdigit()) != (task == "digits"):
            return None
    else:
        scene = sample_scene(rng, int(rng.integers(1, 5)), ambiguous=0.0)
    if any(s.radius > 0.152 and s.radius < 0.185 for s in scene.shapes):
        return None  # neither small nor large
    if foreign:
        scene = recolor(replace(scene, width=160, height=160), rng)
    name = "read" if written else task
    if task == "yes_no":
        name = ("exists", "whether")[rng.integers(2)]
    turn = ask(scene, name, rng, language)
    return None if turn is None else _image_item(scene, turn, foreign)


def _pair_item(task: str, rng: np.random.Generator, language: str) -> Item | None:
    most = int(rng.choice([1, 3]))
    sample = [sample_scene(rng, int(rng.integers(1, most + 1)), ambiguous=0.0) for _ in range(2)]
    pair = (sample[0], sample[1])
    if task == "pair_describe":
        turn = ask_pair(pair, rng, language, "describe_one")
    else:
        turn = ask_pair(
            pair, rng, language, ("which", "about_one", "more", "same")[rng.integers(4)]
        )
    return None if turn is None else Item(turn, tuple(render_scene(scene) for scene in pair))


def _clip_item(task: str, rng: np.random.Generator, language: str) -> Item:
    clip = sample_clip(rng)
    names = {"direction": "direction", "clip_describe": "describe"}
    name = names.get(task) or ("attribute", "whether")[rng.integers(2)]
    turn = ask_clip(clip, rng, language, name)
    frames = np.stack([render_scene(frame) for frame in clip.frames])
    metadata = VideoMetadata(
        total_num_frames=clip.total_frames, fps=clip.fps, frames_indices=list(clip.frame_indices)
    )
    return Item(turn, frames=frames, metadata=metadata)


SCENE_TASKS = (
    *("describe", "count", "count_of", "color", "shape", "where", "size"),
    *("relation", "order", "yes_no", "digits", "letters"),
)
PAIR_NAMES = ("pair", "pair_describe")
CLIP_NAMES = ("direction", "clip", "clip_describe")
ALL_TASKS = (*SCENE_TASKS, *PAIR_NAMES, *CLIP_NAMES)


def build_items(task: str, language: str, count: int, *, foreign: bool = False) -> list[Item]:
    """`count` held-out items of a task, always the same ones."""
    number = ALL_TASKS.index(task) * 4 + LANGUAGES.index(language) * 2 + int(foreign)
    items: list[Item] = []
    index = 0
    while len(items) < count:
        rng = np.random.default_rng([HELD_OUT, number, index])
        index += 1
        if task in PAIR_NAMES:
            item = _pair_item(task, rng, language)
        elif task in CLIP_NAMES:
            item = _clip_item(task, rng, language)
        else:
            item = _scene_item(task, rng, language, foreign=foreign)
        if item is not None:
            items.append(item)
    return items


def build_talk_items(language: str) -> list[Item]:
    """Every text-only prompt of a language."""
    return [
        Item(Turn("talk", language, prompt, answers))
        for own, prompts, answers in TALK
        if own == language
        for prompt in prompts
    ]


class Answerer:
    """A checkpoint with its processor, which answers greedily."""

    def __init__(self, folder: Path) -> None:
        self.processor = AutoProcessor.from_pretrained(folder)
        self.model = AutoModelForImageTextToText.from_pretrained(folder).eval()
        self.model.generation_config.do_sample = False
        for name in ("temperature", "top_k", "top_p"):
            setattr(self.model.generation_config, name, None)

    def render_prompt(self, item: Item) -> str:
        content: list[dict[str, str]] = [{"type": "image"} for _ in item.images]
        content += [{"type": "video"}] if item.frames is not None else []
        content.append({"type": "text", "text": item.turn.question})
        message = {"role": "user", "content": content}
        return self.processor.apply_chat_template([message], add_generation_prompt=True)

    def prepare(self, items: list[Item]) -> dict[str, torch.Tensor]:
        """Model inputs of a batch, through the checkpoint's own processor."""
        images = [[Image.fromarray(image) for image in item.images] for item in items]
        videos = [item.frames for item in items if item.frames is not None]
        extra = {}
        if videos:
            metadata = [item.metadata for item in items if item.frames is not None]
            extra = {
                "videos": videos,
                "video_metadata": metadata,
                "do_sample_frames": False,
            }
        prompts = [self.render_prompt(item) for item in items]
        flat = [image for group in images for image in group]
        return self.processor(
            text=prompts, images=flat or None, padding=True, return_tensors="pt", **extra
        )

    @torch.no_grad()
    def answer(
        self,
        items: list[Item],
        change_inputs: Callable[[dict], dict] | None = None,
        patched: Callable[[object], AbstractContextManager] | None = None,
    ) -> list[str]:
        """Greedy answers in the order of the items; both hooks are for ablations."""
        answers: list[str] = []
        for batch in _batches(items):
            inputs = self.prepare(batch)
            if change_inputs is not None:
                inputs = change_inputs(inputs)
            longest = max(len(answer) for item in batch for answer in item.turn.answers)
            with patched(self.model) if patched is not None else nullcontext():
                output = self.model.generate(**inputs, max_new_tokens=min(12 + longest, 120))
            answers += self.processor.batch_decode(
                output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
            )
        return answers


def _batches(items: list[Item]) -> Iterator[list[Item]]:
    for start in range(0, len(items), BATCH_SIZE):
        yield items[start : start + BATCH_SIZE]


_PLACE_NAMES = {place: name for name, place in EN_PLACES.items()}
_EN_SHAPE = regex.compile(
    rf"(small|large) ({'|'.join(COLORS)}) ({'|'.join(KINDS)}) "
    rf"({'|'.join(sorted(_PLACE_NAMES, key=len, reverse=True))})"
)
_ZH_SHAPE = regex.compile(
    rf"({'|'.join(ZH_POSITIONS.values())})有一个({'|'.join(ZH_SIZES.values())})的"
    rf"({'|'.join(ZH_COLORS.values())})({'|'.join(ZH_KINDS.values())})"
)
SLOTS = ("color", "kind", "size", "position")


def parse_description(text: str, language: str) -> list[dict[str, str]]:
    """The shapes in a description, as slots of its text."""
    if language == "en":
        return [
            {"size": size, "color": color, "kind": kind, "position": _PLACE_NAMES[place]}
            for size, color, kind, place in _EN_SHAPE.findall(text)
        ]
    names = {
        "size": {v: k for k, v in ZH_SIZES.items()},
        "color": {v: k for k, v in ZH_COLORS.items()},
        "kind": {v: k for k, v in ZH_KINDS.items()},
        "position": {v: k for k, v in ZH_POSITIONS.items()},
    }
    return [
        {
            "size": names["size"][size],
            "color": names["color"][color],
            "kind": names["kind"][kind],
            "position": names["position"][place],
        }
        for place, size, color, kind in _ZH_SHAPE.findall(text)
    ]


def score_exact(items: list[Item], answers: list[str]) -> float:
    """Share of answers that exactly match an accepted phrasing."""
    hits = [a in item.turn.answers for item, a in zip(items, answers, strict=True)]
    return sum(hits) / len(hits)


def score_slots(items: list[Item], answers: list[str]) -> dict[str, float]:
    """Share of correct slots by name, with shapes compared in reading order.

    Missing and additional shapes count as wrong slots.
    """
    right = dict.fromkeys(SLOTS, 0)
    total = 0
    for item, answer in zip(items, answers, strict=True):
        named = parse_description(answer, item.turn.language)
        total += max(len(named), len(item.shapes))
        for shape, slots in zip(item.shapes, named, strict=False):
            for slot in SLOTS:
                right[slot] += slots[slot] == getattr(shape, slot)
    scores = {slot: count / total for slot, count in right.items()}
    scores["all"] = sum(scores.values()) / len(SLOTS)
    return scores
