"""Cost against tokens, image size and layers, for the recorded run and the plain forward pass.

    python -m benchmarks.growth [--shape shipped] [--pairs 3] [--short] [--svg FILE]

"Exponent" is the slope between two sizes on log-log axes: 1 is linear, 2 quadratic. Cost that grows
like the plain forward pass is the model's own.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from benchmarks.captures import plain_forward, staged
from benchmarks.models import SHAPES, load_shape
from benchmarks.pairs import machine_facts, measure, ratio, table
from benchmarks.scenes import start_run
from playground.engine import Engine
from playground.records import ModelInputs

TOKENS = (100, 400, 1_000, 2_000, 3_400)  # the shipped window holds 4,096
SIDES = (256, 512, 1_024, 1_920)  # 2,048 would fill the shipped window by itself
LAYERS = (4, 8, 16, 32)  # of the decoder, in the mid shape
WORDS = "a b c d e f g "  # short words, because a message has at most 20,000 characters

Point = tuple[int, float, float]
"""Size, seconds of ours, seconds of the plain forward pass."""


@dataclass(frozen=True, slots=True)
class Growth:
    """Times against one growing size."""

    name: str
    unit: str
    points: tuple[Point, ...]
    rows: tuple[tuple[object, ...], ...]
    baseline: str = "plain forward"  # name of each point's second time


def text_of(engine: Engine, num_tokens: int) -> ModelInputs:
    """A text-only prompt of about ``count`` tokens."""
    words = (WORDS * (num_tokens // len(WORDS.split()) + 1)).split()[:num_tokens]
    return start_run(engine, side=0, text=" ".join(words)).inputs


Sized = Iterator[tuple[int, Engine, ModelInputs]]


def with_layers(counts: tuple[int, ...], device: str) -> Sized:
    """The mid shape with this many decoder layers, and an image."""
    for count in counts:
        engine = load_shape("mid", device=device, layers=count)
        yield count, engine, start_run(engine, side=256).inputs


def measure_sizes(name: str, unit: str, sized: Sized, pairs: int) -> Growth:
    """Time the recorded run and the plain forward pass at every size."""
    points: list[Point] = []
    rows: list[tuple[object, ...]] = []
    for size, engine, inputs in sized:
        times = measure(
            {"plain": plain_forward(engine, inputs), "ours": staged(engine, inputs)}, pairs=pairs
        )
        # The fastest run, since the load of the machine does not depend on the size.
        ours, plain = (min(times[side].wall_s) for side in ("ours", "plain"))
        slope = "–"
        if points:
            before, was, _ = points[-1]
            slope = f"{math.log(ours / was) / math.log(size / before):.2f}"
        points.append((size, ours, plain))
        print(f"{name}: {size:,} {unit}", file=sys.stderr)
        rows.append(
            (
                f"{size:,}",
                f"{inputs.num_tokens:,}",
                f"{ours * 1e3:,.0f} ms",
                f"{plain * 1e3:,.0f} ms",
                ratio(times["ours"], times["plain"]),
                slope,
            )
        )
    return Growth(name, unit, tuple(points), tuple(rows))


def steepest(growth: Growth) -> float:
    """Median over neighbouring sizes of our exponent minus the plain forward pass's."""
    slopes = [
        math.log((b[1] / a[1]) / (b[2] / a[2])) / math.log(b[0] / a[0])
        for a, b in pairwise(growth.points)
    ]
    return median(slopes) if slopes else 0.0


def draw_svg(growths: list[Growth], path: Path) -> None:
    """Small log-log charts side by side: ours as a line, the baseline as dots."""
    width, height, margin = 320, 240, 48
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width * len(growths)}" height="{height}" '
        'font-family="sans-serif" font-size="11" role="img" '
        'aria-label="Time of a run against its size">',
        f'<rect width="{width * len(growths)}" height="{height}" fill="white"/>',
    ]
    for column, growth in enumerate(growths):
        sizes = [math.log10(point[0]) for point in growth.points]
        times = [math.log10(value * 1e3) for point in growth.points for value in point[1:]]
        low, high = min(times), max(max(times), min(times) + 1e-6)
        first, last = sizes[0], max(sizes[-1], sizes[0] + 1e-6)

        def to_svg(size: float, seconds: float, column: int = column) -> tuple[float, float]:
            across = (math.log10(size) - first) / (last - first)  # noqa: B023  # used at once
            up = (math.log10(seconds * 1e3) - low) / (high - low)  # noqa: B023
            return (
                column * width + margin + across * (width - margin - 20),
                height - margin + 8 - up * (height - margin - 52),
            )

        ours = [to_svg(point[0], point[1]) for point in growth.points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in ours)
        parts.append(f'<polyline points="{line}" fill="none" stroke="#3b5bdb" stroke-width="2"/>')
        for (x, y), point in zip(ours, growth.points, strict=True):
            px, py = to_svg(point[0], point[2])
            parts.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="#e8590c"/>')
            parts.append(
                f'<text x="{x:.1f}" y="{height - 22}" text-anchor="middle">{point[0]:,}</text>'
                f'<text x="{x:.1f}" y="{min(y, py) - 8:.1f}" text-anchor="middle">'
                f"{point[1] * 1e3:,.0f}</text>"
            )
        middle = column * width + width / 2
        parts.append(
            f'<text x="{middle}" y="14" text-anchor="middle" font-weight="bold">'
            f"ms over {growth.name}</text>"
            f'<text x="{middle}" y="30" text-anchor="middle">'
            '<tspan fill="#3b5bdb">— ours</tspan>  '
            f'<tspan fill="#d9480f">● {growth.baseline}</tspan>'
            "  (both axes logarithmic)</text>"
            f'<text x="{middle}" y="{height - 6}" text-anchor="middle">{growth.unit}</text>'
        )
    path.write_text("\n".join([*parts, "</svg>\n"]), encoding="utf-8")


def main() -> None:
    """Run the benchmark, print tables and draw the chart."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="shipped")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--short", action="store_true", help="only the two smallest sizes")
    parser.add_argument("--svg", type=Path, help="write the charts to this file")
    options = parser.parse_args()
    engine = load_shape(options.shape, device=options.device)
    tokens, sides = (TOKENS[:2], SIDES[:2]) if options.short else (TOKENS, SIDES)
    texts = ((count, engine, text_of(engine, count)) for count in tokens)
    images = ((side, engine, start_run(engine, side=side).inputs) for side in sides)
    layers = with_layers(LAYERS[:2] if options.short else LAYERS, options.device)
    growths = [
        measure_sizes("text tokens", "tokens", texts, options.pairs),
        measure_sizes("image side", "pixels", images, options.pairs),
        measure_sizes("decoder layers (mid)", "layers", layers, options.pairs),
    ]
    print(f"{machine_facts()}; {options.shape}, {engine.dtype}")
    for growth in growths:
        header = (growth.unit, "tokens", "ours", "plain", "ours / plain", "exponent")
        print(f"\n{table(header, list(growth.rows))}\n")
        print(
            f"Ours grows with {growth.name} by an exponent {steepest(growth):+.2f} of the model's"
        )
    if options.svg:
        draw_svg(growths, options.svg)


if __name__ == "__main__":
    main()
