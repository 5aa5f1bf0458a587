"""The vision tab's attention part."""

from __future__ import annotations

import numpy as np
import pytest

import playground
from components.snippets.scripts import write_snippet
from components.tabs.vision import attention, heads
from components.tabs.vision.attention_images import FROM_PATCH, MEAN, RECEIVED
from components.tabs.vision.focus import choose_patch
from components.tabs.vision.heads import TowerHeadSummary
from playground.engine import Engine
from playground.errors import InputError
from playground.pipeline import Run
from playground.pointer import locate_patch
from playground.prompt import PromptImage
from playground.vision.attention import measure_block, patch_attention
from tests.components.html_reader import read_html
from tests.components.runs import ignore_progress, make_run


def _weights(run: Run, block: int, row: int, column: int) -> np.ndarray:
    tower, span = run.vision.image, run.inputs.spans[1]
    assert tower is not None
    return patch_attention(run.engine, tower, span, block, row, column)


def test_the_caption_describes_the_selected_patch_s_attention(pair_run: Run) -> None:
    selection = locate_patch(pair_run.inputs, pair_run.positions, 1, 2, 3)
    image = attention.picture(pair_run, 3, 1, FROM_PATCH, 1, selection)
    weights = _weights(pair_run, 3, 2, 3)[1]
    row, column = np.unravel_index(weights.argmax(), weights.shape)
    assert "Block 3, head 1: attention from the patch at row 2, column 3" in image
    assert f"row {row}, column {column}, receives {weights.max():.1%}" in image
    entropy = -(weights * np.log(weights)).sum()
    assert f"Entropy {entropy:.2f} nats" in image
    page = read_html(image)
    assert page.find("div", data_span="1")
    assert len(page.find("img", cls="pg-overlay")) == 1
    assert not page.find("rect"), "the page itself marks the selected patch"


