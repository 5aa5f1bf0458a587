"""Every shape that transformers runs is run as it does, and every part of the page draws it.

Each configuration runs all prompts, and the experiments that start by themselves on one of them.

python -m reliability.shapes [--configurations 500] [--seed 0]
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import (
    SearchStrategy,
    booleans,
    builds,
    integers,
    lists,
    none,
    one_of,
    sampled_from,
    tuples,
)

import components  # noqa: F401 - before gradio, which would write stubs for mypy
from components.chart_view.figures import write_json
from components.parts.all_parts import Parts
from components.parts.drawing import Drawing, encode
from components.parts.findings import Findings
from components.parts.part import Experiment, Output, Part
from components.parts.question import Question
from components.tabs import STAGE_TABS
from playground.errors import PlaygroundError
from playground.loading.load import load_engine
from playground.pipeline import Run
from playground.prompt import Prompt, PromptImage, PromptVideo, Turn
from playground.run_store import RunStore
from reliability.shape_checkpoints import Shape, write_checkpoint

Experiments = Literal["none", "automatic", "all"]
PROMPTS = ("text", "image", "two images", "video")


def shapes() -> SearchStrategy[Shape]:
    """Configurations that transformers runs; the interesting ones first."""
    heads = integers(1, 8).flatmap(
        lambda kv_heads: sampled_from([kv_heads * group for group in (1, 2, 3)]).map(
            lambda count: (count, kv_heads)
        )
    )
    indices = lists(integers(-1, 8), max_size=5).map(tuple)
    section = tuples(integers(0, 24), integers(0, 24), integers(0, 24))
    return builds(
        _make_shape,
        heads=heads,
        layers=integers(1, 6),
        head_dim=one_of(none(), sampled_from([2, 4, 6, 16, 24, 64, 128])),
        hidden=sampled_from([8, 24, 32, 72]),
        section=one_of(none(), section),
        interleaved=one_of(none(), booleans()),
        rope_key=sampled_from(["rope_parameters", "rope_scaling", "none"]),
        experts=sampled_from([0, 0, 0, 1, 2, 5, 8]),
        experts_per_token=integers(1, 8),
        dense_layers=lists(integers(0, 3), max_size=2, unique=True).map(tuple),
        tied=booleans(),
        attention_bias=booleans(),
        blocks=integers(1, 6),
        taps=one_of(none(), indices),
        vision_heads=integers(1, 8),
        vision_head_dim=sampled_from([4, 8, 12, 16, 32]),
        num_positions=one_of(sampled_from([1, 4, 64, 2304]), integers(1, 300)),
        patch=sampled_from([8, 14, 16]),
        merge=integers(1, 4),
        temporal=integers(1, 4),
    )


def _make_shape(heads: tuple[int, int], experts_per_token: int, **more: Any) -> Shape:
    """A shape; a mixture cannot use more experts than it has, and RoPE turns pairs of numbers.

    The rows of experts are of whole 16 bytes, which are 4 numbers of float32.
    """
    count, kv_heads = heads
    used = min(experts_per_token, max(1, more["experts"]))
    if more["head_dim"] is None:
        step = math.lcm(2 * count, 4)
        more["hidden"] = step * max(1, more["hidden"] // step)
    return Shape(heads=count, kv_heads=kv_heads, experts_per_token=used, **more)


def make_prompt(shape: Shape, name: str) -> Prompt:
    """One of ``PROMPTS``: text, images or a video of a few tokens."""
    side = shape.patch * shape.merge
    if name == "text":
        return Prompt((Turn("user", "Name a colour."),))
    if name == "video":
        frames = np.stack([_make_image(2 * side, side, seed).pixels for seed in range(4)])
        video = PromptVideo(frames, (0, 1, 2, 3), 2.0, 4)
        return Prompt((Turn("user", "Where does it go?", video=video),))
    images = (_make_image(3 * side, 2 * side, 0), _make_image(side, 2 * side, 1))
    chosen = images if name == "two images" else images[:1]
    return Prompt((Turn("user", "What is this?", chosen),))


def _make_image(width: int, height: int, seed: int) -> PromptImage:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return PromptImage(pixels, name=f"image {seed}")


def check_shape(
    shape: Shape,
    names: Sequence[str] = PROMPTS,
    *,
    experiments: Experiments = "automatic",
    tried_on: Sequence[str] = PROMPTS,
) -> list[str]:
    """What is wrong with a shape: differences from transformers, and what a part raised.

    Args:
        shape: of the checkpoint.
        names: of the prompts to run.
        experiments: which experiments of the parts to run, too.
        tried_on: the prompts on which to run them.
    """
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        engine = load_engine(write_checkpoint(Path(folder), shape), device="cpu", dtype="float32")
    for name in names:
        run = Run(engine, make_prompt(shape, name))
        if (difference := run.parity.max_abs_diff) != 0:
            problems.append(f"{name}: parity {difference:g}")
        tried = experiments if name in tried_on else "none"
        problems += [f"{name}: {problem}" for problem in draw_parts(run, experiments=tried)]
    return problems


def draw_parts(
    run: Run, *, experiments: Experiments, selection: dict[str, int] | None = None
) -> Iterator[str]:
    """Draw every output of every part of the page; yields what raised, with its place.

    Args:
        run: of any prompt, with or without an answer.
        experiments: which to run first: none, those that start by themselves, or all.
        selection: the selected token or patch; by default that of ``choose_selection``.
    """
    chosen = choose_selection(run) if selection is None else selection
    drawing = Drawing(Parts(STAGE_TABS), RunStore(), Findings())
    found: dict[str, Any] = {}
    for part in drawing.parts.by_key.values():
        if not part.is_shown(run):
            continue
        question = Question(run="", part=part.key, selection=chosen)
        for experiment in part.experiments.values():
            is_automatic = experiment.auto and not experiment.when
            if experiments == "all" or (experiments == "automatic" and is_automatic):
                yield from _caught(
                    f"{part.key}.{experiment.name}",
                    partial(_run_experiment, drawing, part, experiment, run, question, found),
                )
        for control in part.controls:
            yield from _caught(f"{part.key}.{control.id}", partial(control.spec, run))
        for output in part.outputs.values():
            yield from _caught(
                f"{part.key}.{output.name}",
                partial(_draw, drawing, part, output, run, question, found),
            )


def choose_selection(run: Run) -> dict[str, int]:
    """The last patch of the first image, or a token of the text."""
    if not run.inputs.spans:
        return {"index": 2}
    span = run.inputs.spans[0]
    return {"span": 0, "row": span.grid_h - 1, "column": span.grid_w - 1}


def _run_experiment(
    drawing: Drawing,
    part: Part,
    experiment: Experiment,
    run: Run,
    question: Question,
    found: dict[str, Any],
) -> None:
    needs = drawing.needs(part, experiment, run, question, found)
    try:
        for finding in experiment.run(run, lambda *_: None, *needs):
            found[part.finding_name(experiment)] = finding
    except PlaygroundError:
        pass  # refused in words: there is no file, or no image


def _draw(
    drawing: Drawing,
    part: Part,
    output: Output,
    run: Run,
    question: Question,
    found: dict[str, Any],
) -> None:
    needs = drawing.needs(part, output, run, question, found)
    write_json(encode(output, output.draw(run, *needs)))


def _caught(place: str, act: Callable[[], Any]) -> Iterator[str]:
    """Do it; yields the place, the kind of what it raised, and the line of ours that raised it."""
    try:
        act()
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "site-packages" not in frame.filename][-1]
        line = f"{Path(own.filename).name}:{own.lineno}"
        yield f"{place}: {type(error).__name__} at {line}: {error}"


def main() -> int:
    """Check random configurations; returns the number of those with a problem."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configurations", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--experiments", action="store_true", help="run every experiment, too")
    options = parser.parse_args()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    wrong: list[Shape] = []
    tried = 0
    start = time.monotonic()

    @seed(options.seed)
    @settings(
        max_examples=options.configurations,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(shapes())
    def check(shape: Shape) -> None:
        nonlocal tried
        try:
            problems = check_shape(
                shape,
                experiments="all" if options.experiments else "automatic",
                tried_on=[PROMPTS[tried % len(PROMPTS)]],
            )
        except Exception as error:  # loading or a run, which has no place of its own
            problems = ["".join(traceback.format_exception(error)[-3:])]
        tried += 1
        if problems:
            wrong.append(shape)
            print(shape, *problems, sep="\n    ", flush=True)
        if tried % 10 == 0:
            print(f"{tried} configurations, {len(wrong)} with a problem", flush=True)

    check()
    minutes = (time.monotonic() - start) / 60
    print(f"{tried} configurations in {minutes:.0f} minutes: {len(wrong)} with a problem")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
