"""From pixels to rows: the new size, the order of the rows, and the values of one row."""

from __future__ import annotations

import numpy as np
import pytest

from components.tabs.preprocess import rows as rows_part
from components.tabs.preprocess.patch_rows import (
    MAX_LISTED,
    listed_rows,
    numbered_image_html,
    row_list_html,
)
from components.tabs.preprocess.rows import IMAGE, chosen_patch
from playground.engine import Engine
from playground.pipeline import Run
from playground.pointer import locate_patch, locate_token, patch_rows
from playground.preprocess.stage import unpatchify
from playground.records import VisualSpan
from tests.components.html_reader import read_html
from tests.components.runs import make_run
from tests.media_samples import make_image, make_video

# -------------------------------------------------------------------------------- the new size


def test_the_arithmetic_is_written_out(tiny_random_engine: Engine) -> None:
    run = make_run(tiny_random_engine, "a", make_image(640, 480))
    page = read_html(rows_part.sizes(run))
    rows = {row[0]: row[1:] for row in page.rows()[1:]}
    assert rows["Original size"] == ["640 × 480", "640", "480", "307,200"]
    assert rows["Rounded to multiples"] == ["round(side / 32) × 32", "640", "480", "307,200"]
    assert rows["Above max: shrunk"][0] == "β = √(640 × 480 / 50,176) = 2.4744"
    assert rows["Rounded to multiples within the limit"] == [
        "floor(side / β / 32) × 32",
        "256",
        "192",
        "49,152",
    ]
    assert rows["Patches"][1:] == ["16", "12", "192 rows"]
    assert rows["Tokens"][1:] == ["8", "6", "48 tokens"]
    assert "aspect ratio does not change" in page.find("p")[0].text


def test_the_arithmetic_of_a_video_counts_all_frames(tiny_random_engine: Engine) -> None:
    video = make_video(num_frames=5, width=320, height=200)
    run = make_run(tiny_random_engine, "a", video=video, max_pixels=80_000)
    page = read_html(rows_part.sizes(run))
    rows = {row[0]: row[1:] for row in page.rows()[1:]}
    facts = run.inputs.media[0]
    assert rows["Original size"][0] == "320 × 200 × 5 frames"
    assert rows["Rounded to multiples; 4 frames (a multiple of 2)"][-1] == f"{320 * 192 * 4:,}"
    assert rows["Tokens × 3 temporal patches"][-1] == f"{facts.num_tokens:,} tokens"


# ------------------------------------------------------------------------------ rows and patches


def test_each_patch_carries_the_number_of_its_row(two_run: Run) -> None:
    inputs = two_run.inputs
    span = inputs.spans[1]
    source = numbered_image_html(inputs, 1, unpatchify(inputs, span)[0])
    page = read_html(source)
    numbers = patch_rows(span)
    texts = page.find("text")
    assert len(texts) == span.num_patches
    for each in texts:
        column, row = int(float(each.attrs["x"])), int(float(each.attrs["y"]))
        assert int(each.text) == numbers[row, column]
    assert page.find("div", "pg-picture-frame")[0].attrs["data-span"] == "1"
    assert "div" in page.find("svg", "pg-numbers")[0].parents  # over the image, in its frame


def test_the_list_of_rows_points_at_their_patches(two_run: Run) -> None:
    inputs = two_run.inputs
    span = inputs.spans[1]
    page = read_html(row_list_html(inputs, 1, unpatchify(inputs, span)[0], span.patch_start))
    numbers = patch_rows(span)
    items = page.find("li")
    assert len(items) == span.num_patches
    for each in items:
        selection = int(each.attrs["data-row"]), int(each.attrs["data-column"])
        assert each.attrs["data-span"] == "1"
        assert each.text.startswith(str(numbers[selection]))
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
    selection = locate_patch(inputs, two_run.positions, 1, 2, 3)
    words = rows_part.chosen(two_run, 1, selection)
    number = int(patch_rows(inputs.spans[1])[2, 3])
    assert f"Row {number} of pixel_values" in words
    assert "No patch of this image is selected" not in words
    values = inputs.pixel_values
    assert values is not None
    row, patch = rows_part.row(two_run, 1, selection), rows_part.patch(two_run, 1, selection)
    np.testing.assert_array_equal(np.concatenate([t.y for t in row.data]), values[number].numpy())
    assert patch.layout.title.text.startswith(f"Row {number}:")


def test_without_a_selection_the_middle_patch_is_taken(two_run: Run) -> None:
    inputs = two_run.inputs
    elsewhere = locate_patch(inputs, two_run.positions, 0, 0, 0)
    for selection in (None, elsewhere, locate_token(inputs, two_run.positions, 0)):
        words = rows_part.chosen(two_run, 1, selection)
        span = inputs.spans[1]
        assert f"row {span.grid_h // 2}, column {span.grid_w // 2}" in words
        assert "this is the middle one" in words


def test_a_token_stands_for_its_first_patch(two_run: Run) -> None:
    span = two_run.inputs.spans[0]
    selection = locate_token(two_run.inputs, two_run.positions, span.start + 1)
    assert chosen_patch(span, 0, selection) == (0, 2)


def test_values_before_and_after_are_counted_for_the_chosen_image(two_run: Run) -> None:
    for number in (0, 1):
        span = two_run.inputs.spans[number]
        pixels = unpatchify(two_run.inputs, span)[0]
        before, after = rows_part.before(two_run, number), rows_part.after(two_run, number)
        for channel, (bars, values) in enumerate(zip(before.data, after.data, strict=True)):
            shares = np.histogram(pixels[..., channel], bins=64, range=(-0.5, 255.5))[0]
            shares = 100 * shares / pixels[..., channel].size
            np.testing.assert_allclose(bars.y, shares, rtol=1e-5)
            np.testing.assert_allclose(values.y, shares, rtol=1e-5)


def test_an_image_is_one_of_the_runs(two_run: Run, text_run: Run) -> None:
    spec = IMAGE.spec(two_run)
    assert spec is not None
    assert spec["value"] == 0
    assert spec["options"] == [["image 1", 0], ["image 2", 1]]
    assert IMAGE.parse(None, two_run) == 0
    assert IMAGE.parse(1, two_run) == 1
    assert IMAGE.parse(7, two_run) == 0  # from a run with more images
    assert IMAGE.spec(text_run) is None
    assert not rows_part.PART.shown(text_run)  # type: ignore[misc]
