"""Synthetic scenes: the content of an image, separate from its pixels.

A `Scene` states facts (shapes, colours, sizes, positions, written characters). `draw.py` turns
it into pixels, `corpus.py` into questions and answers. Everything follows from one seeded
`numpy.random.Generator`, so a scene can be reproduced from its seed.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass

import numpy as np

KINDS = ("circle", "square", "triangle", "star", "diamond", "cross", "heart")
COLORS = (
    "red",
    "green",
    "blue",
    "yellow",
    "purple",
    "orange",
    "pink",
    "cyan",
    "black",
    "white",
)
SIZES = ("small", "large")
POSITIONS = (
    "top left",
    "top",
    "top right",
    "left",
    "center",
    "right",
    "bottom left",
    "bottom",
    "bottom right",
)
DIGITS = "0123456789"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

# Hue in degrees, saturation and value ranges of each named colour. The gaps between
# neighbouring hues are what `mix_colors` fills with ambiguous colours.
HSV_RANGES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((-8, 6), (0.75, 1.0), (0.7, 1.0)),
    "orange": ((24, 36), (0.8, 1.0), (0.88, 1.0)),
    "yellow": ((50, 60), (0.7, 1.0), (0.88, 1.0)),
    "green": ((95, 145), (0.5, 1.0), (0.42, 0.9)),
    "cyan": ((176, 190), (0.6, 1.0), (0.75, 1.0)),
    "blue": ((212, 240), (0.65, 1.0), (0.55, 1.0)),
    "purple": ((266, 288), (0.5, 1.0), (0.45, 0.82)),
    "pink": ((322, 350), (0.25, 0.6), (0.93, 1.0)),
    "black": ((0, 360), (0.0, 0.3), (0.0, 0.12)),
    "white": ((0, 360), (0.0, 0.04), (0.96, 1.0)),
}
# Neighbouring colours with hues between them that fit either name.
MIXABLE = (
    ("red", "orange"),
    ("orange", "yellow"),
    ("yellow", "green"),
    ("cyan", "blue"),
    ("blue", "purple"),
)
# Radius as a fraction of the image's short side; between the two ranges a size is ambiguous.
RADIUS_RANGES = {"small": (0.115, 0.152), "large": (0.185, 0.235)}
# Canvas sizes (width, height): multiples of 32 between the processor's pixel limits.
CANVAS_SIZES = (
    (128, 128),
    (160, 128),
    (128, 160),
    (160, 160),
    (192, 128),
    (128, 192),
    (192, 160),
    (160, 192),
    (192, 192),
    (224, 160),
    (160, 224),
    (224, 192),
    (224, 224),
    (256, 128),
    (256, 192),
    (192, 256),
)
CANVAS_WEIGHTS = (5, 2, 2, 5, 2, 2, 1.5, 1.5, 4, 1.5, 1, 1, 4, 1, 1.5, 1)

Rgb = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape: its names, and the numbers that determine its pixels."""

    kind: str
    color: str
    size: str
    cell: int  # index into POSITIONS
    x: float  # centre, fraction of the width
    y: float  # centre, fraction of the height
    radius: float  # fraction of the image's short side
    rgb: Rgb  # 0..1
    angle: float = 0.0  # radians
    proportion: float = 0.5  # 0..1, meaning depends on the kind (inner radius, arm width, ...)
    outline: Rgb | None = None
    outline_width: float = 0.0  # fraction of the radius
    mix: float | None = None  # probability of the second name of an ambiguous colour

    @property
    def position(self) -> str:
        return POSITIONS[self.cell]


@dataclass(frozen=True, slots=True)
class Writing:
    """Digits or letters written in one colour."""

    text: str
    color: str
    rgb: Rgb
    x: float
    y: float
    height: float  # height of a capital, fraction of the image's height
    style: int  # 0: font, 1: font with a thick stroke, 2: pen strokes
    slant: float
    angle: float  # radians
    weight: float  # pen width, fraction of the height


@dataclass(frozen=True, slots=True)
class Background:
    """The background behind the shapes."""

    kind: str  # plain, noisy or gradient
    rgb: Rgb
    other: Rgb
    angle: float
    noise: float  # standard deviation, 0..1


@dataclass(frozen=True, slots=True)
class Scene:
    """The facts of one image."""

    width: int
    height: int
    background: Background
    shapes: tuple[Shape, ...] = ()
    writing: Writing | None = None
    seed: int = 0  # for the noise and finish of the pixels


def sample_rgb(color: str, rng: np.random.Generator) -> Rgb:
    """A tint of a named colour, components in 0..1."""
    hue, saturation, value = (rng.uniform(*bounds) for bounds in HSV_RANGES[color])
    return colorsys.hsv_to_rgb((hue % 360) / 360, saturation, value)


