"""Pixels of a scene: polygons drawn at three times the size and scaled down."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from training.pen_strokes import STROKES
from training.scenes import Background, Rgb, Scene, Shape, Writing

SUPERSAMPLING = 3


class CharBox(NamedTuple):
    """Approximate box of one character: centre and half sizes, as fractions of the image."""

    x: float
    y: float
    half_width: float
    half_height: float


def outline_points(kind: str, proportion: float) -> np.ndarray:
    """Corners of a shape of radius 1 around (0, 0), y pointing down: (points, 2).

    `proportion` in 0..1 varies the shape within its kind: the star's inner radius, the cross's
    arms, the height of a triangle or diamond.
    """
    if kind == "circle":
        t = np.linspace(0, 2 * math.pi, 60, endpoint=False)
        return np.stack([np.cos(t), np.sin(t)], 1)
    if kind == "square":
        side = 0.9
        return side * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1.0]])
    if kind == "triangle":
        top = -0.95 - 0.25 * proportion
        return np.array([[0, top], [1.05, 0.8], [-1.05, 0.8]])
    if kind == "diamond":
        wide = 0.85 + 0.3 * proportion
        return np.array([[0, -1.18], [wide, 0], [0, 1.18], [-wide, 0]])
    if kind == "star":
        t = np.arange(10) * math.pi / 5 - math.pi / 2
        radius = np.where(np.arange(10) % 2 == 0, 1.2, 0.46 + 0.14 * proportion)
        return radius[:, None] * np.stack([np.cos(t), np.sin(t)], 1)
    if kind == "cross":
        arm = 0.27 + 0.15 * proportion
        corners = [(arm, 1), (arm, arm), (1, arm), (1, -arm), (arm, -arm), (arm, -1)]
        right = np.array(corners) * 1.08
        return np.concatenate([right, -right])
    if kind == "heart":
        t = np.linspace(0, 2 * math.pi, 60, endpoint=False)
        x = 16 * np.sin(t) ** 3
        y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
        return np.stack([x, -y - 1.5], 1) / (14.0 + 1.5 * proportion)
    raise ValueError(f"shape kind: expected one of the names in scenes.KINDS, got {kind!r}")


def _place(points: np.ndarray, angle: float, scale: float, center: tuple[float, float]) -> list:
    turn = np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=float
    )
    placed = points @ turn.T * scale + np.asarray(center)
    return [tuple(point) for point in placed]


def _to_bytes(rgb: Rgb) -> tuple[int, int, int]:
    red, green, blue = (round(255 * float(c)) for c in rgb)
    return red, green, blue


def draw_shape(canvas: ImageDraw.ImageDraw, shape: Shape, width: int, height: int) -> None:
    """Fill one shape (and its outline) on a canvas of width x height pixels."""
    scale = shape.radius * min(width, height)
    center = (shape.x * width, shape.y * height)
    points = _place(outline_points(shape.kind, shape.proportion), shape.angle, scale, center)
    canvas.polygon(points, fill=_to_bytes(shape.rgb))
    if shape.outline is not None:
        pen = max(1, round(shape.outline_width * scale))
        ink = _to_bytes(shape.outline)
        canvas.line([*points, *points[:2]], fill=ink, width=pen, joint="curve")


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType; its scalable font is needed")
    return font


def _font_mask(writing: Writing, char_height: int) -> tuple[Image.Image, list[float]]:
    """The text in Pillow's own font ('L'), and the centre of each character (0..1)."""
    font = _font(max(8, round(char_height * 1.38)))
    stroke = round(writing.weight * char_height * 0.35) if writing.style == 1 else 0
    left, top, right, bottom = font.getbbox(writing.text, stroke_width=stroke)
    mask = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4))
    ImageDraw.Draw(mask).text(
        (2 - left, 2 - top), writing.text, fill=255, font=font, stroke_width=stroke
    )
    ends = [font.getlength(writing.text[:count]) for count in range(len(writing.text) + 1)]
    middles = [(a + b) / 2 / ends[-1] for a, b in pairwise(ends)]
    return mask, middles


def _stroke_mask(writing: Writing, char_height: int) -> tuple[Image.Image, list[float]]:
    """The text as pen strokes ('L'), and the centre of each character (0..1)."""
    pen = max(2, round(writing.weight * char_height))
    char_width, gap = round(0.62 * char_height), round(0.18 * char_height) + pen
    total = len(writing.text) * (char_width + gap) + pen
    mask = Image.new("L", (total, char_height + 2 * pen))
    canvas = ImageDraw.Draw(mask)
    for index, char in enumerate(writing.text):
        left = pen + index * (char_width + gap)
        for stroke in STROKES[char]:
            points = [(left + x * char_width, pen + y * char_height) for x, y in stroke]
            canvas.line(points, fill=255, width=pen, joint="curve")
            for x, y in (points[0], points[-1]):
                half = pen / 2
                canvas.ellipse((x - half, y - half, x + half, y + half), fill=255)
    num_chars = len(writing.text)
    return mask, [(index + 0.5) / num_chars for index in range(num_chars)]


