from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import playground
from components.charts.decoder_layers import LEAST_PROB
from components.charts.token_labels import token_label
from components.tabs.decoder.layers import (
    MAX_POSITIONS,
    draw_choices,
    draw_layers,
    draw_track,
    draw_updates,
)
from components.tabs.decoder.tab import build_decoder_tab, cache_html, facts_html
from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.pipeline import Run
from playground.pointer import locate_token
from playground.preprocess.stage import model_kwargs
from playground.records import Picture
from playground.tokens import token_text
from tests.components.runs import build_alone, draw_tab, make_run

NAMES = ("norms", "updates", "lens", "bars", "layer", "track", "picture")


def _draw(run: Run, num_positions: int | None = 4, top_k: int | None = 5) -> dict[str, Any]:
    drawn = draw_layers(run, num_positions, top_k, "", None, None)
    return dict(zip(NAMES, drawn, strict=True))


@pytest.fixture(scope="module")
def image_run(tiny_random_engine: Engine, picture: Picture) -> Run:
    return make_run(tiny_random_engine, "What is this?", picture)


@torch.no_grad()
def _plain_forward(run: Run) -> tuple[torch.Tensor, torch.Tensor]:
    """The layers' inputs with the final norm's (layers + 1, seq, hidden), and the last logits."""
    model: Any = run.engine.model
    decoder, shared = model.model.language_model, model.model.rope_deltas
    states: list[torch.Tensor] = []

    def keep(_module: Any, args: Any, kwargs: Any) -> None:
        states.append((args[0] if args else kwargs["hidden_states"])[0])

    hooks = [
        module.register_forward_pre_hook(keep, with_kwargs=True)
        for module in (*decoder.layers, decoder.norm)
    ]
    try:
        logits = model(**model_kwargs(run.inputs)).logits[0, -1]
    finally:
        for hook in hooks:
            hook.remove()
        model.model.rope_deltas = shared
    return torch.stack(states), logits


def test_the_heat_map_holds_the_residual_norms(image_run: Run) -> None:
    states, _ = _plain_forward(image_run)
    heat_map, tokens = _draw(image_run)["norms"].data
    np.testing.assert_allclose(heat_map.z, states.norm(dim=-1), rtol=1e-6)
    assert len(tokens.customdata) == image_run.inputs.num_tokens
    assert tokens.customdata[0] == "&lt;|im_start|&gt;"


@torch.no_grad()
def test_the_lens_is_norm_and_lm_head_of_every_state(image_run: Run) -> None:
    states, _ = _plain_forward(image_run)
    model: Any = image_run.engine.model
    probs = model.lm_head(model.model.language_model.norm(states[:, -4:])).softmax(-1)
    table = _draw(image_run)["lens"].data[0]
    np.testing.assert_allclose(table.z, probs.amax(-1), rtol=1e-5)
    best = probs[2, 1].argmax().item()
    text = token_label(token_text(image_run.engine.tokenizer, int(best)), 9)
    assert table.text[2][1] == text
    assert table.customdata[2][1].count("<br>") == 5


def test_the_lens_ends_with_the_next_token(image_run: Run) -> None:
    _, logits = _plain_forward(image_run)
    drawn = _draw(image_run)
    probs, ids = logits.softmax(-1).topk(5)
    np.testing.assert_allclose(drawn["bars"].data[0].x, probs, rtol=1e-5)
    assert [entry[1] for entry in drawn["bars"].data[0].customdata] == ids.tolist()
    assert drawn["lens"].data[0].z[-1, -1] == pytest.approx(float(probs[0]), rel=1e-5)


def test_the_sliders_choose_positions_and_tokens(image_run: Run) -> None:
    lens, bars = draw_choices(image_run, 2, 7)
    seq = image_run.inputs.num_tokens
    assert [text.split()[0] for text in lens.layout.xaxis.ticktext] == [
        str(seq - 2),
        str(seq - 1),
    ]
    assert len(bars.data[0].x) == 7


def test_values_outside_the_sliders_are_brought_inside(image_run: Run) -> None:
    lens, bars = draw_choices(image_run, 10_000, 0)
    assert lens.data[0].z.shape[1] == MAX_POSITIONS
    assert len(bars.data[0].x) == 1


