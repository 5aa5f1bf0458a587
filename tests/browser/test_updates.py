"""What Gradio's page does for each component among all, when it is opened and in a run."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Request, Route, expect

from components.serving.gradio_scripts import ASSETS, LISTENERS, MENDS, SEARCH, Mend, mended_scripts
from tests.browser.conftest import PageFactory
from tests.browser.steps import (
    RUN_TIMEOUT_MS,
    finished_at,
    open_tab,
    run_and_wait,
    wait_until_drawn,
)

UPDATES = "async update_state(e,t,n=!0){"
# A few for each message of a run, and its notes on the inputs' states: parts draw themselves.
MOST_UPDATES = 100


def count_calls(page: Page, method: str) -> None:
    """Have the page count the calls of a method of Gradio's tree of components."""

    def add_counter(route: Route) -> None:
        response = route.fetch()
        script = response.text()
        assert script.count(method) == 1
        counted = method + "window.calls = (window.calls ?? 0) + 1;"
        route.fulfill(response=response, body=script.replace(method, counted))

    page.route("**/assets/core-*.js", add_counter)


def test_a_run_updates_what_it_changes(address: str, page: PageFactory) -> None:
    opened, log = page("about:blank")
    count_calls(opened, UPDATES)
    opened.goto(address)
    wait_until_drawn(opened)
    open_tab(opened, "2 Vision tower")
    for question in ("How many shapes are there?", "What color is the circle?"):
        opened.locator("#input-text textarea").fill(question)
        opened.evaluate("window.calls = 0")
        run_and_wait(opened)
        assert 0 < opened.evaluate("window.calls") < MOST_UPDATES
    assert log.problems == []


# Finds components in a tree of them: which were found, and how often an id was read the first two
# times.
FIND = """
(search) => {
  let reads = 0;
  const component = (id, ...children) => ({ get id() { reads += 1; return id; }, children });
  const many = Array.from({ length: 500 }, (_, index) => component(100 + index));
  const root = component(0, component(1, ...many), component(2, component(3)));
  const find = new Function(`${search}; return Z`)();
  const look = (id) => { reads = 0; return find(root, id)?.id ?? null; };
  const places = [look(3)];
  const costs = [reads];
  places.push(look(3));
  costs.push(reads);
  root.children.reverse();
  places.push(look(3)); // moved
  root.children[0].children.pop();
  places.push(look(3), look(0), look(599)); // removed, the tree's root, the last
  return { places, costs };
}
"""


def test_a_component_is_searched_for_once(page: PageFactory) -> None:
    opened, _ = page("about:blank")
    before, after = (opened.evaluate(FIND, search) for search in (SEARCH.fault, SEARCH.mended))
    assert after["places"] == before["places"] == [3, 3, 3, None, 0, 599]
    assert min(*before["costs"], after["costs"][0]) > 500
    assert after["costs"][1] < 5


# Notes the kinds of charts that are drawn.
NOTE_DRAWINGS = """
window.drawings = [];
let library;
Object.defineProperty(window, "Plotly", { get: () => library, set: (value) => {
  library = value;
  const react = value.react;
  value.react = (plot, data, ...rest) => {
    window.drawings.push(...data.map((trace) => trace.type ?? "scatter"));
    return react(plot, data, ...rest);
  };
} });
"""


def test_charts_are_tried_out_of_sight(address: str, page: PageFactory) -> None:
    opened, log = page("about:blank")
    opened.add_init_script(NOTE_DRAWINGS)
    opened.goto(address)
    opened.wait_for_function("window.drawings.includes('bar')")
    assert {"scatter", "heatmap"} < set(opened.evaluate("window.drawings"))
    expect(opened.locator(".js-plotly-plot")).to_have_count(0)
    assert log.problems == []


# Holds back the server's word that a stream ends, from `window.hold()` to `window.release()`.
HOLD_THE_END = """
let held = null;
window.hold = () => new Promise((noticed) => {
  const released = new Promise((resolve) => (window.release = resolve));
  held = () => { held = null; noticed(); return released; };
});
const own = window.fetch;
window.fetch = async (...request) => {
  const response = await own(...request);
  if (!(request[0].url ?? `${request[0]}`).includes("/queue/data")) return response;
  const text = new TransformStream({ async transform(chunk, stream) {
    const end = chunk.indexOf('data: {"msg":"close_stream"');
    if (end < 0 || !held) return stream.enqueue(chunk);
    stream.enqueue(chunk.slice(0, end));
    await held();
    stream.enqueue(chunk.slice(end));
  } });
  const body = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(text);
  return new Response(body.pipeThrough(new TextEncoderStream()), response);
};
"""


def test_a_click_while_the_stream_ends_is_answered(address: str, page: PageFactory) -> None:
    opened, log = page("about:blank")
    opened.add_init_script(HOLD_THE_END)
    opened.goto(address)
    wait_until_drawn(opened)
    before = finished_at(opened)
    opened.evaluate("window.ends = window.hold(); null")
    opened.get_by_role("button", name="Copy link").click()
    opened.evaluate("window.ends")  # its event is complete, and the page does not know it yet
    with opened.expect_response("**/queue/join*"):
        opened.locator("#run").click()
    opened.evaluate("window.release()")
    chip = opened.locator("[data-chip='last run']")
    expect(chip).not_to_have_attribute("title", before, timeout=RUN_TIMEOUT_MS)
    assert log.problems == []


