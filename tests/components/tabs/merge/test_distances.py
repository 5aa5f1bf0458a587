"""Distances beside 1-D positions, angles and DeepStack."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from components.tabs.merge import deepstack, distances, frequencies
from components.tabs.merge.focus import choose_focus
from playground.engine import Engine
from playground.pipeline import Run
from playground.pointer import locate_patch, locate_token
from playground.prompt import PromptImage
from tests.components.html_reader import read_html
from tests.components.runs import make_run
from tests.components.tabs.merge.merged import plain_decoder_input

MAPS = (distances.flat, distances.mrope)

# ----------------------------------------------------------------------- beside 1-D positions


def test_without_a_pointer_the_middle_of_the_first_image_is_looked_at(
    image_run: Run, text_run: Run
) -> None:
    focus = choose_focus(image_run, None)
    span = image_run.inputs.spans[0]
    assert focus.index == span.start + 2 * 5 + 2
    assert "the middle of image 1" in distances.intro(image_run, None)
    assert choose_focus(text_run, None).index == text_run.inputs.num_tokens - 1


def test_a_selection_of_another_run_is_not_trusted(image_run: Run, long_run: Run) -> None:
    there = locate_token(long_run.inputs, long_run.positions, 500)
    assert choose_focus(image_run, there) == choose_focus(image_run, None)


def test_the_maps_are_distances_from_the_pointed_token(image_run: Run) -> None:
    span = image_run.inputs.spans[0]
    selection = locate_patch(
        image_run.inputs, image_run.positions, 0, 2, 3
    )  # merged row 1, column 1
    words = distances.intro(image_run, selection)
    flat, mrope = (draw(image_run, "distance", selection) for draw in MAPS)
    rows, columns = np.indices((4, 5))
    np.testing.assert_array_equal(flat.data[0].z, abs(rows * 5 + columns - 6))
    np.testing.assert_array_equal(mrope.data[0].z, np.maximum(abs(rows - 1), abs(columns - 1)))
    assert "5 positions away" in flat.layout.title.text
    assert f"token {span.start + 6} (image 1)" in words


def test_likeness_is_one_at_the_token_itself(image_run: Run) -> None:
    flat, mrope = (draw(image_run, "likeness", None) for draw in MAPS)
    for figure in (flat, mrope):
        np.testing.assert_allclose(figure.data[0].z[2, 2], 1)
    assert not np.allclose(flat.data[0].z, mrope.data[0].z)


def test_a_pointed_text_token_is_compared_with_the_nearest_image(
    tiny_random_engine: Engine, image: PromptImage, wide_image: PromptImage
) -> None:
    run = make_run(tiny_random_engine, "Which?", image, wide_image)
    run.ensure("merge")
    last = locate_token(run.inputs, run.positions, run.inputs.num_tokens - 1)
    mrope = distances.mrope(run, "distance", last)
    table = distances.neighbours(run, last)
    assert mrope.layout.meta["pointer"] == {"what": "merged", "span": 1}
    span = run.inputs.spans[1]
    gap = run.positions[:, span.start : span.end] - run.positions[:, -1:]
    np.testing.assert_array_equal(mrope.data[0].z.ravel(), abs(gap).max(axis=0))
    (far,) = set(abs(gap).max(axis=0))  # t alone makes it: the same for all
    assert f"the image is {far} positions away" in mrope.layout.title.text
    assert [row[0] for row in read_html(table).rows()[1:]] == [
        "the previous token",
        "the first token of image 1",
    ]


def test_neighbours_by_hand(image_run: Run) -> None:
    page = read_html(distances.neighbours(image_run, None))
    rows = {row[0]: row[1:] for row in page.rows()}
    index = choose_focus(image_run, None).index
    assert rows["its left neighbour"] == [str(index - 1), "−1", "0", "0", "−1"]
    assert rows["its neighbour below"] == [str(index + 5), "5", "0", "1", "0"]
    # Row 2, column 2 of 4 x 5: 13 tokens back, but 1 + 2 positions; the next token is 5 past.
    assert rows["the text token before the image"][1:] == ["−13", "−1", "−3", "−3"]
    after = next(row for name, row in rows.items() if name.startswith("the text token after"))
    assert after[1:] == ["8", "5", "3", "3"]


def test_a_corner_has_fewer_neighbours(image_run: Run) -> None:
    selection = locate_patch(image_run.inputs, image_run.positions, 0, 0, 0)
    page = read_html(distances.neighbours(image_run, selection))
    assert [row[0] for row in page.rows()[1:3]] == ["its right neighbour", "its neighbour below"]


# ------------------------------------------------------------------------ angles and DeepStack


@torch.no_grad()
def test_angles_are_the_models_own(image_run: Run) -> None:
    selection = locate_patch(image_run.inputs, image_run.positions, 0, 7, 9)
    figure, words = (draw(image_run, selection) for draw in (frequencies.angles, frequencies.words))
    rotary: Any = image_run.engine.model.model.language_model.rotary_emb
    cos, sin = rotary(torch.zeros(1), torch.from_numpy(image_run.positions)[:, None])
    count = cos.shape[-1] // 2
    own = torch.rad2deg(torch.atan2(sin, cos))[0, selection.index, :count].numpy() % 360
    drawn = np.zeros(count)
    for trace in figure.data[1:]:
        drawn[trace.x] = trace.y
    np.testing.assert_allclose(drawn, own, atol=0.01)
    plain = selection.index * rotary.inv_freq.numpy()
    np.testing.assert_allclose(figure.data[0].y, np.degrees(plain) % 360, atol=0.01)
    t, h, w = selection.thw
    assert f"at position t {t}, h {h}, w {w}" in words
    assert f"frequency 1 (h): {h} × {rotary.inv_freq[1]:.3g} rad" in words


def test_text_before_any_image_is_turned_as_by_plain_rope(image_run: Run) -> None:
    selection = locate_token(image_run.inputs, image_run.positions, 1)
    words = frequencies.words(image_run, selection)
    assert "would give the same angles" in words


def test_frequencies_are_counted_as_the_config_says(image_run: Run) -> None:
    t, h, w = image_run.engine.facts.mrope_section
    assert f"{t} rotate with t, {h} with h and {w} with w" in frequencies.intro(image_run)
    assert [len(trace.x) for trace in frequencies.frequencies(image_run).data] == [t, h, w]


def test_deepstack_names_blocks_layers_and_rows(image_run: Run) -> None:
    intro, routes = deepstack.intro(image_run), deepstack.routes(image_run)
    assert routes is not None
    mask = plain_decoder_input(image_run)["visual_pos_masks"][0]
    visual = int(mask.sum())
    assert f"at the {visual} visual positions" in intro
    assert "tap 2 (after vision block 1) is added after decoder layer 1" in intro
    for trace in routes.data:
        np.testing.assert_array_equal(np.isfinite(trace.z[0]), mask.numpy())
    rows = read_html(deepstack.table(image_run)).rows()
    assert [row[0] for row in rows[1:]] == ["merger", "tap 1", "tap 2", "tap 3"]
    assert all(row[3] == str(visual) for row in rows[1:])
    assert "row 12 of each of the 3" in deepstack.chosen(image_run, None)
    first = locate_token(image_run.inputs, image_run.positions, 0)
    assert "No tap adds anything" in deepstack.chosen(image_run, first)
