"""The chart library: plotly.js as the installed Python package brings it.

`gr.Plot` is not used: it builds a chart anew with every update, which loses the reader's zoom and
camera and leaks a WebGL context each time; it has no click events, ignores dark mode and bundles an
older plotly.js than the one that the installed Python package writes for. Charts are drawn by
chart.js instead, with the package's own plotly.js and `Plotly.react`.

Never put a `gr.Plot` on the same page: both use `window.Plotly`.
"""

from __future__ import annotations

from pathlib import Path

import plotly

from components.serving.browser_module import BROWSER, file_address

STYLES_PATH = BROWSER / "chart.css"
LIBRARY_PATH = Path(plotly.__file__).resolve().parent / "package_data" / "plotly.min.js"
# Asks Chromium to compile all of it beside the page, which stood still while that was done
# piece by piece: see benchmarks/plotly_start.py.
COMPILED_AT_ONCE = "//# allFunctionsCalledOnLoad\n"


def library_address() -> str:
    """Where the page finds plotly.js, below the folder of page files."""
    return file_address(LIBRARY_PATH, first_line=COMPILED_AT_ONCE)
