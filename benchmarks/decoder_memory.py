"""Memory of the decoder tab, compared with one plain forward pass of the same prompt.

    python -m benchmarks.decoder_memory --shape shipped|mid|2b

The tab: all records of the prefill, the logit lens, one layer's attention, one head's rotation, the
scores of the answer, and the influence of a few tokens. The claim: its peak is at most 1.15 times
the plain forward's plus 300 MB, on the 2B shape in bfloat16. Neither side includes the model's
weights. ``--check`` exits with an error if the claim does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import sys
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.models import SHAPES, load_shape
from benchmarks.pairs import machine_facts, peak_memory, table
from benchmarks.scenes import start_run
from components.parts.all_parts import Parts
from components.parts.drawing import Drawing
from components.parts.findings import Findings
from components.parts.part import Part
from components.parts.question import Question
from components.tabs.decoder import layers, rotation
from components.tabs.decoder.tab import TAB
from playground.decoder.attention import attention_rows, layer_queries_keys, summarise_heads
from playground.experiments.answers import without_images
from playground.experiments.influence import attention_by_head, measure_influence
from playground.pipeline import Run
from playground.run_store import RunStore

FACTOR, EXTRA_BYTES = 1.15, 300 * 10**6
ANSWER_IDS = (5, 6, 7, 8)
# Parts per image side for the influence. The copies of one batch set the peak; on the 2B shape a
# batch is one copy, so that more parts would only take longer.
PARTS_ACROSS = {"shipped": 2, "mid": 2, "2b": 1}
# Typical image sizes; about 1,000 tokens on the mid and 2B shapes.
PIXELS = {"shipped": 224, "mid": 1024, "2b": 1024}


def plain_forward(run: Run) -> None:
    """The decoder as transformers runs it for a prefill, on the same vision features."""
    model: Any = run.engine.model
    merged = run.merged
    with torch.no_grad():
        hidden = model.model.language_model(
            inputs_embeds=merged.inputs_embeds.to(run.engine.device),
            position_ids=merged.position_ids.to(run.engine.device),
            visual_pos_masks=None
            if merged.visual_pos_masks is None
            else merged.visual_pos_masks.to(run.engine.device),
            deepstack_visual_embeds=[
                tap.to(run.engine.device) for tap in merged.deepstack_visual_embeds or ()
            ],
            use_cache=True,
        )
        model.lm_head(hidden.last_hidden_state[:, -1:])


def whole_tab(run: Run, shape: str) -> None:
    """Everything that the tab shows, in sequence, with its records kept to the end."""
    engine, inputs, merged = run.engine, run.inputs, run.merged
    decoded = run.decoded
    draw_part(run, layers.PART)
    vectors = layer_queries_keys(engine, decoded, decoded.num_layers // 2)
    summarise_heads(vectors, inputs)
    attention_rows(vectors, range(max(0, inputs.num_tokens - 16), inputs.num_tokens))
    del vectors
    draw_part(run, rotation.PART)
    shift = without_images(engine, inputs, merged, decoded, ANSWER_IDS)
    span = inputs.spans[0]
    block = -(-span.merged_h // PARTS_ACROSS[shape])
    measure_influence(engine, inputs, merged, span, shift.ids[:2], block=block)
    attention_by_head(engine, merged, decoded, shift.ids[:1])


def draw_part(run: Run, part: Part) -> None:
    """Everything that a part shows initially."""
    drawing = Drawing(Parts((TAB,)), RunStore(), Findings())
    for output in part.outputs.values():
        drawing.draw(part, output, run, Question(run="", part=part.key))


def measure_peak(run: Callable[[], None]) -> int:
    """Peak bytes above the initial level, after all free memory was returned."""
    gc.collect()
    return_freed_memory()
    with peak_memory() as seen:
        run()
    return seen.peak_bytes


def return_freed_memory() -> None:
    """Return what the allocator keeps of freed memory to the system; only glibc supports it."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def main() -> None:
    """Measure one shape and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="shipped")
    parser.add_argument("--dtype", default=None)
    parser.add_argument("--check", action="store_true", help="fail if the claim does not hold")
    arguments = parser.parse_args()
    engine = load_shape(arguments.shape, dtype=arguments.dtype)
    warm = start_run(engine, side=128, stage="merge")
    plain_forward(warm)  # libraries and thread pools allocate their memory once
    warm.ensure("decoder")
    run = start_run(engine, side=PIXELS[arguments.shape], stage="merge")
    before = run.num_bytes
    plain = measure_peak(lambda: plain_forward(run))
    tab = measure_peak(lambda: whole_tab(run, arguments.shape))
    records = run.num_bytes - before
    bound = round(FACTOR * plain) + EXTRA_BYTES
    print(machine_facts())
    print(
        table(
            ("shape", "tokens", "plain forward", "whole tab", "its records", "bound", "kept"),
            [
                (
                    f"{arguments.shape}, {str(engine.dtype).removeprefix('torch.')}",
                    f"{run.inputs.num_tokens:,}",
                    *(f"{size / 10**6:,.0f} MB" for size in (plain, tab, records, bound)),
                    "yes" if tab <= bound else "NO",
                )
            ],
        )
    )
    if arguments.check and tab > bound:
        sys.exit("The decoder tab takes more memory than claimed.")


if __name__ == "__main__":
    main()
