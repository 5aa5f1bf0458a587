"""The video's frames, their pairs, and the sentences about them."""

from __future__ import annotations

from components.tabs.preprocess import video
from playground.engine import Engine
from playground.language import say, speaking
from playground.pipeline import Run
from tests.components.html_reader import read_html
from tests.components.runs import make_run
from tests.media_samples import make_video


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


def test_without_a_video_the_part_says_where_one_is_loaded(video_run: Run, text_run: Run) -> None:
    assert video.PART.shown is not None
    assert video.PART.shown(video_run)
    assert not video.PART.shown(text_run)
    for language in ("en", "zh"):
        with speaking(language):
            assert say("System prompt, earlier turns, video, resolution") in say(video.PART.absent)
