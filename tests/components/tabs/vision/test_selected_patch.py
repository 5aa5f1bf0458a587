"""The vision tab's position grid, 2-D RoPE, and merger with DeepStack taps."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from components.snippets.scripts import write_snippet
from components.tabs.vision import merger, position, rope
from components.tabs.vision.focus import choose_patch
from components.tabs.vision.merger import FINAL
from components.tabs.vision.position import NUM_TOKENS
from components.tabs.vision.rope import ONES, OWN
from playground.engine import Engine
from playground.errors import InputError
from playground.pipeline import Run
from playground.pointer import locate_patch, locate_token, patch_rows
from playground.preprocess.stage import unpatchify
from playground.prompt import PromptImage, PromptVideo
from playground.vision.position_grid import run_nearest
from tests.components.html_reader import read_html
from tests.components.runs import ignore_progress, make_run


@pytest.fixture(scope="module")
def run(engine: Engine, image: PromptImage, wide_image: PromptImage) -> Run:
    """Two images with different grids."""
    run = make_run(engine, "Which is larger?", image, wide_image)
    run.ensure("vision")
    return run


# ------------------------------------------------------------------------------- which patch


def test_without_the_pointer_it_is_the_middle(run: Run) -> None:
    focus = choose_patch(run, 1, None)
    span = run.inputs.spans[1]
    assert (focus.patch, focus.selected) == ((span.grid_h // 2, span.grid_w // 2), False)
    assert "middle of the image" in focus.hint
    assert focus.name == "image 2"


def test_the_selection_sets_the_patch_of_its_own_image(run: Run) -> None:
    selection = locate_patch(run.inputs, run.positions, 1, 3, 7)
    focus = choose_patch(run, 1, selection)
    assert (focus.patch, focus.selected, focus.hint) == ((3, 7), True, "")
    assert run.inputs.spans[1].start + focus.token == selection.index
    other = choose_patch(run, 0, selection)
    assert not other.selected


def test_a_token_stands_for_its_first_patch(run: Run) -> None:
    span = run.inputs.spans[1]
    selection = locate_token(run.inputs, run.positions, span.start + span.merged_w + 2)
    focus = choose_patch(run, 1, selection)
    assert (focus.patch, focus.selected) == ((2, 4), True)


def test_a_selection_of_another_run_is_ignored(run: Run) -> None:
    selection = locate_patch(run.inputs, run.positions, 1, 3, 7)
    longer = make_run(run.engine, "One word more: which is larger?", *run.prompt.images[:1])
    focus = choose_patch(longer, 0, selection)
    assert not focus.selected


# ----------------------------------------------------------------------------------- the code


def test_the_code_matches_the_page(tiny_random_engine: Engine, video: PromptVideo) -> None:
    run = make_run(tiny_random_engine, "Where does it go?", video=video)
    run.ensure("vision")
    selection = locate_patch(run.inputs, run.positions, 1, 3, 7)
    chosen = {"span": 1, "patch": (3, 7)}
    assert position.code(run, 1, selection) == write_snippet("vision_position", run, **chosen)
    for vectors in (ONES, OWN):
        chosen |= {"block": 2, "head": 1, "of_head": vectors == OWN}
        code = rope.code(run, vectors, 2, 1, 1, selection)
        assert code == write_snippet("vision_rope", run, **chosen)
    for value, tap in ((FINAL, None), (1, 1)):
        token = 3 // 2 * run.inputs.spans[1].merged_w + 7 // 2
        code = merger.code(run, value, 1, selection)
        assert code == write_snippet("vision_merger", run, span=1, token=token, tap=tap)


# ----------------------------------------------------------------------------- position grid


def test_the_table_shows_the_four_entries(run: Run) -> None:
    selection = locate_patch(run.inputs, run.positions, 0, 1, 2)
    html = position.blend(run, 0, selection)
    span, side = run.inputs.spans[0], run.engine.model.model.visual.num_grid_per_side
    row, column = (side - 1) / (span.grid_h - 1), 2 * (side - 1) / (span.grid_w - 1)
    top, left = int(row), int(column)
    _, *rows = read_html(html).rows()
    assert [cells[0] for cells in rows] == [
        str((top + down) * side + left + across) for down in (0, 1) for across in (0, 1)
    ]
    weights = [
        (row - top if down else top + 1 - row) * (column - left if across else left + 1 - column)
        for down in (0, 1)
        for across in (0, 1)
    ]
    np.testing.assert_allclose([float(cells[1]) for cells in rows], weights, atol=1e-4)
    assert "exactly the position embedding that the model added" in html
    assert "row 1, column 2" in position.close_up(run, 0, selection).layout.title.text


def test_words_at_the_edge_and_on_an_entry(tiny_random_engine: Engine, video: PromptVideo) -> None:
    # 8 x 8 patches on 8 x 8 entries: each falls on one, and no entry follows the last.
    run = make_run(tiny_random_engine, "Where does it go?", video=video)
    run.ensure("vision")
    for patch, words in (
        ((2, 3), ["1.000 × 1.000", "1.000 × 0.000"]),
        ((2, 7), ["1.000 × 1.000", "beyond the edge"]),
    ):
        selection = locate_patch(run.inputs, run.positions, 0, *patch)
        _, *rows = read_html(position.blend(run, 0, selection)).rows()
        assert [cells[4] for cells in rows[:2]] == words


def test_the_resampled_grid_can_be_selected(run: Run) -> None:
    assert read_html(position.resampled(run, 1)).find("div", data_span="1")
    assert "(This is the middle of the image" in position.blend(run, 1, None)
    tower, span = run.vision.image, run.inputs.spans[1]
    assert tower is not None
    unit = torch.nn.functional.normalize(tower.pos_embeds, dim=-1)
    rows = patch_rows(span)
    expected = unit[torch.from_numpy(rows)] @ unit[rows[span.grid_h // 2, span.grid_w // 2]]
    np.testing.assert_allclose(position.similarity(run, 1, None).data[0].z, expected, atol=1e-6)


@torch.no_grad()
def _plain_probs(run: Run, change: torch.Tensor) -> torch.Tensor:
    """The next token of a plain forward, with something added to the positions in the tower."""
    model: Any = run.engine.model
    block, deltas = model.model.visual.blocks[0], model.model.rope_deltas
    hook = block.register_forward_pre_hook(lambda _m, args: (args[0] + change, *args[1:]))
    try:
        output = model(**run.inputs.tensors, logits_to_keep=1)
    finally:
        hook.remove()
        model.model.rope_deltas = deltas
    probs: torch.Tensor = output.logits[0, -1].double().softmax(-1)
    return probs


def test_try_nearest_shows_both_distributions(run: Run) -> None:
    assert "Try the nearest entry" in [each.label for each in position.PART.experiments.values()]
    assert "What would the model predict" in position.change(run, None)
    assert position.likeliest(run, None) is None
    (found,) = position.nearest(run, ignore_progress)
    words, figure = position.change(run, found), position.likeliest(run, found)
    assert figure is not None
    tower = run.vision.image
    nearest = run_nearest(run.engine, run.inputs, run.vision).image
    assert tower is not None
    assert nearest is not None
    shift = nearest.pos_embeds - tower.pos_embeds
    probs, others = (_plain_probs(run, change) for change in (torch.zeros(1), shift))
    tops = set(probs.topk(NUM_TOKENS).indices.tolist() + others.topk(NUM_TOKENS).indices.tolist())
    order = sorted(tops, key=lambda token: -float(max(probs[token], others[token])))
    order = order[: len(figure.data[0].x)]
    np.testing.assert_allclose(figure.data[0].x, probs[order], atol=1e-5)
    np.testing.assert_allclose(figure.data[1].x, others[order], atol=1e-5)
    assert f"(largest |Δp| {float((probs - others).abs().max()):.2g})" in words
    kl = float((probs * (probs.log() - others.log())).sum())
    assert kl > 0
    (shown,) = re.findall("is ([0-9.e-]+) nats", words)
    assert f"{float(shown):.1e}" == f"{kl:.1e}"


def test_try_nearest_says_when_nothing_falls_between(
    tiny_random_engine: Engine, video: PromptVideo
) -> None:
    # 8 x 8 patches on a grid of 8 x 8 entries.
    run = make_run(tiny_random_engine, "Where does it go?", video=video)
    (found,) = position.nearest(run, ignore_progress)
    figure = position.likeliest(run, found)
    assert figure is not None
    assert "Nothing changes" in position.change(run, found)
    np.testing.assert_array_equal(figure.data[0].x, figure.data[1].x)


# -------------------------------------------------------------------------------------- RoPE


def test_the_sliders_fit_the_tower(run: Run) -> None:
    facts = run.engine.facts
    for control, count in ((rope.BLOCK, facts.vision_depth), (rope.HEAD, facts.vision_num_heads)):
        assert control.parse(count - 1, run) == count - 1
        with pytest.raises(InputError):
            control.parse(count, run)


def test_the_kernel_follows_the_choice_of_vectors(run: Run) -> None:
    ones, head = (rope.kernel(run, vectors, 1, 1, 0, None) for vectors in (ONES, OWN))
    span = run.inputs.spans[0]
    middle = (span.grid_h - 1, span.grid_w - 1)
    assert ones.data[0].z[middle] == pytest.approx(1)
    assert "all ones" in ones.layout.title.text
    # At distance 0 the mean key's score is the mean score of all keys without RoPE.
    average = float(rope.plain(run, 1, 1, 0, None).data[0].z.mean())
    assert head.data[0].z[middle] == pytest.approx(average, abs=1e-4)
    assert "block 1, head 1" in head.layout.title.text
    assert "mean key" in rope.distance_words(run, OWN, 1, 1, 0, None)
    assert "vectors of ones" in rope.distance_words(run, ONES, 1, 1, 0, None)


def test_the_text_names_the_best_key(run: Run) -> None:
    rotated, plain = rope.rotated(run, 0, 0, 1, None), rope.plain(run, 0, 0, 1, None)
    z = rotated.data[0].z
    row, column = np.unravel_index(int(z.argmax()), z.shape)
    text = rope.score_words(run, 0, 0, 1, None)
    assert f"highest-scoring key is at row {row}, column {column}" in text
    assert rotated.data[0].zmax == plain.data[0].zmax


def test_the_table_of_frequencies(tiny_random_engine: Engine, image: PromptImage) -> None:
    run = make_run(tiny_random_engine, "What is this?", image)  # head_dim 16: 4 frequencies
    _, *rows = read_html(rope.frequencies(run, 0)).rows()
    assert [cells[0] for cells in rows] == ["0 and 4", "1 and 5", "2 and 6", "3 and 7"]
    assert rows[1][1:4] == [
        "0.1",
        "62.83",
        "1,005",
    ]  # radians, then the wavelength in patches and pixels
    assert "Pairs 0–3 rotate with the patch&#x27;s row, pairs 4–7" in rope.intro(run, 0)


# ------------------------------------------------------------------------------------ merger


def test_the_four_patches_can_be_selected(run: Run) -> None:
    selection = locate_patch(run.inputs, run.positions, 1, 3, 7)
    assert read_html(merger.picture(run, 1)).find("div", cls="pg-picture-frame", data_span="1")
    patches = read_html(merger.patches(run, FINAL, 1, selection))
    figures = patches.find("figure", data_span="1")
    positions = [(each.attrs["data-row"], each.attrs["data-column"]) for each in figures]
    assert positions == [("2", "6"), ("2", "7"), ("3", "6"), ("3", "7")]
    # The enlarged patches show the image's own pixels.
    whole = unpatchify(run.inputs, run.inputs.spans[1])[0]
    for each, source in zip(positions, patches.find("img"), strict=True):
        top, left = (int(value) * run.inputs.patch_size for value in each)
        encoded = base64.b64decode(source.attrs["src"].split(",")[1])
        pixels = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
        np.testing.assert_array_equal(pixels, whole[top : top + 16, left : left + 16])
    assert f"Token {selection.index} of the sequence" in merger.intro(run, 1, selection)
    _, *rows = read_html(merger.alike(run, FINAL, 1, selection)).rows()
    assert [int(cells[1]) for cells in rows] == list(selection.pixel_rows or ())
    assert [cells[2 + number] for number, cells in enumerate(rows)] == ["1.000"] * 4


@pytest.mark.parametrize("value", [FINAL, 1])
def test_the_steps_end_at_the_models_token(run: Run, value: int) -> None:
    tower, span = run.vision.image, run.inputs.spans[0]
    assert tower is not None
    selection = locate_token(run.inputs, run.positions, span.start + 5)
    vectors, steps = (
        merger.vectors(run, value, 0, selection),
        merger.steps(run, value, 0, selection),
    )
    records = tower.pooler_output if value == FINAL else tower.deepstack_features[value]
    last = vectors.data[-1].z
    np.testing.assert_allclose(last[np.isfinite(last)], records[5], rtol=1e-5, atol=1e-5)
    assert f"token {selection.index}" in vectors.layout.title.text
    order = [cells[0] for cells in read_html(steps).rows()[1:4]]
    if value == FINAL:
        assert order == ["patches", "LayerNorm", "concatenate"]
        assert "pooler_output" in steps
    else:
        assert order == ["patches", "concatenate", "LayerNorm"]
        assert "deepstack_features[1]" in steps


def test_the_taps_say_what_they_connect(run: Run) -> None:
    words = merger.taps(run, 0, None)
    charts = (merger.tap_1, merger.tap_2, merger.tap_3)
    tower = run.vision.image
    assert tower is not None
    for number, block in enumerate(tower.deepstack_layers):
        route = f"tap {number + 1} from vision block {block} to decoder layer {number}"
        assert route in words
        figure = charts[number](run, 0, None)
        assert figure is not None
        span = run.inputs.spans[0]
        cosine = torch.nn.functional.cosine_similarity(
            tower.deepstack_features[number], tower.pooler_output, dim=-1
        )[: span.merged_h * span.merged_w]
        np.testing.assert_allclose(
            figure.data[0].z, cosine.reshape(span.merged_h, span.merged_w), atol=1e-6
        )
    choices = merger.name_mergers(run)
    assert choices[0] == ("final merger", FINAL)
    assert choices[2] == (f"DeepStack tap 2, after block {tower.deepstack_layers[1]}", 1)


def test_a_merger_that_is_not_there_is_refused(run: Run) -> None:
    assert merger.MERGER.parse(None, run) == FINAL
    with pytest.raises(InputError, match="not offered"):
        merger.MERGER.parse(17, run)
