"""Cost of each click after a run, as a share of a prefill, and what it recomputes.

    python -m benchmarks.after_run [--shape mid] [--pairs 7]

A prefill is ``model(**inputs)``. The columns count the calls of vision blocks and decoder layers:
unchanged parts must not be recomputed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from benchmarks.captures import plain_forward
from benchmarks.models import SHAPES, load_shape
from benchmarks.pairs import cpu_ratio, machine_facts, measure, ratio, table
from benchmarks.scenes import start_run
from benchmarks.views import text_map, vision_map
from playground.engine import Engine
from playground.experiments.what_if import WhatIf
from playground.experiments.what_if_runs import run_changed
from playground.kv_cache.block_hash import identify
from playground.kv_cache.prefix_store import PrefixStore
from playground.pipeline import Run
from playground.preprocess.stage import run_preprocess
from playground.prompt import Turn

OTHER_QUESTION = "What color is the circle left of the square?"


def another_question(run: Run) -> Callable[[], object]:
    """A new run of the page with the same image and another question."""
    (turn,) = run.prompt.turns
    prompt = replace(run.prompt, turns=(Turn("user", OTHER_QUESTION, images=turn.images),))

    def ask() -> object:
        fresh = Run(run.engine, prompt, earlier=run)
        return fresh.decoded

    return ask


def another_question_stored(run: Run) -> Callable[[], object]:
    """The same from a prefix store, without reading the image file again."""
    (turn,) = run.prompt.turns
    prompt = replace(run.prompt, turns=(Turn("user", OTHER_QUESTION, images=turn.images),))
    store = PrefixStore(run.engine, max_bytes=1 << 40)
    store.serve(run.inputs)
    inputs = run_preprocess(run.engine, prompt)
    identity = identify(inputs)
    return lambda: store.compute(inputs, store.lookup(identity))


def changed(run: Run, what_if: WhatIf) -> Callable[[], object]:
    """The prefill of a what-if, from the first changed layer on."""
    return lambda: run_changed(run.engine, run.inputs, run.merged, what_if, decoded=run.decoded)


def count_calls(engine: Engine, click: Callable[[], object]) -> tuple[int, int]:
    """The number of vision blocks and decoder layers that a click runs."""
    seen = {"vision": 0, "text": 0}

    def counter(kind: str) -> Callable[..., None]:
        def count(*_: object) -> None:
            seen[kind] += 1

        return count

    model = engine.model.model
    kinds = {"vision": model.visual.blocks, "text": model.language_model.layers}
    with ExitStack() as hooks:
        for kind, modules in kinds.items():
            for module in modules:
                hooks.callback(module.register_forward_hook(counter(kind)).remove)
        click()
    return seen["vision"], seen["text"]


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="mid")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--side", type=int, default=448, help="image side in pixels")
    options = parser.parse_args()
    run = start_run(
        load_shape(options.shape, device=options.device), side=options.side, stage="decoder"
    )
    last = run.engine.facts.num_layers - 1
    clicks = {
        "another layer's attention": text_map(run),
        "another block's attention": vision_map(run),
        "what if: flat positions": changed(run, WhatIf(positions="flat")),
        "what if: a head of the middle layer zeroed": changed(
            run, WhatIf(zeroed_heads=((last // 2, 0),))
        ),
        "what if: the last layer skipped": changed(run, WhatIf(skipped_layers=(last,))),
        "another question about the image": another_question(run),
        "the same, from the prefix store": another_question_stored(run),
    }
    sides = {"prefill": plain_forward(run.engine, run.inputs), **clicks}
    timings = measure(sides, pairs=options.pairs)
    print(
        f"{machine_facts()}; {options.shape}, {run.engine.dtype}, {run.inputs.num_tokens} tokens\n"
    )
    rows: list[tuple[object, ...]] = [
        (
            name,
            ratio(timing, timings["prefill"]),
            cpu_ratio(timing, timings["prefill"]),
            *count_calls(run.engine, sides[name]),
        )
        for name, timing in timings.items()
    ]
    print(table(("", "of a prefill", "CPU time", "vision blocks", "decoder layers"), rows))


if __name__ == "__main__":
    main()
