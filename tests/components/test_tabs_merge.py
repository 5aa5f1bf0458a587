from __future__ import annotations

import re
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch

from components.engine_host import EngineHost
from components.stage_tab import Section
from components.tabs.merge.deepstack import chosen_html, draw_deepstack
from components.tabs.merge.distances import (
    draw_distances,
    draw_distances_part,
    neighbours_table,
)
from components.tabs.merge.embeddings import draw_embeddings, draw_pca, regions_html
from components.tabs.merge.focus import choose_focus, cut_text
from components.tabs.merge.frequencies import draw_angles, draw_frequencies
from components.tabs.merge.positions import (
    MAX_TABLE_ROWS,
    draw_positions_part,
    follow_pointer,
    positions_table,
)
from components.tabs.merge.tab import build_merge_tab, redraw_followers
from components.tabs.merge.words import jumps_html, parts_table, positions_html
from playground.embed_views import compare_groups, embed_groups
from playground.engine import Engine
from playground.pipeline import Run
from playground.pointer import Place, locate_patch, locate_token
from playground.preprocess import model_kwargs
from playground.records import Clip, Picture
from tests.components.html_reader import read_html
from tests.components.runs import build_alone, draw_tab, make_app, make_run

NAMES = (
    *("intro", "strip", "picture_only", "values", "norms", "pca", "regions", "groups"),
    *("positions_intro", "lines", "space", "jumps", "parts", "first_row", "table"),
    *("distances", "distances_intro", "flat_map", "mrope_map", "neighbours"),
    *("frequencies_intro", "frequencies", "angles", "angles_words"),
    *("deepstack_intro", "routes_only", "routes", "routes_table", "chosen"),
)


def _draw(
    run: Run,
    pointed: Place | None = None,
    quantity: str = "distance",
    pca_of: str = "directions",
) -> dict[str, Any]:
    run.ensure("merge")
    drawn = (
        *draw_embeddings(run, pca_of),
        *draw_positions_part(run, pointed),
        *draw_distances_part(run, pointed, quantity),
        *draw_frequencies(run, pointed),
        *draw_deepstack(run, pointed),
    )
    return dict(zip(NAMES, drawn, strict=True))


@pytest.fixture(scope="module")
def image_run(tiny_random_engine: Engine, picture: Picture) -> Run:
    run = make_run(tiny_random_engine, "What is this?", picture)
    run.ensure("merge")
    return run


@pytest.fixture(scope="module")
def text_run(tiny_random_engine: Engine) -> Run:
    return make_run(tiny_random_engine, "你好，世界")


@pytest.fixture(scope="module")
def long_run(tiny_random_engine: Engine) -> Run:
    run = make_run(tiny_random_engine, "x y " * 400)
    run.ensure("merge")
    return run


@torch.no_grad()
def _plain_decoder_input(run: Run) -> dict[str, Any]:
    """What one plain forward hands to the language model."""
    seen: dict[str, Any] = {}
    model: Any = run.engine.model
    hook = model.model.language_model.register_forward_pre_hook(
        lambda _module, _args, kwargs: seen.update(kwargs), with_kwargs=True
    )
    shared = model.model.rope_deltas
    try:
        model(**model_kwargs(run.inputs))
        seen["rope_deltas"] = model.model.rope_deltas
    finally:
        hook.remove()
        model.model.rope_deltas = shared
    return seen


# ------------------------------------------------------------------------------- the whole tab


def test_the_tab_yields_a_value_for_every_output(image_run: Run) -> None:
    drawn = draw_tab(build_alone(build_merge_tab), image_run)
    assert len(drawn) == len(NAMES) + 1  # the code


def test_every_sentence_is_sound_html(
    image_run: Run, tiny_random_engine: Engine, picture: Picture, clip: Clip
) -> None:
    both = make_run(tiny_random_engine, "<b>Where?</b>", picture, clip=clip)
    for run in (image_run, both):
        for value in _draw(run).values():
            if isinstance(value, str) and value.startswith("<"):
                assert not read_html(value).find("b")


