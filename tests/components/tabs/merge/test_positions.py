"""The three axes of M-RoPE positions."""

from __future__ import annotations

import re

import numpy as np
import pytest

from components.tabs.merge import positions
from components.tabs.merge.positions import FIRST_ROW, MAX_TABLE_ROWS
from components.tabs.merge.words import jumps_html, parts_table, positions_html
from playground.engine import Engine
from playground.errors import InputError
from playground.pipeline import Run
from playground.pointer import locate_token
from playground.prompt import PromptImage, PromptVideo
from tests.components.html_reader import read_html
from tests.components.runs import make_run
from tests.components.tabs.merge.merged import plain_decoder_input


def test_the_lines_are_the_models_positions(image_run: Run) -> None:
    expected = plain_decoder_input(image_run)["position_ids"][-3:, 0].numpy()
    lines = {trace.name: trace.y for trace in positions.lines(image_run).data}
    for row, axis in enumerate("thw"):
        np.testing.assert_array_equal(lines[axis], expected[row])


def test_the_3d_chart_holds_every_token(image_run: Run) -> None:
    series = positions.space(image_run).data[:-1]
    drawn = {int(entry[0]): (trace.z[i], trace.y[i], trace.x[i])
             for trace in series for i, entry in enumerate(trace.customdata)}  # fmt: skip
    expected = plain_decoder_input(image_run)["position_ids"][-3:, 0].T.tolist()
    assert [tuple(map(int, drawn[index])) for index in range(len(expected))] == [
        tuple(row) for row in expected
    ]


def test_the_words_explain_this_runs_rope_deltas(image_run: Run) -> None:
    words = re.sub("<.*?>", "", jumps_html(image_run))
    seen = plain_decoder_input(image_run)
    delta, seq = int(seen["rope_deltas"]), image_run.inputs.num_tokens
    largest = int(seen["position_ids"].max())
    assert f"rope_deltas = {largest} + 1 − {seq} = −{-delta}." in words
    assert f"index {seq}, gets position {seq + delta}" in words
    span = image_run.inputs.spans[0]
    before_next = int(seen["position_ids"][-3:, 0, : span.end].max())
    assert f"largest position is {before_next}, so the next token gets {before_next + 1}" in words


def test_rope_deltas_of_several_images_are_a_sum(
    tiny_random_engine: Engine, image: PromptImage, wide_image: PromptImage
) -> None:
    run = make_run(tiny_random_engine, "Which?", image, wide_image)
    # 4 x 5 and 3 x 7 tokens.
    delta = int(plain_decoder_input(run)["rope_deltas"])
    assert delta == (5 - 20) + (7 - 21)
    assert f"= −{-delta}, that is (5 − 20) + (7 − 21)." in jumps_html(run)


def test_a_videos_time_is_text(tiny_random_engine: Engine, video: PromptVideo) -> None:
    run = make_run(tiny_random_engine, "Where?", video=video)
    assert "2 temporal patches" in positions_html(run)
    rows = read_html(parts_table(run)).rows()
    frames = [row for row in rows if row[1].startswith("video 1")]
    assert len(frames) == 2
    before = rows[rows.index(frames[1]) - 1]
    assert "seconds>" in before[1], "each pair of frames has its timestamp before it"


def test_parts_add_up_to_rope_deltas(image_run: Run) -> None:
    page = read_html(parts_table(image_run))
    rows = page.rows()
    span = image_run.inputs.spans[0]
    assert rows[2][0] == f"{span.start}–{span.end - 1}"
    start = span.start
    assert rows[2][2:] == [
        *(str(start), f"{start}–{start + 3}", f"{start}–{start + 4}", "5", "20", "−15")
    ]
    assert rows[-1][-1] == f"−{-int(image_run.merged.rope_deltas)}"
    assert page.find("tr", data_start=str(span.start), data_end=str(span.end))


def test_text_moves_on_by_its_index(text_run: Run) -> None:
    words = re.sub("<.*?>", "", jumps_html(text_run))
    seq = text_run.inputs.num_tokens
    assert "rope_deltas is 0, so a generated token’s position is its index" in words
    assert f"the first one, at index {seq}, gets position {seq}." in words


def test_the_table_has_a_row_for_each_token(image_run: Run) -> None:
    page = read_html(positions.table(image_run, None, None))
    rows = page.rows()[1:]
    assert len(rows) == image_run.inputs.num_tokens
    t, h, w = image_run.merged.position_ids[:, 0].tolist()
    last = image_run.inputs.num_tokens - 1
    assert rows[-1][0] == str(last)
    assert [int(cell) for cell in rows[-1][3:]] == [t[-1], h[-1], w[-1]]
    assert rows[0][1] == "<|im_start|>"
    assert page.find("tr", data_start=str(last), data_end=str(last + 1))


def test_a_long_table_starts_where_one_wants(long_run: Run) -> None:
    total = long_run.inputs.num_tokens
    page = read_html(positions.table(long_run, 100, None))
    rows = page.rows()[1:]
    assert (rows[0][0], rows[-1][0]) == ("100", str(100 + MAX_TABLE_ROWS - 1))
    caption = page.find("caption")[0].text
    assert f"{MAX_TABLE_ROWS} of {total:,} tokens, starting at token 100" in caption
    end = FIRST_ROW.parse(total - MAX_TABLE_ROWS, long_run)
    last = read_html(positions.table(long_run, end, None)).rows()[-1]
    assert last[0] == f"{total - 1:,}"
    with pytest.raises(InputError):
        FIRST_ROW.parse(total - MAX_TABLE_ROWS + 1, long_run)


def test_the_slider_is_for_long_sequences_alone(image_run: Run, long_run: Run) -> None:
    assert FIRST_ROW.spec(image_run) is None
    spec = FIRST_ROW.spec(long_run)
    assert spec is not None
    assert spec["high"] == long_run.inputs.num_tokens - MAX_TABLE_ROWS


def test_the_table_goes_where_the_pointer_is_until_it_is_moved(long_run: Run) -> None:
    selection = locate_token(long_run.inputs, long_run.positions, 600)
    rows = read_html(positions.table(long_run, None, selection)).rows()[1:]
    assert rows[0][0] == str(600 - MAX_TABLE_ROWS // 2)
    rows = read_html(positions.table(long_run, 100, selection)).rows()[1:]
    assert rows[0][0] == "100"


def test_a_video_is_named_once(tiny_random_engine: Engine, video: PromptVideo) -> None:
    layout = positions.lines(make_run(tiny_random_engine, "Where?", video=video)).layout
    assert len(layout.shapes) == 2
    assert [label.text for label in layout.annotations[:-1]] == ["video 1"]
