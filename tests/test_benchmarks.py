"""The measuring itself: figures of a benchmark are only as good as this."""

import importlib
import math
import mmap
import os
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from benchmarks import growth, page, speedups, startup
from benchmarks.browser import Cost
from benchmarks.models import load_shape
from benchmarks.pairs import Timing, measure, peak_memory, ratio, table
from benchmarks.scenes import start_run
from playground.engine import Engine
from playground.loading.patch_projection import PatchProjection
from playground.pipeline import Run
from playground.prompt import Prompt, Turn
from reliability.chromium import find_chromium


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
        with mmap.mmap(-1, 64 << 20) as block:  # an allocator may hold as much free memory already
            for page_start in range(0, 64 << 20, mmap.PAGESIZE):
                block[page_start] = 1
            time.sleep(0.05)
        time.sleep(0.05)
    assert 60 << 20 < seen.peak_bytes < 140 << 20


def test_tables_are_markdown() -> None:
    assert table(("a", "b"), [(1, 0.5)]) == "| a | b |\n| --- | --- |\n| 1 | 0.5 |"


def test_the_mid_size_model_runs() -> None:
    engine = load_shape("mid", device="cpu")
    assert (engine.facts.num_layers, engine.facts.hidden_size) == (8, 512)
    run = Run(engine, Prompt((Turn("user", "Hello"),)))
    assert run.parity.max_abs_diff == 0.0


# --------------------------------------------------------- every script once, as small as it goes

SMALL = ["--shape", "shipped", "--pairs", "1"]
SCRIPTS = {
    "answer": ([*SMALL, "--tokens", "40"], "| 20 answer tokens |"),
    "after_run": ([*SMALL, "--side", "64"], "| another question about the image |"),
    "decoder_memory": (["--shape", "shipped"], "| shipped, float32 |"),
    "captures": ([*SMALL, "--side", "64"], "| ours |"),
    "decode_loop": ([*SMALL, "--tokens", "2"], ", identical"),
    "generate_gpu": ([*SMALL, "--tokens", "2", "--side", "64", "--eager"], "| eager |"),
    "growth": ([*SMALL, "--short"], "| 512 |"),
    "kept_sets": (["--rows", "20", "--vocab", "3000"], "20 rows of 3,000 tokens: 0 differ"),
    "lens": ([*SMALL, "--side", "64", "--positions", "2"], "| lens, last position |"),
    "prefix_hit": ([*SMALL, "--tokens", "64"], "| 99% |"),
    "roofline": (
        [*SMALL, "--side", "64", "--tokens", "1", "--read-mb", "1", "--gemm", "64"],
        "| one token |",
    ),
    "rounding": ([*SMALL, "--side", "64", "--tokens", "2"], "| int4, groups of 32 |"),
    "sampling_columns": (["--shape", "shipped", "--slider"], "A slider of one step"),
    "speedups": ([*SMALL, "--side", "64"], "| patch embedding |"),
    "views": ([*SMALL, "--side", "64"], "| attention of a vision block |"),
}


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_a_script_measures(
    name: str,
    shipped_engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = importlib.import_module(f"benchmarks.{name}")
    monkeypatch.setattr(script, "load_shape", lambda *_, **__: shipped_engine, raising=False)
    if name == "growth":
        monkeypatch.setattr(script, "TOKENS", (20, 60))
        monkeypatch.setattr(script, "SIDES", (64, 512))
        monkeypatch.setattr(script, "LAYERS", (3,))
    arguments, expected = SCRIPTS[name]
    monkeypatch.setattr("sys.argv", [name, *arguments])
    script.main()
    assert expected in capsys.readouterr().out


def test_growth_is_drawn(tmp_path: Path) -> None:
    curve = growth.Growth("tokens", "tokens", ((10, 0.1, 0.1), (100, 1.0, 0.9)), ())
    growth.draw_svg([curve], tmp_path / "growth.svg")
    drawing = ElementTree.parse(tmp_path / "growth.svg").getroot()
    assert len(drawing.findall("{*}circle")) == 2
    # Ten times as large: ours takes ten times as long, the model nine times.
    assert growth.steepest(curve) == pytest.approx(1 - math.log10(9))


def test_a_start_is_timed_in_turns_after_one_untimed_turn() -> None:
    order: list[str] = []

    def take(name: str, seconds: float) -> float:
        order.append(name)
        return seconds

    sides = {"page": lambda: take("page", 1.0), "imports": lambda: take("imports", 4.0)}
    times = startup.time_in_turns(sides, 2)
    assert len(order) == 6
    assert ratio(times["page"], times["imports"]).middle == 0.25


def test_the_earlier_ways_give_the_same(shipped_engine: Engine) -> None:
    """What a speed-up is compared with must do the same work."""
    run = start_run(shipped_engine, side=64, stage="decoder")
    embedding = speedups.embed(shipped_engine, run)
    projection = shipped_engine.model.model.visual.patch_embed.proj
    kinds = (nn.Conv3d, PatchProjection)
    before, after = (speedups.by_kind([projection], kind, embedding)() for kind in kinds)
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-5)
    assert type(projection) is nn.Conv3d  # put back


# ---------------------------------------------------------------------------------- the page


def test_openings_are_compared_pair_by_pair() -> None:
    ours = [Cost(2.0, 3.0, (90.0, 250.0)), Cost(3.0, 4.0, ()), Cost(4.0, 5.0, (210.0,))]
    small = [Cost(1.0, 2.0, ()), Cost(2.0, 2.0, (300.0,)), Cost(4.0, 1.0, ())]
    name, task, wall, *_, over = page.opening_row("again", ours, small)
    assert (name, task, wall) == ("again", "1.50 (1.00–2.00)", "2.00 (1.50–5.00)")
    assert over == "2 (longest 250 ms)"


def test_a_slider_is_forgiven_its_fifty_milliseconds() -> None:
    assert page.slider_row([(180.0, 250.0, 100.0), (310.0, 320.0, 200.0)])[-1] == "1.30 (1.30–1.30)"


def test_every_tab_but_the_open_one_is_opened() -> None:
    tabs = page.declared_tabs()
    assert tabs["preprocess"][0] == "preprocess.text"
    assert "decoder.attention" in tabs["decoder"]


@pytest.mark.skipif(find_chromium() is None, reason="needs Chromium")
@pytest.mark.skipif("LONG_TESTS" not in os.environ, reason="takes minutes: LONG_TESTS=1")
def test_the_page_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["page", "--short"])
    page.main()
    said = capsys.readouterr().out
    for row in ("| returning |", "| new |", "| preprocess.rows | 4 |"):
        assert row in said
