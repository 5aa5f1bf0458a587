"""The preprocess tab: its words, pictures and lists against the processor's own output."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image

from components.chart_view.view import PlotlyView, encode_figure
from components.tabs.preprocess.budget import (
    choose_limit,
    chosen_value,
    draw_budget,
    ladder_table,
    stream_times,
)
from components.tabs.preprocess.patch_rows import (
    MAX_LISTED,
    listed_rows,
    numbered_picture_html,
    row_list_html,
)
from components.tabs.preprocess.pictures import MEDIA_BYTES, media_html, size_words
from components.tabs.preprocess.resize_words import resize_html
from components.tabs.preprocess.rows import chosen_patch, draw_picture
from components.tabs.preprocess.tab import build_preprocess_tab, notices_html
from components.tabs.preprocess.tokens import MAX_FREE_CHARS, draw_spelling
from components.tabs.preprocess.video import pairs_table
from components.tabs.stage_tab import StageTab
from components.views.strips import template_html
from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.experiments.token_budget import PrefillTime, token_ladder
from playground.pipeline import Run
from playground.pointer import locate_patch, locate_token, patch_rows
from playground.preprocess.stage import run_preprocess, unpatchify
from playground.records import Clip, MediaFacts, Picture, Prompt, Turn, VisualSpan
from tests.components.html_reader import read_html
from tests.components.runs import build_alone, draw_tab, ignore_progress, make_run
from tests.media_samples import make_clip, make_picture

MAX_UPDATE_BYTES = 400_000


@pytest.fixture(scope="module")
def tab() -> StageTab:
    return build_alone(build_preprocess_tab)


@pytest.fixture(scope="module")
def two_run(tiny_random_engine: Engine, picture: Picture, wide_picture: Picture) -> Run:
    return make_run(tiny_random_engine, "Compare.", picture, wide_picture)


@pytest.fixture(scope="module")
def video_run(tiny_random_engine: Engine, clip: Clip) -> Run:
    return make_run(tiny_random_engine, "Describe.", clip=clip)


@pytest.fixture(scope="module")
def text_run(tiny_random_engine: Engine) -> Run:
    return make_run(tiny_random_engine, "你好")


def draw(tab: StageTab, run: Run) -> tuple[Any, ...]:
    return tuple(draw_tab(tab, run).values())


def num_bytes(value: Any) -> int:
    return len((encode_figure(value) or "") if isinstance(value, go.Figure) else str(value))


def pixels_of(source: str) -> list[np.ndarray]:
    """The pictures that a piece of HTML holds."""
    images = read_html(source).find("img")
    data = [base64.b64decode(each.attrs["src"].partition("base64,")[2]) for each in images]
    return [np.asarray(Image.open(io.BytesIO(each)).convert("RGB")) for each in data]


# ------------------------------------------------------------------------------- the pictures


def test_the_way_from_pixels_to_tokens() -> None:
    image = MediaFacts("image", "a.png", (640, 480), (256, 192), (1, 12, 16), 48)
    assert size_words(image, 16, 2) == (
        "640 × 480 → 256 × 192 pixels = 16 × 12 patches of 16 × 16 = 8 × 6 tokens "
        "= 48 tokens in all"
    )
    video = MediaFacts("video", "a.mp4", (96, 64), (96, 64), (3, 4, 6), 18, (0.2, 1.2, 2.2))
    assert size_words(video, 16, 2).endswith(
        "3 × 2 tokens for a pair of frames; 3 such pairs = 18 tokens in all"
    )


def test_images_are_shown_as_they_came_and_as_they_were_resized(two_run: Run) -> None:
    inputs = two_run.inputs
    source = media_html(inputs)
    shown = pixels_of(source)
    for index, (span, picture) in enumerate(zip(inputs.spans, inputs.prompt.pictures, strict=True)):
        original, resized = shown[2 * index : 2 * index + 2]
        for got, expected in (
            (original, picture.pixels),
            (resized, unpatchify(inputs, span)[0]),
        ):
            assert got.shape == expected.shape
            assert np.abs(got.astype(int) - expected.astype(int)).mean() < 6
    page = read_html(source)
    frames = page.find("div", "pg-picture-frame")
    assert [each.attrs["data-span"] for each in frames] == ["0", "0", "1", "1"]
    grids = [each.attrs["viewbox"] for each in page.find("svg")]
    assert grids == [f"0 0 {facts.grid_thw[2]} {facts.grid_thw[1]}" for facts in inputs.media]


def test_every_frame_of_a_video_with_its_time(video_run: Run, clip: Clip) -> None:
    inputs = video_run.inputs
    source = media_html(inputs)
    shown = pixels_of(source)
    assert len(shown) == len(clip.frames)
    for frame, got in zip(clip.frames, shown, strict=True):
        resized = np.asarray(Image.fromarray(frame).resize(got.shape[1::-1]))
        assert np.abs(got.astype(int) - resized.astype(int)).mean() < 8
    page = read_html(source)
    captions = [each.text for each in page.find("figcaption")]
    times = inputs.media[0].timestamps
    assert captions[0] == f"Frame 1, pair 1 at {times[0]:.1f}\N{NO-BREAK SPACE}s"
    assert captions[-1] == f"Frame 4, pair 2 at {times[1]:.1f}\N{NO-BREAK SPACE}s"
    frames = page.find("div", "pg-picture-frame")
    assert [each.attrs["data-span"] for each in frames] == ["0", "0", "1", "1"]


def test_frames_full_of_noise_are_sent_smaller(tiny_random_engine: Engine) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (16, 160, 160, 3), dtype=np.uint8)
    clip = Clip(frames, tuple(range(16)), fps=8.0, total_num_frames=16)
    run = make_run(tiny_random_engine, "a", clip=clip, max_pixels=400_000)
    source = media_html(run.inputs)
    assert len(read_html(source).find("img")) == 16
    assert len(source) <= MEDIA_BYTES + 2_000


def test_a_prompt_without_pictures_says_so(text_run: Run) -> None:
    page = read_html(media_html(text_run.inputs))
    assert page.find("img") == []
    assert "no picture" in page.find("p")[0].text


def test_notices_are_shown_and_escaped() -> None:
    page = read_html(notices_html(("<|im_end|> was treated as text.", "alpha removed")))
    assert [each.text for each in page.find("li")] == [
        "<|im_end|> was treated as text.",
        "alpha removed",
    ]
    assert notices_html(()) == ""


@pytest.mark.parametrize("text", ["{{value}}", "${value}", "</p></div><script>1</script>"])
def test_text_that_looks_like_code_stays_text(tiny_random_engine: Engine, text: str) -> None:
    inputs = run_preprocess(tiny_random_engine, Prompt((Turn("user", text),)))
    page = read_html(template_html(inputs))
    assert any(text in each.text for each in page.find("div", "pg-message-text"))


# ------------------------------------------------------------------------------ the whole tab


def test_the_stream_draws_everything_in_a_small_payload(
    tab: StageTab, tiny_random_engine: Engine
) -> None:
    photo = Picture(make_picture(256, 192).pixels, name="photo <i>")
    text = "Describe this image: <|image_pad|> " + "各种各样的词 and words. " * 180
    run = make_run(tiny_random_engine, text, photo)
    drawn = draw(tab, run)
    whole = "".join(part for part in drawn if isinstance(part, str))
    for words in (
        "treated as text",
        "photo &lt;i&gt;",
        "各种各样的词",
        f"{run.inputs.num_tokens:,} tokens",
        "more rows",
        "pixel_values",
        "apply_chat_template",
        "pg-typed",
    ):
        assert words in whole
    assert sum(map(num_bytes, drawn)) < MAX_UPDATE_BYTES
    assert not run.has("vision")


@pytest.mark.parametrize("kind", ["photo", "eight", "video"])
def test_large_prompts_stay_a_small_payload(
    tab: StageTab, tiny_random_engine: Engine, kind: str
) -> None:
    """A 1280 x 960 photo is 4,800 patches, as on the 2B model."""
    runs = {
        "photo": lambda: make_run(
            tiny_random_engine, "Describe.", make_picture(1280, 960), max_pixels=1280 * 960
        ),
        "eight": lambda: make_run(
            tiny_random_engine,
            "Compare.",
            *(make_picture(640, 480, seed) for seed in range(8)),
        ),
        "video": lambda: make_run(tiny_random_engine, "Look.", clip=make_clip(8, 320, 240)),
    }
    run = runs[kind]()
    drawn = draw(tab, run)
    assert sum(map(num_bytes, drawn)) < MAX_UPDATE_BYTES
    if kind == "photo":
        assert run.inputs.spans[0].num_patches == 4_800
    for figure in drawn:
        if isinstance(figure, go.Figure):
            points = sum(len(trace.x) for trace in figure.data if trace.type == "scatter")
            assert points <= 5_000


def test_text_alone_leaves_no_old_pictures(tab: StageTab, text_run: Run) -> None:
    charts = [
        value for output, value in draw_tab(tab, text_run).items() if isinstance(output, PlotlyView)
    ]
    assert sum(chart is None for chart in charts) == len(charts) - 1 == 7  # the masks stay


# -------------------------------------------------------------------------------- the new size


def test_the_arithmetic_is_written_out(tiny_random_engine: Engine) -> None:
    run = make_run(tiny_random_engine, "a", make_picture(640, 480))
    page = read_html(resize_html(run))
    rows = {row[0]: row[1:] for row in page.rows()[1:]}
    assert rows["The picture as it came"] == ["640 × 480", "640", "480", "307,200"]
    assert rows["Rounded to multiples"] == ["round(side / 32) × 32", "640", "480", "307,200"]
    assert rows["More than max: shrunk"][0] == "β = √(640 × 480 / 50,176) = 2.4744"
    assert rows["To multiples that keep within the limit"] == [
        "floor(side / β / 32) × 32",
        "256",
        "192",
        "49,152",
    ]
    assert rows["Patches"][1:] == ["16", "12", "192 rows"]
    assert rows["Tokens"][1:] == ["8", "6", "48 tokens"]
    assert "stay exactly" in page.find("p")[0].text


def test_the_arithmetic_of_a_video_counts_all_frames(tiny_random_engine: Engine) -> None:
    clip = make_clip(num_frames=5, width=320, height=200)
    run = make_run(tiny_random_engine, "a", clip=clip, max_pixels=80_000)
    page = read_html(resize_html(run))
    rows = {row[0]: row[1:] for row in page.rows()[1:]}
    facts = run.inputs.media[0]
    assert rows["The picture as it came"][0] == "320 × 200 × 5 frames"
    assert rows["Rounded to multiples; 4 frames, a multiple of 2"][-1] == f"{320 * 192 * 4:,}"
    assert rows["Tokens × 3 pairs of frames"][-1] == f"{facts.num_tokens:,} tokens"


# ------------------------------------------------------------------------------ rows and patches


def test_each_patch_carries_the_number_of_its_row(two_run: Run) -> None:
    inputs = two_run.inputs
    span = inputs.spans[1]
    source = numbered_picture_html(inputs, 1, unpatchify(inputs, span)[0])
    page = read_html(source)
    numbers = patch_rows(span)
    texts = page.find("text")
    assert len(texts) == span.num_patches
    for each in texts:
        column, row = int(float(each.attrs["x"])), int(float(each.attrs["y"]))
        assert int(each.text) == numbers[row, column]
    assert page.find("div", "pg-picture-frame")[0].attrs["data-span"] == "1"
    assert "div" in page.find("svg", "pg-numbers")[0].parents  # over the picture, in its frame


def test_the_list_of_rows_points_at_their_patches(two_run: Run) -> None:
    inputs = two_run.inputs
    span = inputs.spans[1]
    page = read_html(row_list_html(inputs, 1, unpatchify(inputs, span)[0], span.patch_start))
    numbers = patch_rows(span)
    items = page.find("li")
    assert len(items) == span.num_patches
    for each in items:
        place = int(each.attrs["data-row"]), int(each.attrs["data-column"])
        assert each.attrs["data-span"] == "1"
        assert each.text.startswith(str(numbers[place]))
    assert [n for n, each in enumerate(items) if "pg-first" in each.classes] == list(
        range(0, span.num_patches, 4)
    )


@pytest.mark.parametrize("row", [100, 100 + 1000, 100 + 4799])
def test_a_long_list_is_cut_around_the_chosen_row(row: int) -> None:
    span = VisualSpan("image", 0, 0, 5, 5 + 1200, 60, 80, 100, 2)
    first, last = listed_rows(span, row)
    assert first <= row - 100 < last
    assert row - 100 - first <= 12 or last == 4800  # in sight without scrolling
    assert last - first == MAX_LISTED
    assert first % 4 == 0
    assert first >= 0
    assert last <= 4800


def test_the_chosen_patch_is_drawn_in_its_numbers(two_run: Run) -> None:
    inputs = two_run.inputs
    place = locate_patch(inputs, two_run.positions, 1, 2, 3)
    drawn = draw_picture(two_run, 1, place)
    words, patch, row = drawn[-3:]
    number = int(patch_rows(inputs.spans[1])[2, 3])
    assert f"Row {number} of pixel_values" in words
    assert "Nothing is pointed at" not in words
    values = inputs.pixel_values
    assert values is not None
    np.testing.assert_array_equal(np.concatenate([t.y for t in row.data]), values[number].numpy())
    assert patch.layout.title.text.startswith(f"Row {number}:")


def test_without_a_place_the_middle_patch_is_taken(two_run: Run) -> None:
    inputs = two_run.inputs
    elsewhere = locate_patch(inputs, two_run.positions, 0, 0, 0)
    for place in (None, elsewhere, locate_token(inputs, two_run.positions, 0)):
        words = draw_picture(two_run, 1, place)[-3]
        span = inputs.spans[1]
        assert f"row {span.grid_h // 2}, column {span.grid_w // 2}" in words
        assert "this is the middle one" in words


def test_a_token_stands_for_its_first_patch(two_run: Run) -> None:
    span = two_run.inputs.spans[0]
    place = locate_token(two_run.inputs, two_run.positions, span.start + 1)
    assert chosen_patch(span, 0, place) == (0, 2)


@pytest.mark.parametrize("shown", [None, 7, -1, "x"])
def test_a_picture_that_is_not_there_gives_the_first(two_run: Run, shown: Any) -> None:
    choice = draw_picture(two_run, shown, None)[0]
    assert choice.value == 0
    assert [value for _, value in choice.choices] == [0, 1]


def test_a_place_of_another_run_is_not_trusted(two_run: Run, text_run: Run) -> None:
    place = locate_patch(two_run.inputs, two_run.positions, 1, 0, 0)
    choice = draw_picture(text_run, 1, place)[0]
    assert choice.visible is False


# ----------------------------------------------------------------------------- one's own text


def test_ones_own_text_is_taken_apart(text_run: Run) -> None:
    page = read_html(draw_spelling(text_run, "cafe\u0301 <|im_end|>"))
    words = page.find("p", "pg-fact")[0].text
    assert "NFC rewrote" in words
    assert "<|im_end|> stays text" in words
    special = set(text_run.engine.tokenizer.get_added_vocab().values())
    assert not special & {int(each.text) for each in page.find("span", "pg-piece")}
    assert "Nothing" in draw_spelling(text_run, "")


@pytest.mark.parametrize("text", ["a" * (MAX_FREE_CHARS + 1), ["a"], 3, "\ud83d"])
def test_ones_own_text_is_checked(text_run: Run, text: Any) -> None:
    with pytest.raises(InputError):
        draw_spelling(text_run, text)


# ----------------------------------------------------------------------------------- the video


def test_pairs_of_frames_with_their_text_and_tokens(video_run: Run) -> None:
    inputs = video_run.inputs
    page = read_html(pairs_table(inputs, inputs.prompt.clips[0]))
    rows = page.rows()[1:]
    assert len(rows) == len(inputs.spans)
    for row, span, seconds in zip(rows, inputs.spans, inputs.media[0].timestamps, strict=True):
        assert row[3] == f"<{seconds:.1f} seconds>"
        assert row[4] == f"{span.start}–{span.end - 1}"
    assert rows[0][1:3] == ["0 and 1", "0.00 s and 0.50 s"]
    marked = [each.attrs["data-start"] for each in page.find("tr") if "data-start" in each.attrs]
    assert marked == [str(span.start) for span in inputs.spans]


def test_an_odd_last_frame_is_named_twice(tiny_random_engine: Engine) -> None:
    run = make_run(tiny_random_engine, "a", clip=make_clip(num_frames=5), max_pixels=60_000)
    rows = read_html(pairs_table(run.inputs, run.prompt.clips[0])).rows()
    assert rows[-1][1] == "4 and 4"


# ---------------------------------------------------------------------------- the token budget


def test_the_ladder_in_a_table(two_run: Run) -> None:
    ladder = token_ladder(two_run.engine, two_run.inputs)
    times = {ladder[0].max_pixels: PrefillTime(20, 3.0, 4.5, 3)}
    page = read_html(ladder_table(two_run, ladder, times))
    rows = page.rows()[1:]
    assert [row[1] for row in rows] == [f"{rung.max_pixels:,}" for rung in ladder]
    assert [row[4] for row in rows] == [f"{rung.num_tokens:,}" for rung in ladder]
    assert rows[0][7] == "7.5 ms"
    assert {row[7] for row in rows[1:]} == {"not measured"}
    buttons = page.find("button", "pg-choice")
    assert [int(each.attrs["data-choice"]) for each in buttons] == [
        rung.max_pixels for rung in ladder
    ]
    pressed = [each.attrs["aria-pressed"] == "true" for each in buttons]
    assert pressed == [rung.is_current for rung in ladder]


def test_what_does_not_fit_cannot_be_chosen(tiny_random_engine: Engine) -> None:
    run = make_run(tiny_random_engine, "a", make_picture(3000, 2000))
    rows = read_html(draw_budget(run)[1]).rows()
    assert (rows[-1][0], rows[-1][7]) == ("too long", "does not fit")


def test_times_come_rung_by_rung(tiny_random_engine: Engine) -> None:
    run = make_run(tiny_random_engine, "a", make_picture(96, 64))
    ladder = token_ladder(tiny_random_engine, run.inputs)
    tables = [read_html(table).rows()[1:] for table, _ in stream_times(run, ignore_progress)]
    missing = [sum(row[7] == "not measured" for row in rows) for rows in tables]
    assert missing == list(range(len(ladder) - 1, -1, -1))
    assert all(row[7].endswith(" ms") for row in tables[-1])


def test_measuring_can_be_stopped(two_run: Run) -> None:
    calls = iter(range(100))

    def stop_later(_what: str, _done: int, _total: int) -> None:
        if next(calls) > 25:
            raise StageCancelled

    with pytest.raises(StageCancelled):
        list(stream_times(two_run, stop_later))


def test_measuring_without_a_picture_is_refused(text_run: Run) -> None:
    with pytest.raises(InputError, match="no picture"):
        next(stream_times(text_run, ignore_progress))
    assert draw_budget(text_run)[3:] == (None, None)


def test_a_choice_is_checked_on_the_server(two_run: Run) -> None:
    limit, words = choose_limit(two_run, chosen_value({"value": 4096}))
    assert limit == 4096
    assert "4,096" in words
    assert chosen_value({"points": [{"customdata": 2048}]}) == 2048
    for data in ({}, {"points": []}, None, {"points": ["x"]}):
        with pytest.raises(InputError):
            chosen_value(data)
    for value in (12, 10**9, "4096", None, float("nan"), 4096.5):
        with pytest.raises(InputError):
            choose_limit(two_run, value)
