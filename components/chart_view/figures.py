"""Figures for the browser: strict JSON with arrays as base64, without a template."""

from __future__ import annotations

import json
from typing import Any

import plotly.graph_objects as go
from plotly.utils import PlotlyJSONEncoder


def figure_content(figure: go.Figure) -> dict[str, Any]:
    """A figure's data and layout; the page adds its own light or dark template."""
    content: dict[str, Any] = figure.to_dict()
    content["layout"].pop("template", None)
    return content


def write_json(value: Any) -> str:
    """Write JSON with NumPy arrays as base64, and with null for NaN and infinity in lists."""
    return json.dumps(value, cls=PlotlyJSONEncoder, separators=(",", ":"))


def encode_figure(figure: go.Figure | None) -> str | None:
    """One figure as JSON text."""
    return None if figure is None else write_json(figure_content(figure))
