"""Charts of the decoder: residual stream, logit lens, next token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from components.charts.style import (
    FONT_SIZE_PX,
    HEIGHT_LARGE,
    TRANSPARENT,
    base_layout,
    pointer_meta,
)
from components.charts.token_labels import token_label
from components.look.colors import BLUE, KIND_COLORS, SEQUENTIAL, ColorScale
from playground.language import say

if TYPE_CHECKING:
    from playground.records import LogitLens, TokenProb

CELL_CHARS = 9  # text in a cell of the logit lens; the hover text shows it whole
COLOR_STOPS = 33  # of a logarithmic colour scale: a step of 1/32 is not seen
ROW_HEIGHT = 26  # pixels per row of the logit lens
BAR_HEIGHT = 26  # pixels per next-token bar
# Room for the names of the layers and for ticks: without it Plotly draws all twice to make some.
LAYERS_MARGIN = {"l": 93, "b": 48}


def plot_residual_norms(
    norms: np.ndarray,
    labels: Sequence[str],
    spans: Sequence[tuple[int, int, str]],
    num_deepstack: int,
    indices: np.ndarray | None = None,
) -> go.Figure:
    """Length of the residual stream per layer and position, on a logarithmic colour scale.

    Args:
        norms: (layers + 1, n): row i is the input of layer i, the last one the final norm's.
        labels: n escaped texts.
        indices: (n,) sequence index of each column; by default they are all there.
        spans: first index, one past the last, and a name or none, of each picture or frame.
        num_deepstack: layers 0 .. num_deepstack - 1 are followed by a DeepStack add.
    """
    rows, seq = norms.shape
    indices = np.arange(seq) if indices is None else indices
    low, high = max(float(norms.min()), 1e-6), float(norms.max())
    layout = base_layout(
        say("Residual stream: how long each token's vector is at each layer"),
        height=int(np.clip(90 + 16 * rows, 280, HEIGHT_LARGE)),
        alt=say(
            "Heat map of {rows} states by {positions} positions; norms from {low:.3g} to "
            "{high:.3g}.",
            rows=rows,
            positions=seq,
            low=low,
            high=high,
        ),
        x_title=say("sequence index"),
        y_title=say("layer that reads it"),
    )
    layout["margin"] |= LAYERS_MARGIN | {"t": 30}
    # One label for both traces, so that each token's text is sent once and not for every layer.
    layout["hovermode"] = "x unified"
    layout["xaxis"] |= {
        "range": [-0.5, int(indices[-1]) + 0.5],
        "showgrid": False,
        "zeroline": False,
        "unifiedhovertitle": {"text": say("position %{x}")},
    }
    layout["yaxis"] |= {
        "range": [-0.5, rows - 0.5],
        "showgrid": False,
        "zeroline": False,
        **_layer_ticks(rows, num_deepstack, every=max(1, rows // 14)),
    }
    layout["meta"]["pointer"] = pointer_meta("token")
    layout["shapes"] = [_span_bar(start, end) for start, end, _ in spans]
    layout["annotations"] = [_span_name(*span) for span in spans if span[2]]
    heat_map = go.Heatmap(
        z=norms.astype(np.float32),
        x=indices.astype(np.int32),
        zmin=low,
        zmax=high,
        colorscale=log_colorscale(low, high),
        showscale=False,
        name=say("norm"),
        hovertemplate=say("norm %{z:.4g} at the input of layer %{y}") + "<extra></extra>",
    )
    return go.Figure([heat_map, _token_trace(indices, labels, low, high)], layout)


def plot_logit_lens(lens: LogitLens, labels: Sequence[str], num_deepstack: int) -> go.Figure:
    """What each layer would say next at each position, if the decoder ended there.

    Args:
        lens: top-k tokens of every layer at some positions.
        labels: the escaped text of the token at each of these positions.
        num_deepstack: layers 0 .. num_deepstack - 1 are followed by a DeepStack add.
    """
    rows, columns, top_k = lens.ids.shape
    final = lens.texts[-1][-1][0]
    layout = base_layout(
        say("Logit lens: the word each layer would say next, settling towards the top"),
        height=100 + ROW_HEIGHT * rows,
        alt=say(
            "Table of {rows} states by {columns} positions with the likeliest next token in each "
            "cell; at the last position it ends with {token}.",
            rows=rows,
            columns=columns,
            token=token_label(final),
        ),
        x_title=say("token that was read last"),
        y_title=say("layer that reads it"),
    )
    layout["margin"] |= LAYERS_MARGIN
    layout["xaxis"] |= {
        "showgrid": False,
        "zeroline": False,
        "tickvals": list(range(columns)),
        "ticktext": [
            # One line: Plotly turns it upright where columns are narrow, two would overlap.
            f"{position} {label}"
            for position, label in zip(lens.positions, labels, strict=True)
        ],
    }
    layout["yaxis"] |= {
        "showgrid": False,
        "zeroline": False,
        **_layer_ticks(rows, num_deepstack, every=1),
    }
    layout["meta"]["pointer"] = pointer_meta("token", axis="x", indices=lens.positions)
    layout["meta"]["columns"] = {
        "text": "top 1",
        "customdata": f"top {top_k}",
        "z": say("probability"),
    }
    table = go.Heatmap(
        z=lens.probs[..., 0].astype(np.float32),
        zmin=0,
        zmax=1,
        text=[[token_label(cell[0], CELL_CHARS) for cell in row] for row in lens.texts],
        texttemplate="%{text}",
        customdata=[
            [_cell_words(lens, row, column) for column in range(columns)] for row in range(rows)
        ],
        colorscale=SEQUENTIAL,
        colorbar={"title": {"text": say("probability")}, "tickformat": ".0%"},
        xgap=2,
        ygap=2,
        hovertemplate="%{customdata}<extra></extra>",
    )
    return go.Figure(table, layout)


def plot_next_token(probs: Sequence[TokenProb]) -> go.Figure:
    """The likeliest next tokens as bars, likeliest on top."""
    best = probs[0]
    layout = base_layout(
        say(
            "Next token: {token} with {prob}",
            token=token_label(best.text),
            prob=percent(best.prob),
        ),
        height=70 + BAR_HEIGHT * len(probs),
        alt=say("Bars of the {count} likeliest next tokens.", count=len(probs)),
        x_title=say("probability"),
        y_title=say("token"),
    )
    # Room for the number behind the longest bar, on a phone too.
    layout["margin"]["r"] = 30
    layout["xaxis"] |= {"range": [0, min(1.15, 1.25 * best.prob)], "tickformat": ".2~p"}
    # Positions, not names: two tokens may be spelt alike.
    layout["yaxis"] |= {
        "autorange": "reversed",
        "showgrid": False,
        "tickvals": list(range(len(probs))),
        "ticktext": [token_label(each.text) for each in probs],
        "tickfont": {"size": FONT_SIZE_PX},
        "ticks": "outside",
        "ticklen": 6,
        "tickcolor": TRANSPARENT,
    }
    layout["meta"]["columns"] = {"y": say("rank − 1"), "customdata": [say("token"), "id"]}
    bars = go.Bar(
        x=np.array([each.prob for each in probs], np.float32),
        y=np.arange(len(probs), dtype=np.int32),
        orientation="h",
        marker={"color": BLUE},
        text=[percent(each.prob) for each in probs],
        textposition="outside",
        cliponaxis=False,
        customdata=[[token_label(each.text, 60), each.id] for each in probs],
        hovertemplate="%{customdata[0]}<br>id %{customdata[1]}<br>"
        + say("probability %{x:.4%}")
        + "<extra></extra>",
    )
    return go.Figure(bars, layout)


def percent(prob: float) -> str:
    """A probability in percent, with as many digits as say something."""
    if prob < 0.0005:
        return "< 0.1 %"
    return f"{prob:.1%}".replace("%", " %")


def log_colorscale(low: float, high: float) -> ColorScale:
    """The sequential scale bent so that equal *ratios* between low and high look equally far.

    The heat map keeps its real values, and with them its hover text.
    """
    if not 0 < low < high:
        return SEQUENTIAL
    steps = np.linspace(0, 1, COLOR_STOPS)
    values = low * (high / low) ** steps
    places = (values - low) / (high - low)
    return [
        (float(place), _sequential_color(step))
        for place, step in zip(places.clip(0, 1), steps, strict=True)
    ]


def _sequential_color(step: float) -> str:
    places = [place for place, _ in SEQUENTIAL]
    channels = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for _, c in SEQUENTIAL])
    mixed = [round(float(np.interp(step, places, channels[:, i]))) for i in range(3)]
    return f"rgb({mixed[0]},{mixed[1]},{mixed[2]})"


def _token_trace(indices: np.ndarray, labels: Sequence[str], low: float, high: float) -> go.Scatter:
    """Invisible points that bring each position's token, and the logarithmic colour bar."""
    exponents = np.log10([low, max(high, low * 1.001)])
    ticks = _log_ticks(low, high)
    return go.Scatter(
        x=indices.astype(np.int32),
        y=np.full(len(labels), -0.5, np.float32),
        mode="markers",
        name=say("token"),
        showlegend=False,
        customdata=list(labels),
        marker={
            "opacity": 0,
            "color": np.full(len(labels), exponents[0], np.float32),
            "cmin": float(exponents[0]),
            "cmax": float(exponents[1]),
            "colorscale": SEQUENTIAL,
            "showscale": True,
            "colorbar": {
                "title": {"text": say("norm (log scale)")},
                "tickvals": np.log10(ticks).tolist(),
                "ticktext": [f"{tick:g}" for tick in ticks],
            },
        },
        hovertemplate=say("token %{customdata}") + "<extra></extra>",
    )