def test_text_alone_says_what_is_skipped(text_run: Run) -> None:
    drawn = _draw(text_run)
    assert "masked_scatter</code> is skipped" in drawn["intro"]
    assert "exactly like plain 1-D" in drawn["positions_intro"]
    assert "nothing to add" in drawn["deepstack_intro"]
    for name in ("picture_only", "distances", "routes_only"):
        assert drawn[name]["visible"] is False
    for name in ("values", "flat_map", "mrope_map", "routes"):
        assert drawn[name] is None
    assert len(drawn["norms"].data) == 1
    assert drawn["lines"].layout.annotations == ()
    assert [trace.name for trace in drawn["pca"].data] == ["text tokens", "special tokens"]


def test_what_only_pictures_have_is_shown_again(image_run: Run) -> None:
    drawn = _draw(image_run)
    for name in ("picture_only", "distances", "routes_only"):
        assert drawn[name]["visible"] is True


# ------------------------------------------------------------------------------- embeddings


def test_the_strip_is_open_to_the_pointer(image_run: Run) -> None:
    page = read_html(_draw(image_run)["strip"])
    (span,) = image_run.inputs.spans
    assert [each for each in page.elements if "data-pointer" in each.attrs]
    assert page.find(data_start=str(span.start), data_end=str(span.end))


def test_values_and_norms_are_those_of_the_decoders_input(image_run: Run) -> None:
    drawn = _draw(image_run)
    embeds = _plain_decoder_input(image_run)["inputs_embeds"][0]
    table: Any = image_run.engine.model.get_input_embeddings()
    plain = table.weight[image_run.inputs.input_ids[0]].detach()
    before, after = drawn["values"].data
    np.testing.assert_allclose(before.z, plain[:, : len(before.z)].T)
    np.testing.assert_allclose(after.z, embeds[:, : len(after.z)].T, atol=1e-6)
    text, pads, features = drawn["norms"].data
    np.testing.assert_allclose(features.y, embeds[features.x.tolist()].norm(dim=-1), rtol=1e-5)
    for part in (text, pads):
        np.testing.assert_allclose(part.y, plain[part.x.tolist()].norm(dim=-1), rtol=1e-5)
    span = image_run.inputs.spans[0]
    assert features.x.tolist() == pads.x.tolist() == list(range(span.start, span.end))


def test_the_scatter_holds_every_token_once(image_run: Run) -> None:
    for shown in ("directions", "embeddings"):
        series = draw_pca(image_run, shown).data
        indices = [
            int(entry[0])
            for trace in series
            if trace.customdata is not None
            for entry in trace.customdata
        ]
        assert sorted(indices) == list(range(image_run.inputs.num_tokens))


def test_directions_forget_the_lengths(image_run: Run) -> None:
    """Along the unit sphere no two points are further apart than its diameter."""
    spread = {
        shown: max(float(np.ptp(trace.x)) for trace in draw_pca(image_run, shown).data)
        for shown in ("directions", "embeddings")
    }
    assert spread["directions"] <= 2 < spread["embeddings"]


def test_regions_are_told_in_this_runs_numbers(image_run: Run) -> None:
    numbers = compare_groups(embed_groups(image_run.inputs, image_run.merged))
    text, image = numbers.names.index("text"), numbers.names.index("image")
    words = regions_html(numbers)
    assert f"{numbers.norms[image] / numbers.norms[text]:.3g} times" in words
    assert f"{numbers.cosines[image, image]:.2f} between two image features" in words
    rows = read_html(_draw(image_run)["groups"]).rows()
    assert [row[0] for row in rows[1:]] == [
        *("text tokens", "special tokens", "placeholder <|image_pad|>", "image features")
    ]
    assert rows[3][1] == "1"
    assert rows[3][5] == "–", "one vector has no cosine with another of its group"


# -------------------------------------------------------------------------------- positions


def test_the_lines_are_the_models_positions(image_run: Run) -> None:
    expected = _plain_decoder_input(image_run)["position_ids"][-3:, 0].numpy()
    lines = {trace.name: trace.y for trace in _draw(image_run)["lines"].data}
    for row, axis in enumerate("thw"):
        np.testing.assert_array_equal(lines[axis], expected[row])


