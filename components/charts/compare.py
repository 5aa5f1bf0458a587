"""Charts of two checkpoints: where their weights differ, and where their runs part."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from components.charts.heat_map import heat_map, hide_lines
from components.charts.model import module_tiles
from components.charts.style import (
    HEIGHT_LARGE,
    HEIGHT_MEDIUM,
    base_layout,
    pointer_meta,
    span_label,
    vertical_line,
)
from components.look.colors import BLUE, GREY, ORANGE, SEQUENTIAL
from playground.language import mark, say

if TYPE_CHECKING:
    from playground.compare.swap import StageEffects
    from playground.compare.weights import ModuleChange
    from playground.dump import StepCheck
    from playground.model_facts import ModuleNode

LEAST_CHANGE = 1e-5  # lower end of the colour scale of a relative change
ROW_HEIGHT = 26  # pixels per stage
STAGE_NAMES = {
    "preprocess": mark("Preprocess"),
    "vision": mark("Vision tower"),
    "merge": mark("Merge"),
    "decoder": mark("Decoder"),
}


def plot_weight_changes(
    nodes: Sequence[ModuleNode], changes: Mapping[str, ModuleChange]
) -> go.Figure:
    """All modules as tiles with areas proportional to their parameters, coloured by the change.

    Args:
        nodes: of ``playground.model_facts.module_tree``, parents first.
        changes: of each node with its descendants, by path.
    """
    shares = [changes[node.path].relative for node in nodes]
    most = max(range(len(nodes)), key=lambda index: (_level(shares[index]), nodes[index].depth))
    found = (
        say("most in {module}, {share:.2%}", module=nodes[most].path, share=shares[most])
        if shares[most] > 0
        else say("no module differs")
    )
    layout = base_layout(
        say("Relative change of the weights: {found}", found=found),
        height=HEIGHT_LARGE,
        alt=say(
            "Treemap of {count} modules by number of parameters, coloured by the relative change "
            "of their weights; {found}.",
            count=len(nodes),
            found=found,
        ),
    )
    layout["meta"]["columns"] = {
        "labels": say("Module"),
        "parents": say("Parent"),
        "values": say("Parameters"),
        "customdata": [say("Class"), say("Relative change"), say("Changed elements")],
    }
    return go.Figure(_change_tiles(nodes, changes), layout)


def _change_tiles(nodes: Sequence[ModuleNode], changes: Mapping[str, ModuleChange]) -> go.Treemap:
    levels = [_level(changes[node.path].relative) for node in nodes]
    ends = [math.log10(LEAST_CHANGE), max(0.0, *levels)]
    ticks = list(range(math.ceil(ends[0]), math.floor(ends[1]) + 1))
    return go.Treemap(
        **module_tiles(nodes),
        marker={
            "colors": levels,
            "colorscale": SEQUENTIAL,
            "cmin": ends[0],
            "cmax": ends[1],
            "showscale": True,
            "colorbar": {
                "title": {"text": say("relative change")},
                "tickvals": ticks,
                "ticktext": [f"{10.0**tick:.0e}" for tick in ticks],
            },
        },
        customdata=[
            [node.kind, share_words(changes[node.path]), changes[node.path].num_changed]
            for node in nodes
        ],
        hovertemplate="<b>%{id}</b><br>%{customdata[0]}<br>"
        + say("relative change: %{customdata[1]}<br>%{customdata[2]:,} of %{value:,} elements")
        + "<extra></extra>",
        texttemplate="%{label}<br>%{customdata[1]}",
    )


def _level(share: float) -> float:
    """Logarithm to base 10 of a relative change, for its colour; none and unknown are the least."""
    if math.isnan(share):
        return math.log10(LEAST_CHANGE)
    return math.log10(min(max(share, LEAST_CHANGE), 10.0))


def share_words(change: ModuleChange) -> str:
    """A module's relative change in words."""
    if change.is_untouched:
        return say("untouched")
    if math.isnan(change.change_norm):
        return say("not comparable")
    return f"{change.relative:.2%}" if change.relative >= 1e-4 else f"{change.relative:.1e}"


