"""The vision tab's attention part."""

from __future__ import annotations

import gradio as gr
import numpy as np
import pytest

import playground
from components.snippets.scripts import write_snippet
from components.tabs.vision import heads
from components.tabs.vision.attention import (
    LOOKS,
    MEAN,
    RECEIVED,
    draw_attention,
    draw_cell,
    draw_maps,
    draw_picture,
    draw_pointed,
)
from components.tabs.vision.focus import choose_patch, point_here
from components.tabs.vision.heads import draw_summary, measure_all, measure_heads
from playground.engine import Engine
from playground.pipeline import Run
from playground.pointer import locate_patch
from playground.records import Picture
from playground.vision.attention import measure_block, patch_attention
from tests.components.html_reader import read_html
from tests.components.runs import ignore_progress, make_run


@pytest.fixture(scope="module")
def run(tiny_random_engine: Engine, picture: Picture, wide_picture: Picture) -> Run:
    run = make_run(tiny_random_engine, "Which?", picture, wide_picture)
    run.ensure("vision")
    return run


def _weights(run: Run, block: int, row: int, column: int) -> np.ndarray:
    tower, span = run.vision.image, run.inputs.spans[1]
    assert tower is not None
    return patch_attention(run.engine, tower, span, block, row, column)


def test_the_picture_says_where_the_pointed_patch_looks(run: Run) -> None:
    place = locate_patch(run.inputs, run.positions, 1, 2, 3)
    picture, *_ = draw_pointed(run, place, 1, 3, 1, LOOKS)
    weights = _weights(run, 3, 2, 3)[1]
    row, column = np.unravel_index(weights.argmax(), weights.shape)
    assert "Block 3, head 1: where the patch at row 2, column 3 looks" in picture
    assert f"row {row}, column {column}, gets {weights.max():.1%}" in picture
    entropy = -(weights * np.log(weights)).sum()
    assert f"Entropy {entropy:.2f} nats" in picture
    page = read_html(picture)
    assert page.find("div", data_span="1")
    assert len(page.find("img", cls="pg-overlay")) == 1
    assert not page.find("rect"), "the page marks what is pointed at"


