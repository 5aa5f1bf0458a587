"""Recomputing a tab's attention map from a layer's input, as a share of a prefill.

python -m benchmarks.views [--shape mid] [--pairs 7]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from benchmarks.captures import plain_forward
from benchmarks.models import SHAPES, load_shape
from benchmarks.pairs import cpu_ratio, machine_facts, measure, ratio, table
from benchmarks.scenes import start_run
from playground.decoder.attention import attention_rows, layer_queries_keys
from playground.pipeline import Run
from playground.vision.attention import patch_attention


def text_map(run: Run) -> Callable[[], object]:
    """One decoder layer: queries and keys of all tokens, attention of the last 16, all heads."""
    layer = run.decoded.num_layers // 2
    rows = list(range(run.inputs.num_tokens))[-16:]
    return lambda: attention_rows(layer_queries_keys(run.engine, run.decoded, layer), rows)


def vision_map(run: Run) -> Callable[[], object]:
    """One vision block: the map of one patch, all heads."""
    span, tower = run.inputs.spans[0], run.vision.image
    assert tower is not None
    block = run.engine.facts.vision_depth // 2
    return lambda: patch_attention(
        run.engine, tower, span, block, row=span.grid_h // 2, column=span.grid_w // 2
    )


def kept_share(run: Run) -> float:
    """Bytes of the recorded layer inputs, relative to the bytes of all attention maps."""
    facts, size = run.engine.facts, run.engine.dtype.itemsize
    kept = sum(state.nbytes for state in run.decoded.hidden_states[:-1])
    maps = facts.num_layers * facts.num_attention_heads * run.inputs.num_tokens**2 * size
    if run.vision.image is not None:
        kept += sum(state.nbytes for state in run.vision.image.hidden_states[:-1])
        patches = sum(span.num_patches**2 for span in run.inputs.spans)
        maps += facts.vision_depth * facts.vision_num_heads * patches * size
    return kept / maps


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="mid")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--side", type=int, default=448, help="image side in pixels")
    options = parser.parse_args()
    engine = load_shape(options.shape, device=options.device)
    run = start_run(engine, side=options.side, stage="decoder")
    sides = {
        "prefill": plain_forward(engine, run.inputs),
        "attention of a text layer": text_map(run),
        "attention of a vision block": vision_map(run),
    }
    timings = measure(sides, pairs=options.pairs)
    print(f"{machine_facts()}; {options.shape}, {engine.dtype}, {run.inputs.num_tokens} tokens\n")
    rows: list[tuple[object, ...]] = [
        (
            name,
            f"{timing.median_s * 1000:.1f} ms",
            ratio(timing, timings["prefill"]),
            cpu_ratio(timing, timings["prefill"]),
        )
        for name, timing in timings.items()
    ]
    print(table(("", "time", "of a prefill", "CPU time"), rows))
    print(f"\nKept for all layers: {kept_share(run):.2f} of the bytes of all maps")


if __name__ == "__main__":
    main()
