from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from components.tabs.vision_tab import (
    build_vision_tab,
    draw_span,
    draw_state,
    facts_html,
    stream_vision,
)
from playground.engine import Engine
from playground.pipeline import Run
from playground.pointer import patch_rows, patch_tokens
from playground.records import Clip, Picture
from tests.components.runs import build_alone, ignore_progress, make_run

NAMES = ("facts", "body", "state", "span", "picture", "summary", "pca", "norms", "code")


def _draw(run: Run, state: int | None = 4, span: int | None = 0) -> dict[str, Any]:
    """What the tab yields, by output."""
    (drawn,) = stream_vision(run, ignore_progress, state, span)
    return dict(zip(NAMES, drawn, strict=True))


@pytest.fixture(scope="module")
def image_run(tiny_random_engine: Engine, picture: Picture) -> Run:
    return make_run(tiny_random_engine, "What is this?", picture)


@torch.no_grad()
def _plain_states(run: Run) -> list[torch.Tensor]:
    """The tower's states by plain transformers and hooks of our own."""
    visual: Any = run.engine.model.model.visual
    states: list[torch.Tensor] = []
    hooks = [
        block.register_forward_pre_hook(lambda _module, args: states.append(args[0]))
        for block in visual.blocks
    ]
    try:
        output = visual(run.inputs.pixel_values, grid_thw=run.inputs.image_grid_thw)
    finally:
        for hook in hooks:
            hook.remove()
    return [*states, output.last_hidden_state]


@pytest.mark.parametrize("state", [0, 2, 4])
def test_the_heat_map_holds_the_models_norms(image_run: Run, state: int) -> None:
    expected = _plain_states(image_run)[state].norm(dim=-1).numpy()
    span = image_run.inputs.spans[0]
    heat_map = _draw(image_run, state)["norms"].data[0]
    np.testing.assert_allclose(heat_map.z, expected[patch_rows(span)], rtol=1e-6)
    np.testing.assert_array_equal(heat_map.customdata, patch_tokens(span))


def test_the_summary_follows_the_models_states(image_run: Run) -> None:
    norms = torch.stack(_plain_states(image_run)).norm(dim=-1)
    lines = {trace.name: trace.y for trace in _draw(image_run)["summary"].data}
    np.testing.assert_allclose(lines["largest"], norms.amax(-1), rtol=1e-6)
    np.testing.assert_allclose(lines["smallest"], norms.amin(-1), rtol=1e-6)
    np.testing.assert_allclose(lines["median"], np.median(norms, axis=-1), rtol=1e-6)


def test_the_slider_fits_the_tower(image_run: Run) -> None:
    depth = image_run.engine.facts.vision_depth
    drawn = _draw(image_run, state=99)
    assert (drawn["state"]["maximum"], drawn["state"]["value"]) == (depth, depth)
    assert f"after {depth} of {depth} blocks" in drawn["norms"].layout.title.text
    assert _draw(image_run, state=None)["state"]["value"] == 0


def test_the_slider_redraws_one_picture_and_one_heat_map(image_run: Run) -> None:
    first, other = draw_state(image_run, 1, 0), draw_state(image_run, 2, 0)
    assert len(first) == 3
    assert "states[1]" in first[2]
    assert first[0] != other[0]
    assert not np.array_equal(first[1].data[0].z, other[1].data[0].z)
    assert "after 1 of 4 blocks" in first[0]


def test_the_caption_says_how_much_the_colours_show(image_run: Run) -> None:
    rows = torch.from_numpy(patch_rows(image_run.inputs.spans[0]).ravel())
    features = _plain_states(image_run)[2][rows]
    variance = np.linalg.svd((features - features.mean(0)).numpy(), compute_uv=False) ** 2
    share = variance[:3].sum() / variance.sum()
    assert f"three colours show {share:.0%} of the variance" in draw_state(image_run, 2, 0)[0]


def test_one_picture_needs_no_chooser(image_run: Run) -> None:
    assert _draw(image_run)["span"]["visible"] is False


def test_each_picture_can_be_chosen(
    tiny_random_engine: Engine, picture: Picture, wide_picture: Picture
) -> None:
    run = make_run(tiny_random_engine, "Which?", picture, wide_picture)
    drawn = _draw(run, span=1)
    assert drawn["span"]["choices"] == [("image 1", 0), ("image 2", 1)]
    assert drawn["span"]["visible"] is True
    grid = tuple(run.inputs.image_grid_thw[1, 1:].tolist())
    assert drawn["norms"].data[0].z.shape == grid
    assert "image 2" in drawn["picture"]
    # A choice left over from a run with more pictures falls back to one that is there.
    assert _draw(run, span=7)["span"]["value"] == 1


def test_the_frames_of_a_video_can_be_chosen(tiny_random_engine: Engine, clip: Clip) -> None:
    run = make_run(tiny_random_engine, "Where does it go?", clip=clip)
    names = [name for name, _ in _draw(run)["span"]["choices"]]
    times = run.inputs.media[0].timestamps
    assert names == [f"video 1, {time:.1f} s" for time in times]
    assert len(names) == 2  # four frames, two to a temporal patch
    assert "get_video_features" in draw_span(run, 0, 1)[-1]


def test_the_code_follows_the_controls(image_run: Run) -> None:
    assert "states[3]" in _draw(image_run, state=3)["code"]


def test_facts_are_this_runs_numbers(image_run: Run) -> None:
    words = facts_html(image_run)
    patches = int(image_run.inputs.image_grid_thw.prod())
    assert f"{patches} patches of 16 × 16 pixels" in words
    assert f"{patches // 4} tokens" in words
    assert "after blocks 0, 1, 2 (counted from 0)" in words


def test_text_alone_gets_a_sentence_and_no_charts(tiny_random_engine: Engine) -> None:
    drawn = _draw(make_run(tiny_random_engine, "Hello"))
    assert "no picture" in drawn["facts"]
    assert drawn["body"]["visible"] is False
    assert drawn["norms"] is None
    assert drawn["summary"] is None


def test_the_tab_yields_a_value_for_every_output(tiny_random_engine: Engine) -> None:
    tab = build_alone(build_vision_tab)
    values = [control.value for control in tab.controls]
    (drawn,) = tab.stream(make_run(tiny_random_engine, "Hello"), ignore_progress, *values)
    assert len(drawn) == len(tab.outputs)
