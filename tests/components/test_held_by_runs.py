"""What many visitors' runs hold with every part opened, against the memory that they take."""

from __future__ import annotations

import gc
import os
import tracemalloc

import numpy as np
import pytest
import torch

from components.tabs.decoder import answer, attention, deepstack, layers, rotation
from components.tabs.decoder.answer import read_original
from components.tabs.decoder.influence_maps import find_influence
from components.tabs.decoder.patching import SAME_IMAGES, other_run
from components.tabs.vision import attention as vision_attention
from components.tabs.vision import blocks, merger, rope
from components.tabs.vision.attention_images import FROM_PATCH, MEAN
from components.tabs.vision.feature_images import SHARED, STATE
from playground.engine import Engine
from playground.experiments.neutral import neutral_run
from playground.pipeline import Run
from playground.run_store import RunStore
from tests.components.runs import ignore_progress, make_run
from tests.media_samples import make_image

NUM_RUNS = 50 if "LONG_TESTS" in os.environ else 9
MAX_BYTES = 15 << 20  # of about six such runs


def open_everything(run: Run) -> None:
    """Ask for all that parts of the page keep with a run, each of them twice."""
    for _ in range(2):
        blocks.pca(run, 1, STATE, SHARED, 0)
        vision_attention.picture(run, 0, MEAN, FROM_PATCH, 0, None)
        vision_attention.entropy(run, None, 0)
        rope.rotated(run, 0, 0, 0, None)
        merger.vectors(run, merger.FINAL, 0, None)
        merger.tap_1(run, 0, None)
        for size in (0, 1):
            find_influence(run, ignore_progress, None, size, None)
        read_original(run, ignore_progress)
        neutral_run(run).ensure("decoder")
        for layer in (0, 1):
            attention.layer_vectors(run, layer)
            layers.image_lens(run, 0, layer)
            rotation.rotate(run, layer, 0, None)
        deepstack.deepstack_shares(run)
        for text in ("Where is it?", "And what else?"):
            other_run(run, SAME_IMAGES, text).ensure("decoder")


def memory() -> int:
    """Bytes of NumPy arrays, as they were allocated, and of all tensors' storages."""
    gc.collect()
    numpy_domain = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
    traces = tracemalloc.take_snapshot().filter_traces([numpy_domain]).traces
    tensors = (each for each in gc.get_objects() if type(each) is torch.Tensor)
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage() for each in tensors}
    return sum(trace.size for trace in traces) + sum(each.nbytes() for each in storages.values())


@pytest.mark.slow
def test_the_store_s_bound_is_that_of_the_memory(
    tiny_random_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer, "NEW_TOKENS", 4)  # an answer takes longest
    open_everything(make_run(tiny_random_engine, "first", make_image(128, 96)))
    store = RunStore(MAX_BYTES)
    tracemalloc.start()
    try:
        before = memory()
        for number in range(NUM_RUNS):
            run = make_run(tiny_random_engine, f"{number}", make_image(128, 96, seed=number))
            key = store.add(run)
            open_everything(run)
            assert store.get(key) is run
            assert store.num_bytes <= MAX_BYTES
        del run
        taken = memory() - before
    finally:
        tracemalloc.stop()
    assert 4 < len(store) < NUM_RUNS
    assert taken == pytest.approx(store.num_bytes, rel=0.05)
    assert taken <= 1.05 * MAX_BYTES
