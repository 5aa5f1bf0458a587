"""The video's frames, their pairs, and the sentences about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from components.tabs.preprocess import video
from components.tabs.preprocess.video_clock import NAMES, Misread
from playground.engine import Engine
from playground.experiments.video_clock import ClockReading
from playground.language import say, speaking
from playground.pipeline import Run
from playground.preprocess.media import read_video
from playground.preprocess.video_sampling import VideoSampling
from playground.prompt import FrameChoice
from tests.components.html_reader import read_html
from tests.components.runs import ignore_progress, make_run
from tests.media_samples import make_video, write_video


def test_pairs_of_frames_with_their_text_and_tokens(video_run: Run) -> None:
    inputs = video_run.inputs
    page = read_html(video.pairs(video_run))
    rows = page.rows()[1:]
    assert len(rows) == len(inputs.spans)
    for row, span, seconds in zip(rows, inputs.spans, inputs.media[0].timestamps, strict=True):
        assert row[3] == f"<{seconds:.1f} seconds>"
        assert row[4] == f"{span.start}–{span.end - 1}"
    assert rows[0][1:3] == ["0 and 1", "0.00 s and 0.50 s"]
    marked = [each.attrs["data-start"] for each in page.find("tr") if "data-start" in each.attrs]
    assert marked == [str(span.start) for span in inputs.spans]


def test_an_odd_last_frame_is_named_twice(tiny_random_engine: Engine) -> None:
    run = make_run(tiny_random_engine, "a", video=make_video(num_frames=5), max_pixels=60_000)
    rows = read_html(video.pairs(run)).rows()
    assert rows[-1][1] == "4 and 4"


def test_every_frame_of_the_file_is_on_the_timeline(video_run: Run) -> None:
    sampled = video_run.prompt.videos[0]
    figure = video.timeline(video_run)
    points = {len(trace.x) for trace in figure.data}
    assert sampled.total_num_frames in points
    assert "seconds" in figure.layout.meta["alt"]


def test_the_processors_count_is_explained(tiny_random_engine: Engine, tmp_path: Path) -> None:
    """The random checkpoint samples 2 frames per second, 4 to 8 of them."""
    path = write_video(tmp_path / "clip.mp4", make_video(40).frames, fps=10)

    def words(**chosen: float) -> str:
        own = VideoSampling.of_processor(tiny_random_engine.processor.video_processor)
        clip = read_video(path, sampling=own, chosen=FrameChoice(**chosen))  # type: ignore[arg-type]
        run = make_run(tiny_random_engine, "a", video=clip)
        return read_html(video.words(run)).find("p", "pg-fact")[0].text

    own = words()
    assert "8 of them are sampled, evenly spaced from the first to the last" in own
    assert "At 2 per second, int(40 / 10 × 2) = 8 frames are sampled" in own
    cut = words(fps=6, start_s=1, end_s=2.45)
    assert "8 of them are sampled, evenly spaced between 1 s and 2.45 s" in cut
    assert "int(15 / 10 × 6) = 9 frames are sampled, but at least min_frames = 4 and at most" in cut
    assert "from 1.5 s to the last" in words(start_s=1.5)
    assert "num_frames = 5" in words(num_frames=5)


def test_each_mistake_has_its_row_and_its_line(video_run: Run) -> None:
    found = list(video.misread(video_run, ignore_progress))
    assert [len(each.readings) for each in found] == [1, 2, 3, 4, 5, 6]
    rows = read_html(video.readings(video_run, found[-1])).rows()
    assert [row[0] for row in rows[1:]] == [say(name) for name in NAMES.values()]
    assert rows[1][-1] == "0"
    lines = {trace.name: trace for trace in video.clock(video_run, found[-1]).data}
    for row, reading in zip(rows[1:], found[-1].readings, strict=True):
        assert row[1] == str(reading.num_frames)
        assert row[2] == ", ".join(f"{seconds:.1f}" for seconds in reading.true_s)
        assert [f"<{seconds} seconds>" for seconds in row[3].split(", ")] == [*reading.texts]
        assert row[4] == reading.answer
        np.testing.assert_allclose(lines[row[0]].y, reading.told_s, rtol=1e-6)
    before = video.clock(video_run, None)
    assert before.data[-1].name == "read right"
    np.testing.assert_array_equal(before.data[-1].y, lines["read right"].y)
    assert "Misread the clock" in video.readings(video_run, None)


def test_equal_answers_are_said_and_many_texts_are_shortened() -> None:
    def reading(name: str, answer: str) -> ClockReading:
        seconds = tuple(map(float, range(9)))
        texts = tuple(f"<{each} seconds>" for each in seconds)
        return ClockReading(name, 18, seconds, seconds, texts, 90, answer, 0.0)  # type: ignore[arg-type]

    same = Misread((reading("right", "<b>3 s</b>"), reading("frame_list", "<b>3 s</b>")))
    other = Misread((reading("right", "3 s"), reading("frame_list", "8 s")))
    run: Any = None
    assert "All answers are equal" in video.readings(run, same)
    assert "All answers are equal" not in video.readings(run, other)
    row = read_html(video.readings(run, same)).rows()[1]
    assert row[2] == row[3] == "0.0, 1.0, 2.0, 3.0, 4.0, …, 8.0"
    assert row[4] == "<b>3 s</b>"


def test_without_a_video_the_part_says_where_one_is_loaded(video_run: Run, text_run: Run) -> None:
    assert video.PART.shown is not None
    assert video.PART.shown(video_run)
    assert not video.PART.shown(text_run)
    for language in ("en", "zh"):
        with speaking(language):
            assert say("System prompt, earlier turns, video, resolution") in say(video.PART.absent)
