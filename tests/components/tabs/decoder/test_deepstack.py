"""The decoder tab's DeepStack."""

from __future__ import annotations

from typing import Any

import numpy as np

from components.tabs.decoder import deepstack
from playground.pipeline import Run
from tests.components.html_reader import read_html


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
    shares = deepstack.deepstack_shares(run)
    np.testing.assert_allclose(shares[1, visual.numpy()], expected, rtol=1e-3)
    assert not shares[:, ~visual.numpy()].any()


def test_a_map_for_each_tap_and_image(run: Run, text_run: Run) -> None:
    assert len(read_html(deepstack.maps(run)).find("figure")) == 3 * 2
    assert "after layer 2" in deepstack.words(run)
    assert deepstack.PART.shown is not None
    assert deepstack.PART.shown(run)
    assert not deepstack.PART.shown(text_run)
