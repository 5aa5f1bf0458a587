"""The measuring itself: figures of a benchmark are only as good as this."""

import time

import pytest
import torch

from benchmarks.models import load_shape
from benchmarks.pairs import Timing, measure, peak_memory, ratio, table
from playground.pipeline import Run
from playground.records import Prompt, Turn


def test_sides_take_turns_after_one_untimed_turn() -> None:
    order: list[str] = []
    timings = measure({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, pairs=3)
    assert "".join(order) == "ab" + "ab" + "ba" + "ab"
    assert {name: len(timing.wall_s) for name, timing in timings.items()} == {"a": 3, "b": 3}


def test_a_sleep_takes_wall_time_and_no_cpu_time() -> None:
    timing = measure({"sleep": lambda: time.sleep(0.05)}, pairs=1)["sleep"]
    assert timing.median_s >= 0.05
    assert timing.cpu_s[0] < 0.05


def test_ratios_are_taken_pair_by_pair() -> None:
    found = ratio(Timing((1.0, 4.0, 9.0), (0.0,) * 3), Timing((2.0, 4.0, 3.0), (0.0,) * 3))
    assert (found.low, found.middle, found.high) == (0.5, 1.0, 3.0)
    assert str(found) == "1.000 (0.500–3.000)"


@pytest.mark.skipif(torch.cuda.is_available(), reason="looks at the process's own memory")
def test_the_peak_is_what_a_block_took_at_most() -> None:
    with peak_memory() as seen:
        block = torch.ones(16 << 20, dtype=torch.float32)
        time.sleep(0.05)
        del block
        time.sleep(0.05)
    assert 60 << 20 < seen.peak_bytes < 140 << 20


def test_tables_are_markdown() -> None:
    assert table(("a", "b"), [(1, 0.5)]) == "| a | b |\n| --- | --- |\n| 1 | 0.5 |"


def test_the_mid_size_model_runs() -> None:
    engine = load_shape("mid", device="cpu")
    assert (engine.facts.num_layers, engine.facts.hidden_size) == (8, 512)
    run = Run(engine, Prompt((Turn("user", "Hello"),)))
    assert run.parity.max_abs_diff == 0.0
