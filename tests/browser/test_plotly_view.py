"""PlotlyView in a real browser."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import fastapi
import gradio as gr
import numpy as np
import plotly.graph_objects as go
import pytest
import uvicorn
from gradio.http_server import Server
from PIL import Image
from playwright.sync_api import Locator, Page

from components.chart_style import ROLE_COLORS, SEQUENTIAL, base_layout, escape_label
from components.plotly_view import PlotlyView
from components.server import app_options
from playground.language import speaking
from tests.browser.conftest import TIMEOUT_MS, AppServer, PageFactory

pytestmark = pytest.mark.browser

WORDS = ["red", "<|im_end|>", "红色", " triangle"]

# Counts the WebGL contexts that are still alive, whether or not their canvas is in the page.
COUNT_CONTEXTS = """
window.webglContexts = new Set();
const original = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  const context = original.call(this, kind, ...rest);
  if (context && /webgl/.test(kind)) window.webglContexts.add(context);
  return context;
};
window.liveContexts = () => [...window.webglContexts].filter((gl) => !gl.isContextLost()).length;
"""


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
            views["lines"] = PlotlyView(lines(), elem_id="lines")
            with gr.Row():
                views["bars"] = PlotlyView(bars(), elem_id="bars")
                views["heat"] = PlotlyView(heat(), elem_id="heat")
            views["tiles"] = PlotlyView(tiles(), elem_id="tiles")
            shown = gr.Checkbox(True, label="Tiles", elem_id="shown")
            views["empty"] = PlotlyView(label="Logit lens", elem_id="empty")
        with gr.Tab("Late"):
            views["late"] = PlotlyView(elem_id="late")

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
        moving = PlotlyView(cloud(), elem_id="moving")
        still = PlotlyView(cloud(99), elem_id="still")

        def advance(count: int) -> tuple[int, go.Figure]:
            return count + 1, cloud(count + 1)

        update.click(advance, step, [step, moving], api_visibility="private")
        toggle.change(lambda on: gr.update(visible=on), toggle, still, api_visibility="private")
    return demo


@pytest.fixture(scope="module")
def flat_url(module_app_server: AppServer) -> str:
    return module_app_server(build_demo)


@pytest.fixture(scope="module")
def solid_url(module_app_server: AppServer) -> str:
    return module_app_server(build_3d_demo)


@pytest.fixture(scope="module")
def shared(module_page: PageFactory, flat_url: str) -> Page:
    """One page for the tests that change nothing which another of them looks at."""
    opened, _ = module_page(flat_url, accept_downloads=True)
    return opened


@pytest.fixture
def prefixed_url() -> Iterator[str]:
    """The app below a path, as behind a proxy."""
    with gr.Blocks() as demo:
        PlotlyView(bars(), elem_id="bars")
    app = gr.mount_gradio_app(fastapi.FastAPI(), demo, path="/some/path", app_kwargs=app_options())
    server = Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    server.run_in_thread()
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/some/path/"
    server.close()


def plot_of(page: Page, name: str) -> Locator:
    """Return the plot of a chart once it is drawn."""
    plot = page.locator(f"#{name} .chart-plot.js-plotly-plot")
    plot.locator(".main-svg").first.wait_for(state="attached")
    return plot


def wait_for_trace(page: Page, chart: str, name: str) -> None:
    """Wait until the first trace has this name, i.e. until the update is drawn."""
    page.wait_for_function(
        "([chart, name]) => document.querySelector(`#${chart} .chart-plot`)"
        "?._fullData?.[0]?.name === name",
        arg=[chart, name],
        timeout=TIMEOUT_MS,
    )


def click_middle(page: Page, target: Locator) -> None:
    """Move there and click, as Plotly needs to see the pointer come."""
    target.scroll_into_view_if_needed()
    box = target.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 3, y - 2)
    page.mouse.move(x, y, steps=3)
    page.mouse.click(x, y)


def drag(page: Page, target: Locator, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag from one place to another, both as parts of the target's width and height."""
    target.scroll_into_view_if_needed()
    box = target.bounding_box()
    assert box is not None

    def at(place: tuple[float, float]) -> tuple[float, float]:
        return box["x"] + place[0] * box["width"], box["y"] + place[1] * box["height"]

    page.mouse.move(*at(start))
    page.mouse.down()
    page.mouse.move(*at(end), steps=8)
    page.mouse.up()


