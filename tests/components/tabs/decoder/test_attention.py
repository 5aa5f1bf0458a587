"""The decoder tab's attention, and what a neutral prompt takes off it."""

from __future__ import annotations

import numpy as np
import pytest

from components.parts.experiments import run_experiment
from components.tabs.decoder import attention
from components.tabs.decoder.attention import LESS_SINK, MEAN, RAW, Neutral
from components.tabs.decoder.tab import TAB
from playground.decoder.attention import attention_rows, layer_queries_keys
from playground.engine import Engine
from playground.errors import InputError
from playground.experiments.neutral import neutral_run
from playground.pipeline import Run
from playground.pointer import locate_token
from tests.components.drawings import make_drawing
from tests.components.html_reader import read_html
from tests.components.runs import ignore_progress, make_run
from tests.media_samples import make_image

FOUND = Neutral(".")


def test_the_views_show_the_chosen_head(run: Run) -> None:
    selection = locate_token(run.inputs, run.positions, run.inputs.num_tokens - 3)
    weights = attention_rows(
        layer_queries_keys(run.engine, run.decoded, 2), range(run.inputs.num_tokens)
    )[1].numpy()
    row = attention.row(run, 2, 1, selection)
    np.testing.assert_allclose(
        row.data[0].y, weights[selection.index, : selection.index + 1], atol=1e-6
    )
    shown = attention.matrix(run, 2, 1).data[0].z
    seen = np.tril(np.ones_like(weights)) > 0
    np.testing.assert_allclose(shown[seen] ** 2, weights[seen], atol=1e-6)
    assert np.isnan(shown[~seen]).all()  # the causal mask is no small weight
    shares = attention.shares(run, 2, 1)
    total = sum(trace.y for trace in shares.data)
    np.testing.assert_allclose(total, 1, atol=1e-5)
    assert shares.layout.meta["pick"] == {"head": "x"}
    images = attention.pictures(run, 2, 1, RAW, None, selection)
    assert len(read_html(images).find("figure")) == 2
    best = int(weights[selection.index].argmax())
    assert f"on token {best}" in attention.words(run, 2, 1, selection)


def test_the_mean_is_over_all_heads(run: Run) -> None:
    weights = attention_rows(layer_queries_keys(run.engine, run.decoded, 1), [20])
    rows = attention.head_rows(run, 1, MEAN, [20])
    np.testing.assert_allclose(rows, weights.mean(0), atol=1e-6)
    assert "mean of all heads" in attention.words(run, 1, MEAN, None)


def test_the_controls_offer_what_the_model_has(run: Run) -> None:
    num_layers, heads = run.decoded.num_layers, run.engine.facts.num_attention_heads
    assert attention.LAYER.parse(None, run) == num_layers // 2
    assert attention.LAYER.details(run)["high"] == num_layers - 1
    assert [value for _, value in attention.HEAD.choices(run)] == list(range(-1, heads))
    assert attention.HEAD.parse(None, run) == MEAN
    for control, value in ((attention.LAYER, num_layers), (attention.HEAD, heads)):
        with pytest.raises(InputError):
            control.parse(value, run)


def test_a_neutral_prompt_is_subtracted(run: Run) -> None:
    selection = locate_token(run.inputs, run.positions, run.inputs.num_tokens - 1)
    (found,) = attention.neutral(run, ignore_progress)
    raw = attention.pictures(run, 1, MEAN, RAW, found, selection)
    rest = attention.pictures(run, 1, MEAN, LESS_SINK, found, selection)
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


def test_the_neutral_prompt_is_asked_for_until_it_has_run(tiny_random_engine: Engine) -> None:
    run = make_run(tiny_random_engine, "Which?", make_image())
    page = read_html(attention.pictures(run, 1, 0, LESS_SINK, None, None))
    assert [button.attrs["data-run"] for button in page.find("button")] == ["neutral"]
    assert not page.find("figure")
    assert run.recall("neutral run") is None


def test_the_images_are_drawn_after_the_neutral_prompt_has_run(tiny_random_engine: Engine) -> None:
    run = make_run(tiny_random_engine, "Which?", make_image())
    drawing = make_drawing(TAB)
    data = {
        "run": drawing.runs.add(run),
        "part": "decoder.attention",
        "experiment": "neutral",
        "values": {"decoder.attention.kind": LESS_SINK, "decoder.attention.layer": 1},
    }
    *_, answer = run_experiment(drawing, attention.PART, data, ignore_progress)
    assert answer["done"]
    assert list(answer["outputs"]) == ["pictures"]
    expected = attention.pictures(run, 1, MEAN, LESS_SINK, FOUND, None)
    assert answer["outputs"]["pictures"] == {"html": expected}


def test_text_alone_needs_no_neutral_prompt(text_run: Run) -> None:
    assert list(attention.neutral(text_run, ignore_progress))
    assert text_run.recall("neutral run") is None
    assert attention.KIND.spec(text_run) is None


def test_a_token_before_the_image_cannot_attend_to_it(run: Run) -> None:
    selection = locate_token(run.inputs, run.positions, 1)
    assert "No image comes before" in attention.pictures(run, 0, MEAN, RAW, None, selection)


def test_a_token_of_an_image_attends_to_earlier_tokens_of_it(run: Run) -> None:
    first, second = run.inputs.spans
    selection = locate_token(run.inputs, run.positions, second.start + 2)
    images = attention.pictures(run, 2, 1, RAW, None, selection)
    weights = attention_rows(layer_queries_keys(run.engine, run.decoded, 2), [selection.index])[
        1, 0
    ]
    captions = [" ".join(each.text.split()) for each in read_html(images).find("figcaption")]
    for span, caption in zip((first, second), captions, strict=True):
        share = float(weights[span.start : span.end].sum())
        assert f"{share:.1%} of its total" in caption
    assert f"{float(weights[second.start :].max()):.2%}" in images
