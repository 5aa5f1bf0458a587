"""The vision tab as a whole, and its blocks."""

from __future__ import annotations

from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch

from components.charts.vision import state_words
from components.tabs.stage_tab import StageTab
from components.tabs.vision.blocks import (
    PLAY,
    STOP,
    draw_blocks,
    draw_maps,
    draw_pca,
    draw_pointed,
    draw_state,
    play_on,
    toggle_play,
)
from components.tabs.vision.focus import point_here
from components.tabs.vision.pictures import OWN, SHARED, STATE, source_choices
from components.tabs.vision.tab import build_vision_tab, draw_header, facts_html, follow_picture
from playground.engine import Engine
from playground.pipeline import Run
from playground.pointer import Place, locate_patch, locate_token, patch_rows, patch_tokens
from playground.records import Clip, Picture
from tests.components.html_reader import read_html
from tests.components.runs import build_alone, draw_tab, make_run
from tests.components.views.test_pictures import decode

NAMES = ("state", "source", "picture", "pca", "similarity", "norms", "summary", "code")


def _draw(
    run: Run,
    state: int | None = 4,
    span: int | None = 0,
    source: str = STATE,
    place: Place | None = None,
) -> dict[str, Any]:
    """What the blocks' section shows, by output."""
    return dict(zip(NAMES, draw_blocks(run, span, state, source, OWN, place), strict=True))


@pytest.fixture(scope="module")
def image_run(tiny_random_engine: Engine, picture: Picture) -> Run:
    run = make_run(tiny_random_engine, "What is this?", picture)
    run.ensure("vision")
    return run


@pytest.fixture(scope="module")
def pair_run(tiny_random_engine: Engine, picture: Picture, wide_picture: Picture) -> Run:
    run = make_run(tiny_random_engine, "Which?", picture, wide_picture)
    run.ensure("vision")
    return run


@pytest.fixture(scope="module")
def tab() -> StageTab:
    return build_alone(build_vision_tab)


@torch.no_grad()
def _plain_states(run: Run) -> list[torch.Tensor]:
    """The tower's states by plain transformers and hooks of our own."""
    visual: Any = run.engine.model.model.visual
    states: list[torch.Tensor] = []
    hooks = [
        block.register_forward_pre_hook(lambda _module, args: states.append(args[0]))
        for block in visual.blocks
    ]
    try:
        output = visual(run.inputs.pixel_values, grid_thw=run.inputs.image_grid_thw)
    finally:
        for hook in hooks:
            hook.remove()
    return [*states, output.last_hidden_state]


def _point(run: Run, span: int, row: int, column: int) -> Place:
    return locate_patch(run.inputs, run.positions, span, row, column)


# -------------------------------------------------------------------------------- the blocks


@pytest.mark.parametrize("state", [0, 2, 4])
def test_the_heat_map_holds_the_models_norms(image_run: Run, state: int) -> None:
    expected = _plain_states(image_run)[state].norm(dim=-1).numpy()
    span = image_run.inputs.spans[0]
    heat_map = _draw(image_run, state)["norms"].data[0]
    np.testing.assert_allclose(heat_map.z, expected[patch_rows(span)], rtol=1e-6)
    np.testing.assert_array_equal(heat_map.customdata, patch_tokens(span))


def test_the_summary_follows_the_models_states(image_run: Run) -> None:
    norms = torch.stack(_plain_states(image_run)).norm(dim=-1)
    lines = {trace.name: trace.y for trace in _draw(image_run)["summary"].data}
    np.testing.assert_allclose(lines["largest"], norms.amax(-1), rtol=1e-6)
    np.testing.assert_allclose(lines["smallest"], norms.amin(-1), rtol=1e-6)
    np.testing.assert_allclose(lines["median"], np.median(norms, axis=-1), rtol=1e-6)


def test_the_slider_fits_the_tower(image_run: Run) -> None:
    depth = image_run.engine.facts.vision_depth
    drawn = _draw(image_run, state=99)
    assert (drawn["state"]["maximum"], drawn["state"]["value"]) == (depth, depth)
    assert f"after {depth} of {depth} blocks" in drawn["norms"].layout.title.text
    assert _draw(image_run, state=None)["state"]["value"] == 0


def test_the_slider_redraws_the_state_and_nothing_else(image_run: Run) -> None:
    first, other = (draw_state(image_run, 0, state, OWN, None) for state in (1, 2))
    assert len(first) == 5
    source, pca, similarity, norms, code = first
    assert source == STATE, "the slider is about the patches"
    assert "states[1]" in code
    assert pca != other[1]
    assert similarity != other[2]
    assert not np.array_equal(norms.data[0].z, other[3].data[0].z)
    assert "after 1 of 4 blocks" in pca