def draw_writing(image: Image.Image, writing: Writing) -> list[CharBox]:
    """Write digits or letters on the image; returns one box per character."""
    width, height = image.size
    char_height = round(writing.height * height)
    draw_mask = _stroke_mask if writing.style == 2 else _font_mask
    mask, middles = draw_mask(writing, char_height)
    if writing.slant:
        shear = writing.slant
        extra = math.ceil(abs(shear) * mask.height)
        offset = -extra if shear > 0 else 0
        mask = mask.transform(
            (mask.width + extra, mask.height),
            Image.Transform.AFFINE,
            (1, shear, offset, 0, 1, 0),
            Image.Resampling.BILINEAR,
        )
    if writing.angle:
        degrees = math.degrees(writing.angle)
        mask = mask.rotate(degrees, Image.Resampling.BILINEAR, expand=True)
    shrink = min(1.0, 0.97 * width / mask.width, 0.97 * height / mask.height)
    if shrink < 1:
        mask = mask.resize((int(mask.width * shrink), int(mask.height * shrink)))
    left = round(writing.x * width - mask.width / 2)
    top = round(writing.y * height - mask.height / 2)
    left = min(max(left, 0), width - mask.width)
    top = min(max(top, 0), height - mask.height)
    image.paste(_to_bytes(writing.rgb), (left, top), mask)
    half_width = 0.5 * mask.width / len(middles) / width
    y, half_height = (top + mask.height / 2) / height, 0.5 * mask.height / height
    return [
        CharBox((left + middle * mask.width) / width, y, half_width, half_height)
        for middle in middles
    ]


def background_pixels(background: Background, width: int, height: int) -> np.ndarray:
    """(height, width, 3) in 0..1, without noise."""
    base = np.asarray(background.rgb, np.float32)
    if background.kind != "gradient":
        return np.broadcast_to(base, (height, width, 3))
    xs = np.linspace(-0.5, 0.5, width, dtype=np.float32)
    ys = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    slope = math.cos(background.angle) * xs + math.sin(background.angle) * ys
    share = np.clip(slope / 1.42 + 0.5, 0, 1)[..., None]
    return base + (np.asarray(background.other, np.float32) - base) * share


def render_scene(scene: Scene) -> np.ndarray:
    """(height, width, 3) uint8."""
    return render_with_boxes(scene)[0]


def render_with_boxes(scene: Scene) -> tuple[np.ndarray, list[CharBox]]:
    """(height, width, 3) uint8, and the boxes of its characters."""
    size = (scene.width * SUPERSAMPLING, scene.height * SUPERSAMPLING)
    if scene.background.kind == "gradient":
        pixels = background_pixels(scene.background, scene.width, scene.height)
        small = Image.fromarray((pixels * 255).round().astype(np.uint8))
        image = small.resize(size, Image.Resampling.NEAREST)
    else:
        image = Image.new("RGB", size, _to_bytes(scene.background.rgb))
    canvas = ImageDraw.Draw(image)
    for shape in scene.shapes:
        draw_shape(canvas, shape, *size)
    boxes = draw_writing(image, scene.writing) if scene.writing is not None else []
    return _finish(image.reduce(SUPERSAMPLING), scene), boxes


def _finish(image: Image.Image, scene: Scene) -> np.ndarray:
    """Add noise, and sometimes a slight blur, uneven light or the softness of resizing."""
    rng = np.random.default_rng(scene.seed)
    finish = rng.random()
    if finish < 0.1:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 0.9))))
    elif finish < 0.25:
        scale = float(rng.uniform(0.6, 1.9))
        other = (max(48, round(image.width * scale)), max(48, round(image.height * scale)))
        image = image.resize(other, Image.Resampling.BICUBIC).resize(
            (scene.width, scene.height), Image.Resampling.BICUBIC
        )
    uneven = finish > 0.85
    if not uneven and not scene.background.noise:
        return np.asarray(image)
    pixels = np.asarray(image, np.float32)
    if uneven:
        tilt = np.linspace(-1, 1, scene.width, dtype=np.float32) * rng.uniform(-0.1, 0.1)
        tilt = tilt + np.linspace(-1, 1, scene.height)[:, None] * rng.uniform(-0.1, 0.1)
        pixels = pixels * (1 + tilt[..., None])
    if scene.background.noise:
        grain = rng.standard_normal(pixels.shape, dtype=np.float32)
        pixels = pixels + 255 * scene.background.noise * grain
    return np.clip(pixels.round(), 0, 255).astype(np.uint8)
