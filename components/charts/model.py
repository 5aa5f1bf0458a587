"""Chart of the model's modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from components.charts.style import HEIGHT_LARGE, base_layout
from components.look.colors import BLUE, GREEN, GREY, ORANGE, PURPLE
from components.views.tables import format_bytes
from playground.language import say

if TYPE_CHECKING:
    from playground.model_facts import ModuleNode

ROOT_ID = "(root)"  # Plotly reads an empty path as "no parent", and "model" is a module
# The longest prefix wins.
PART_COLORS = {
    "": GREY,
    "model.visual": ORANGE,
    "model.visual.merger": PURPLE,
    "model.visual.deepstack_merger_list": PURPLE,
    "model.language_model": BLUE,
    "model.language_model.embed_tokens": GREEN,
    "lm_head": GREEN,
}
# White text on the light colours would have a contrast below 4.5:1.
DARK_TEXT, LIGHT_TEXT = "#14181f", "#ffffff"
TEXT_COLORS = {
    GREY: DARK_TEXT,
    ORANGE: DARK_TEXT,
    GREEN: DARK_TEXT,
    BLUE: LIGHT_TEXT,
    PURPLE: LIGHT_TEXT,
}


def plot_module_tree(nodes: Sequence[ModuleNode]) -> go.Figure:
    """All modules as tiles with areas proportional to their parameters; a click zooms in.

    Args:
        nodes: of ``playground.model_facts.module_tree``, parents first.
    """
    total = nodes[0].num_parameters
    layout = base_layout(
        say(
            "Where the {count} parameters are (click a tile to zoom in)",
            count=say_count(total),
        ),
        height=HEIGHT_LARGE,
        alt=say(
            "Treemap of {count} modules by number of parameters: {shares}.",
            count=len(nodes),
            shares=", ".join(
                f"{node.path} {node.num_parameters / total:.0%}"
                for node in nodes
                if node.depth == 2
            ),
        ),
    )
    layout["meta"]["columns"] = {
        "labels": say("Module"),
        "parents": say("Parent"),
        "values": say("Parameters"),
        "customdata": [say("Class"), say("Weights"), say("Memory"), say("Share")],
    }
    tiles = go.Treemap(
        **module_tiles(nodes),
        marker={"colors": [part_color(node.path) for node in nodes]},
        textfont={"color": [TEXT_COLORS[part_color(node.path)] for node in nodes]},
        customdata=[
            [
                node.kind,
                _weight_words(node),
                format_bytes(node.num_bytes),
                f"{node.num_parameters / total:.1%}",
            ]
            for node in nodes
        ],
        hovertemplate="<b>%{id}</b><br>%{customdata[0]}<br>"
        + say("%{value:,} parameters (%{customdata[3]}), %{customdata[2]}")
        + "<br>%{customdata[1]}<extra></extra>",
        texttemplate="%{label}<br>%{customdata[3]}",
    )
    return go.Figure(tiles, layout)


def module_tiles(nodes: Sequence[ModuleNode]) -> dict[str, Any]:
    """The fields of a ``go.Treemap`` with a tile for each module, as large as its parameters."""
    return {
        "ids": [node.path or ROOT_ID for node in nodes],
        "labels": [_tile_name(node) for node in nodes],
        "parents": ["" if node.parent is None else node.parent or ROOT_ID for node in nodes],
        "values": [node.num_parameters for node in nodes],
        "branchvalues": "total",
        "maxdepth": 5,
        "sort": False,
    }


def part_color(path: str) -> str:
    """The colour of the part of the model that a module belongs to."""
    fitting = [
        prefix for prefix in PART_COLORS if not prefix or f"{path}.".startswith(f"{prefix}.")
    ]
    return PART_COLORS[max(fitting, key=len)]


def say_count(count: int) -> str:
    """A large count in words: 1.23 million."""
    if count >= 10**9:
        return say("{billions:.3g} billion", billions=count / 10**9)
    if count >= 10**6:
        return say("{millions:.3g} million", millions=count / 10**6)
    return say("{thousands:.3g} thousand", thousands=count / 1000) if count >= 1000 else str(count)


def _tile_name(node: ModuleNode) -> str:
    """A module's name on a tile: ``layers.3`` is "layer 3"."""
    if not node.path:
        return node.kind
    if not node.name.isdigit():
        return node.name
    # "3" alone is not a name: layers.3 becomes layer 3, blocks.3 block 3.
    group = (node.parent or "").rpartition(".")[2]
    return f"{group.removesuffix('s').removesuffix('_list')} {node.name}"


def _weight_words(node: ModuleNode) -> str:
    if node.tied_to:
        return say("shares its weights with {module}", module=node.tied_to)
    if not node.weights:
        return say("no weights of its own")
    return "<br>".join(
        f"{name}: {' × '.join(str(size) for size in shape)}" for name, shape in node.weights[:6]
    )