def mix_colors(first: str, second: str, mix: float) -> Rgb:
    """The colour `mix` of the way from the middle of `first` to the middle of `second` (HSV)."""
    a = [sum(bounds) / 2 for bounds in HSV_RANGES[first]]
    b = [sum(bounds) / 2 for bounds in HSV_RANGES[second]]
    hue, saturation, value = (p + (q - p) * mix for p, q in zip(a, b, strict=True))
    return colorsys.hsv_to_rgb((hue % 360) / 360, saturation, value)


def sample_ambiguous(rng: np.random.Generator) -> tuple[str, Rgb, float]:
    """An ambiguous colour, with a name sampled in proportion: (name, rgb, mix)."""
    first, second = MIXABLE[rng.integers(len(MIXABLE))]
    mix = float(rng.uniform(0.1, 0.9))
    name = second if rng.random() < mix else first
    return name, mix_colors(first, second, mix), mix


def color_distance(a: Rgb, b: Rgb) -> float:
    """Weighted RGB distance; about 0.25 is where a shape starts to stand out."""
    weights = (0.6, 1.0, 0.5)
    return math.sqrt(sum(w * (p - q) ** 2 for w, p, q in zip(weights, a, b, strict=True)))


def sample_background(rng: np.random.Generator, inks: list[Rgb]) -> Background:
    """A background with enough contrast to every ink."""
    best, best_contrast = None, -1.0
    for _ in range(12):
        background = _propose_background(rng)
        ends = (background.rgb, background.other)
        contrast = min((color_distance(ink, end) for ink in inks for end in ends), default=1.0)
        if contrast > best_contrast:
            best, best_contrast = background, contrast
        if contrast > 0.3:
            break
    assert best is not None
    return best


def _propose_background(rng: np.random.Generator) -> Background:
    hue = rng.random()
    tone = rng.choice(
        ["white", "light", "middle", "dark", "black"], p=[0.14, 0.46, 0.15, 0.2, 0.05]
    )
    if tone == "white":
        rgb: Rgb = (1.0, 1.0, 1.0)
    elif tone == "light":
        rgb = colorsys.hsv_to_rgb(hue, rng.uniform(0, 0.2), rng.uniform(0.84, 1.0))
    elif tone == "middle":
        rgb = colorsys.hsv_to_rgb(hue, rng.uniform(0, 0.15), rng.uniform(0.45, 0.75))
    elif tone == "dark":
        rgb = colorsys.hsv_to_rgb(hue, rng.uniform(0, 0.5), rng.uniform(0.08, 0.32))
    else:
        rgb = (0.0, 0.0, 0.0)
    kind = str(rng.choice(["plain", "noisy", "gradient"], p=[0.5, 0.25, 0.25]))
    shift = rng.uniform(-0.14, 0.14, 3) if kind == "gradient" else np.zeros(3)
    other = tuple(float(np.clip(c + s, 0, 1)) for c, s in zip(rgb, shift, strict=True))
    noise = float(rng.uniform(0.01, 0.06)) if kind == "noisy" else 0.0
    return Background(kind, rgb, other, float(rng.uniform(0, 2 * math.pi)), noise)


def sample_canvas(rng: np.random.Generator) -> tuple[int, int]:
    """(width, height) in pixels."""
    weights = np.asarray(CANVAS_WEIGHTS) / sum(CANVAS_WEIGHTS)
    return CANVAS_SIZES[rng.choice(len(CANVAS_SIZES), p=weights)]


def sample_small_canvas(rng: np.random.Generator) -> tuple[int, int]:
    """One of the three smallest canvases."""
    return CANVAS_SIZES[rng.choice(3, p=[0.6, 0.2, 0.2])]


def _sample_radius(rng: np.random.Generator) -> tuple[str, float]:
    """Size name and radius; sometimes in between, with a name sampled in proportion."""
    if rng.random() < 0.06:
        share = float(rng.random())
        low, high = RADIUS_RANGES["small"][1], RADIUS_RANGES["large"][0]
        return ("large" if rng.random() < share else "small"), low + (high - low) * share
    size = SIZES[rng.integers(2)]
    return size, float(rng.uniform(*RADIUS_RANGES[size]))


# A square rotated far enough is a diamond, so each kind has its own range (radians).
MAX_TURN = {
    "circle": 3.1,
    "square": 0.16,
    "triangle": 0.25,
    "star": 0.4,
    "diamond": 0.1,
    "cross": 0.16,
    "heart": 0.2,
}


