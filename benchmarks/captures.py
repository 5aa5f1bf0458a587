"""Recording all hidden states, compared with a plain forward pass and with hook-based tools.

    python -m benchmarks.captures [--shape mid] [--pairs 7] [--peers]

Ours runs vision tower, merge and decoder and records the input of every block and layer and the
norms of each layer's attention and MLP. ``--peers`` adds nnsight and transformer-lens, if installed
(``requirements-bench.txt``).
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.models import SHAPES, load_shape
from benchmarks.pairs import cpu_ratio, machine_facts, measure, peak_memory, ratio, table
from benchmarks.scenes import start_run
from playground.decoder.stage import run_decoder
from playground.engine import Engine
from playground.merge.stage import run_merge
from playground.preprocess.stage import model_kwargs
from playground.records import ModelInputs
from playground.vision.stage import run_vision


def plain_forward(engine: Engine, inputs: ModelInputs) -> Callable[[], object]:
    """``model(**inputs)`` with the last position's logits, as a prefill computes them."""
    kwargs = model_kwargs(inputs, engine.device)

    def run() -> object:
        with engine.exclusive():
            return engine.model(**kwargs, logits_to_keep=1, use_cache=True)

    return run


def staged(engine: Engine, inputs: ModelInputs) -> Callable[[], object]:
    """The same in stages, with everything recorded."""

    def run() -> object:
        vision = run_vision(engine, inputs)
        merged = run_merge(engine, inputs, vision)
        return vision, run_decoder(engine, inputs, merged)

    return run


def with_nnsight(engine: Engine, inputs: ModelInputs) -> Callable[[], object]:
    """nnsight: every block's and layer's input saved in one trace."""
    from nnsight import NNsight  # type: ignore[import-not-found]

    kwargs = model_kwargs(inputs, engine.device)
    wrapped = NNsight(engine.model)

    def run() -> object:
        saved: list[Any] = []
        with torch.no_grad(), wrapped.trace(**kwargs, logits_to_keep=1, use_cache=True):
            for block in wrapped.model.visual.blocks:
                saved.append(block.input.save())
            for layer in wrapped.model.language_model.layers:
                saved.append(layer.input.save())
        return saved

    return run


def with_transformer_lens(engine: Engine, inputs: ModelInputs) -> Callable[[], object]:
    """transformer-lens: the residual stream recorded by its bridge around the same model."""
    from transformer_lens.model_bridge import (  # type: ignore[import-not-found]
        TransformerBridge,
    )

    kwargs = model_kwargs(inputs, engine.device)
    with TemporaryDirectory() as folder:  # it finds the configuration by the model's name
        engine.model.config.save_pretrained(folder)
        engine.processor.save_pretrained(folder)
        # On a copy, because the bridge changes the model that it wraps.
        bridge = TransformerBridge.boot_transformers(
            folder, hf_model=copy.deepcopy(engine.model), tokenizer=engine.tokenizer
        )
    ids = kwargs.pop("input_ids")

    def run() -> object:
        with torch.no_grad():
            return bridge.run_with_cache(
                ids, names_filter=lambda name: name.endswith("hook_resid_pre"), **kwargs
            )

    return run


def peers(engine: Engine, inputs: ModelInputs) -> dict[str, Callable[[], object]]:
    """The installed tools that run; failures are printed."""
    found = {}
    for name, make in (("nnsight", with_nnsight), ("transformer-lens", with_transformer_lens)):
        try:
            side = make(engine, inputs)
            side()
        except Exception as error:
            print(f"{name}: not measured: {type(error).__name__}: {error}")
        else:
            found[name] = side
    return found


def kept_shares(engine: Engine, inputs: ModelInputs) -> tuple[float, float]:
    """Bytes of all hidden states of both towers, and of everything a run records except the cache,
    both relative to the inputs of the layers and blocks."""
    vision = run_vision(engine, inputs)
    decoded = run_decoder(engine, inputs, run_merge(engine, inputs, vision))
    layers = list(decoded.hidden_states[:-1])
    last = [decoded.hidden_states[-1], decoded.last_hidden_state]
    more = [decoded.logits, decoded.attention_norms, decoded.mlp_norms]
    for tower in (vision.image, vision.video):
        if tower is not None:
            layers += tower.hidden_states[:-1]
            last.append(tower.hidden_states[-1])
            more += [tower.patch_embeds, tower.pos_embeds]
            more += [tower.pooler_output, *tower.deepstack_features]
    inside, states, rest = (sum(each.nbytes for each in part) for part in (layers, last, more))
    return 1 + states / inside, 1 + (states + rest) / inside


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="mid")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--side", type=int, default=448, help="image side in pixels")
    parser.add_argument("--peers", action="store_true")
    options = parser.parse_args()
    engine = load_shape(options.shape, device=options.device)
    inputs = start_run(engine, side=options.side).inputs
    sides = {"plain forward": plain_forward(engine, inputs), "ours": staged(engine, inputs)}
    if options.peers:
        sides |= peers(engine, inputs)
    timings = measure(sides, pairs=options.pairs)
    memory = {}
    for name, run in sides.items():
        with peak_memory() as seen:
            kept = run()
        memory[name] = seen.peak_bytes
        del kept
    plain = timings["plain forward"]
    print(f"{machine_facts()}; {options.shape}, {engine.dtype}, {inputs.num_tokens} tokens\n")
    rows: list[tuple[object, ...]] = [
        (
            name,
            f"{timing.median_s * 1000:.0f}",
            ratio(timing, plain),
            cpu_ratio(timing, plain),
            f"{memory[name] / 2**20:.0f}",
        )
        for name, timing in timings.items()
    ]
    print(table(("", "ms", "wall ratio", "CPU ratio", "peak MB"), rows))
    states, everything = kept_shares(engine, inputs)
    print(f"\nKept, in layer inputs: {states:.2f} hidden states, {everything:.2f} all records")


if __name__ == "__main__":
    main()
