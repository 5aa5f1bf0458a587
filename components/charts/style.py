"""What all charts share: heights, labels, selection metadata and the base layout.

Pure constants and functions, so that charts can be drawn without Gradio.
Light and dark colours (text, grid, hover boxes) are set in the page, which knows the reader's
mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from components.look.colors import CATEGORICAL

# System fonts only: nothing is fetched, and Chinese text finds a CJK face on every platform.
FONT_FAMILY = (
    'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", '
    '"PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif'
)
FONT_SIZE_PX = 13

# Chart heights in pixels.
HEIGHT_SMALL = 220
HEIGHT_MEDIUM = 340
HEIGHT_LARGE = 480

TRANSPARENT = "rgba(0,0,0,0)"

# For `layout.legend`: in one line above the plot, or below it if the space above is taken.
LEGEND_ABOVE: dict[str, Any] = {"orientation": "h", "y": 1.02, "x": 0, "yanchor": "bottom"}
LEGEND_BELOW: dict[str, Any] = {"orientation": "h", "x": 0, "y": -0.3, "yanchor": "top"}
# For an axis of cells or names, which needs no grid.
NO_LINES: dict[str, Any] = {"showgrid": False, "zeroline": False}


def escape_label(text: str) -> str:
    """Make `text` safe as a Plotly label: `<|image_pad|>` would be dropped as an unknown tag."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def small_label(x: float, y: float, text: str, **more: Any) -> dict[str, Any]:
    """A label inside the plot, for `layout.annotations`; further fields as Plotly names them."""
    font = {"size": FONT_SIZE_PX - 2}
    return {"x": x, "y": y, "text": text, "showarrow": False, "font": font} | more


def span_label(start: int, end: int, name: str, *, y: float, anchor: str) -> dict[str, Any]:
    """The name of an image or frame pair above its tokens, for `layout.annotations`."""
    return {
        "x": (start + end - 1) / 2,
        "y": y,
        "yref": "paper",
        "yanchor": anchor,
        "text": name,
        "showarrow": False,
        "font": {"size": FONT_SIZE_PX - 1},
    }


def hatching(shape: str, opacity: float) -> dict[str, Any]:
    """White lines over bars, for `marker.pattern`, so that colour is not the only difference."""
    lines = {"fgcolor": "#ffffff", "fgopacity": opacity, "size": 7}
    return {"shape": shape, "fillmode": "overlay"} | lines


def pointer_meta(
    what: Literal["token", "patch", "merged"],
    *,
    axis: Literal["x", "y", "points"] = "x",
    indices: Sequence[int] | None = None,
    span: int | None = None,
) -> dict[str, Any]:
    """How the page's selection maps to a chart, for `layout.meta.pointer`.

    Args:
        what: `token`: an axis, or each point, is a position of the sequence. `patch`: a map of
            patches, x the column and y the row. `merged`: likewise of merged tokens.
        axis: for tokens: their axis, or `points` if the first field of each point's customdata is
            the sequence index. In 3-D, the page marks the selection in a last trace without
            points, named `pointed at`.
        indices: for tokens on an axis: the sequence index at axis value 0, 1, ...; by default the
            axis shows the sequence index itself.
        span: for maps: index into `ModelInputs.spans`.
    """
    meta: dict[str, Any] = {"what": what}
    if what == "token":
        meta["axis"] = axis
        if indices is not None:
            meta["indices"] = [int(index) for index in indices]
    else:
        meta["span"] = span
    return meta


def vertical_line(x: float, **line: Any) -> dict[str, Any]:
    """A line from the bottom of a chart to its top, for ``layout.shapes``."""
    ends = {"x0": x, "x1": x, "y0": 0, "y1": 1}
    return {"type": "line", **ends, "yref": "paper", "line": line}


def chosen_mark(x: int) -> dict[str, Any]:
    """A mark above the selected bar, for bars up to 1, for ``layout.annotations``."""
    return {"x": x, "y": 1, "yanchor": "bottom", "text": "▼", "showarrow": False}


def base_layout(
    title: str,
    *,
    height: int,
    alt: str,
    x_title: str | None = None,
    y_title: str | None = None,
) -> dict[str, Any]:
    """Return the layout that all figures start from.

    Args:
        title: What the chart shows, in one line.
        height: Height in pixels, one of the `HEIGHT_…` constants.
        alt: One sentence that describes the chart, for screen readers.
        x_title: Name and unit of the horizontal axis.
        y_title: Name and unit of the vertical axis.
    """
    return {
        "template": "none",
        "title": {
            "text": title,
            "x": 0,
            "xanchor": "left",
            "xref": "container",
            "yref": "container",
            "automargin": True,
            "font": {"size": FONT_SIZE_PX + 2},
        },
        "height": height,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "font": {"family": FONT_FAMILY, "size": FONT_SIZE_PX},
        "colorway": list(CATEGORICAL),
        "paper_bgcolor": TRANSPARENT,
        "plot_bgcolor": TRANSPARENT,
        "xaxis": {"title": {"text": x_title or ""}, "automargin": True},
        "yaxis": {"title": {"text": y_title or ""}, "automargin": True},
        "meta": {"alt": alt},
    }