def test_the_mean_of_the_heads_is_the_first_choice(run: Run) -> None:
    picture, _ = draw_picture(run, 1, 2, MEAN, LOOKS, None)
    span = run.inputs.spans[1]
    weights = _weights(run, 2, span.grid_h // 2, span.grid_w // 2).mean(0)
    assert "the mean of all heads" in picture
    assert f"gets {weights.max():.1%}" in picture
    assert "click" in picture, "nothing is pointed at: it says how to choose"
    mark = {"x": str(span.grid_w // 2), "y": str(span.grid_h // 2)}
    assert read_html(picture).find("rect", **mark), "and where it stands"


def test_every_head_is_shown_in_small(run: Run) -> None:
    _, html, _ = draw_maps(run, 1, 2, MEAN, LOOKS, None)
    captions = [each.text for each in read_html(html).find("figcaption")]
    assert [caption.split(",")[0] for caption in captions] == ["mean", "head 0", "head 1"]
    span = run.inputs.spans[1]
    weights = _weights(run, 2, span.grid_h // 2, span.grid_w // 2)
    assert captions[2].endswith(f"{weights[1].max():.1%}")


def test_attention_received_is_a_choice_of_its_own(run: Run) -> None:
    picture, *_ = draw_maps(run, 0, 1, 0, RECEIVED, None)
    tower = run.vision.image
    assert tower is not None
    received = measure_block(run.engine, tower, run.inputs.spans[0], 1).received[0]
    assert "how much each patch is looked at" in picture
    assert f"gets {received.max():.1%}" in picture
    assert not read_html(picture).find("rect"), "no patch stands for it"
    assert draw_pointed(run, None, 0, 1, 0, RECEIVED) == (gr.skip(),) * 3


def test_a_sample_is_called_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playground.vision.attention, "MAX_LOOKERS", 20)
    picture, *_ = draw_maps(run, 0, 1, 0, RECEIVED, None)
    assert "looked at, by 20 of the 80 patches, evenly spread" in picture


def test_a_click_does_not_start_the_tower(tiny_random_engine: Engine, picture: Picture) -> None:
    run = make_run(tiny_random_engine, "What is this?", picture)
    assert point_here(draw_pointed, 3)(run, None, 0, 1, 0, LOOKS) == (gr.skip(),) * 3
    assert not run.has("vision")


def test_the_controls_fit_the_tower(run: Run) -> None:
    intro, block, head, *_ = draw_attention(run, 0, 99, 99, LOOKS, None)
    assert (block["maximum"], block["value"]) == (3, 3)
    assert [value for _, value in head["choices"]] == [MEAN, 0, 1]
    assert head["value"] == MEAN
    assert "In each of the 4 blocks, 2 heads" in intro


def test_a_cell_of_the_chart_shows_its_head(run: Run) -> None:
    block, head, picture, *_ = draw_cell(run, 3, 1, 0, 0, MEAN, LOOKS, None)
    assert (block, head) == (3, 1)
    assert "Block 3, head 1" in picture


def test_small_grids_are_measured_with_the_run(run: Run) -> None:
    words, button, entropy, distance = draw_summary(run, 0)
    tower, span = run.vision.image, run.inputs.spans[0]
    assert tower is not None
    plain = [measure_block(run.engine, tower, span, block) for block in range(4)]
    np.testing.assert_allclose(entropy.data[0].customdata, [each.entropy for each in plain])
    np.testing.assert_allclose(distance.data[0].z, [each.distance for each in plain])
    assert button["visible"] is False
    near = np.unravel_index(distance.data[0].z.argmin(), (4, 2))
    assert f"most local head is head {near[1]} of block {near[0]}" in words
    assert f"log {span.num_patches}" in words


def test_large_grids_wait_for_a_click(
    run: Run, monkeypatch: pytest.MonkeyPatch, tiny_random_engine: Engine, picture: Picture
) -> None:
    monkeypatch.setattr(heads, "AUTO_SCORES", 10)
    run = make_run(tiny_random_engine, "What is this?", picture)
    words, button, entropy, distance = draw_summary(run, 0)
    assert button["visible"] is True
    assert (entropy, distance) == (None, None)
    steps = list(measure_heads(run, ignore_progress, 0))
    assert len(steps) == 4
    assert "1 of 4 blocks" in steps[0][0]
    assert np.isnan(steps[0][2].data[0].z[1:]).all()
    assert np.isfinite(steps[-1][2].data[0].z).all()
    assert (steps[0][1]["visible"], steps[-1][1]["visible"]) == (True, False)
    # It is kept with the run: drawn at once from now on.
    assert draw_summary(run, 0)[2] is not None


def test_an_unfinished_measurement_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, tiny_random_engine: Engine, picture: Picture
) -> None:
    monkeypatch.setattr(heads, "AUTO_SCORES", 10)
    run = make_run(tiny_random_engine, "What is this?", picture)
    focus = choose_patch(run, 0, None)
    assert focus is not None
    next(measure_all(run, focus))
    assert draw_summary(run, 0)[2] is None


def test_text_alone_has_no_attention(tiny_random_engine: Engine) -> None:
    drawn = draw_attention(make_run(tiny_random_engine, "Hello"), 0, 1, MEAN, LOOKS, None)
    assert drawn[3:7] == ("", "", "", "")
    assert drawn[8:] == (None, None)
    assert list(measure_heads(make_run(tiny_random_engine, "Hello"), ignore_progress, 0)) == []


def test_the_code_is_of_what_is_shown(run: Run) -> None:
    place = locate_patch(run.inputs, run.positions, 1, 2, 3)
    *_, code = draw_maps(run, 1, 3, 1, LOOKS, place)
    chosen = {"span": 1, "patch": (2, 3), "block": 3}
    assert code == write_snippet("vision_attention", run, **chosen, head=1)
    assert draw_picture(run, 1, 3, MEAN, LOOKS, place)[1] == write_snippet(
        "vision_attention", run, **chosen
    )
    *_, code = draw_cell(run, 2, 0, 1, 3, 1, RECEIVED, place)
    chosen = {**chosen, "block": 2, "head": 0, "received": True}
    assert code == write_snippet("vision_attention", run, **chosen)