def clicked_point(page: Page, target: Locator) -> dict:
    """Click a chart; return the one point that the Python handler received."""
    field = page.locator("#selected textarea, #selected input")
    before = field.input_value()
    click_middle(page, target)
    page.wait_for_function(
        "([field, before]) => field.value !== before", arg=[field.element_handle(), before]
    )
    (point,) = json.loads(field.input_value())
    return point


def test_zoom_survives_an_update_and_reset_undoes_it(page: PageFactory, flat_url: str) -> None:
    tab, _ = page(flat_url)
    plot = plot_of(tab, "lines")
    read_range = "plot => plot._fullLayout.xaxis.range.map(Number)"
    whole = plot.evaluate(read_range)
    drag(tab, plot.locator(".nsewdrag").first, (0.3, 0.3), (0.6, 0.7))
    tab.wait_for_function(
        "whole => document.querySelector('#lines .chart-plot')._fullLayout.xaxis.range[1] < whole",
        arg=whole[1],
    )
    zoomed = plot.evaluate(read_range)
    tab.click("#update")
    wait_for_trace(tab, "lines", "step 1")
    assert plot.evaluate(read_range) == zoomed
    assert tab.locator("#lines .chart-title").inner_text() == "Norms after step 1"

    tab.click("#lines .chart-reset")
    tab.wait_for_function(
        "whole => Math.abs(document.querySelector('#lines .chart-plot')"
        "._fullLayout.xaxis.range[1] - whole) < 0.1",
        arg=whole[1],
    )


def test_a_click_on_a_bar_reaches_python(shared: Page) -> None:
    bar = plot_of(shared, "bars").locator(".bars .point path").nth(1)
    assert clicked_point(shared, bar) == {
        "curve": 0,
        "trace_name": "p",
        "point_index": 1,
        "x": 0.25,
        "y": escape_label("<|im_end|>"),
        "z": None,
        "label": None,
        "customdata": [12, 1],
    }


def test_a_click_on_a_heat_map_gives_row_and_column(shared: Page) -> None:
    point = clicked_point(shared, plot_of(shared, "heat").locator(".nsewdrag").first)
    row, column = point["point_index"]
    assert (point["y"], point["x"]) == (row, column)
    assert point["z"] == 100 * row + column
    assert 8 <= row <= 11
    assert 13 <= column <= 16


def test_a_click_on_a_tile_gives_its_label(shared: Page) -> None:
    tile = plot_of(shared, "tiles").locator(".slice path.surface").nth(1)
    assert clicked_point(shared, tile)["label"] == "visual"


def test_a_chart_emptied_and_drawn_again_still_answers(page: PageFactory, flat_url: str) -> None:
    tab, log = page(flat_url)
    plot_of(tab, "tiles")
    tab.locator("#shown input").uncheck()
    tab.locator("#tiles .chart-empty").wait_for()
    tab.locator("#shown input").check()
    tile = plot_of(tab, "tiles").locator(".slice path.surface").nth(1)
    assert clicked_point(tab, tile)["label"] == "visual"
    assert log.problems == []


def test_width_in_a_late_opened_tab_and_on_a_phone(page: PageFactory, flat_url: str) -> None:
    tab, _ = page(flat_url)
    plot_of(tab, "lines")
    tab.click("#update")
    wait_for_trace(tab, "lines", "step 1")
    tab.get_by_role("tab", name="Late").click()
    wait_for_trace(tab, "late", "step 1")
    plot = plot_of(tab, "late")
    widths = "plot => [plot.clientWidth, plot.querySelector('.main-svg').clientWidth]"
    outer, inner = plot.evaluate(widths)
    assert outer == inner > 900

    # Updated while its tab is closed, and the window has changed in between.
    tab.get_by_role("tab", name="Flat").click()
    tab.click("#update")
    wait_for_trace(tab, "lines", "step 2")
    tab.set_viewport_size({"width": 390, "height": 844})
    tab.get_by_role("tab", name="Late").click()
    wait_for_trace(tab, "late", "step 2")
    tab.wait_for_function(
        "() => { const plot = document.querySelector('#late .chart-plot');"
        " return plot.querySelector('.main-svg').clientWidth === plot.clientWidth; }"
    )
    assert 250 < plot.evaluate("plot => plot.clientWidth") < 390

    tab.get_by_role("tab", name="Flat").click()
    for name in ("lines", "bars", "heat", "tiles"):
        tab.wait_for_function(
            "name => { const plot = document.querySelector(`#${name} .chart-plot`);"
            " return plot.querySelector('.main-svg').clientWidth === plot.clientWidth; }",
            arg=name,
        )
    assert tab.evaluate("document.scrollingElement.scrollWidth") <= 390


