"""The vision tab's parts about places: position grid, 2-D RoPE, and the merger with the taps."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image

from components.snippets.scripts import write_snippet
from components.tabs.stage_tab import App, Section, skip_unless_run
from components.tabs.vision.focus import choose_patch
from components.tabs.vision.merger import FINAL, build_merger_section
from components.tabs.vision.position import NUM_WORDS, build_position_section, draw_nearest
from components.tabs.vision.rope import HEAD, ONES, build_rope_section
from playground.engine import Engine
from playground.pipeline import Run
from playground.pointer import locate_patch, locate_token, patch_rows
from playground.preprocess.stage import unpatchify
from playground.records import Clip, Picture
from playground.vision.position_grid import run_nearest
from tests.components.html_reader import read_html
from tests.components.runs import build_alone, ignore_progress, make_run

BUILDERS = (build_position_section, build_rope_section, build_merger_section)
POSITION_NAMES = (
    "intro",
    "resampled",
    "grid",
    "close_up",
    "blend",
    "similarity",
    "code",
    "change",
    "words",
)
ROPE_NAMES = (
    "intro", "frequencies", "block", "head", "by_row", "by_column",
    "distance_words", "kernel", "lines", "score_words", "rotated", "plain", "code",
)  # fmt: skip
MERGER_NAMES = (
    "merger",
    "picture",
    "intro",
    "patches",
    "alike",
    "steps",
    "vectors",
    "code",
    "taps",
    "map1",
    "map2",
    "map3",
)


def _build(builder: Callable[[App, gr.Dropdown], Section]) -> Section:
    section: Section = build_alone(
        lambda app: builder(app, gr.Dropdown([("image 1", 0)], value=0, label="Picture"))
    )
    return section


def _draw(
    builder: Callable[[App, gr.Dropdown], Section], names: tuple[str, ...], run: Run, *values: Any
) -> dict[str, Any]:
    return dict(zip(names, _build(builder).draw(run, *values), strict=True))


@pytest.fixture(scope="module")
def run(engine: Engine, picture: Picture, wide_picture: Picture) -> Run:
    """Two pictures of different grids."""
    run = make_run(engine, "Which is larger?", picture, wide_picture)
    run.ensure("vision")
    return run


# ------------------------------------------------------------------------------- which patch


def test_without_the_pointer_it_is_the_middle(run: Run) -> None:
    focus = choose_patch(run, 1, None)
    assert focus is not None
    span = run.inputs.spans[1]
    assert (focus.patch, focus.pointed) == ((span.grid_h // 2, span.grid_w // 2), False)
    assert "middle of the picture" in focus.hint
    assert focus.name == "image 2"


def test_the_pointer_chooses_the_patch_of_its_own_picture(run: Run) -> None:
    place = locate_patch(run.inputs, run.positions, 1, 3, 7)
    focus = choose_patch(run, 1, place)
    assert focus is not None
    assert (focus.patch, focus.pointed, focus.hint) == ((3, 7), True, "")
    assert run.inputs.spans[1].start + focus.token == place.index
    other = choose_patch(run, 0, place)
    assert other is not None
    assert not other.pointed


def test_a_token_stands_for_its_first_patch(run: Run) -> None:
    span = run.inputs.spans[1]
    place = locate_token(run.inputs, run.positions, span.start + span.merged_w + 2)
    focus = choose_patch(run, 1, place)
    assert focus is not None
    assert (focus.patch, focus.pointed) == ((2, 4), True)


def test_a_place_of_another_run_is_not_trusted(run: Run) -> None:
    place = locate_patch(run.inputs, run.positions, 1, 3, 7)
    longer = make_run(run.engine, "One word more: which is larger?", *run.prompt.pictures[:1])
    focus = choose_patch(longer, 0, place)
    assert focus is not None
    assert not focus.pointed


def test_a_click_does_not_start_the_model(tiny_random_engine: Engine, picture: Picture) -> None:
    run = make_run(tiny_random_engine, "What is this?", picture)
    redraw = skip_unless_run("vision", lambda *_: pytest.fail("drawn without the tower"), 3)
    assert len(redraw(run, None)) == 3
    assert not run.has("vision")


# ---------------------------------------------------------------------- what holds for all three


@pytest.mark.parametrize("builder", BUILDERS)
def test_text_alone_draws_nothing(
    builder: Callable[[App, gr.Dropdown], Section], tiny_random_engine: Engine
) -> None:
    section = _build(builder)
    drawn = section.draw(
        make_run(tiny_random_engine, "Hello"), *[control.value for control in section.controls]
    )
    assert len(drawn) == len(section.outputs)
    shown = [value for value in drawn if not isinstance(value, dict)]  # gr.skip() is a dict
    assert not any(shown)


@pytest.mark.parametrize("builder", BUILDERS)
def test_every_output_gets_its_value(
    builder: Callable[[App, gr.Dropdown], Section], tiny_random_engine: Engine, clip: Clip
) -> None:
    section = _build(builder)
    run = make_run(tiny_random_engine, "Where does it go?", clip=clip)
    drawn = section.draw(run, *[control.value for control in section.controls])
    assert len(drawn) == len(section.outputs)
    assert "video 1" in str(drawn)


def test_the_code_is_of_what_is_shown(tiny_random_engine: Engine, clip: Clip) -> None:
    run = make_run(tiny_random_engine, "Where does it go?", clip=clip)
    run.ensure("vision")
    place = locate_patch(run.inputs, run.positions, 1, 3, 7)
    chosen = {"span": 1, "patch": (3, 7)}
    drawn = _draw(build_position_section, POSITION_NAMES, run, 1, place)
    assert drawn["code"] == write_snippet("vision_position", run, **chosen)
    for kernel in (ONES, HEAD):
        drawn = _draw(build_rope_section, ROPE_NAMES, run, 1, 2, 1, kernel, place)
        chosen |= {"block": 2, "head": 1, "of_head": kernel == HEAD}
        assert drawn["code"] == write_snippet("vision_rope", run, **chosen)
    for merger, tap in ((FINAL, None), (1, 1)):
        drawn = _draw(build_merger_section, MERGER_NAMES, run, 1, merger, place)
        token = 3 // 2 * run.inputs.spans[1].merged_w + 7 // 2
        assert drawn["code"] == write_snippet("vision_merger", run, span=1, token=token, tap=tap)


# ----------------------------------------------------------------------------- position grid


def test_the_table_shows_the_four_entries(run: Run) -> None:
    place = locate_patch(run.inputs, run.positions, 0, 1, 2)
    drawn = _draw(build_position_section, POSITION_NAMES, run, 0, place)
    span, side = run.inputs.spans[0], run.engine.model.model.visual.num_grid_per_side
    row, column = (side - 1) / (span.grid_h - 1), 2 * (side - 1) / (span.grid_w - 1)
    top, left = int(row), int(column)
    _, *rows = read_html(drawn["blend"]).rows()
    assert [cells[0] for cells in rows] == [
        str((top + down) * side + left + across) for down in (0, 1) for across in (0, 1)
    ]
    weights = [
        (row - top if down else top + 1 - row) * (column - left if across else left + 1 - column)
        for down in (0, 1)
        for across in (0, 1)
    ]
    np.testing.assert_allclose([float(cells[1]) for cells in rows], weights, atol=1e-4)
    assert "exactly the position embedding that the model added" in drawn["blend"]
    assert "row 1, column 2" in drawn["close_up"].layout.title.text


def test_words_at_the_edge_and_on_an_entry(tiny_random_engine: Engine, clip: Clip) -> None:
    # 8 x 8 patches on 8 x 8 entries: each falls on one, and the last has none after it.
    run = make_run(tiny_random_engine, "Where does it go?", clip=clip)
    run.ensure("vision")
    for patch, words in (
        ((2, 3), ["1.000 × 1.000", "1.000 × 0.000"]),
        ((2, 7), ["1.000 × 1.000", "beyond the edge"]),
    ):
        place = locate_patch(run.inputs, run.positions, 0, *patch)
        drawn = _draw(build_position_section, POSITION_NAMES, run, 0, place)
        _, *rows = read_html(drawn["blend"]).rows()
        assert [cells[4] for cells in rows[:2]] == words


def test_the_resampled_grid_is_a_place_of_the_pointer(run: Run) -> None:
    drawn = _draw(build_position_section, POSITION_NAMES, run, 1, None)
    assert read_html(drawn["resampled"]).find("div", data_span="1")
    assert "(This is the middle of the picture" in drawn["blend"]
    tower, span = run.vision.image, run.inputs.spans[1]
    assert tower is not None
    unit = torch.nn.functional.normalize(tower.pos_embeds, dim=-1)
    rows = patch_rows(span)
    expected = unit[torch.from_numpy(rows)] @ unit[rows[span.grid_h // 2, span.grid_w // 2]]
    np.testing.assert_allclose(drawn["similarity"].data[0].z, expected, atol=1e-6)


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
    words, figure = draw_nearest(run, ignore_progress)
    tower = run.vision.image
    nearest = run_nearest(run.engine, run.inputs, run.vision).image
    assert tower is not None
    assert nearest is not None
    shift = nearest.pos_embeds - tower.pos_embeds
    probs, others = (_plain_probs(run, change) for change in (torch.zeros(1), shift))
    tops = set(probs.topk(NUM_WORDS).indices.tolist() + others.topk(NUM_WORDS).indices.tolist())
    order = sorted(tops, key=lambda token: -float(max(probs[token], others[token])))
    order = order[: len(figure.data[0].x)]
    np.testing.assert_allclose(figure.data[0].x, probs[order], atol=1e-5)
    np.testing.assert_allclose(figure.data[1].x, others[order], atol=1e-5)
    assert f"(largest |Δp| {float((probs - others).abs().max()):.2g})" in words
    kl = float((probs * (probs.log() - others.log())).sum())
    assert kl > 0
    assert f"{float(re.search('is ([0-9.e-]+) nats', words)[1]):.1e}" == f"{kl:.1e}"


def test_try_nearest_says_when_nothing_falls_between(
    tiny_random_engine: Engine, clip: Clip
) -> None:
    # 8 x 8 patches on a grid of 8 x 8 entries.
    run = make_run(tiny_random_engine, "Where does it go?", clip=clip)
    change, figure = draw_nearest(run, ignore_progress)
    assert "nothing changes" in change
    np.testing.assert_array_equal(figure.data[0].x, figure.data[1].x)


# -------------------------------------------------------------------------------------- RoPE


def test_the_sliders_fit_the_tower(run: Run) -> None:
    drawn = _draw(build_rope_section, ROPE_NAMES, run, 0, 99, 99, ONES, None)
    facts = run.engine.facts
    assert drawn["block"]["maximum"] == drawn["block"]["value"] == facts.vision_depth - 1
    assert drawn["head"]["maximum"] == drawn["head"]["value"] == facts.vision_num_heads - 1


def test_the_kernel_follows_the_choice_of_vectors(run: Run) -> None:
    ones, head = (
        _draw(build_rope_section, ROPE_NAMES, run, 0, 1, 1, kernel, None) for kernel in (ONES, HEAD)
    )
    span = run.inputs.spans[0]
    middle = (span.grid_h - 1, span.grid_w - 1)
    assert ones["kernel"].data[0].z[middle] == pytest.approx(1)
    assert "all ones" in ones["kernel"].layout.title.text
    # At distance 0 the average key scores the average of what all keys score without RoPE.
    average = float(head["plain"].data[0].z.mean())
    assert head["kernel"].data[0].z[middle] == pytest.approx(average, abs=1e-4)
    assert "block 1, head 1" in head["kernel"].layout.title.text
    assert "average key" in head["distance_words"]
    np.testing.assert_array_equal(ones["rotated"].data[0].z, head["rotated"].data[0].z)


def test_the_words_name_the_best_key(run: Run) -> None:
    drawn = _draw(build_rope_section, ROPE_NAMES, run, 1, 0, 0, ONES, None)
    z = drawn["rotated"].data[0].z
    row, column = np.unravel_index(int(z.argmax()), z.shape)
    assert f"best key is at row {row}, column {column}" in drawn["score_words"]
    assert drawn["rotated"].data[0].zmax == drawn["plain"].data[0].zmax


def test_the_table_of_frequencies(tiny_random_engine: Engine, picture: Picture) -> None:
    run = make_run(tiny_random_engine, "What is this?", picture)  # head_dim 16: 4 frequencies
    drawn = _draw(build_rope_section, ROPE_NAMES, run, 0, 0, 0, ONES, None)
    _, *rows = read_html(drawn["frequencies"]).rows()
    assert [cells[0] for cells in rows] == ["0 and 4", "1 and 5", "2 and 6", "3 and 7"]
    assert rows[1][1:4] == ["0.1", "62.83", "1,005"]  # radians, patches, pixels of a whole turn
    assert "Pairs 0–3 turn with the patch&#x27;s row, pairs 4–7" in drawn["intro"]


# ------------------------------------------------------------------------------------ merger


def test_the_four_patches_are_places_of_the_pointer(run: Run) -> None:
    place = locate_patch(run.inputs, run.positions, 1, 3, 7)
    drawn = _draw(build_merger_section, MERGER_NAMES, run, 1, FINAL, place)
    assert read_html(drawn["picture"]).find("div", cls="pg-picture-frame", data_span="1")
    figures = read_html(drawn["patches"]).find("figure", data_span="1")
    places = [(each.attrs["data-row"], each.attrs["data-column"]) for each in figures]
    assert places == [("2", "6"), ("2", "7"), ("3", "6"), ("3", "7")]
    # The enlarged patches are the picture's own pixels there.
    whole = unpatchify(run.inputs, run.inputs.spans[1])[0]
    for each, source in zip(places, read_html(drawn["patches"]).find("img"), strict=True):
        top, left = (int(value) * run.inputs.patch_size for value in each)
        encoded = base64.b64decode(source.attrs["src"].split(",")[1])
        pixels = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
        np.testing.assert_array_equal(pixels, whole[top : top + 16, left : left + 16])
    assert f"Token {place.index} of the sequence" in drawn["intro"]
    _, *rows = read_html(drawn["alike"]).rows()
    assert [int(cells[1]) for cells in rows] == list(place.pixel_rows or ())
    assert [cells[2 + number] for number, cells in enumerate(rows)] == ["1.000"] * 4


@pytest.mark.parametrize("merger", [FINAL, 1])
def test_the_steps_end_at_the_models_token(run: Run, merger: int) -> None:
    tower, span = run.vision.image, run.inputs.spans[0]
    assert tower is not None
    place = locate_token(run.inputs, run.positions, span.start + 5)
    drawn = _draw(build_merger_section, MERGER_NAMES, run, 0, merger, place)
    records = tower.pooler_output if merger == FINAL else tower.deepstack_features[merger]
    last = drawn["vectors"].data[-1].z
    np.testing.assert_allclose(last[np.isfinite(last)], records[5], rtol=1e-5, atol=1e-5)
    assert f"Token {place.index}" in drawn["vectors"].layout.title.text
    order = [cells[0] for cells in read_html(drawn["steps"]).rows()[1:4]]
    if merger == FINAL:
        assert order == ["patches", "LayerNorm", "end to end"]
        assert "pooler_output" in drawn["steps"]
    else:
        assert order == ["patches", "end to end", "LayerNorm"]
        assert "deepstack_features[1]" in drawn["steps"]


def test_the_taps_say_what_they_connect(run: Run) -> None:
    drawn = _draw(build_merger_section, MERGER_NAMES, run, 0, FINAL, None)
    tower = run.vision.image
    assert tower is not None
    for number, block in enumerate(tower.deepstack_layers):
        route = f"tap {number + 1} from vision block {block} to decoder layer {number}"
        assert route in drawn["taps"]
        figure = drawn[f"map{number + 1}"]
        span = run.inputs.spans[0]
        cosine = torch.nn.functional.cosine_similarity(
            tower.deepstack_features[number], tower.pooler_output, dim=-1
        )[: span.merged_h * span.merged_w]
        np.testing.assert_allclose(
            figure.data[0].z, cosine.reshape(span.merged_h, span.merged_w), atol=1e-6
        )
    choices = drawn["merger"]["choices"]
    assert choices[0] == ("final merger", FINAL)
    assert choices[2] == (f"DeepStack tap 2, after block {tower.deepstack_layers[1]}", 1)


def test_a_merger_that_is_not_there_falls_back_to_the_final_one(run: Run) -> None:
    drawn = _draw(build_merger_section, MERGER_NAMES, run, 0, 17, None)
    assert drawn["merger"]["value"] == FINAL
