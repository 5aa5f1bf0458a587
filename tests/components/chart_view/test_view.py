"""What PlotlyView sends to the page."""

from __future__ import annotations

import base64
import json
import subprocess
import sys

import numpy as np
import plotly.graph_objects as go
import pytest

from components.chart_view.view import (
    BESIDE_PATHS,
    HTML_TEMPLATE,
    JS_ON_LOAD,
    LIBRARY_PATH,
    MODULE_PATH,
    STYLES_PATH,
    PlotlyView,
    encode_figure,
)
from components.charts.style import base_layout
from components.serving.browser_module import FILES


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
    assert PlotlyView(render=False).value is None


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


def test_the_first_value_is_encoded_too() -> None:
    view = PlotlyView(go.Figure(go.Bar(y=[1, 2])), label="Bars", elem_id="bars", render=False)
    assert json.loads(view.value)["data"][0]["type"] == "bar"
    assert view.elem_id == "bars"
    assert view.elem_classes == ["plotly-view"]


def test_an_input_gives_the_figure_back() -> None:
    view = PlotlyView(render=False)
    figure = go.Figure(go.Bar(y=[1, 2], name="n"))
    returned = view.preprocess(view.postprocess(figure))
    assert returned is not None
    assert returned.data[0].name == "n"
    assert view.preprocess(None) is None


@pytest.mark.parametrize("sequence", ["${", "{{", "`"])
def test_the_markup_is_no_template(sequence: str) -> None:
    """Gradio runs the markup through two template languages; a value in it would be redrawn."""
    assert sequence not in HTML_TEMPLATE


def test_no_address_in_the_page_says_where_files_lie() -> None:
    ours = {MODULE_PATH, *BESIDE_PATHS, STYLES_PATH, LIBRARY_PATH}
    assert ours <= set(FILES.values())
    assert not any(str(path.parent) in JS_ON_LOAD for path in ours)


def test_chart_style_does_not_import_gradio() -> None:
    check = "import components.charts.style, sys; sys.exit('gradio' in sys.modules)"
    root = MODULE_PATH.parents[2]
    assert subprocess.run([sys.executable, "-c", check], cwd=root, check=False).returncode == 0