def test_an_update_does_not_move_the_page(page: PageFactory, flat_url: str) -> None:
    tab, _ = page(flat_url)
    for name in ("lines", "bars", "heat", "tiles"):
        plot_of(tab, name)
    top = "() => document.querySelector('#tiles').getBoundingClientRect().top + scrollY"
    before = tab.evaluate(top)
    tab.click("#update")
    wait_for_trace(tab, "lines", "step 1")
    assert tab.evaluate(top) == before


def test_dark_mode_switches_colours_without_the_server(page: PageFactory, flat_url: str) -> None:
    tab, log = page(flat_url + "?__theme=light")
    plot = plot_of(tab, "lines")
    read = """plot => ({
        text: getComputedStyle(plot.querySelector('.xtick text')).fill,
        grid: getComputedStyle(plot.querySelector('.xgrid')).stroke,
        series: getComputedStyle(plot.querySelector('.js-line')).stroke,
    })"""
    for name in ("bars", "heat", "tiles"):
        plot_of(tab, name)
    light, asked = plot.evaluate(read), len(log.urls)
    tab.evaluate("document.body.classList.add('dark')")
    tab.wait_for_function(
        "old => getComputedStyle(document.querySelector('#lines .xtick text')).fill !== old",
        arg=light["text"],
    )
    dark = plot.evaluate(read)
    assert dark["grid"] != light["grid"]
    assert dark["series"] == light["series"]  # a series keeps its colour
    assert sum(map(int, dark["text"][4:-1].split(","))) > 3 * 128  # light text
    assert sum(map(int, light["text"][4:-1].split(","))) < 3 * 128
    assert not [url for url in log.urls[asked:] if "heartbeat" not in url]


def colors_in(target: Locator) -> int:
    """Return how many colours a part of the page shows."""
    picture = Image.open(io.BytesIO(target.screenshot())).convert("RGB")
    return len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0))


def test_webgl_contexts_stay_constant(page: PageFactory, solid_url: str) -> None:
    tab, log = page(solid_url, init_script=COUNT_CONTEXTS)
    still = plot_of(tab, "still")
    plot_of(tab, "moving")
    tab.wait_for_function("() => liveContexts() >= 2")
    # Plotly also keeps the context in which it asks what the browser can do.
    contexts = tab.evaluate("liveContexts()")
    assert contexts <= 4
    for step in range(1, 21):
        tab.click("#update")
        wait_for_trace(tab, "moving", f"seed {step}")
    assert tab.evaluate("liveContexts()") == contexts
    assert colors_in(still.locator("canvas").first) > 50
    assert colors_in(tab.locator("#moving canvas").first) > 50

    # Away and back, several times: the context goes with the chart.
    for _ in range(4):
        tab.locator("#toggle input").uncheck()
        tab.wait_for_function("() => !document.querySelector('#still .js-plotly-plot')")
        tab.wait_for_function("n => liveContexts() < n", arg=contexts)
        tab.locator("#toggle input").check()
        plot_of(tab, "still")
        tab.wait_for_function("n => liveContexts() === n", arg=contexts)
    assert log.problems == []


def test_the_camera_survives_an_update(page: PageFactory, solid_url: str) -> None:
    tab, _ = page(solid_url)
    plot = plot_of(tab, "moving")
    read = "plot => plot._fullLayout.scene._scene.getCamera().eye"
    before = plot.evaluate(read)
    drag(tab, plot.locator("canvas").first, (0.5, 0.5), (0.7, 0.6))
    tab.wait_for_function(
        "x => Math.abs(document.querySelector('#moving .chart-plot')"
        "._fullLayout.scene._scene.getCamera().eye.x - x) > 0.05",
        arg=before["x"],
    )
    turned = plot.evaluate(read)
    for _ in range(40):  # the scene turns on for a moment after the drag
        tab.wait_for_timeout(250)
        last, turned = turned, plot.evaluate(read)
        if turned == last:
            break
    tab.click("#update")
    wait_for_trace(tab, "moving", "seed 1")
    assert plot.evaluate(read) == pytest.approx(turned, abs=1e-3)


def table_of(page: Page, name: str) -> tuple[list[str], list[list[str]]]:
    """Open the table twin with the keyboard; return its headings and rows."""
    plot_of(page, name)
    page.locator(f"#{name} summary").focus()
    page.keyboard.press("Enter")
    table = page.locator(f"#{name} .chart-rows table")
    table.wait_for()
    rows = table.evaluate("t => [...t.rows].map(row => [...row.cells].map(c => c.textContent))")
    return rows[0], rows[1:]