def test_the_3d_chart_holds_every_token(image_run: Run) -> None:
    series = _draw(image_run)["space"].data[:-1]
    drawn = {int(entry[0]): (trace.z[i], trace.y[i], trace.x[i])
             for trace in series for i, entry in enumerate(trace.customdata)}  # fmt: skip
    expected = _plain_decoder_input(image_run)["position_ids"][-3:, 0].T.tolist()
    assert [tuple(map(int, drawn[index])) for index in range(len(expected))] == [
        tuple(row) for row in expected
    ]


def test_the_words_explain_this_runs_rope_deltas(image_run: Run) -> None:
    words = re.sub("<.*?>", "", jumps_html(image_run))
    seen = _plain_decoder_input(image_run)
    delta, seq = int(seen["rope_deltas"]), image_run.inputs.num_tokens
    largest = int(seen["position_ids"].max())
    assert f"rope_deltas = {largest} + 1 − {seq} = −{-delta}." in words
    assert f"index {seq}, gets position {seq + delta}" in words
    span = image_run.inputs.spans[0]
    before_next = int(seen["position_ids"][-3:, 0, : span.end].max())
    assert f"largest position is {before_next}, so the next token gets {before_next + 1}" in words


def test_rope_deltas_of_several_pictures_are_a_sum(
    tiny_random_engine: Engine, picture: Picture, wide_picture: Picture
) -> None:
    run = make_run(tiny_random_engine, "Which?", picture, wide_picture)
    # 4 x 5 and 3 x 7 tokens.
    delta = int(_plain_decoder_input(run)["rope_deltas"])
    assert delta == (5 - 20) + (7 - 21)
    assert f"= −{-delta}, that is (5 − 20) + (7 − 21)." in jumps_html(run)


def test_a_videos_time_is_text(tiny_random_engine: Engine, clip: Clip) -> None:
    run = make_run(tiny_random_engine, "Where?", clip=clip)
    assert "2 pairs of frames" in positions_html(run)
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
    assert f"the first one, index {seq}, gets position {seq}." in words


def test_the_table_has_a_row_for_each_token(image_run: Run) -> None:
    page = read_html(positions_table(image_run))
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
    page = read_html(positions_table(long_run, 100))
    rows = page.rows()[1:]
    assert (rows[0][0], rows[-1][0]) == ("100", str(100 + MAX_TABLE_ROWS - 1))
    assert (
        f"{MAX_TABLE_ROWS} of {total:,} tokens, from token 100 on" in page.find("caption")[0].text
    )
    last = read_html(positions_table(long_run, 10**6)).rows()[-1]
    assert last[0] == f"{total - 1:,}", "never past the end"


def test_the_slider_is_for_long_sequences_alone(image_run: Run, long_run: Run) -> None:
    assert _draw(image_run)["first_row"]["visible"] is False
    slider = _draw(long_run)["first_row"]
    assert slider["visible"] is True
    assert slider["maximum"] == long_run.inputs.num_tokens - MAX_TABLE_ROWS


def test_the_table_goes_where_the_pointer_is(long_run: Run) -> None:
    place = locate_token(long_run.inputs, long_run.positions, 600)
    slider, table = follow_pointer(long_run, place, 0)
    assert read_html(table).find("tr", data_start="600")
    assert slider["value"] == 600 - MAX_TABLE_ROWS // 2
    # Already there: the reader's place in the table is kept.
    assert follow_pointer(long_run, place, 400) == (gr.skip(), gr.skip())
    assert _draw(long_run, place)["first_row"]["value"] == slider["value"]


def test_a_video_is_named_once(tiny_random_engine: Engine, clip: Clip) -> None:
    layout = _draw(make_run(tiny_random_engine, "Where?", clip=clip))["lines"].layout
    assert len(layout.shapes) == 2
    assert [label.text for label in layout.annotations[:-1]] == ["video 1"]


# ----------------------------------------------------------------------- beside 1-D positions


def test_without_a_pointer_the_middle_of_the_first_picture_is_looked_at(
    image_run: Run, text_run: Run
) -> None:
    focus = choose_focus(image_run, None)
    span = image_run.inputs.spans[0]
    assert focus.index == span.start + 2 * 5 + 2
    assert "the middle of image 1" in _draw(image_run)["distances_intro"]
    assert choose_focus(text_run, None).index == text_run.inputs.num_tokens - 1