def test_the_caption_says_how_much_the_colours_show(image_run: Run) -> None:
    rows = torch.from_numpy(patch_rows(image_run.inputs.spans[0]).ravel())
    features = _plain_states(image_run)[2][rows]
    variance = np.linalg.svd((features - features.mean(0)).numpy(), compute_uv=False) ** 2
    share = variance[:3].sum() / variance.sum()
    pca = draw_pca(image_run, 0, 2, STATE, OWN)
    assert f"three colours show {share:.0%} of the variance" in pca
    assert "fitted to this map alone" in pca


def test_one_basis_for_all_blocks_is_a_choice(image_run: Run) -> None:
    alone, shared = (draw_pca(image_run, 0, 2, STATE, basis) for basis in (OWN, SHARED))
    assert alone != shared
    assert "fitted to all blocks together" in shared
    # A tap's features live in a space of their own.
    assert "has one of its own" in draw_pca(image_run, 0, 2, "tap 1", SHARED)


def test_the_similarity_map_is_that_of_the_pointed_patch(image_run: Run) -> None:
    span = image_run.inputs.spans[0]
    features = _plain_states(image_run)[3][torch.from_numpy(patch_rows(span))]
    cosines = torch.nn.functional.cosine_similarity(features, features[1, 2], dim=-1).numpy()
    html = draw_pointed(image_run, _point(image_run, 0, 1, 2), 0, 3, STATE)
    assert "the patch at row 1, column 2" in html
    assert f"above {np.median(cosines):.2f}" in html
    assert f"cosine {cosines.min():.2f}" in html
    pixels = decode(read_html(html).find("img")[0].attrs["src"])
    assert pixels.shape[:2] == (span.grid_h, span.grid_w)
    # The scale runs from dark blue to yellow, so red and green together grow with the cosine.
    brightness = pixels.astype(int) @ [1, 3, 0]
    order = np.argsort(cosines.ravel())
    assert (np.diff(brightness.ravel()[order]) >= -4).all()
    assert brightness[1, 2] == brightness.max()


def test_without_a_pointer_the_middle_patch_is_looked_at(image_run: Run) -> None:
    span = image_run.inputs.spans[0]
    words = f"row {span.grid_h // 2}, column {span.grid_w // 2}"
    assert words in _draw(image_run)["similarity"]
    assert "click" in _draw(image_run)["similarity"]
    token = locate_token(image_run.inputs, image_run.positions, span.start + 1)
    assert "row 0, column 2" in _draw(image_run, place=token)["similarity"]


def test_a_place_in_another_picture_is_not_taken_for_one_here(pair_run: Run) -> None:
    drawn = _draw(pair_run, span=0, place=_point(pair_run, 1, 0, 0))
    assert "row 0, column 0" not in drawn["similarity"]


def test_a_click_does_not_start_the_tower(tiny_random_engine: Engine, picture: Picture) -> None:
    run = make_run(tiny_random_engine, "What is this?", picture)
    assert point_here(draw_pointed, 1)(run, None, 0, 2, STATE) == gr.skip()
    assert not run.has("vision")


def test_a_click_on_another_picture_chooses_it(pair_run: Run) -> None:
    """The chooser's change draws the parts; what follows the pointer leaves that to it."""
    place = _point(pair_run, 1, 0, 0)
    assert follow_picture(pair_run, place, 0) == 1
    assert follow_picture(pair_run, place, 1) == gr.skip()
    assert follow_picture(pair_run, None, 0) == gr.skip()
    text = locate_token(pair_run.inputs, pair_run.positions, 0)
    assert follow_picture(pair_run, text, 0) == gr.skip()
    redraw = point_here(draw_pointed, 1)
    assert redraw(pair_run, place, 0, 2, STATE) == gr.skip()
    assert "row 0, column 0" in redraw(pair_run, place, 1, 2, STATE)


@pytest.mark.parametrize("source", ["tap 1", "tap 3", "merger"])
def test_taps_and_merger_have_the_same_views(image_run: Run, source: str) -> None:
    tower, span = image_run.vision.image, image_run.inputs.spans[0]
    assert tower is not None
    stack = {"tap 1": tower.deepstack_features[0], "tap 3": tower.deepstack_features[2]}
    expected = stack.get(source, tower.pooler_output).norm(dim=-1)
    pca, similarity, norms, _ = draw_maps(image_run, 0, 2, source, OWN, None)
    np.testing.assert_allclose(norms.data[0].z.ravel(), expected, rtol=1e-6)
    tokens = np.arange(span.start, span.end).reshape(span.merged_h, span.merged_w)
    np.testing.assert_array_equal(norms.data[0].customdata, tokens)
    for html in (pca, similarity):
        image = read_html(html).find("img")[0].attrs
        assert (image["width"], image["height"]) == (str(span.merged_w), str(span.merged_h))
    assert "the token of the patch" in similarity


def test_the_embedding_can_be_seen_before_its_position(image_run: Run) -> None:
    tower, span = image_run.vision.image, image_run.inputs.spans[0]
    assert tower is not None
    norms = draw_maps(image_run, 0, 2, "embedding", OWN, None)[2]
    plain = tower.patch_embeds.norm(dim=-1).numpy()[patch_rows(span)]
    np.testing.assert_allclose(norms.data[0].z, plain, rtol=1e-6)
    assert "before the position is added" in norms.layout.title.text


