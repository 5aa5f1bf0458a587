"""The decoder tab's attention, DeepStack, what-ifs and porters' part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from components.tabs.decoder.attention import (
    LESS_SINK,
    RAW,
    draw_attention,
    neutral_run,
    stream_pictures,
)
from components.tabs.decoder.deepstack import deepstack_shares, draw_deepstack
from components.tabs.decoder.porters import comparison_html, stream_comparison, stream_file
from components.tabs.decoder.what_if import (
    draw_what_if,
    painted_html,
    read_what_if,
    stream_influence,
    stream_what_if,
)
from playground.decoder_attention import attention_rows, layer_queries_keys
from playground.dump import compare_dump, dump_tensors
from playground.engine import Engine
from playground.errors import InputError
from playground.influence import measure_influence
from playground.pipeline import Run
from playground.pointer import locate_token
from playground.what_if import WhatIf
from playground.what_if_runs import run_what_if
from tests.components.html_reader import read_html
from tests.components.runs import ignore_progress, make_run
from tests.media_samples import make_picture

NEUTRAL = (1, 1, 1, "mrope", [], [], (), "zero", False)


@pytest.fixture(scope="module")
def run(tiny_random_engine: Engine) -> Run:
    """Two pictures and a question."""
    run = make_run(tiny_random_engine, "What?", make_picture(), make_picture(192, 64, seed=1))
    run.ensure("decoder")
    return run


@pytest.fixture(scope="module")
def text_run(tiny_random_engine: Engine) -> Run:
    """No picture."""
    return make_run(tiny_random_engine, "Hello")


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


# -------------------------------------------------------------------------------------- what if


def test_no_change_says_so(run: Run) -> None:
    ((verdict, figure),) = stream_what_if(run, ignore_progress, *NEUTRAL)
    assert "stays the same" in verdict
    assert "KL = 0 nats" in figure.layout.title.text
    np.testing.assert_array_equal(figure.data[0].x, figure.data[1].x)


def test_a_change_is_drawn_beside_the_original(run: Run) -> None:
    ((_, figure),) = stream_what_if(
        run, ignore_progress, 0, 1, 1, "flat", [], [], (), "zero", False
    )
    what_if = WhatIf(deepstack_gains=(0.0,), positions="flat")
    changed = run_what_if(run.engine, run.inputs, run.merged, what_if, max_new_tokens=1)
    before, after = (
        each.float().softmax(-1) for each in (run.decoded.logits, changed.decoded.logits)
    )
    by_name = {trace.name: trace for trace in figure.data}
    top = torch.maximum(before, after).topk(3).indices
    np.testing.assert_allclose(by_name["original"].x[:3], before[top], rtol=1e-4)
    np.testing.assert_allclose(by_name["changed"].x[:3], after[top], rtol=1e-4)
    assert figure.layout.xaxis.title.text == "probability"


def test_controls_are_read_and_checked(run: Run) -> None:
    start = run.inputs.spans[0].start
    what_if = read_what_if(run, 0, 0.5, 2, "swapped", [1, 2], ["0:1"], (start, 0), "mean", True)
    assert what_if.deepstack_gains == (0.0, 0.5, 2.0)
    assert what_if.skipped_layers == (1, 2)
    assert what_if.zeroed_heads == ((0, 1),)
    assert what_if.painted == (start,)  # token 0 is text, left over from another prompt
    assert what_if.leave_deepstack
    for bad in (
        (1, 1, 1, "sideways", [], [], (), "zero", False),
        (1, 1, 1, "flat", ["x"], [], (), "zero", False),
        (1, 1, 1, "flat", [], ["1:2:3"], (), "zero", False),
        (1, None, 1, "flat", [], [], (), "zero", False),
    ):
        with pytest.raises(InputError):
            read_what_if(run, *bad)


def test_painted_tokens_are_covered(run: Run, text_run: Run) -> None:
    first = run.inputs.spans[0]
    page = painted_html(run, (first.start, first.end - 1))
    assert "2 of" in read_html(page).find("figcaption")[0].text
    assert "0 of" in read_html(page).find("figcaption")[1].text
    assert "no picture" in painted_html(text_run, ())


def test_a_new_run_keeps_only_what_fits(run: Run, text_run: Run) -> None:
    drawn = draw_what_if(run, (run.inputs.spans[0].start, 10_000))
    assert drawn[5] == (run.inputs.spans[0].start,)
    assert drawn[0]["visible"]
    assert len(drawn[3]["choices"]) == run.engine.facts.num_layers
    assert draw_what_if(text_run, (5,))[5] == ()
    assert not draw_what_if(text_run, ())[0]["visible"]


def test_the_influence_map_is_the_measured_one(run: Run, text_run: Run) -> None:
    place = locate_token(run.inputs, run.positions, run.inputs.spans[1].start)
    ((words, figure),) = stream_influence(run, ignore_progress, place)
    word = int(run.decoded.logits.argmax())
    measured = measure_influence(run.engine, run.inputs, run.merged, run.inputs.spans[1], [word])
    np.testing.assert_allclose(figure.data[0].z, measured.drop, atol=1e-5)
    assert figure.layout.meta["pointer"] == {"what": "merged", "span": 1}
    assert "Rank correlation" in words
    with pytest.raises(InputError, match="no picture"):
        list(stream_influence(text_run, ignore_progress, None))


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
