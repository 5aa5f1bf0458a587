"""Every kind of chart, and apps that show and update them."""

from __future__ import annotations

import json

import gradio as gr
import numpy as np
import plotly.graph_objects as go

from components.charts.style import base_layout, escape_label
from components.look.colors import ROLE_COLORS, SEQUENTIAL
from tests.browser.chart.component import ChartView

WORDS = ["red", "<|im_end|>", "红色", " triangle"]


def lines(step: int = 0) -> go.Figure:
    """Two series; the data and a trace name change with every step."""
    y = np.arange(40, dtype=np.float32) + step
    layout = base_layout(
        f"Norms after step {step}",
        height=300,
        alt="The norm grows by one per layer.",
        x_title="layer",
        y_title="norm (L2)",
    )
    traces = [
        go.Scatter(y=y, name=f"step {step}", line_color=ROLE_COLORS["user"]),
        go.Scatter(y=y[::-1], name="reversed", line_color=ROLE_COLORS["assistant"]),
    ]
    return go.Figure(traces, layout)


def bars() -> go.Figure:
    """Next-token bars, with an id and a rank behind each bar."""
    layout = base_layout(
        "Next token", height=260, alt="Red leads.", x_title="probability", y_title="token"
    )
    layout["meta"]["columns"] = {"customdata": ["token id", "rank"]}
    bar = go.Bar(
        x=np.array([0.5, 0.25, 0.2, 0.05], dtype=np.float32),
        y=[escape_label(word) for word in WORDS],
        customdata=np.array([[11, 0], [12, 1], [13, 2], [14, 3]]),
        orientation="h",
        name="p",
    )
    return go.Figure(bar, layout)


def heat() -> go.Figure:
    """A heat map of 20 by 30 with a value that tells row and column."""
    z = np.add.outer(100 * np.arange(20), np.arange(30)).astype(np.float32)
    layout = base_layout(
        "Norms", height=300, alt="Norms.", x_title="position", y_title="decoder layer"
    )
    trace = go.Heatmap(z=z, colorscale=SEQUENTIAL, colorbar={"title": {"text": "L2 norm"}})
    return go.Figure(trace, layout)


def tiles() -> go.Figure:
    """A treemap with one label that cannot fit."""
    return go.Figure(
        go.Treemap(
            labels=["model", "visual", "a_module_name_that_is_far_too_long_for_its_tile"],
            parents=["", "model", "model"],
            values=[0, 99, 1],
        ),
        base_layout("Parameters", height=300, alt="Most are in the vision tower."),
    )


def cloud(seed: int = 0) -> go.Figure:
    """A 3-D scatter that covers its box."""
    points = np.random.default_rng(seed).random((400, 3)).astype(np.float32)
    trace = go.Scatter3d(
        x=points[:, 0], y=points[:, 1], z=points[:, 2], mode="markers", name=f"seed {seed}"
    )
    layout = base_layout("Positions", height=320, alt="Random points.")
    layout["scene"] = {f"{axis}axis": {"title": {"text": axis}} for axis in "xyz"}
    return go.Figure(trace, layout)


def build_demo() -> gr.Blocks:
    """Every kind of chart, with buttons that update them."""
    with gr.Blocks() as demo:
        step = gr.State(0)
        update = gr.Button("Update", elem_id="update")
        selected = gr.Textbox(label="Selected", elem_id="selected")
        views = {}
        with gr.Tab("Flat"):
            views["lines"] = ChartView(lines(), elem_id="lines")
            with gr.Row():
                views["bars"] = ChartView(bars(), elem_id="bars")
                views["heat"] = ChartView(heat(), elem_id="heat")
            views["tiles"] = ChartView(tiles(), elem_id="tiles")
            shown = gr.Checkbox(True, label="Tiles", elem_id="shown")
            views["empty"] = ChartView(label="Logit lens", elem_id="empty")
        with gr.Tab("Late"):
            views["late"] = ChartView(elem_id="late")

        def advance(count: int) -> tuple[int, go.Figure, go.Figure]:
            return count + 1, lines(count + 1), lines(count + 1)

        outputs = [step, views["lines"], views["late"]]
        update.click(advance, step, outputs, api_visibility="private")

        shown.change(
            lambda on: tiles() if on else None, shown, views["tiles"], api_visibility="private"
        )

        def report(event: gr.EventData) -> str:
            return json.dumps(event.points)

        for view in views.values():
            view.select(report, None, selected, api_visibility="private")
    return demo


def build_3d_demo() -> gr.Blocks:
    """Two 3-D charts, of which one is updated and one can be taken away."""
    with gr.Blocks() as demo:
        step = gr.State(0)
        update = gr.Button("Update", elem_id="update")
        toggle = gr.Checkbox(True, label="Shown", elem_id="toggle")
        moving = ChartView(cloud(), elem_id="moving")
        still = ChartView(cloud(99), elem_id="still")

        def advance(count: int) -> tuple[int, go.Figure]:
            return count + 1, cloud(count + 1)

        update.click(advance, step, [step, moving], api_visibility="private")
        toggle.change(lambda on: gr.update(visible=on), toggle, still, api_visibility="private")
    return demo
