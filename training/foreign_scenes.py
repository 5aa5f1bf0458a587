"""A second renderer, for evaluation only: draws the same facts differently.

Shapes are signed distance fields shaded per pixel (no polygons, no supersampling), with their own
tints, proportions, backgrounds and canvas sizes, which the processor has to resize. Characters
come from Pillow's old bitmap font, enlarged. Training never uses these images.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from training.scenes import Rgb, Scene, Shape, Writing

# Named colours as other programs know them (CSS and plotting palettes).
PALETTES: dict[str, tuple[Rgb, ...]] = {
    "red": ((1.0, 0.0, 0.0), (0.84, 0.15, 0.16), (0.8, 0.07, 0.1)),
    "green": ((0.0, 0.5, 0.0), (0.17, 0.63, 0.17), (0.2, 0.8, 0.2)),
    "blue": ((0.0, 0.0, 1.0), (0.12, 0.4, 0.85), (0.1, 0.2, 0.6)),
    "yellow": ((1.0, 1.0, 0.0), (1.0, 0.87, 0.1), (0.95, 0.9, 0.2)),
    "purple": ((0.5, 0.0, 0.5), (0.5, 0.2, 0.8), (0.42, 0.2, 0.62)),
    "orange": ((1.0, 0.55, 0.0), (1.0, 0.5, 0.05), (0.98, 0.6, 0.15)),
    "pink": ((1.0, 0.71, 0.76), (1.0, 0.5, 0.7), (0.98, 0.6, 0.78)),
    "cyan": ((0.0, 1.0, 1.0), (0.1, 0.75, 0.81), (0.0, 0.8, 0.85)),
    "black": ((0.0, 0.0, 0.0), (0.07, 0.07, 0.07)),
    "white": ((1.0, 1.0, 1.0), (0.97, 0.97, 0.97)),
}
CANVASES = ((200, 200), (256, 256), (320, 240), (240, 320), (400, 300), (150, 150), (640, 480))


def _length(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.sqrt(x * x + y * y)


def _half_planes(x: np.ndarray, y: np.ndarray, corners: list[tuple[float, float]]) -> np.ndarray:
    """Distance-like field of a convex polygon, corners clockwise on a y-down canvas."""
    field = np.full_like(x, -np.inf)
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        normal = np.array([y1 - y0, x0 - x1]) / math.hypot(x1 - x0, y1 - y0)
        field = np.maximum(field, (x - x0) * normal[0] + (y - y0) * normal[1])
    return field


def shape_field(kind: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Negative inside, about the distance to the edge outside; shape of radius 1 at (0, 0)."""
    if kind == "circle":
        return _length(x, y) - 1
    if kind == "square":
        return np.maximum(abs(x), abs(y)) - 0.93
    if kind == "diamond":
        return (abs(x) * 1.2 + abs(y)) / 1.56 - 0.75
    if kind == "triangle":
        return _half_planes(x, y, [(0.0, -1.1), (1.1, 0.85), (-1.1, 0.85)])
    if kind == "cross":
        upright = np.maximum(abs(x) - 0.32, abs(y) - 1.05)
        return np.minimum(upright, np.maximum(abs(y) - 0.32, abs(x) - 1.05))
    if kind == "star":
        angle = np.arctan2(x, -y)
        sector = abs((angle + math.pi / 5) % (2 * math.pi / 5) - math.pi / 5)
        distance = _length(x, y)
        px, py = distance * np.sin(sector), distance * np.cos(sector)
        inner = (0.5 * math.sin(math.pi / 5), 0.5 * math.cos(math.pi / 5))
        edge = np.array([inner[0], inner[1] - 1.2])
        normal = np.array([-edge[1], edge[0]]) / np.linalg.norm(edge)
        return px * normal[0] + (py - 1.2) * normal[1]
    if kind == "heart":
        u, v = x * 1.05, -y * 1.05 + 0.1
        base = u * u + v * v - 1
        curve = base**3 - u * u * v**3
        slope_u = 6 * u * base**2 - 2 * u * v**3
        slope_v = 6 * v * base**2 - 3 * u * u * v * v
        return curve / np.maximum(_length(slope_u, slope_v), 0.3)
    raise ValueError(f"shape kind: no field for {kind!r}")