def test_the_table_twin_lists_the_bars(shared: Page) -> None:
    headings, rows = table_of(shared, "bars")
    assert headings == ["probability", "token", "token id", "rank"]
    assert rows[1] == ["0.25", "<|im_end|>", "12", "1"]
    assert [row[1] for row in rows] == WORDS


def test_the_table_twin_of_a_heat_map_says_how_many_more(shared: Page) -> None:
    headings, rows = table_of(shared, "heat")
    assert headings == ["decoder layer", "position", "L2 norm"]
    assert len(rows) == 200
    assert rows[31] == ["1", "1", "101"]
    assert "400 more rows" in shared.locator("#heat .chart-rows").inner_text()


def test_the_table_twin_of_a_treemap(shared: Page) -> None:
    headings, rows = table_of(shared, "tiles")
    assert headings == ["label", "parent", "value"]
    assert rows[1] == ["visual", "model", "99"]


def test_the_table_twin_follows_the_chart(page: PageFactory, flat_url: str) -> None:
    tab, _ = page(flat_url)
    headings, rows = table_of(tab, "lines")
    assert headings == ["series", "layer", "norm (L2)"]
    assert rows[0] == ["step 0", "0", "0"]
    assert rows[40] == ["reversed", "0", "39"]
    tab.click("#update")
    tab.wait_for_function(
        "() => document.querySelector('#lines .chart-rows td').textContent === 'step 1'"
    )


def test_names_for_screen_readers_and_the_empty_state(shared: Page) -> None:
    plot_of(shared, "lines")
    name = "Norms after step 0. The norm grows by one per layer."
    assert shared.get_by_role("img", name=name, exact=True).count() == 1
    assert shared.locator("#empty .chart-empty").inner_text() == (
        "Logit lens — Run this stage to draw this chart."
    )
    assert not shared.locator("#empty .chart-plot").is_visible()
    assert not shared.locator("#empty summary").is_visible()


def test_a_chinese_page_has_chinese_charts(page: PageFactory, app_server: AppServer) -> None:
    with speaking("zh"):
        url = app_server(build_demo)
    tab, _ = page(url)
    plot_of(tab, "bars")
    assert tab.locator("#bars summary").inner_text() == "以表格显示"


def test_the_png_has_a_sensible_name(shared: Page) -> None:
    plot_of(shared, "bars")
    with shared.expect_download() as download:
        shared.click("#bars .chart-png")
    assert download.value.suggested_filename == "next-token.png"
    with Image.open(download.value.path()) as picture:
        assert picture.height == 2 * (260 + 36)


def test_no_other_host_is_asked_and_plotly_comes_once(page: PageFactory, flat_url: str) -> None:
    tab, log = page(flat_url)
    for name in ("lines", "bars", "heat", "tiles"):
        plot_of(tab, name)
    assert log.hosts() == {flat_url.split("/")[2]}
    for file in ("plotly.min.js", "plotly_view.js", "chart_table.js", "plotly_view.css"):
        assert sum(file in url for url in log.urls) == 1
    # The browser's own cache would hide a second copy from the requests.
    assert tab.locator("script[src*='plotly.min.js']").count() == 1
    assert tab.locator("a[href*='plotly']").count() == 0
    assert log.problems == []


def test_below_a_path_with_and_without_a_slash(page: PageFactory, prefixed_url: str) -> None:
    for url in (prefixed_url, prefixed_url.rstrip("/")):
        tab, log = page(url)
        plot_of(tab, "bars")
        assert all("/some/path" in url for url in log.urls if "plotly" in url)


def test_a_chart_that_fails_leaves_the_page_alive(page: PageFactory, flat_url: str) -> None:
    tab, log = page("about:blank")
    tab.route("**/plotly.min.js*", lambda route: route.abort())
    tab.goto(flat_url)
    tab.locator("#bars .chart-error").wait_for()
    assert "chart library did not load" in tab.locator("#bars .chart-error").inner_text()
    tab.get_by_role("tab", name="Late").click()
    tab.locator("#late .chart-empty").wait_for()
    # The browser comes back to its senses: the next drawing works.
    tab.unroute("**/plotly.min.js*")
    tab.click("#update")
    wait_for_trace(tab, "late", "step 1")
    assert not any("Uncaught" in problem for problem in log.problems)
