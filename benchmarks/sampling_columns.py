"""Columns of settings as one batch from one prefill, compared with separate ``generate`` calls.

    python -m benchmarks.sampling_columns [--shape shipped|mid|2b] [--pairs N] [--tokens N]
        [--slider]

Also compares the filters of eight rows with transformers' processors, and measures the server time
of a slider of one step. Both sides are interleaved in one process.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper
from transformers.generation.logits_process import TopPLogitsWarper

from benchmarks.models import SHAPES, load_shape
from benchmarks.pairs import Timing, cpu_ratio, machine_facts, measure, ratio, table
from components.chart_view.figures import encode_figure
from components.tabs.sampling import one_step
from components.tabs.sampling.lab import Lab
from playground.decoder.stage import run_decoder
from playground.engine import Engine
from playground.merge.stage import run_merge
from playground.pipeline import Run
from playground.preprocess.stage import model_kwargs
from playground.prompt import Prompt, PromptImage, Turn
from playground.sampling.branches import columns_as_branches
from playground.sampling.candidates import keep_tokens
from playground.sampling.columns import Sampler
from playground.sampling.filter_chain import FilterContext
from playground.sampling.generation_config import barred_token_ids
from playground.sampling.paths import prompt_prefix
from playground.sampling.trace import SamplingSettings
from playground.vision.stage import run_vision

COLUMNS = (2, 4, 8)
SLIDER_CALLS = 10
SETTINGS = SamplingSettings(temperature=0.7, top_k=20, top_p=0.8)
VOCAB = 151_936  # tokens; of the released checkpoints


def make_run(engine: Engine) -> Run:
    """A prompt with a 256 by 256 image: 64 image tokens."""
    noise = torch.randint(0, 256, (256, 256, 3), generator=torch.Generator().manual_seed(0))
    image = PromptImage(noise.to(torch.uint8).numpy(), "noise")
    return Run(engine, Prompt((Turn("user", "Describe this image.", (image,)),)))


def measure_columns(engine: Engine, tokens: int, pairs: int) -> list[tuple[object, ...]]:
    """Everything from ``pixel_values`` to the last token. End tokens are disabled, so that all
    columns of both sides generate the same number of tokens."""
    run = make_run(engine)
    ends = list(engine.model.generation_config.eos_token_id)
    engine.model.generation_config.eos_token_id = []  # for both sides
    barred = [*barred_token_ids(engine), *ends]
    kwargs = model_kwargs(run.inputs, engine.device)
    model: Any = engine.model

    def batch(count: int) -> None:
        merged = run_merge(engine, run.inputs, run_vision(engine, run.inputs))
        prefix = prompt_prefix(run.inputs, merged, run_decoder(engine, run.inputs, merged))
        columns = [replace(SETTINGS, seed=seed) for seed in range(count)]
        sampler = Sampler(engine, prefix, columns, max_new_tokens=tokens)
        for _ in sampler.stream():
            pass
        assert all(len(trace.steps) == tokens for trace in sampler.run.traces)

    def sequential(count: int) -> None:
        for seed in range(count):
            torch.manual_seed(seed)
            output = model.generate(
                **kwargs,
                do_sample=True,
                temperature=SETTINGS.temperature,
                top_k=SETTINGS.top_k,
                top_p=SETTINGS.top_p,
                max_new_tokens=tokens,
                suppress_tokens=barred,
            )
            assert output.shape[1] == run.inputs.num_tokens + tokens

    sides: dict[str, Callable[[], None]] = {"one": lambda: batch(1)}
    for count in COLUMNS:
        sides[f"{count} batch"] = lambda count=count: batch(count)  # type: ignore[misc]
        sides[f"{count} generate"] = lambda count=count: sequential(count)  # type: ignore[misc]
    times = measure(sides, pairs=pairs)
    rows: list[tuple[object, ...]] = []
    for count in COLUMNS:
        ours, theirs = times[f"{count} batch"], times[f"{count} generate"]
        rows.append(
            (
                count,
                ratio(ours, theirs),
                cpu_ratio(ours, theirs),
                ratio(ours, times["one"]),
                _seconds(ours),
                _seconds(theirs),
            )
        )
    return rows


def _seconds(timing: Timing) -> str:
    return f"{timing.median_s:.2f} s"


def measure_filters(pairs: int) -> list[tuple[object, ...]]:
    """Eight rows of realistic logits: our candidates against transformers' processors."""
    noise = torch.randn(8, VOCAB, generator=torch.Generator().manual_seed(0))
    logits = noise * 4
    prompt, none = torch.zeros(1, dtype=torch.int64), torch.zeros((1, 0), dtype=torch.int64)
    ids: Any = torch.zeros((8, 1), dtype=torch.int64)
    chains = {
        "temperature, top-k 20, top-p 0.8": (
            SETTINGS,
            [TemperatureLogitsWarper(0.7), TopKLogitsWarper(20), TopPLogitsWarper(0.8)],
        ),
        "temperature, top-p 0.8": (
            replace(SETTINGS, top_k=0),
            [TemperatureLogitsWarper(0.7), TopPLogitsWarper(0.8)],
        ),
    }
    rows: list[tuple[object, ...]] = []
    for name, (settings, warpers) in chains.items():
        context = FilterContext(settings, prompt, none, prompt[:0])
        theirs = LogitsProcessorList(warpers)

        def ours(context: FilterContext = context) -> None:
            for row in logits:
                keep_tokens(row, context)

        def reference(theirs: LogitsProcessorList = theirs) -> None:
            theirs(ids, logits.clone())

        times = measure({"ours": ours, "transformers": reference}, pairs=pairs)
        rows.append(
            (
                name,
                ratio(times["ours"], times["transformers"]),
                cpu_ratio(times["ours"], times["transformers"]),
                f"{times['ours'].median_s * 1e3:.1f} ms",
                f"{times['transformers'].median_s * 1e3:.1f} ms",
            )
        )
    return rows


