"""Preprocess, video: what the prompt's times become when a program misreads the video's clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.charts.video_clock import ClockLine
from components.views.tables import Cell, Verbatim, table_html
from playground.language import mark, say

if TYPE_CHECKING:
    from playground.experiments.video_clock import ClockReading, Reading

MOST_TEXTS = 6  # of a row; the chart's table has all
HEADERS = (
    mark("Clock"),
    mark("Frames"),
    mark("True times (s)"),
    mark("Times in the prompt (s)"),
    mark("Answer"),
    mark("KL (nats)"),
)
NAMES: dict[Reading, str] = {
    "right": mark("read right"),
    "no_metadata": mark("no metadata"),
    "sampled_twice": mark("sampled twice"),
    "sampling_rate": mark("sampling rate as the file's"),
    "file_rate": mark("frames counted from 0"),
    "frame_list": mark("list of images"),
}
MISTAKES = mark("""\
A program that samples the frames itself has to tell the processor where in the file they lie. These
mistakes happen; the frames stay the same, except when they are sampled twice:

- **no metadata**: the frames come without `video_metadata`, so the processor counts them from 0, at
  an assumed 24 per second;
- **sampled twice**: likewise, and without `do_sample_frames=False` the processor samples them once
  more;
- **sampling rate as the file's**: `frames_indices` are those of the file, but `fps` is the rate of
  sampling;
- **frames counted from 0**: `fps` is the file's, but `frames_indices` count the sampled frames;
- **list of images**: the frames are counted from 0 at 2 per second, however they were sampled.
""")


@dataclass(frozen=True, slots=True)
class Misread:
    """The readings so far, the right one first."""

    readings: tuple[ClockReading, ...]


def clock_lines(readings: Sequence[ClockReading]) -> list[ClockLine]:
    """The readings for the chart."""
    return [
        ClockLine(say(NAMES[each.reading]), each.true_s, each.told_s, each.texts)
        for each in readings
    ]


def readings_table(misread: Misread) -> str:
    """One row per reading: the true times, the times in the prompt, and the answer."""
    rows: list[list[Cell | Verbatim]] = [
        [
            say(NAMES[each.reading]),
            each.num_frames,
            _shorten([f"{seconds:.1f}" for seconds in each.true_s]),
            _shorten([text.strip("<>").removesuffix(" seconds") for text in each.texts]),
            Verbatim(each.answer),
            float(f"{each.kl:.3g}"),
        ]
        for each in misread.readings
    ]
    caption = say(
        "The greedy answer under each reading of the clock, and how far the distribution of its "
        "first token moves"
    )
    return table_html([say(header) for header in HEADERS], rows, caption)


def _shorten(texts: Sequence[str]) -> str:
    """The texts in a row, with only the last one after the first few."""
    shown = [*texts] if len(texts) <= MOST_TEXTS else [*texts[: MOST_TEXTS - 1], "…", texts[-1]]
    return ", ".join(shown)
