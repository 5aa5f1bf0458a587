"""A photo's run must reach the page without stutter: no tab sends more than 400 kB at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go
import pytest

from components.chart_view.view import encode_figure
from components.tabs.cache.tab import build_cache_tab
from components.tabs.decoder.tab import build_decoder_tab
from components.tabs.merge.tab import build_merge_tab
from components.tabs.preprocess.tab import build_preprocess_tab
from components.tabs.sampling import side
from components.tabs.sampling.presets import start_settings, values_of
from components.tabs.stage_tab import App, StageTab
from components.tabs.vision.tab import build_vision_tab
from playground.engine import Engine
from playground.pipeline import Run
from tests.components.html_reader import read_html
from tests.components.runs import build_alone, draw_tab, ignore_progress, make_run
from tests.media_samples import make_picture

MAX_UPDATE_BYTES = 400_000
MAX_SVG_POINTS = 5_000
PHOTO = (1280, 960)


@pytest.fixture(scope="module")
def photo_run(tiny_random_engine: Engine) -> Run:
    """1,200 visual tokens, as the 2B model makes of the same photo."""
    run = make_run(
        tiny_random_engine,
        "Describe this picture in every detail. " * 10,
        make_picture(*PHOTO),
        max_pixels=PHOTO[0] * PHOTO[1],
    )
    assert run.inputs.spans[0].num_patches == 80 * 60
    return run


def _num_bytes(value: Any) -> int:
    return len((encode_figure(value) or "") if isinstance(value, go.Figure) else str(value))


def _check(drawn: tuple[Any, ...]) -> None:
    assert sum(_num_bytes(value) for value in drawn) <= MAX_UPDATE_BYTES
    for figure in drawn:
        if isinstance(figure, go.Figure):
            points = sum(len(trace.x) for trace in figure.data if trace.type == "scatter")
            assert points <= MAX_SVG_POINTS


@pytest.mark.parametrize(
    "build", [build_preprocess_tab, build_vision_tab, build_merge_tab, build_decoder_tab]
)
def test_a_photo(photo_run: Run, build: Callable[[App], StageTab]) -> None:
    _check(tuple(draw_tab(build_alone(build), photo_run).values()))


def test_a_photo_in_the_cache_tab(photo_run: Run) -> None:
    tab = build_alone(build_cache_tab)
    chosen = {"Requests": 4, "Timed runs": 1}  # as many as there are, each with the photo
    chosen |= {f"Picture of request {number}": "this run's" for number in range(1, 5)}
    values = [chosen.get(str(each.label), each.value) for each in tab.controls]
    updates = list(tab.stream(photo_run, ignore_progress, *values))
    for drawn in updates:
        _check(drawn)
    strips = next(str(value) for value in updates[-1] if "pg-request" in str(value))
    assert len(read_html(strips).find("section", "pg-request")) == 4
    assert strips.count("image_pad") >= 4


def test_merge_of_a_long_text(tiny_random_engine: Engine) -> None:
    run = make_run(tiny_random_engine, "one two three " * 280)
    assert run.inputs.num_tokens > 800
    _check(tuple(draw_tab(build_alone(build_merge_tab), run).values()))


@pytest.mark.parametrize("num_columns", [2, 8])
def test_columns_side_by_side(photo_run: Run, num_columns: int) -> None:
    """Every update: the text while it is written, and all that the part shows at the end."""
    photo_run.ensure("decoder")
    rows = [values_of(start_settings(index)) for index in range(num_columns)]
    for lab in side.columns(photo_run, ignore_progress, rows, side.NEW_TOKENS, False):
        _check(
            (
                side.verdict(photo_run, lab),
                side.texts(photo_run, lab, "probability"),
                side.probabilities(photo_run, lab),
                side.entropy(photo_run, lab),
                side.diff(photo_run, lab, None, None),
            )
        )