@torch.no_grad()
def test_a_word_is_followed_through_the_layers(image_run: Run) -> None:
    states, _ = _plain_forward(image_run)
    model: Any = image_run.engine.model
    ids = image_run.engine.tokenizer.encode("red", add_special_tokens=False)
    place = locate_token(image_run.inputs, image_run.positions, 3)
    (figure,) = draw_track(image_run, "red", place)
    probs = model.lm_head(model.model.language_model.norm(states[:, 3])).softmax(-1)
    shown = probs[:, ids[0]].clamp_min(LEAST_PROB)  # where the log axis ends
    np.testing.assert_allclose(figure.data[0].y, shown, rtol=1e-4)
    exact = [pair[1] for pair in figure.data[0].customdata]
    np.testing.assert_allclose(exact, probs[:, ids[0]], rtol=1e-4)
    ranks = [int((row > row[ids[0]]).sum()) + 1 for row in probs]
    assert [pair[0] for pair in figure.data[0].customdata] == ranks
    assert "position 3" in figure.layout.title.text
    (default,) = draw_track(image_run, "", None)
    assert default.data[0].customdata[-1][0] == 1  # the likeliest next token


def test_a_word_without_a_token_is_refused(image_run: Run) -> None:
    with pytest.raises(InputError, match="no token 10"):
        playground.decoder.stage.track_token(image_run.engine, image_run.decoded, 0, 10**9)


def test_updates_are_shares_of_the_residual(image_run: Run) -> None:
    place = locate_token(image_run.inputs, image_run.positions, image_run.inputs.spans[0].start)
    figure = draw_updates(image_run, place)
    assert [trace.name for trace in figure.data] == ["attention", "MLP", "DeepStack"]
    length = image_run.decoded.hidden_states[0][place.index].norm()
    expected = image_run.decoded.attention_norms[0, place.index] / length
    assert figure.data[0].y[0] == pytest.approx(float(expected), rel=1e-5)
    assert list(figure.data[2].x) == [0, 1, 2]
    text = draw_updates(image_run, None)  # the last token: DeepStack adds nothing there
    assert [trace.name for trace in text.data] == ["attention", "MLP"]
    assert "length of the layer's input" in figure.layout.yaxis.title.text


@torch.no_grad()
def test_image_tokens_in_words_on_the_picture(image_run: Run) -> None:
    states, _ = _plain_forward(image_run)
    model: Any = image_run.engine.model
    span = image_run.inputs.spans[0]
    figure = _draw(image_run)["picture"]
    rows = model.model.language_model.norm(states[-1, span.start : span.end])
    probs = model.lm_head(rows).softmax(-1).amax(-1)
    np.testing.assert_allclose(figure.data[0].z.ravel(), probs, rtol=1e-4)
    assert figure.data[0].z.shape == (span.merged_h, span.merged_w)
    assert figure.layout.meta["pointer"] == {"what": "merged", "span": 0}
    assert "raw" in figure.layout.title.text


def test_the_cache_is_told_in_bytes(image_run: Run) -> None:
    facts = image_run.engine.facts
    html, per_token = cache_html(image_run.decoded), facts.kv_bytes_per_token(torch.float32)
    assert f"{per_token:,} bytes" in html
    seq = image_run.inputs.num_tokens
    assert f"1 × {facts.num_key_value_heads} × {seq} × {facts.head_dim}" in html
    assert f"{seq * per_token:,} / {seq}" in html


def test_deepstack_layers_are_named(image_run: Run, tiny_random_engine: Engine) -> None:
    assert "after layers 0, 1, 2" in facts_html(image_run)
    ticks = _draw(image_run)["norms"].layout.yaxis.ticktext
    assert [tick for tick in ticks if "◆" in tick] == ["1 ◆", "2 ◆", "3 ◆"]
    text_run = make_run(tiny_random_engine, "Hello")
    assert "DeepStack adds nothing" in facts_html(text_run)
    assert not any("◆" in tick for tick in _draw(text_run)["norms"].layout.yaxis.ticktext)


def test_the_tab_yields_a_value_for_every_output(
    image_run: Run, tiny_random_engine: Engine
) -> None:
    tab = build_alone(build_decoder_tab)
    outputs = {*tab.outputs, *(output for part in tab.parts for output in part.outputs)}
    for run in (image_run, make_run(tiny_random_engine, "Hello")):
        assert set(draw_tab(tab, run)) == outputs


def test_a_stop_also_ends_the_tabs_logit_lens(image_run: Run) -> None:
    image_run.ensure("decoder")
    seen: list[str] = []

    def stop(what: str, _done: int, _total: int) -> None:
        seen.append(what)
        raise StageCancelled

    tab = build_alone(build_decoder_tab)
    with pytest.raises(StageCancelled):
        list(tab.stream(image_run, stop, *[control.value for control in tab.controls]))
    assert seen == ["logit lens"]
