from __future__ import annotations

import plotly.graph_objects as go
import pytest

from components.charts.model import part_color, plot_module_tree, say_count
from components.look.colors import BLUE, GREEN, ORANGE, PURPLE
from playground.engine import Engine
from playground.model_facts import build_on_meta, load_config, module_tree


@pytest.fixture(scope="module")
def full_size() -> go.Figure:
    """The tree of the 2B configuration, without weights."""
    return plot_module_tree(module_tree(build_on_meta(load_config())))


def _assert_can_be_drawn(figure: go.Figure) -> None:
    """Plotly draws nothing at all where children outgrow their parent."""
    tiles = figure.data[0]
    values = dict(zip(tiles.ids, tiles.values, strict=True))
    assert len(values) == len(tiles.ids), "two tiles of one name"
    inside: dict[str, int] = {}
    for parent, value in zip(tiles.parents, tiles.values, strict=True):
        inside[parent] = inside.get(parent, 0) + value
    assert list(tiles.parents).count("") == 1
    for parent, total in inside.items():
        assert parent == "" or total <= values[parent], parent


def test_the_loaded_model_can_be_drawn(tiny_random_engine: Engine) -> None:
    figure = plot_module_tree(module_tree(tiny_random_engine.model))
    _assert_can_be_drawn(figure)
    assert figure.data[0].values[0] == sum(
        weight.numel() for weight in tiny_random_engine.model.parameters()
    )


def test_the_2b_model_can_be_drawn(full_size: go.Figure) -> None:
    _assert_can_be_drawn(full_size)
    assert "2.13 billion" in full_size.layout.title.text


def test_tiles_say_what_they_hold(full_size: go.Figure) -> None:
    tiles = full_size.data[0]
    index = tiles.ids.index("model.language_model.layers.3.mlp.up_proj")
    kind, weights, memory, share = tiles.customdata[index]
    assert (kind, weights) == ("Linear", "weight: 6144 × 2048")
    assert memory == "25.2 MB"  # 6144 * 2048 numbers of 2 bytes
    assert share == "0.6%"
    assert tiles.labels[tiles.ids.index("model.language_model.layers.3")] == "layer 3"
    assert tiles.labels[tiles.ids.index("model.visual.blocks.23")] == "block 23"


def test_tied_weights_are_explained(full_size: go.Figure) -> None:
    tiles = full_size.data[0]
    words = tiles.customdata[tiles.ids.index("lm_head")][1]
    assert words == "shares its weights with model.language_model.embed_tokens"


@pytest.mark.parametrize(
    ("path", "color"),
    [
        ("model.visual.blocks.0.attn", ORANGE),
        ("model.visual.merger", PURPLE),
        ("model.visual.deepstack_merger_list.1.linear_fc1", PURPLE),
        ("model.language_model.layers.0", BLUE),
        ("model.language_model.embed_tokens", GREEN),
    ],
)
def test_parts_have_colours(path: str, color: str) -> None:
    assert part_color(path) == color


@pytest.mark.parametrize(
    ("count", "words"), [(999, "999"), (5_060_000, "5.06 million"), (2.13e9, "2.13 billion")]
)
def test_counts_in_words(count: int, words: str) -> None:
    assert say_count(count) == words
