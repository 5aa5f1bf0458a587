from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import playground
from components.charts.decoder_layers import LEAST_PROB
from components.charts.token_labels import token_label
from components.tabs.decoder import cache, layers, sequence
from playground.engine import Engine
from playground.errors import InputError
from playground.pipeline import Run
from playground.pointer import locate_token
from playground.preprocess.stage import model_kwargs
from playground.prompt import PromptImage
from playground.tokens import token_text
from tests.components.runs import make_run
from tests.media_samples import make_image


@pytest.fixture(scope="module")
def image_run(tiny_random_engine: Engine, image: PromptImage) -> Run:
    return make_run(tiny_random_engine, "What is this?", image)


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
    heat_map, tokens = layers.norms(image_run).data
    np.testing.assert_allclose(heat_map.z, states.norm(dim=-1), rtol=1e-6)
    assert len(tokens.customdata) == image_run.inputs.num_tokens
    assert tokens.customdata[0] == "&lt;|im_start|&gt;"


@torch.no_grad()
def test_the_lens_is_norm_and_lm_head_of_every_state(image_run: Run) -> None:
    states, _ = _plain_forward(image_run)
    model: Any = image_run.engine.model
    probs = model.lm_head(model.model.language_model.norm(states[:, -4:])).softmax(-1)
    table = layers.lens(image_run, 4, 5).data[0]
    np.testing.assert_allclose(table.z, probs.amax(-1), rtol=1e-5)
    best = probs[2, 1].argmax().item()
    text = token_label(token_text(image_run.engine.tokenizer, int(best)), 9)
    assert table.text[2][1] == text
    assert table.customdata[2][1].count("<br>") == 5


def test_the_lens_ends_with_the_next_token(image_run: Run) -> None:
    _, logits = _plain_forward(image_run)
    bars = layers.next_token(image_run, 5)
    probs, ids = logits.softmax(-1).topk(5)
    np.testing.assert_allclose(bars.data[0].x, probs, rtol=1e-5)
    assert [entry[1] for entry in bars.data[0].customdata] == ids.tolist()
    assert layers.lens(image_run, 4, 5).data[0].z[-1, -1] == pytest.approx(
        float(probs[0]), rel=1e-5
    )


def test_the_sliders_choose_positions_and_tokens(image_run: Run) -> None:
    lens = layers.lens(image_run, 2, 1)
    seq = image_run.inputs.num_tokens
    assert [text.split()[0] for text in lens.layout.xaxis.ticktext] == [
        str(seq - 2),
        str(seq - 1),
    ]
    assert len(layers.next_token(image_run, 7).data[0].x) == 7


def test_more_positions_than_tokens_are_all_tokens(tiny_random_engine: Engine) -> None:
    run = make_run(tiny_random_engine, "Hello")
    most = layers.MAX_POSITIONS
    assert run.inputs.num_tokens < most
    assert layers.lens(run, most, 1).data[0].z.shape[1] == run.inputs.num_tokens


@pytest.mark.parametrize(
    ("control", "value"), [(layers.POSITIONS, 10_000), (layers.TOP, 0), (layers.STATE, 99)]
)
def test_values_outside_the_sliders_are_refused(image_run: Run, control: Any, value: int) -> None:
    with pytest.raises(InputError):
        control.parse(value, image_run)


def test_the_image_shows_the_last_hidden_state_at_first(image_run: Run) -> None:
    assert layers.STATE.parse(None, image_run) == image_run.decoded.num_layers


@torch.no_grad()
def test_a_token_is_followed_through_the_layers(image_run: Run) -> None:
    states, _ = _plain_forward(image_run)
    model: Any = image_run.engine.model
    ids = image_run.engine.tokenizer.encode("red", add_special_tokens=False)
    selection = locate_token(image_run.inputs, image_run.positions, 3)
    figure = layers.track(image_run, "red", selection)
    probs = model.lm_head(model.model.language_model.norm(states[:, 3])).softmax(-1)
    shown = probs[:, ids[0]].clamp_min(LEAST_PROB)  # where the log axis ends
    np.testing.assert_allclose(figure.data[0].y, shown, rtol=1e-4)
    exact = [pair[1] for pair in figure.data[0].customdata]
    np.testing.assert_allclose(exact, probs[:, ids[0]], rtol=1e-4)
    ranks = [int((row > row[ids[0]]).sum()) + 1 for row in probs]
    assert [pair[0] for pair in figure.data[0].customdata] == ranks
    assert "position 3" in figure.layout.title.text
    default = layers.track(image_run, "", None)
    assert default.data[0].customdata[-1][0] == 1  # the most likely next token