def recolor(scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene on another canvas, with this renderer's tints and upright shapes."""
    width, height = CANVASES[rng.integers(len(CANVASES))]
    shapes = tuple(
        replace(s, rgb=_tint(s.color, rng) if s.mix is None else s.rgb, outline=None)
        for s in scene.shapes
    )
    writing = scene.writing
    if writing is not None:
        writing = replace(writing, rgb=_tint(writing.color, rng))
    return replace(scene, width=width, height=height, shapes=shapes, writing=writing)


def _tint(color: str, rng: np.random.Generator) -> Rgb:
    palette = PALETTES[color]
    return palette[rng.integers(len(palette))]


def render_foreign(scene: Scene) -> np.ndarray:
    """(height, width, 3) uint8."""
    rng = np.random.default_rng([scene.seed, 5])
    width, height = scene.width, scene.height
    y, x = np.mgrid[0:height, 0:width] + 0.5
    inks = [s.rgb for s in scene.shapes]
    inks += [scene.writing.rgb] if scene.writing is not None else []
    pixels = _backdrop(rng, x / width, y / height, inks)
    for shape in scene.shapes:
        pixels = _blend_shape(pixels, shape, x, y, rng)
    if scene.writing is not None:
        pixels = _blend_writing(pixels, scene.writing)
    return (np.clip(pixels, 0, 1) * 255).round().astype(np.uint8)


def _backdrop(
    rng: np.random.Generator, u: np.ndarray, v: np.ndarray, inks: list[Rgb]
) -> np.ndarray:
    """Paper, dusk, checks or a vignette: the first that contrasts with all inks."""
    tones = [np.array(tone) for tone in ((0.98,) * 3, (0.9, 0.93, 0.96), (0.6, 0.6, 0.62))]
    tones += [np.array(tone) for tone in ((0.16, 0.17, 0.2), (0.93, 0.9, 0.82))]
    order = [tones[index] for index in rng.permutation(len(tones))]
    clear = [t for t in order if all(np.abs(t - np.array(ink)).max() > 0.3 for ink in inks)]
    base = (clear or order)[0] + np.zeros((*u.shape, 1))
    style = rng.integers(3)
    if style == 0:
        return base
    if style == 1:
        checks = (np.floor(u * 10) + np.floor(v * 10)) % 2
        return base + 0.03 * (checks[..., None] - 0.5)
    return base * (1 - 0.25 * ((u - 0.5) ** 2 + (v - 0.5) ** 2))[..., None]


def _blend_shape(
    pixels: np.ndarray, shape: Shape, x: np.ndarray, y: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    height, width = x.shape
    radius = shape.radius * min(width, height)
    # The canvas differs from the one the scene was laid out on: keep the shape inside.
    cx = float(np.clip(shape.x * width, 1.2 * radius, width - 1.2 * radius))
    cy = float(np.clip(shape.y * height, 1.2 * radius, height - 1.2 * radius))
    field = shape_field(shape.kind, (x - cx) / radius, (y - cy) / radius) * radius
    cover = np.clip(0.5 - field, 0, 1)[..., None]
    # A soft light from above, as vector graphics often have.
    light = 1 + 0.12 * rng.random() * (-(y - cy) / radius)[..., None]
    ink = np.array(shape.rgb) * np.clip(light, 0.85, 1.15)
    return pixels * (1 - cover) + ink * cover


def _blend_writing(pixels: np.ndarray, writing: Writing) -> np.ndarray:
    height, width = pixels.shape[:2]
    font = ImageFont.load_default_imagefont()
    left, top, right, bottom = font.getbbox(writing.text)
    mask = Image.new("L", (int(right - left) + 2, int(bottom - top)))
    ImageDraw.Draw(mask).text((1 - left, -top), writing.text, fill=255, font=font)
    mask = mask.crop(mask.getbbox())
    scale = min(writing.height * height / mask.height, 0.86 * width / mask.width)
    size = (round(mask.width * scale), round(mask.height * scale))
    mask = mask.resize(size, Image.Resampling.BICUBIC)
    x = min(max(round(writing.x * width - size[0] / 2), 0), width - size[0])
    y = min(max(round(writing.y * height - size[1] / 2), 0), height - size[1])
    cover = np.zeros((height, width, 1))
    cover[y : y + size[1], x : x + size[0], 0] = np.asarray(mask) / 255
    return pixels * (1 - cover) + np.array(writing.rgb) * cover