def sample_shape(
    rng: np.random.Generator, cell: int, canvas: tuple[int, int], *, ambiguous: float = 0.1
) -> Shape:
    """One shape in a cell of the 3 x 3 position grid, fully inside the canvas."""
    kind = KINDS[rng.integers(len(KINDS))]
    size, radius = _sample_radius(rng)
    mix = None
    if rng.random() < ambiguous:
        color, rgb, mix = sample_ambiguous(rng)
    else:
        color = COLORS[rng.integers(len(COLORS))]
        rgb = sample_rgb(color, rng)
    outline, outline_width = None, 0.0
    if rng.random() < 0.3:
        tone = rng.choice([0.0, 0.0, 0.25, 1.0])
        outline, outline_width = (tone, tone, tone), float(rng.uniform(0.05, 0.16))
    x, y = place_in_cell(rng, cell, canvas, radius)
    turn = MAX_TURN[kind]
    return Shape(
        kind=kind,
        color=color,
        size=size,
        cell=cell,
        x=x,
        y=y,
        radius=radius,
        rgb=rgb,
        angle=float(rng.uniform(-turn, turn)) if rng.random() < 0.6 else 0.0,
        proportion=float(rng.random()),
        outline=outline,
        outline_width=outline_width,
        mix=mix,
    )


def place_in_cell(
    rng: np.random.Generator, cell: int, canvas: tuple[int, int], radius: float
) -> tuple[float, float]:
    """A centre (fractions) near the middle of the cell that keeps the shape on the canvas."""
    short = min(canvas)
    place = []
    for index, length in ((cell % 3, canvas[0]), (cell // 3, canvas[1])):
        margin = min(0.5, 1.2 * radius * short / length + 0.01)
        wish = (index + 0.5) / 3 + rng.uniform(-0.07, 0.07)
        place.append(float(np.clip(wish, margin, 1 - margin)))
    return place[0], place[1]


def is_clear(shape: Shape, others: list[Shape], canvas: tuple[int, int]) -> bool:
    """Whether the shape is far enough from all others."""
    short = min(canvas)
    return all(
        math.hypot((shape.x - o.x) * canvas[0], (shape.y - o.y) * canvas[1])
        > 1.15 * (shape.radius + o.radius) * short
        for o in others
    )


def sample_scene(
    rng: np.random.Generator,
    num_shapes: int,
    canvas: tuple[int, int] | None = None,
    *,
    ambiguous: float = 0.1,
) -> Scene:
    """A scene of up to `num_shapes` shapes in different cells (fewer if they don't fit)."""
    canvas = canvas or sample_canvas(rng)
    shapes: list[Shape] = []
    for _ in range(24 * num_shapes):
        if len(shapes) == num_shapes:
            break
        cell = int(rng.integers(9))
        if any(cell == other.cell for other in shapes):
            continue
        shape = sample_shape(rng, cell, canvas, ambiguous=ambiguous)
        if is_clear(shape, shapes, canvas):
            shapes.append(shape)
    shapes.sort(key=lambda shape: shape.cell)
    background = sample_background(rng, [shape.rgb for shape in shapes])
    return Scene(*canvas, background, tuple(shapes), seed=int(rng.integers(2**31)))


def sample_writing_scene(
    rng: np.random.Generator,
    canvas: tuple[int, int] | None = None,
    *,
    letter_share: float = 0.4,
) -> Scene:
    """A scene with one to three digits or letters."""
    width, height = canvas = canvas or sample_canvas(rng)
    alphabet = DIGITS if rng.random() < 1 - letter_share else LETTERS
    num_chars = int(rng.choice([1, 2, 3], p=[0.3, 0.45, 0.25]))
    text = "".join(alphabet[i] for i in rng.integers(len(alphabet), size=num_chars))
    if alphabet is DIGITS and num_chars > 1 and text[0] == "0":
        text = alphabet[rng.integers(1, 10)] + text[1:]
    color = COLORS[rng.integers(len(COLORS))]
    rgb = sample_rgb(color, rng)
    # A capital is about 0.8 times as wide as high; leave room for all characters.
    widest = 0.92 * width / (0.85 * num_chars * height)
    char_height = float(min(rng.uniform(0.34, 0.68), widest))
    half_width = 0.43 * num_chars * char_height * height / width
    half_height = 0.55 * char_height
    writing = Writing(
        text=text,
        color=color,
        rgb=rgb,
        x=float(rng.uniform(min(half_width + 0.03, 0.5), max(0.97 - half_width, 0.5))),
        y=float(rng.uniform(min(half_height + 0.03, 0.5), max(0.97 - half_height, 0.5))),
        height=char_height,
        style=int(rng.integers(3)),
        slant=float(rng.uniform(-0.2, 0.2)) if rng.random() < 0.4 else 0.0,
        angle=float(rng.uniform(-0.14, 0.14)) if rng.random() < 0.5 else 0.0,
        weight=float(rng.uniform(0.07, 0.18)),
    )
    background = sample_background(rng, [rgb])
    return Scene(*canvas, background, writing=writing, seed=int(rng.integers(2**31)))