def test_a_place_of_another_run_is_not_trusted(image_run: Run, long_run: Run) -> None:
    there = locate_token(long_run.inputs, long_run.positions, 500)
    assert choose_focus(image_run, there) == choose_focus(image_run, None)


def test_the_maps_are_distances_from_the_pointed_token(image_run: Run) -> None:
    span = image_run.inputs.spans[0]
    place = locate_patch(image_run.inputs, image_run.positions, 0, 2, 3)  # merged row 1, column 1
    words, flat, mrope, _ = draw_distances(image_run, place, "distance")
    rows, columns = np.indices((4, 5))
    np.testing.assert_array_equal(flat.data[0].z, abs(rows * 5 + columns - 6))
    np.testing.assert_array_equal(mrope.data[0].z, np.maximum(abs(rows - 1), abs(columns - 1)))
    assert "5 positions away" in flat.layout.title.text
    assert f"token {span.start + 6} (image 1)" in words


def test_likeness_is_one_at_the_token_itself(image_run: Run) -> None:
    _, flat, mrope, _ = draw_distances(image_run, None, "likeness")
    for figure in (flat, mrope):
        np.testing.assert_allclose(figure.data[0].z[2, 2], 1)
    assert not np.allclose(flat.data[0].z, mrope.data[0].z)


def test_a_pointed_text_token_is_compared_with_the_nearest_picture(
    tiny_random_engine: Engine, picture: Picture, wide_picture: Picture
) -> None:
    run = make_run(tiny_random_engine, "Which?", picture, wide_picture)
    run.ensure("merge")
    last = locate_token(run.inputs, run.positions, run.inputs.num_tokens - 1)
    _, _, mrope, table = draw_distances(run, last, "distance")
    assert mrope.layout.meta["pointer"] == {"what": "merged", "span": 1}
    span = run.inputs.spans[1]
    gap = run.positions[:, span.start : span.end] - run.positions[:, -1:]
    np.testing.assert_array_equal(mrope.data[0].z.ravel(), abs(gap).max(axis=0))
    (far,) = set(abs(gap).max(axis=0))  # t alone makes it: the same for all
    assert f"the picture is {far} positions away" in mrope.layout.title.text
    assert [row[0] for row in read_html(table).rows()[1:]] == [
        "the token before",
        "the first token of image 1",
    ]


def test_neighbours_by_hand(image_run: Run) -> None:
    page = read_html(neighbours_table(image_run, choose_focus(image_run, None)))
    rows = {row[0]: row[1:] for row in page.rows()}
    index = choose_focus(image_run, None).index
    assert rows["its left neighbour"] == [str(index - 1), "−1", "0", "0", "−1"]
    assert rows["its neighbour below"] == [str(index + 5), "5", "0", "1", "0"]
    # Row 2, column 2 of 4 x 5: 13 tokens back, but 1 + 2 positions; the next token is 5 past.
    assert rows["the text token before the picture"][1:] == ["−13", "−1", "−3", "−3"]
    after = next(row for name, row in rows.items() if name.startswith("the text token after"))
    assert after[1:] == ["8", "5", "3", "3"]


def test_a_corner_has_fewer_neighbours(image_run: Run) -> None:
    place = locate_patch(image_run.inputs, image_run.positions, 0, 0, 0)
    page = read_html(neighbours_table(image_run, choose_focus(image_run, place)))
    assert [row[0] for row in page.rows()[1:3]] == ["its right neighbour", "its neighbour below"]


# ------------------------------------------------------------------------ angles and DeepStack


