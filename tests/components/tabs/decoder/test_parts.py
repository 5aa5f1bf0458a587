"""The decoder tab's attention, M-RoPE, DeepStack, experts and porters' part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

from components.tabs.decoder.attention import (
    LESS_SINK,
    RAW,
    draw_attention,
    neutral_run,
    stream_pictures,
)
from components.tabs.decoder.deepstack import deepstack_shares, draw_deepstack
from components.tabs.decoder.experts import draw_experts, draw_layer
from components.tabs.decoder.porters import comparison_html, stream_comparison, stream_file
from components.tabs.decoder.rotation import draw_rotation
from components.tabs.decoder.tab import build_decoder_tab, show_experts
from playground.decoder.attention import attention_rows, layer_queries_keys
from playground.decoder.rotation import rotate_head, score_curves
from playground.dump import compare_dump, dump_tensors
from playground.engine import Engine
from playground.errors import InputError
from playground.pipeline import Run
from playground.pointer import locate_token
from tests.components.html_reader import read_html
from tests.components.runs import build_alone, draw_tab, ignore_progress, make_run
from tests.media_samples import make_picture

# ------------------------------------------------------------------------------------ attention


def test_the_views_show_the_chosen_head(run: Run) -> None:
    place = locate_token(run.inputs, run.positions, run.inputs.num_tokens - 3)
    layer, head, words, pictures, shares, row, matrix = draw_attention(run, 2, 1, RAW, place)
    assert (layer["maximum"], layer["value"]) == (run.decoded.num_layers - 1, 2)
    assert head["value"] == 1
    weights = attention_rows(
        layer_queries_keys(run.engine, run.decoded, 2), range(run.inputs.num_tokens)
    )[1].numpy()
    np.testing.assert_allclose(row.data[0].y, weights[place.index, : place.index + 1], atol=1e-6)
    shown = matrix.data[0].z
    seen = np.tril(np.ones_like(weights)) > 0
    np.testing.assert_allclose(shown[seen] ** 2, weights[seen], atol=1e-6)
    assert np.isnan(shown[~seen]).all()  # the causal mask is no small weight
    total = sum(trace.y for trace in shares.data)
    np.testing.assert_allclose(total, 1, atol=1e-5)
    assert len(read_html(pictures).find("figure")) == 2
    best = int(weights[place.index].argmax())
    assert f"to token {best}" in words


def test_a_neutral_prompt_is_subtracted(run: Run) -> None:
    place = locate_token(run.inputs, run.positions, run.inputs.num_tokens - 1)
    (raw,) = stream_pictures(run, ignore_progress, 1, -1, RAW, place)
    (rest,) = stream_pictures(run, ignore_progress, 1, -1, LESS_SINK, place)
    assert raw != rest
    other = neutral_run(run)
    assert other.has("decoder")
    assert other.vision is run.vision  # the tower is not run again
    assert neutral_run(run) is other
    span = run.inputs.spans[0]
    last = [
        attention_rows(
            layer_queries_keys(each.engine, each.decoded, 1), [each.inputs.num_tokens - 1]
        ).mean(0)[0, span.start : span.end]
        for each in (run, other)
    ]
    assert f"{float((last[0] - last[1]).clamp_min(0).max()):.2%}" in rest
    assert f"{float(last[0].max()):.2%}" in raw


def test_a_token_before_the_picture_sees_none(run: Run) -> None:
    place = locate_token(run.inputs, run.positions, 1)
    pictures = draw_attention(run, 0, -1, RAW, place)[3]
    assert "No picture comes before" in pictures


def test_a_token_of_a_picture_sees_what_comes_before_it_there(run: Run) -> None:
    first, second = run.inputs.spans
    place = locate_token(run.inputs, run.positions, second.start + 2)
    pictures = draw_attention(run, 2, 1, RAW, place)[3]
    weights = attention_rows(layer_queries_keys(run.engine, run.decoded, 2), [place.index])[1, 0]
    captions = [" ".join(each.text.split()) for each in read_html(pictures).find("figcaption")]
    for span, caption in zip((first, second), captions, strict=True):
        share = float(weights[span.start : span.end].sum())
        assert f"{share:.1%} of its attention" in caption
    assert f"{float(weights[second.start :].max()):.2%}" in pictures


# --------------------------------------------------------------------------------------- M-RoPE


def test_the_rotation_of_the_chosen_head_is_drawn(run: Run) -> None:
    place = locate_token(run.inputs, run.positions, run.inputs.num_tokens - 4)
    layer, head, words, curves, strengths, numbers = draw_rotation(run, 2, 3, place)
    assert (layer["maximum"], layer["value"]) == (run.decoded.num_layers - 1, 2)
    assert (head["maximum"], head["value"]) == (3, 3)
    rotation = rotate_head(run.engine, run.decoded, 2, 3, place.index)
    np.testing.assert_array_equal(numbers.data[0].z[1], rotation.query)
    np.testing.assert_array_equal(numbers.data[0].z[2], rotation.key_before)
    moved = score_curves(run.engine, rotation)
    lines = [trace for trace in curves.data if trace.mode == "lines"]
    for line, scores in zip(lines, moved.scores, strict=True):
        np.testing.assert_array_equal(line.y, scores)
    marks = [trace for trace in curves.data if trace.mode == "markers"]
    assert [mark.x[0] for mark in marks] == list(rotation.distances)
    assert [len(bars.x) for bars in strengths.data] == [4, 2, 2]  # mrope_section
    assert f"token {place.index} " in words
    assert f"token {rotation.key_index} " in words
    assert "before the softmax" in curves.layout.yaxis.title.text


def test_controls_outside_their_range_are_brought_inside(run: Run) -> None:
    layer, head, *_ = draw_rotation(run, 99, -5, None)
    assert (layer["value"], head["value"]) == (run.decoded.num_layers - 1, 0)


# -------------------------------------------------------------------------------------- experts


def test_experts_of_a_token_and_of_a_layer(tiny_random_moe_engine: Engine) -> None:
    moe = make_run(tiny_random_moe_engine, "Which?", make_picture())
    routes = moe.decoded.experts
    assert routes is not None
    place = locate_token(moe.inputs, moe.positions, 6)
    words, path, layer, whole = draw_experts(moe, 1, place)
    assert layer["value"] == 1
    shown = np.nan_to_num(path.data[0].z)
    for row in range(len(routes.layers)):
        for expert, weight in zip(routes.ids[row, 6], routes.weights[row, 6], strict=True):
            assert shown[row, int(expert)] == pytest.approx(float(weight))
    assert (shown > 0).sum() == 2 * len(routes.layers)
    np.testing.assert_allclose(np.nan_to_num(whole.data[0].z).sum(axis=0), 1, atol=1e-6)
    assert np.nan_to_num(whole.data[0].z)[int(routes.ids[1, 9, 0]), 9] == pytest.approx(
        float(routes.weights[1, 9, 0])
    )
    assert f"expert {int(routes.ids[-1, 6, 0])} " in words
    assert whole.layout.meta["pointer"]["what"] == "token"
    assert show_experts(moe)["visible"]


def test_a_dense_model_hides_its_experts(run: Run) -> None:
    assert draw_experts(run, 0, None)[1] is None
    assert draw_layer(run, 0) == (None,)
    assert not show_experts(run)["visible"]


def test_the_whole_tab_is_drawn_for_a_mixture_of_experts(tiny_random_moe_engine: Engine) -> None:
    moe = make_run(tiny_random_moe_engine, "Which?", make_picture())
    tab = build_alone(build_decoder_tab)
    drawn = draw_tab(tab, moe)
    assert len(drawn) == len(tab.outputs) + sum(len(part.outputs) for part in tab.parts)


# ------------------------------------------------------------------------------------ DeepStack


def test_shares_are_of_the_residual_before_the_add(run: Run) -> None:
    """What layer 1 puts out, without the tap that follows it."""
    outputs: list[Any] = []
    layers: Any = run.engine.model.model.language_model.layers
    hook = layers[1].register_forward_hook(lambda _m, _a, output: outputs.append(output[0]))
    again = Run(run.engine, run.prompt)
    again.ensure("decoder")
    hook.remove()
    assert run.merged.deepstack_visual_embeds is not None
    assert run.merged.visual_pos_masks is not None
    visual = run.merged.visual_pos_masks[0]
    expected = run.merged.deepstack_visual_embeds[1].norm(dim=-1) / outputs[0][visual].norm(dim=-1)
    shares = deepstack_shares(run)
    np.testing.assert_allclose(shares[1, visual.numpy()], expected, rtol=1e-3)
    assert not shares[:, ~visual.numpy()].any()


def test_a_map_for_each_tap_and_picture(run: Run, text_run: Run) -> None:
    words, maps = draw_deepstack(run)
    assert len(read_html(maps).find("figure")) == 3 * 2
    assert "after layer 2" in words
    assert "adds nothing" in draw_deepstack(text_run)[0]


# ---------------------------------------------------------------------------------- for porters


def test_a_file_is_written_and_compared(run: Run, tmp_path: Path) -> None:
    file = stream_file(run, ignore_progress)
    path = Path(next(file)["value"])
    (answer,) = stream_comparison(run, ignore_progress, str(path))
    assert "steps in the file agree" in answer
    assert list(file) == []
    assert not path.exists()
    dump = {name: tensor.clone() for name, tensor in dump_tensors(run).items()}
    dump["merge.position_ids"] = dump["merge.position_ids"][[0, 2, 1]]
    save_file(dump, tmp_path / "x.safetensors")
    page = comparison_html(compare_dump(run, tmp_path / "x.safetensors"))
    assert "first step that differs: merge.position_ids" in page
    assert "h and w are swapped" in page
    rows = read_html(page).find("tr")
    assert len(rows) == 1 + len(dump)
    with pytest.raises(InputError, match="no file"):
        list(stream_comparison(run, ignore_progress, None))
