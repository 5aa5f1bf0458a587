from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

from components.tabs.merge_tab import (
    MAX_TABLE_ROWS,
    build_merge_tab,
    deepstack_note_html,
    positions_note_html,
    positions_table,
    stream_merge,
)
from playground.engine import Engine
from playground.pipeline import Run
from playground.preprocess import model_kwargs
from playground.records import Clip, Picture
from tests.components.runs import build_alone, ignore_progress, make_run

NAMES = ("strip", "note", "positions", "positions_3d", "norms", "deepstack", "table", "code")


def _draw(run: Run) -> dict[str, Any]:
    (drawn,) = stream_merge(run, ignore_progress)
    return dict(zip(NAMES, drawn, strict=True))


@pytest.fixture(scope="module")
def image_run(tiny_random_engine: Engine, picture: Picture) -> Run:
    return make_run(tiny_random_engine, "What is this?", picture)


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


def test_the_lines_are_the_models_positions(image_run: Run) -> None:
    expected = _plain_decoder_input(image_run)["position_ids"][-3:, 0].numpy()
    lines = {trace.name: trace.y for trace in _draw(image_run)["positions"].data}
    for row, axis in enumerate("thw"):
        np.testing.assert_array_equal(lines[axis], expected[row])


def test_the_3d_chart_holds_every_token(image_run: Run) -> None:
    series = _draw(image_run)["positions_3d"].data
    drawn = {entry[0]: (trace.z[i], trace.y[i], trace.x[i])
             for trace in series for i, entry in enumerate(trace.customdata)}  # fmt: skip
    expected = _plain_decoder_input(image_run)["position_ids"][-3:, 0].T.tolist()
    assert [tuple(map(int, drawn[index])) for index in range(len(expected))] == [
        tuple(row) for row in expected
    ]


def test_the_norms_are_those_of_the_decoders_input(image_run: Run) -> None:
    embeds = _plain_decoder_input(image_run)["inputs_embeds"][0]
    before, after = _draw(image_run)["norms"].data
    np.testing.assert_allclose(after.y, embeds[after.x.tolist()].norm(dim=-1), rtol=1e-6)
    span = image_run.inputs.spans[0]
    assert after.x.tolist() == list(range(span.start, span.end))
    table: Any = image_run.engine.model.get_input_embeddings()
    plain = table.weight[image_run.inputs.input_ids[0]].detach()
    np.testing.assert_allclose(before.y, plain.norm(dim=-1), rtol=1e-6)


def test_the_note_explains_this_runs_rope_deltas(image_run: Run) -> None:
    note = positions_note_html(image_run)
    seen = _plain_decoder_input(image_run)
    delta, seq = int(seen["rope_deltas"]), image_run.inputs.num_tokens
    largest = int(seen["position_ids"].max())
    assert f"rope_deltas = {largest} + 1 − {seq} = −{-delta}" in note
    assert f"index {seq}, gets position {seq + delta}" in note
    span = image_run.inputs.spans[0]
    before_next = int(seen["position_ids"][-3:, 0, : span.end].max())
    assert f"largest position is {before_next}, so the next token gets {before_next + 1}" in note


def test_text_alone_has_plain_positions(tiny_random_engine: Engine) -> None:
    run = make_run(tiny_random_engine, "Hello")
    assert "rope_deltas is 0" in positions_note_html(run)
    assert "nothing to add" in deepstack_note_html(run)
    drawn = _draw(run)
    assert [trace.name for trace in drawn["norms"].data] == ["before: token embeddings"]
    assert drawn["positions"].layout.annotations == ()


def test_the_deepstack_note_names_blocks_and_layers(image_run: Run) -> None:
    note = deepstack_note_html(image_run)
    visual = int(_plain_decoder_input(image_run)["visual_pos_masks"].sum())
    assert f"to the {visual} visual positions" in note
    assert "tap 2, after vision block 1, is added after decoder layer 1" in note
    assert f"other {image_run.inputs.num_tokens - visual} positions" in note


def test_the_table_has_a_row_for_each_token(image_run: Run) -> None:
    rows = re.findall(r"<tr>(.*?)</tr>", positions_table(image_run))[1:]
    assert len(rows) == image_run.inputs.num_tokens
    t, h, w = image_run.merged.position_ids[:, 0].tolist()
    cells = [re.sub("<.*?>", "", cell) for cell in re.findall(r"<td.*?>(.*?)</td>", rows[-1])]
    assert cells[0] == str(image_run.inputs.num_tokens - 1)
    assert [int(cell) for cell in cells[3:]] == [t[-1], h[-1], w[-1]]
    assert "&lt;|im_start|&gt;" in rows[0]


def test_a_long_table_ends_with_a_word(tiny_random_engine: Engine) -> None:
    run = make_run(tiny_random_engine, "x y " * 400)
    html = positions_table(run)
    assert html.count("<tr>") == MAX_TABLE_ROWS + 1
    assert f"{MAX_TABLE_ROWS} of {run.inputs.num_tokens:,} tokens" in html


def test_a_video_is_named_once(tiny_random_engine: Engine, clip: Clip) -> None:
    layout = _draw(make_run(tiny_random_engine, "Where?", clip=clip))["positions"].layout
    assert len(layout.shapes) == 2
    assert [label.text for label in layout.annotations[:-1]] == ["video 1"]


def test_the_tab_yields_a_value_for_every_output(image_run: Run) -> None:
    tab = build_alone(build_merge_tab)
    (drawn,) = tab.stream(image_run, ignore_progress)
    assert len(drawn) == len(tab.outputs)