def test_an_unknown_token_is_refused(image_run: Run) -> None:
    with pytest.raises(InputError, match="Token 1000000000 or position 0 does not exist"):
        playground.decoder.stage.track_token(image_run.engine, image_run.decoded, 0, 10**9)


def test_updates_are_shares_of_the_residual(image_run: Run) -> None:
    selection = locate_token(image_run.inputs, image_run.positions, image_run.inputs.spans[0].start)
    figure = layers.updates(image_run, selection)
    assert [trace.name for trace in figure.data] == ["attention", "MLP", "DeepStack"]
    length = image_run.decoded.hidden_states[0][selection.index].norm()
    expected = image_run.decoded.attention_norms[0, selection.index] / length
    assert figure.data[0].y[0] == pytest.approx(float(expected), rel=1e-5)
    assert list(figure.data[2].x) == [0, 1, 2]
    text = layers.updates(image_run, None)  # the last token: DeepStack adds nothing there
    assert [trace.name for trace in text.data] == ["attention", "MLP"]
    assert "norm of the layer's input" in figure.layout.yaxis.title.text


@torch.no_grad()
def test_the_logit_lens_on_the_image(image_run: Run) -> None:
    states, _ = _plain_forward(image_run)
    model: Any = image_run.engine.model
    span = image_run.inputs.spans[0]
    figure = layers.picture(image_run, image_run.decoded.num_layers, None)
    assert figure is not None
    rows = model.model.language_model.norm(states[-1, span.start : span.end])
    probs = model.lm_head(rows).softmax(-1).amax(-1)
    np.testing.assert_allclose(figure.data[0].z.ravel(), probs, rtol=1e-4)
    assert figure.data[0].z.shape == (span.merged_h, span.merged_w)
    assert figure.layout.meta["pointer"] == {"what": "merged", "span": 0}
    assert "not trained to predict text" in figure.layout.title.text


def test_the_selected_image_is_read(
    tiny_random_engine: Engine, image: PromptImage, wide_image: PromptImage
) -> None:
    run = make_run(tiny_random_engine, "Which?", image, wide_image)
    selection = locate_token(run.inputs, run.positions, run.inputs.spans[1].start + 1)
    figure = layers.picture(run, 1, selection)
    assert figure is not None
    assert figure.layout.meta["pointer"] == {"what": "merged", "span": 1}
    assert "input of layer 1" in figure.layout.title.text


def test_an_image_of_too_many_tokens_has_no_labels(tiny_random_engine: Engine) -> None:
    large = make_run(tiny_random_engine, "?", make_image(1280, 1280), max_pixels=1280 * 1280)
    assert large.inputs.spans[0].end - large.inputs.spans[0].start > layers.MAX_IMAGE_TOKENS
    assert layers.picture(large, 0, None) is None
    assert layers.picture(make_run(tiny_random_engine, "Hello"), 0, None) is None


def test_the_cache_is_shown_in_bytes(image_run: Run) -> None:
    facts = image_run.engine.facts
    html, per_token = cache.sizes(image_run), facts.kv_bytes_per_token(torch.float32)
    assert f"{per_token:,} bytes" in html
    assert f"adds {per_token:,} bytes" in cache.words(image_run)
    seq = image_run.inputs.num_tokens
    assert f"1 × {facts.num_key_value_heads} × {seq} × {facts.head_dim}" in html
    assert f"{seq * per_token:,} / {seq}" in html


def test_deepstack_layers_are_named(image_run: Run, tiny_random_engine: Engine) -> None:
    assert "after layers 0, 1, 2" in sequence.facts(image_run, sequence.PROMPT, None)
    ticks = layers.norms(image_run).layout.yaxis.ticktext
    assert [tick for tick in ticks if "◆" in tick] == ["1 ◆", "2 ◆", "3 ◆"]
    text_run = make_run(tiny_random_engine, "Hello")
    assert "DeepStack adds nothing" in sequence.facts(text_run, sequence.PROMPT, None)
    assert not any("◆" in tick for tick in layers.norms(text_run).layout.yaxis.ticktext)
