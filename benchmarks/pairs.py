"""Compare two or more variants with interleaved runs, so that a slow phase affects all of them.

Benchmarks report ratios of interleaved runs, because times of one machine say little about another.
Every figure is a median over pairs, with the smallest and the largest value.
"""

from __future__ import annotations

import gc
import platform
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
import transformers


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of every run of one side, in order."""

    wall_s: tuple[float, ...]
    cpu_s: tuple[float, ...]

    @property
    def median_s(self) -> float:
        return median(self.wall_s)


@dataclass(frozen=True, slots=True)
class Ratio:
    """Median of the pairs' ratios, with the smallest and the largest."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:.3f} ({self.low:.3f}–{self.high:.3f})"


def measure(sides: Mapping[str, Callable[[], object]], *, pairs: int = 7) -> dict[str, Timing]:
    """Run all sides alternately, ``pairs`` times, after one untimed run of each.

    Every second round runs the sides in reverse, so that none always follows the same one.

    Args:
        sides: by name, the function to time; its result is discarded.
        pairs: timed rounds.
    """
    walls: dict[str, list[float]] = {name: [] for name in sides}
    cpus: dict[str, list[float]] = {name: [] for name in sides}
    for run in sides.values():
        run()
    for turn in range(pairs):
        order = list(sides) if turn % 2 == 0 else list(sides)[::-1]
        for name in order:
            gc.collect()
            _wait_for_device()
            wall, cpu = time.perf_counter(), time.process_time()
            sides[name]()
            _wait_for_device()
            walls[name].append(time.perf_counter() - wall)
            cpus[name].append(time.process_time() - cpu)
    return {name: Timing(tuple(walls[name]), tuple(cpus[name])) for name in sides}


def ratio(of: Timing, to: Timing) -> Ratio:
    """Wall time of ``of`` divided by that of ``to``, per pair."""
    each = [a / b for a, b in zip(of.wall_s, to.wall_s, strict=True)]
    return Ratio(median(each), min(each), max(each))


def cpu_ratio(of: Timing, to: Timing) -> Ratio:
    """The same ratio for CPU time, which depends less on other programs."""
    each = [a / b for a, b in zip(of.cpu_s, to.cpu_s, strict=True)]
    return Ratio(median(each), min(each), max(each))


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


# ------------------------------------------------------------------------------------- memory


class PeakMemory:
    """Peak memory while a block ran, above the level at its start; in bytes.

    On a GPU the memory of torch's allocator, else the process's resident memory, sampled every few
    milliseconds (only on Linux).
    """

    def __init__(self) -> None:
        self.peak_bytes = 0


@contextmanager
def peak_memory(interval_s: float = 0.005) -> Iterator[PeakMemory]:
    """Watch memory while the block runs."""
    gc.collect()
    seen = PeakMemory()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        start = torch.cuda.memory_allocated()
        yield seen
        seen.peak_bytes = torch.cuda.max_memory_allocated() - start
        return
    start, done = resident_bytes(), threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.peak_bytes = max(seen.peak_bytes, resident_bytes() - start)
            done.wait(interval_s)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


def resident_bytes() -> int:
    """The process's current memory; its peak memory on systems other than Linux."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


# ------------------------------------------------------------------------------------ machine


def machine_facts() -> str:
    """One line that describes the machine and versions."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    return (
        f"{device}, {torch.get_num_threads()} threads, Python {platform.python_version()}, "
        f"torch {torch.__version__}, transformers {transformers.__version__}"
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def table(header: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    """A Markdown table."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