def test_the_mean_of_the_heads_is_the_first_choice(pair_run: Run) -> None:
    image = attention.picture(pair_run, 2, MEAN, FROM_PATCH, 1, None)
    span = pair_run.inputs.spans[1]
    weights = _weights(pair_run, 2, span.grid_h // 2, span.grid_w // 2).mean(0)
    assert "the mean of all heads" in image
    assert f"receives {weights.max():.1%}" in image
    assert "click" in image, "nothing is selected: it says how to choose"
    mark = {"x": str(span.grid_w // 2), "y": str(span.grid_h // 2)}
    assert read_html(image).find("rect", **mark), "and marks the patch"


def test_every_head_has_a_small_map(pair_run: Run) -> None:
    html = attention.heads(pair_run, 2, FROM_PATCH, 1, None)
    captions = [each.text for each in read_html(html).find("figcaption")]
    assert [caption.split(",")[0] for caption in captions] == ["mean", "head 0", "head 1"]
    span = pair_run.inputs.spans[1]
    weights = _weights(pair_run, 2, span.grid_h // 2, span.grid_w // 2)
    assert captions[2].endswith(f"{weights[1].max():.1%}")


def test_attention_received_is_a_choice_of_its_own(pair_run: Run) -> None:
    image = attention.picture(pair_run, 1, 0, RECEIVED, 0, None)
    tower = pair_run.vision.image
    assert tower is not None
    received = measure_block(pair_run.engine, tower, pair_run.inputs.spans[0], 1).received[0]
    assert "attention received by each patch" in image
    assert f"receives {received.max():.1%}" in image
    assert not read_html(image).find("rect"), "no patch is marked"
    selection = locate_patch(pair_run.inputs, pair_run.positions, 0, 1, 1)
    assert attention.picture(pair_run, 1, 0, RECEIVED, 0, selection) == image


def test_a_sample_is_called_one(pair_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playground.vision.attention, "MAX_QUERIES", 20)
    image = attention.picture(pair_run, 1, 0, RECEIVED, 0, None)
    assert "averaged over 20 evenly spaced query patches of 80" in image


def test_the_controls_fit_the_tower(pair_run: Run) -> None:
    block = attention.BLOCK.spec(pair_run)
    assert block is not None
    assert (block["low"], block["high"], block["value"]) == (0, 3, 2)
    assert [value for _, value in attention.name_heads(pair_run)] == [MEAN, 0, 1]
    assert attention.HEAD.parse(None, pair_run) == MEAN
    with pytest.raises(InputError, match="not offered"):
        attention.HEAD.parse(2, pair_run)
    assert "In each of the 4 blocks, 2 heads" in attention.intro(pair_run, 0)


def test_small_grids_are_measured_with_the_run(pair_run: Run) -> None:
    tower, span = pair_run.vision.image, pair_run.inputs.spans[0]
    assert tower is not None
    entropy = attention.entropy(pair_run, None, 0)
    distance = attention.distance(pair_run, None, 0)
    assert entropy is not None
    assert distance is not None
    plain = [measure_block(pair_run.engine, tower, span, block) for block in range(4)]
    np.testing.assert_allclose(entropy.data[0].customdata, [each.entropy for each in plain])
    np.testing.assert_allclose(distance.data[0].z, [each.distance for each in plain])
    words = attention.words(pair_run, None, 0)
    assert not read_html(words).find("button")
    near = np.unravel_index(distance.data[0].z.argmin(), (4, 2))
    assert f"most local head is head {near[1]} of block {near[0]}" in words
    assert f"log {span.num_patches}" in words


def test_a_cell_of_the_charts_chooses_its_head(pair_run: Run) -> None:
    for chart in (attention.entropy, attention.distance):
        figure = chart(pair_run, None, 0)
        assert figure is not None
        assert figure.layout.meta["pick"] == {"block": "y", "head": "x"}
        rows, columns = figure.data[0].z.shape
        for control, most in ((attention.BLOCK, rows - 1), (attention.HEAD, columns - 1)):
            assert control.parse(most, pair_run) == most


def test_large_grids_wait_for_a_click(
    monkeypatch: pytest.MonkeyPatch, tiny_random_engine: Engine, image: PromptImage
) -> None:
    monkeypatch.setattr(heads, "AUTO_SCORES", 10)
    run = make_run(tiny_random_engine, "What is this?", image)
    button = read_html(attention.words(run, None, 0)).find("button")[0].attrs
    assert button["data-run"] in attention.PART.experiments
    assert attention.entropy(run, None, 0) is None
    assert attention.distance(run, None, 0) is None
    found: list[TowerHeadSummary] = list(attention.measured(run, ignore_progress, 0))
    assert len(found) == 4
    # This run has cached its summary by now, so draw the partial result on another run.
    other = make_run(tiny_random_engine, "What is this?", image)
    words = attention.words(other, found[0], 0)
    assert "1 of 4 blocks" in words
    assert read_html(words).find("button")
    partial, whole = (attention.entropy(other, each, 0) for each in (found[0], found[-1]))
    assert partial is not None
    assert whole is not None
    assert np.isnan(partial.data[0].z[1:]).all()
    assert np.isfinite(whole.data[0].z).all()
    assert not read_html(attention.words(other, found[-1], 0)).find("button")
    # It is cached with the run, so it is drawn at once from now on.
    assert attention.entropy(run, None, 0) is not None


def test_a_finding_is_not_shown_for_another_image(
    monkeypatch: pytest.MonkeyPatch,
    tiny_random_engine: Engine,
    image: PromptImage,
    wide_image: PromptImage,
) -> None:
    monkeypatch.setattr(heads, "AUTO_SCORES", 10)
    run = make_run(tiny_random_engine, "Which?", image, wide_image)
    *_, found = attention.measured(run, ignore_progress, 1)
    assert attention.entropy(run, found, 1) is not None
    assert attention.entropy(run, found, 0) is None
    assert "only on request" in attention.words(run, found, 0)


def test_an_unfinished_measurement_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, tiny_random_engine: Engine, image: PromptImage
) -> None:
    monkeypatch.setattr(heads, "AUTO_SCORES", 10)
    run = make_run(tiny_random_engine, "What is this?", image)
    next(attention.measured(run, ignore_progress, 0))
    assert attention.entropy(run, None, 0) is None


def test_text_alone_has_no_attention(tiny_random_engine: Engine) -> None:
    run = make_run(tiny_random_engine, "Hello")
    with pytest.raises(InputError, match="no image"):
        next(attention.measured(run, ignore_progress, 0))
    with pytest.raises(InputError, match="no image"):
        choose_patch(run, 0, None)


def test_the_code_matches_the_page(pair_run: Run) -> None:
    selection = locate_patch(pair_run.inputs, pair_run.positions, 1, 2, 3)
    chosen = {"span": 1, "patch": (2, 3), "block": 3}
    code = attention.code(pair_run, 3, 1, FROM_PATCH, 1, selection)
    assert code == write_snippet("vision_attention", pair_run, **chosen, head=1)
    code = attention.code(pair_run, 3, MEAN, FROM_PATCH, 1, selection)
    assert code == write_snippet("vision_attention", pair_run, **chosen)
    code = attention.code(pair_run, 2, 0, RECEIVED, 1, selection)
    chosen = {**chosen, "block": 2, "head": 0, "received": True}
    assert code == write_snippet("vision_attention", pair_run, **chosen)