def measure_slider(engine: Engine, calls: int) -> Timing:
    """Server cost of one slider: all outputs of the part for a column's last token, charts as JSON.
    ``lm_head`` on one hidden state, the filters in both orders, text, effects, two charts."""
    run = make_run(engine)
    prompt = prompt_prefix(run.inputs, run.merged, run.decoded)
    sampler = Sampler(engine, prompt, [SETTINGS], max_new_tokens=8, keep_paths=True)
    *_, sampled = sampler.stream()
    branches = tuple(columns_as_branches(sampled, sampler.paths(), ["A"]))
    lab = Lab(sampled, ("A",), seconds=sampler.seconds, max_new_tokens=8, branches=branches)
    last = len(branches[0].trace.steps) - 1
    moves = iter(range(1, calls + 2))  # earlier slider positions are cached

    def redraw() -> None:
        moved = dict.fromkeys((field.name for field in one_step.SHOWN_FIELDS), None)
        moved |= {"temperature": 1 + next(moves) / 100}
        needs: tuple[Any, ...] = ("A", last, one_step.ORDERS[0], 0.5, *moved.values())
        for write in (one_step.words, one_step.effects):
            write(run, lab, *needs)
        for plot in (one_step.draw, one_step.filters):
            encode_figure(plot(run, lab, *needs))

    return measure({"slider": redraw}, pairs=calls)["slider"]


def print_slider(timing: Timing) -> None:
    """Wall and CPU time of one slider."""
    walls, cpus = (sorted(each * 1e3 for each in times) for times in (timing.wall_s, timing.cpu_s))
    middle = len(walls) // 2
    print(
        f"\nA slider of one step, on the server, {len(walls)} calls: median {walls[middle]:.0f} ms "
        f"({walls[0]:.0f}–{walls[-1]:.0f}), CPU time {cpus[middle]:.0f} ms "
        f"({cpus[0]:.0f}–{cpus[-1]:.0f})"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="shipped")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--slider", action="store_true", help="only measure the slider")
    options = parser.parse_args()
    print(machine_facts())
    engine = load_shape(options.shape)
    print_slider(measure_slider(engine, SLIDER_CALLS))
    if options.slider:
        return
    columns = measure_columns(engine, options.tokens, options.pairs)
    print(f"\n{options.shape}, {options.tokens} tokens per column, from pixel_values on\n")
    header: tuple[str, ...] = (
        "Columns",
        "batch / generate one by one",
        "CPU time",
        "batch / one column",
        "batch",
        "generate",
    )
    print(table(header, columns))
    print(f"\nFilters, 8 rows of {VOCAB:,} tokens\n")
    header = ("Filters", "ours / transformers", "CPU time", "ours", "transformers")
    print(table(header, measure_filters(options.pairs)))


if __name__ == "__main__":
    main()