NOTE_STREAMS = """
window.streams = [];
const own = window.fetch;
window.fetch = (...request) => {
  if (request[0].url?.includes("/queue/data")) window.streams.push(request[0].cache);
  return own(...request);
};
"""


def test_streams_keep_out_of_the_cache(address: str, page: PageFactory) -> None:
    opened, log = page("about:blank")
    opened.add_init_script(NOTE_STREAMS)
    opened.goto(address)
    wait_until_drawn(opened)
    run_and_wait(opened)
    assert set(opened.evaluate("window.streams")) == {"no-store"}
    assert log.problems == []


# Holds back the answer to the next event that joins until that event's end has come; for five
# seconds at most, since no end comes where no stream is open.
HOLD_AN_ANSWER = """
const ended = new Set();
let waiting = null;
window.hold = () => new Promise((resolve) => (waiting = resolve));
const own = window.fetch;
window.fetch = async (...request) => {
  const response = await own(...request);
  const url = request[0].url ?? `${request[0]}`;
  if (url.includes("/queue/join") && waiting) {
    const tell = waiting;
    waiting = null;
    const { event_id } = await response.clone().json();
    const start = performance.now();
    while (!ended.has(event_id) && performance.now() - start < 5000)
      await new Promise((resolve) => setTimeout(resolve, 10));
    tell(ended.has(event_id));
  }
  if (!url.includes("/queue/data")) return response;
  const text = new TransformStream({ transform(chunk, stream) {
    for (const [, id] of chunk.matchAll(/"msg":"process_completed","event_id":"([0-9a-f]+)"/g))
      ended.add(id);
    stream.enqueue(chunk);
  } });
  const body = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(text);
  return new Response(body.pipeThrough(new TextEncoderStream()), response);
};
"""


def test_an_event_that_ends_early_is_over(address: str, page: PageFactory) -> None:
    opened, log = page("about:blank")
    opened.add_init_script(HOLD_AN_ANSWER)
    streams: set[Request] = set()
    opened.on("request", lambda each: streams.add(each) if "/queue/data" in each.url else None)
    opened.on("requestfinished", lambda each: streams.discard(each))
    opened.on("requestfailed", lambda each: streams.discard(each))
    opened.goto(address)
    wait_until_drawn(opened)
    for number in range(5):  # on a busy machine the run's own stream may be over too soon
        opened.locator("#input-text textarea").fill(f"A question that was not asked: {number}")
        before = finished_at(opened)
        with opened.expect_response("**/queue/join*"):
            opened.locator("#run").click()
        opened.evaluate("window.early = window.hold(); null")
        opened.get_by_role("button", name="Copy link").click()
        is_early = opened.evaluate("window.early")
        chip = opened.locator("[data-chip='last run']")
        expect(chip).not_to_have_attribute("title", before, timeout=RUN_TIMEOUT_MS)
        if is_early:
            break
    assert is_early
    for _ in range(100):
        opened.wait_for_timeout(100)
        if not streams:
            break
    opened.wait_for_timeout(300)
    assert streams == set()
    assert log.problems == []


# The events of a tree's components, found by Gradio's way and by ours; and how often the first
# event's targets were read.
LISTEN = """
(methods) => {
  const made = new Function(`return new (class { ${methods} })()`)();
  let reads = 0;
  const counted = { get targets() { reads += 1; return [[1, "click"], [2, "input"]]; } };
  const events = [counted, { targets: [[1, "change"], [1, "select"]] }, { targets: [[3, null]] }];
  const look = (id) =>
    made.find_attached_events({ id, props: { shared_props: {} } }, events).props.shared_props;
  const found = [1, 2, 3, 4, 1].map((id) => look(id).attached_events);
  const cost = reads;
  events.push({ targets: [[4, "load"]] });
  found.push(look(4).attached_events);
  return { found, cost };
}
"""


def test_events_are_sorted_by_component_once(page: PageFactory) -> None:
    opened, _ = page("about:blank")
    before, after = (
        opened.evaluate(LISTEN, methods) for methods in (LISTENERS.fault, LISTENERS.mended)
    )
    expected = [["click", "change"], ["input"], [], [], ["click", "change"], ["load"]]
    assert after["found"] == before["found"] == expected
    assert before["cost"] > 5
    assert after["cost"] == 1


def test_a_page_that_is_opened_is_built_once(address: str, page: PageFactory) -> None:
    opened, log = page("about:blank")
    count_calls(opened, "create_node(e,t,n=!1,r){")
    opened.goto(address)
    wait_until_drawn(opened)
    components = opened.evaluate("window.gradio_config.components.length")
    assert opened.evaluate("window.calls") == components + 1  # and the tree's root
    assert log.problems == []


@pytest.mark.parametrize("mend", MENDS)
def test_this_gradio_has_the_fault(mend: Mend) -> None:
    """Where it no longer has, the mending may go."""
    scripts = mended_scripts()
    assert set(scripts) == {path.name for each in MENDS for path in ASSETS.glob(each.name)}
    assert [content.count(mend.mended) for content in scripts.values()].count(1) == 1
    assert all(mend.fault not in content for content in scripts.values())
