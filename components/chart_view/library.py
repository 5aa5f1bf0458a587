"""The chart library: plotly.js from the installed Python package.

`gr.Plot` is not used: it rebuilds a chart on every update, which loses the reader's zoom and camera
and leaks a WebGL context each time. It also has no click events, ignores dark mode and bundles an
older plotly.js than the installed Python package targets. Instead, chart.js draws charts with the
package's own plotly.js and `Plotly.react`.

Never put a `gr.Plot` on the same page: both use `window.Plotly`.
"""

from __future__ import annotations

from pathlib import Path

import plotly

from components.serving.browser_module import BROWSER, file_address

STYLES_PATH = BROWSER / "chart.css"
LIBRARY_PATH = Path(plotly.__file__).resolve().parent / "package_data" / "plotly.min.js"
# Ask Chromium to compile all of it in the background; compiling it piece by piece blocked the page:
# see benchmarks/plotly_start.py.
COMPILED_AT_ONCE = "//# allFunctionsCalledOnLoad\n"


def library_address() -> str:
    """The URL of plotly.js, below the folder of page files."""
    return file_address(LIBRARY_PATH, first_line=COMPILED_AT_ONCE)