def _log_ticks(low: float, high: float) -> list[float]:
    """Round numbers from low to high: 1, 2, 5 times powers of ten; fewer in a wide range."""
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    factors = (1, 2, 5) if last - first <= 3 else (1,)
    ticks = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    return [tick for tick in ticks if low <= tick <= high] or [low, high]


def _layer_ticks(rows: int, num_deepstack: int, *, every: int) -> dict[str, Any]:
    """Names of the states: the layer that reads it, ◆ where DeepStack was added just before."""
    shown = [row for row in range(rows) if row % every == 0 or row in (rows - 1, 0)]
    # The last but one would stand on the last one's name.
    shown = [row for row in shown if row == rows - 1 or rows - 1 - row >= every]
    names = [
        say("final norm")
        if row == rows - 1
        else (f"{row} ◆" if 1 <= row <= num_deepstack else str(row))
        for row in shown
    ]
    return {"tickvals": shown, "ticktext": names}


def _cell_words(lens: LogitLens, row: int, column: int) -> str:
    """The top-k of one cell, one line each."""
    position = lens.positions[column]
    head = say("position {position}, input of layer {layer}", position=position, layer=row)
    if row == len(lens.texts) - 1:
        head = say("position {position}, input of final norm", position=position)
    words = zip(lens.texts[row][column], lens.probs[row, column], strict=True)
    lines = [f"{percent(float(prob))}  {token_label(text, 24)}" for text, prob in words]
    return "<br>".join([head, *lines])


def _span_bar(start: int, end: int) -> dict[str, Any]:
    """A bar over the heat map where a picture stands."""
    return {
        "type": "rect",
        "x0": start - 0.5,
        "x1": end - 0.5,
        "y0": 1.01,
        "y1": 1.03,
        "yref": "paper",
        "fillcolor": KIND_COLORS["image"],
        "line": {"width": 0},
    }


def _span_name(start: int, end: int, name: str) -> dict[str, Any]:
    return {
        "x": (start + end - 1) / 2,
        "y": 1.03,
        "yref": "paper",
        "yanchor": "bottom",
        "text": name,
        "showarrow": False,
        "font": {"size": FONT_SIZE_PX - 1},
    }