def test_every_source_can_be_chosen(image_run: Run) -> None:
    choices = source_choices(image_run.engine.facts)
    assert [value for _, value in choices] == [
        STATE, "embedding", "tap 1", "tap 2", "tap 3", "merger",
    ]  # fmt: skip
    assert _draw(image_run, source="tap 2")["source"]["value"] == "tap 2"
    # One left over from a tower with more taps.
    assert _draw(image_run, source="tap 9")["source"]["value"] == STATE


def test_pictures_of_the_whole_follow_the_pointer(pair_run: Run) -> None:
    drawn = _draw(pair_run, span=1)
    for name in ("picture", "pca", "similarity"):
        assert read_html(drawn[name]).find("div", data_span="1"), name
    assert drawn["norms"].layout.meta["pointer"]["span"] == 1


# ------------------------------------------------------------------------------------- play


def test_playing_stops_on_the_last_block(image_run: Run) -> None:
    timer, button, state, *_ = play_on(image_run, 0, 2, OWN, None)
    # A tick that was on its way when Stop was pressed must not start it again.
    assert (timer, button, state) == (gr.skip(), gr.skip(), 3)
    timer, button, state, _, pca, *_ = play_on(image_run, 0, 3, OWN, None)
    assert (timer.active, button, state) == (False, PLAY, 4)
    assert state_words(4, 4) in pca
    timer, button, state, *_ = play_on(image_run, 0, 4, OWN, None)
    assert (timer.active, button, state) == (False, PLAY, gr.skip())


def test_the_button_starts_and_stops(image_run: Run, tiny_random_engine: Engine) -> None:
    timer, button, state, *_ = toggle_play(image_run, PLAY, 0, 2, OWN, None)
    assert (timer.active, button, state) == (True, STOP, gr.skip())
    timer, button, state, _, pca, *_ = toggle_play(image_run, PLAY, 0, 4, OWN, None)
    assert (timer.active, button, state) == (True, STOP, 0), "from the end it starts over"
    assert state_words(0, 4) in pca
    timer, button, state, *_ = toggle_play(image_run, STOP, 0, 4, OWN, None)
    assert (timer.active, button, state) == (False, PLAY, gr.skip())
    words = make_run(tiny_random_engine, "Hello")
    words.ensure("vision")
    assert toggle_play(words, PLAY, 0, 2, OWN, None)[0].active is False
    assert play_on(words, 0, 2, OWN, None)[0].active is False


# ---------------------------------------------------------------------------- the whole tab


def test_one_picture_needs_no_chooser(image_run: Run) -> None:
    assert draw_header(image_run, 0)[2]["visible"] is False


def test_each_picture_can_be_chosen(pair_run: Run) -> None:
    chooser = draw_header(pair_run, 1)[2]
    assert chooser["choices"] == [("image 1", 0), ("image 2", 1)]
    assert (chooser["visible"], chooser["value"]) == (True, 1)
    drawn = _draw(pair_run, span=1)
    grid = tuple(pair_run.inputs.image_grid_thw[1, 1:].tolist())
    assert drawn["norms"].data[0].z.shape == grid
    assert "image 2" in drawn["picture"]
    # A choice left over from a run with more pictures falls back to one that is there.
    assert draw_header(pair_run, 7)[2]["value"] == 1


def test_the_frames_of_a_video_can_be_chosen(tiny_random_engine: Engine, clip: Clip) -> None:
    run = make_run(tiny_random_engine, "Where does it go?", clip=clip)
    names = [name for name, _ in draw_header(run, 0)[2]["choices"]]
    times = run.inputs.media[0].timestamps
    assert names == [f"video 1, {time:.1f} s" for time in times]
    assert len(names) == 2  # four frames, two to a temporal patch
    assert "get_video_features" in _draw(run, 0, 1)["code"]


def test_facts_are_this_runs_numbers(image_run: Run) -> None:
    words = facts_html(image_run)
    patches = int(image_run.inputs.image_grid_thw.prod())
    assert f"{patches} patches of 16 × 16 pixels" in words
    assert f"{patches // 4} tokens" in words
    assert "after blocks 0, 1, 2 (counted from 0)" in words


def test_text_alone_gets_a_sentence_and_no_charts(tiny_random_engine: Engine) -> None:
    run = make_run(tiny_random_engine, "Hello")
    words, body, chooser = draw_header(run, 0)
    assert "no picture" in words
    assert body["visible"] is False
    assert chooser["visible"] is False
    drawn = _draw(run)
    assert drawn["norms"] is None
    assert drawn["pca"] == ""


def test_the_tab_yields_a_value_for_every_output(
    tab: StageTab, tiny_random_engine: Engine, pair_run: Run
) -> None:
    for run in (make_run(tiny_random_engine, "Hello"), pair_run):
        drawn = draw_tab(tab, run)
        assert set(drawn) == {*tab.outputs, *(each for part in tab.parts for each in part.outputs)}
