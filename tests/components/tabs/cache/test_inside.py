"""The cache tab: what a cache holds, and how it grows with the prompt."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from components.chart_view.figures import encode_figure
from components.charts.cache_inside import plot_bytes, plot_channels, plot_growth
from components.tabs.cache import inside
from components.tabs.cache.inside import bytes_per_token_2b
from playground.engine import Engine
from playground.errors import InputError
from playground.experiments.growth import GrowthPoint
from playground.kv_cache.channels import channel_norms
from playground.pipeline import Run
from playground.prompt import PromptImage
from tests.components.html_reader import read_html
from tests.components.runs import ignore_progress, make_run
from tests.media_samples import make_image


@pytest.fixture(scope="module")
def run(tiny_random_engine: Engine, image: PromptImage) -> Run:
    run = make_run(tiny_random_engine, "Describe this image.", image)
    run.ensure("decoder")
    return run


def test_facts_of_the_cache(run: Run) -> None:
    words = read_html(inside.facts(run)).find("p")[0].text
    tokens = run.inputs.num_tokens
    assert f"{tokens} tokens" in words
    assert "1,024 bytes per token" in words  # 4 layers × 2 × 2 heads × 16 × 4 bytes
    assert "114,688" in words
    assert bytes_per_token_2b() == 114_688
    rows = read_html(inside.tensors(run)).rows()
    assert len(rows) == 1 + 4
    assert rows[1][1] == f"1 × 2 × {tokens} × 16"


def test_one_head_s_map(run: Run) -> None:
    figure = inside.channels(run, 1, 1, "values")
    (trace,) = figure.data
    cache: Any = run.decoded.cache
    np.testing.assert_allclose(trace.z, cache.layers[1].values[0, 1].abs().T.numpy(), rtol=1e-5)
    assert figure.layout.meta["pointer"] == {"what": "token", "axis": "x"}
    assert "Layer 1, head 1: the values" in figure.layout.title.text
    assert figure.layout.yaxis.title.text == "Head channel"
    pooled = channel_norms(cache, 1, "values", 1, max_cells=16 * 10)
    shown = plot_channels(pooled, "values", 1, 1, run.inputs.num_tokens)
    assert "pointer" not in shown.layout.meta  # a column is no single token
    assert "per column" in shown.layout.xaxis.title.text


@pytest.mark.parametrize(
    ("control", "raw"),
    [("layer", 4), ("head", 2), ("kept", "queries"), ("layer", "x"), ("longest", float("nan"))],
)
def test_a_bad_choice_is_refused(run: Run, control: str, raw: Any) -> None:
    chosen = inside.PART.control(control)
    assert chosen is not None
    with pytest.raises(InputError):
        chosen.parse(raw, run)


def test_growth_is_drawn_as_it_is_measured(run: Run) -> None:
    found = list(inside.growth(run, ignore_progress, 150))
    assert [len(each.points) for each in found] == list(range(1, len(found) + 1))
    assert inside.PART.outputs["times"].live
    assert "same logits" in inside.words(run, found[-1])
    times, sizes = inside.times(run, found[-1]), inside.sizes(run, found[-1])
    assert times is not None
    assert sizes is not None
    full, cached = times.data
    lengths = times.data[0].x.tolist()
    assert lengths[0] == run.inputs.num_tokens
    assert lengths[-1] == 150
    assert len(full.y) == len(cached.y) == len(lengths)
    np.testing.assert_allclose(sizes.data[0].y, np.array(lengths) * 1024 / 1e6, rtol=1e-6)
    np.testing.assert_allclose(sizes.data[1].y, np.array(lengths) * 114_688 / 1e6, rtol=1e-6)


def test_growth_charts_show_medians() -> None:
    points = [
        GrowthPoint(10, (1.0, 3.0, 2.0), (4.0, 4.0, 9.0), 10_240, 0.0),
        GrowthPoint(100, (2.0, 2.0, 2.0), (40.0, 40.0, 41.0), 102_400, 0.0),
    ]
    times = plot_growth(points)
    assert times.data[0].y.tolist() == [4.0, 40.0]
    assert times.data[1].y.tolist() == [2.0, 2.0]
    assert "After 100 tokens, the next one takes 20 times" in times.layout.title.text
    assert times.data[0].line.dash != times.data[1].line.dash
    assert plot_bytes(points, 1024, 114_688).data[0].y.tolist() == pytest.approx([0.01024, 0.1024])


def test_a_photo_s_cache_stays_small_on_the_page(tiny_random_engine: Engine) -> None:
    run = make_run(tiny_random_engine, "Hi", make_image(1280, 960), max_pixels=1280 * 960)
    figure = inside.channels(run, 0, 0, "keys")
    assert isinstance(figure, go.Figure)
    assert len(encode_figure(figure) or "") < 300_000
