"""Example images and a video for the playground: `python -m training.make_examples`."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
from PIL import Image

from training.draw import render_scene
from training.scenes import (
    RADIUS_RANGES,
    Background,
    Rgb,
    Scene,
    Shape,
    Writing,
    mix_colors,
    place_in_cell,
)

FOLDER = Path("playground/checkpoints/tiny/examples")
CANVAS = (224, 224)
# One clear tint per name.
TINTS: dict[str, Rgb] = {
    "red": (0.9, 0.12, 0.12),
    "green": (0.15, 0.65, 0.25),
    "blue": (0.15, 0.35, 0.9),
    "yellow": (0.98, 0.85, 0.15),
    "purple": (0.5, 0.22, 0.75),
    "orange": (0.98, 0.55, 0.08),
    "pink": (0.98, 0.6, 0.75),
    "black": (0.06, 0.06, 0.06),
}
PAPER = Background("plain", (0.97, 0.97, 0.95), (0.97, 0.97, 0.95), 0.0, 0.0)
DUSK = Background("gradient", (0.16, 0.18, 0.28), (0.26, 0.2, 0.32), 1.2, 0.0)
FPS, NUM_FRAMES = 10, 20


def make_shape(
    kind: str, color: str, size: str, cell: int, canvas: tuple[int, int] = CANVAS
) -> Shape:
    """A shape in the middle of its cell and size range."""
    radius = sum(RADIUS_RANGES[size]) / 2
    x, y = place_in_cell(np.random.default_rng(3), cell, canvas, radius)
    return Shape(kind, color, size, cell, x, y, radius, TINTS[color])


def make_scene(
    *shapes: Shape,
    canvas: tuple[int, int] = CANVAS,
    background: Background = PAPER,
    writing: Writing | None = None,
) -> Scene:
    return Scene(*canvas, background, shapes, writing, seed=FINISH_SEED)


def _plain_finish_seed() -> int:
    """A seed whose images get no blur, softness or uneven light."""
    return next(s for s in range(1000) if 0.3 < np.random.default_rng(s).random() < 0.8)


FINISH_SEED = _plain_finish_seed()


def build_scenes() -> dict[str, Scene]:
    """Scene by image name."""
    orange_red = make_shape("circle", "red", "large", 4)
    wide = (256, 128)
    return {
        "circle_and_square": make_scene(
            make_shape("circle", "red", "large", 3), make_shape("square", "blue", "large", 5)
        ),
        "four_shapes": make_scene(
            make_shape("star", "yellow", "small", 0),
            make_shape("heart", "pink", "small", 2),
            make_shape("triangle", "green", "large", 6),
            make_shape("diamond", "orange", "large", 8),
            background=DUSK,
        ),
        "wide": make_scene(
            make_shape("cross", "purple", "small", 3, wide),
            make_shape("triangle", "orange", "large", 4, wide),
            make_shape("circle", "black", "small", 5, wide),
            canvas=wide,
        ),
        "digits": make_scene(
            background=Background("noisy", (0.9, 0.95, 0.9), (0.9, 0.95, 0.9), 0.0, 0.02),
            canvas=(192, 128),
            writing=Writing("42", "blue", TINTS["blue"], 0.5, 0.5, 0.6, 1, 0.0, 0.0, 0.12),
        ),
        "first": make_scene(make_shape("star", "green", "large", 4), canvas=(160, 160)),
        "second": make_scene(make_shape("heart", "red", "large", 4), canvas=(160, 160)),
        "red_or_orange": make_scene(
            replace(orange_red, rgb=mix_colors("red", "orange", 0.5), mix=0.5)
        ),
    }


def build_clip() -> list[Scene]:
    """A circle that crosses the canvas to the right."""
    canvas = (160, 128)
    radius, tint = 0.17, TINTS["purple"]
    xs = np.linspace(0.2, 0.8, NUM_FRAMES)
    return [
        make_scene(
            Shape("circle", "purple", "small", 4, float(x), 0.5, radius, tint), canvas=canvas
        )
        for x in xs
    ]


# name, images, video, text, language, note
EXAMPLES = (
    ("Two shapes", ["circle_and_square"], None, "Describe this image.", "en",
     "A red circle left of a blue square."),
    ("两个图形", ["circle_and_square"], None, "描述这张图片。", "zh",
     "The same image, with a question in Chinese."),
    ("Four shapes", ["four_shapes"], None, "What is to the right of the triangle?", "en",
     "Four shapes on a dark gradient: the answer has to pick one."),
    ("A second question", ["circle_and_square"], None, "What color is the square?", "en",
     "A conversation: the image belongs to the first of two questions."),
    ("Left to right", ["wide"], None, "List the colors from left to right.", "en",
     "A wide image: its patch grid is not square."),
    ("Digits", ["digits"], None, "What number is shown?", "en", "The number 42 on grainy paper."),
    ("Two images", ["first", "second"], None, "Which image has a heart?", "en",
     "Two images in one prompt."),
    ("Red or orange?", ["red_or_orange"], None, "What color is the shape?", "en",
     "A hue halfway between two colour names: the sampling settings change the answer."),
    ("A moving circle", [], "moving_circle", "Which way does the shape move?", "en",
     "A two-second video of a circle moving to the right."),
    ("你好", [], None, "你好", "zh", "Text only: a greeting."),
    ("Who are you?", [], None, "Who are you?", "en", "Text only: asking the model what it is."),
)  # fmt: skip
# The turns before the text, by the example's name.
EARLIER = {
    "A second question": "User: Describe this image.\n"
    "Assistant: A red circle left of a blue square."
}


def write_video(path: Path, frames: list[np.ndarray]) -> None:
    """H.264 in an mp4, small enough for the repository."""
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "18", "preset": "slow"}
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def write_examples(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, scene in build_scenes().items():
        Image.fromarray(render_scene(scene)).save(folder / f"{name}.png", optimize=True)
    write_video(folder / "moving_circle.mp4", [render_scene(scene) for scene in build_clip()])
    listed = [
        {
            "name": name,
            "images": [f"{image}.png" for image in images],
            "video": f"{video}.mp4" if video else None,
            **({"earlier": EARLIER[name]} if name in EARLIER else {}),
            "text": text,
            "language": language,
            "note": note,
        }
        for name, images, video, text, language, note in EXAMPLES
    ]
    text = json.dumps(listed, indent=2, ensure_ascii=False)
    (folder / "examples.json").write_text(text + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    write_examples(parser.parse_args(arguments).folder)


if __name__ == "__main__":
    main()
