"""Time from process start to the first page, compared with importing only the libraries.

    python -m benchmarks.startup [--pairs 5]

The page is served first while the checkpoint loads; "the first example is drawn" is when its run is
available to a page that opens. Each round starts both processes again, in sequence.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from benchmarks.pairs import Timing, machine_facts, ratio, table

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = "import torch, transformers, gradio; transformers.Qwen3VLForConditionalGeneration"
LIMIT_S = 300.0
POLL_S = 0.02


def time_imports() -> float:
    """Seconds of a process that only imports the libraries."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", LIBRARIES], cwd=ROOT, check=True)
    return time.perf_counter() - started


def time_first_page() -> float:
    """Seconds from the start of ``app.py`` to the fully received page."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_page(f"http://127.0.0.1:{port}/", process)
        return time.perf_counter() - started
    finally:
        process.terminate()
        process.wait(timeout=60)


def wait_for_page(address: str, process: subprocess.Popen[bytes]) -> None:
    """Request the page until it is served.

    Raises:
        SystemExit: the app exited or took too long.
    """
    deadline = time.perf_counter() + LIMIT_S
    while time.perf_counter() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"app.py ended with {process.returncode}.")
        try:
            with urllib.request.urlopen(address, timeout=LIMIT_S) as page:
                page.read()
            return
        except OSError:
            time.sleep(POLL_S)
    raise SystemExit("The page was not served in time.")


def time_in_turns(sides: dict[str, Callable[[], float]], pairs: int) -> dict[str, Timing]:
    """Like ``pairs.measure`` for separate processes, after one untimed round."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(pairs + 1):
        for name in list(sides) if turn % 2 else list(sides)[::-1]:
            took = sides[name]()
            if turn:
                seconds[name].append(took)
    return {name: Timing(tuple(each), (0.0,) * pairs) for name, each in seconds.items()}


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    times = time_in_turns({"imports": time_imports, "first page": time_first_page}, options.pairs)
    print(f"{machine_facts()}\n")
    print(
        table(
            ("first page / imports alone", "first page", "imports"),
            [
                (
                    ratio(times["first page"], times["imports"]),
                    f"{times['first page'].median_s:.1f} s",
                    f"{times['imports'].median_s:.1f} s",
                )
            ],
        )
    )


if __name__ == "__main__":
    main()