@torch.no_grad()
def test_angles_are_the_models_own(image_run: Run) -> None:
    place = locate_patch(image_run.inputs, image_run.positions, 0, 7, 9)
    figure, words = draw_angles(image_run, place)
    rotary: Any = image_run.engine.model.model.language_model.rotary_emb
    cos, sin = rotary(torch.zeros(1), torch.from_numpy(image_run.positions)[:, None])
    count = cos.shape[-1] // 2
    own = torch.rad2deg(torch.atan2(sin, cos))[0, place.index, :count].numpy() % 360
    drawn = np.zeros(count)
    for trace in figure.data[1:]:
        drawn[trace.x] = trace.y
    np.testing.assert_allclose(drawn, own, atol=0.01)
    plain = place.index * rotary.inv_freq.numpy()
    np.testing.assert_allclose(figure.data[0].y, np.degrees(plain) % 360, atol=0.01)
    t, h, w = place.thw
    assert f"stands at t {t}, h {h}, w {w}" in words
    assert f"frequency 1 by h: {h} × {rotary.inv_freq[1]:.3g} rad" in words


def test_text_before_any_picture_is_turned_as_by_plain_rope(image_run: Run) -> None:
    _, words = draw_angles(image_run, locate_token(image_run.inputs, image_run.positions, 1))
    assert "turn it just the same" in words


def test_frequencies_are_counted_as_the_config_says(image_run: Run) -> None:
    drawn = _draw(image_run)
    t, h, w = image_run.engine.facts.mrope_section
    assert f"{t} turn with t, {h} with h and {w} with w" in drawn["frequencies_intro"]
    assert [len(trace.x) for trace in drawn["frequencies"].data] == [t, h, w]


def test_deepstack_names_blocks_layers_and_rows(image_run: Run) -> None:
    drawn = _draw(image_run)
    mask = _plain_decoder_input(image_run)["visual_pos_masks"][0]
    visual = int(mask.sum())
    assert f"to the {visual} visual positions" in drawn["deepstack_intro"]
    assert "tap 2, after vision block 1, is added after decoder layer 1" in drawn["deepstack_intro"]
    for trace in drawn["routes"].data:
        np.testing.assert_array_equal(np.isfinite(trace.z[0]), mask.numpy())
    rows = read_html(drawn["routes_table"]).rows()
    assert [row[0] for row in rows[1:]] == ["merger", "tap 1", "tap 2", "tap 3"]
    assert all(row[3] == str(visual) for row in rows[1:])
    assert "row 12 of each of the 3" in drawn["chosen"]
    first = locate_token(image_run.inputs, image_run.positions, 0)
    assert "no tap adds anything" in chosen_html(image_run, first)


# ------------------------------------------------------------------------------ the pointer


def _echo(*controls: Any, outputs: int) -> Section:
    """A follower that shows what it was given, once for every output."""
    return Section(controls, (None,) * outputs, lambda _run, *given: (given,) * outputs)  # type: ignore[arg-type]


def test_each_follower_gets_the_place_and_its_own_values(image_run: Run) -> None:
    followers = (_echo("a", outputs=1), _echo(outputs=1), _echo("b", "c", outputs=2))
    place = locate_token(image_run.inputs, image_run.positions, 3)
    drawn = redraw_followers(followers, image_run, place, 1, 2, 3)
    assert drawn == ((place, 1), (place,), (place, 2, 3), (place, 2, 3))


def test_a_click_never_runs_the_model(tiny_random_engine: Engine, picture: Picture) -> None:
    run = make_run(tiny_random_engine, "What?", picture)
    place = locate_token(run.inputs, run.positions, 3)
    assert redraw_followers((_echo(outputs=3),), run, place) == (gr.skip(),) * 3
    assert not run.has("vision")


def test_a_click_on_text_alone_leaves_the_hidden_maps_empty(text_run: Run) -> None:
    place = locate_token(text_run.inputs, text_run.positions, 1)
    assert draw_distances(text_run, place, "distance") == ("", None, None, "")


def test_one_click_is_one_request() -> None:
    """All followers hang on one event, besides the page's own."""
    with gr.Blocks(analytics_enabled=False) as demo:
        app = make_app(EngineHost("tiny"))
        build_merge_tab(app)
    (event,) = [each for each in demo.fns.values() if (app.pointer._id, "select") in each.targets]
    assert len(event.outputs) == 9


@pytest.mark.parametrize(
    ("text", "cut"), [("abcdefgh", "abcdefgh"), ("abcdefghi", "abc…fghi"), ("a b", "a␣b")]
)
def test_long_texts_keep_both_ends(text: str, cut: str) -> None:
    assert cut_text(text, 8) == cut