def plot_drift(checks: Sequence[StepCheck]) -> go.Figure:
    """The difference of every step of the forward pass, and 1 - cosine similarity.

    Args:
        checks: in the order of the forward pass.
    """
    first = next((check for check in checks if check.status != "equal"), None)
    found = (
        say("equal at every step")
        if first is None
        else say("first difference at {step}", step=first.name)
    )
    layout = base_layout(
        say("Both runs, step by step: {found}", found=found),
        height=HEIGHT_LARGE,
        alt=say(
            "Two lines over {count} steps of the forward pass; {found}.",
            count=len(checks),
            found=found,
        ),
        x_title=say("step of the forward pass"),
        y_title=say("difference"),
    )
    layout["xaxis"] |= {"zeroline": False, "showgrid": False, "tickangle": -60} | _step_ticks(
        checks
    )
    largest = max((check.relative or 0.0 for check in checks), default=0.0)
    layout["yaxis"] |= {"range": [0, 1.15 * largest or 1.0]}  # room for the stages' names
    _mark_stages(layout, checks)
    layout["meta"]["columns"] = {
        "x": say("number"),
        "y": say("difference"),
        "customdata": say("step"),
    }
    lines = (
        (
            say("max |Δ| ÷ largest value"),
            [check.relative for check in checks],
            BLUE,
            "circle",
            "solid",
        ),
        (
            say("1 − cosine similarity"),
            [None if check.cosine is None else 1 - check.cosine for check in checks],
            ORANGE,
            "diamond",
            "dash",
        ),
    )
    traces = [
        go.Scatter(
            x=np.arange(len(checks), dtype=np.int32),
            y=[None if value is None else max(0.0, value) for value in values],
            name=name,
            mode="lines+markers",
            line={"color": color, "dash": dash},
            marker={"symbol": symbol, "size": 6},
            customdata=[check.name for check in checks],
            hovertemplate="%{customdata}<br>" + name + ": %{y:.4g}<extra></extra>",
        )
        for name, values, color, symbol, dash in lines
    ]
    return go.Figure(traces, layout)


def _mark_stages(layout: dict[str, Any], checks: Sequence[StepCheck]) -> None:
    """A line where each stage begins, and its name at the top."""
    layout["shapes"], layout["annotations"] = [], []
    start = 0
    for stage, steps in itertools.groupby(checks, key=lambda check: check.stage):
        end = start + len(list(steps))
        if start:
            layout["shapes"].append(vertical_line(start - 0.5, color=GREY, width=1, dash="dot"))
        name = say(STAGE_NAMES[stage])
        layout["annotations"].append(span_label(start, end, name, y=1, anchor="top"))
        start = end


def _step_ticks(checks: Sequence[StepCheck]) -> dict[str, Any]:
    """At most 24 names, without the stage; the hover text has all of them in full."""
    step = max(1, math.ceil(len(checks) / 24))
    shown = range(0, len(checks), step)
    names = [checks[index].name.partition(".")[2] for index in shown]
    return {"tickvals": list(shown), "ticktext": [name.removeprefix("image.") for name in names]}


def plot_token_drift(drift: np.ndarray) -> go.Figure:
    """The relative difference of each token's hidden state, layer by layer.

    Args:
        drift: (layers + 1, seq) float32.
    """
    layer, token = np.unravel_index(int(drift.argmax()), drift.shape)
    found = say(
        "largest at token {token}, input of layer {layer}, {share:.0%}",
        token=int(token),
        layer=int(layer),
        share=float(drift.max()),
    )
    layout = base_layout(
        say("Difference of each token's hidden state: {found}", found=found),
        height=HEIGHT_MEDIUM,
        alt=say(
            "Heat map of {layers} layers by {tokens} tokens; {found}.",
            layers=len(drift),
            tokens=drift.shape[1],
            found=found,
        ),
        x_title=say("position in the sequence"),
        y_title=say("input of layer (last: final norm)"),
    )
    hide_lines(layout)
    layout["meta"] |= {"pointer": pointer_meta("token")}
    hover = say("token %{x}<br>input of layer %{y}<br>|Δ| ÷ norm: %{z:.2%}")
    return go.Figure(heat_map(drift, hover, bar=say("|Δ| ÷ norm"), percent=True), layout)


def plot_carried(effects: StageEffects) -> go.Figure:
    """The share of the change that each stage of the second checkpoint carries by itself."""
    names = [effect.stage.words for effect in effects.stages]
    shares = [effects.carried(effect) for effect in effects.stages]
    most = max(range(len(shares)), key=shares.__getitem__)
    found = (
        say("{stage} carries most, {share:.0%}", stage=names[most], share=shares[most])
        if shares[most] > 0
        else say("no stage carries it alone")
    )
    layout = base_layout(
        say("Each stage of the second checkpoint alone in the first: {found}", found=found),
        height=110 + ROW_HEIGHT * len(names),
        alt=say("Bars for {count} stages; {found}.", count=len(names), found=found),
        x_title=say("share of the change"),
        y_title=say("stage"),
    )
    layout["xaxis"] |= {
        "tickformat": ".0%",
        "range": [min(0.0, *(max(s, -1) for s in shares)) - 0.12, 1.12],
    }
    layout["yaxis"] |= {"autorange": "reversed", "showgrid": False}
    layout["meta"]["columns"] = {
        "x": say("share"),
        "y": say("stage"),
        "customdata": say("KL in nats"),
    }
    bars = go.Bar(
        x=np.array(shares, np.float32),
        y=names,
        orientation="h",
        marker={"color": [BLUE if share > 0.01 else GREY for share in shares]},
        text=[f"{round(share, 2) + 0.0:.0%}" for share in shares],  # + 0.0: no "-0%"
        textposition="outside",
        cliponaxis=False,
        customdata=[effect.kl_second for effect in effects.stages],
        hovertemplate=say("%{y}<br>carries %{x:.1%}<br>KL(second ‖ mixed) = %{customdata:.3g} nats")
        + "<extra></extra>",
    )
    return go.Figure(bars, layout)
