"""What is sent of a figure to the page, and where the page finds the chart library."""

from __future__ import annotations

import base64
import json
import subprocess
import sys

import numpy as np
import plotly.graph_objects as go

from components.chart_view.figures import encode_figure
from components.chart_view.library import LIBRARY_PATH, STYLES_PATH, library_address
from components.charts.style import base_layout
from components.serving.browser_module import BROWSER, FILES, page_module


def sent(figure: go.Figure) -> dict:
    """Decode a payload as a browser would: NaN and Infinity are no JSON there."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    payload = encode_figure(figure)
    assert payload is not None
    return json.loads(payload, parse_constant=refuse)


def test_float32_goes_out_as_a_typed_array() -> None:
    values = np.array([[0.5, -1.25], [3.0, 1e-7]], dtype=np.float32)
    z = sent(go.Figure(go.Heatmap(z=values)))["data"][0]["z"]
    assert z["dtype"] == "f4"
    assert z["shape"] == "2, 2"
    decoded = np.frombuffer(base64.b64decode(z["bdata"]), dtype=np.float32).reshape(2, 2)
    np.testing.assert_array_equal(decoded, values)


def test_uint8_heat_map_of_512_squared_stays_under_400_kb() -> None:
    values = np.random.default_rng(0).integers(0, 256, (512, 512), dtype=np.uint8)
    payload = encode_figure(go.Figure(go.Heatmap(z=values), base_layout("t", height=300, alt="a")))
    assert payload is not None
    # As it travels: a string inside the JSON of Gradio's event.
    assert 349_000 < len(json.dumps(payload)) < 360_000


def test_no_figure_sends_nothing() -> None:
    assert encode_figure(None) is None


def test_nan_and_infinity_in_lists_become_null() -> None:
    trace = sent(go.Figure(go.Scatter(y=[1.0, float("nan"), float("inf"), -float("inf")])))
    assert trace["data"][0]["y"] == [1.0, None, None, None]


def test_nan_in_a_typed_array_stays_a_gap() -> None:
    y = sent(go.Figure(go.Scatter(y=np.array([1, np.nan, np.inf], dtype=np.float32))))
    decoded = np.frombuffer(base64.b64decode(y["data"][0]["y"]["bdata"]), dtype=np.float32)
    np.testing.assert_array_equal(decoded, np.array([1, np.nan, np.inf], dtype=np.float32))


def test_the_template_stays_behind_and_the_figure_is_unchanged() -> None:
    figure = go.Figure(go.Scatter(y=[1]))
    figure.layout.template = "plotly"
    assert "template" not in sent(figure)["layout"]
    assert figure.layout.template.layout.colorway is not None


def test_text_arrives_as_written() -> None:
    words = ["<|im_end|>", "你好", "a/b", '"quoted"']
    assert sent(go.Figure(go.Bar(x=words, y=[1, 2, 3, 4])))["data"][0]["x"] == words


def test_meta_reaches_the_page() -> None:
    figure = go.Figure(layout=base_layout("Title", height=220, alt="One sentence."))
    layout = sent(figure)["layout"]
    assert layout["meta"] == {"alt": "One sentence."}
    assert layout["height"] == 220
    assert layout["title"]["text"] == "Title"


def test_no_address_in_the_page_says_where_files_lie() -> None:
    script = page_module("part.js", spec={"plotly": library_address()})
    ours = {BROWSER / "chart.js", BROWSER / "chart_table.js", STYLES_PATH, LIBRARY_PATH}
    assert ours <= set(FILES.values())
    assert "plotly.min.js" in script
    assert not any(str(path.parent) in script for path in ours)


def test_chart_style_does_not_import_gradio() -> None:
    check = "import components.charts.style, sys; sys.exit('gradio' in sys.modules)"
    root = BROWSER.parents[1]
    assert subprocess.run([sys.executable, "-c", check], cwd=root, check=False).returncode == 0
