"""Requests one after another: which tokens the cache serves, and what that saves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

import playground
from components.chart_view.view import PlotlyView
from components.charts.cache import plot_request_times
from components.compute.gpu_process import on_gpu
from components.prompt.checks import check_whole
from components.snippets.scripts import write_snippet
from components.tabs.cache.scenes import (
    NO_PICTURE,
    RUN_PICTURES,
    build_prompt,
    picture_choices,
)
from components.tabs.cache.served import record_requests
from components.tabs.cache.words import formula_html, request_html, requests_table, summary_html
from components.tabs.stage_tab import App, build_code_panel
from components.views.html_view import build_html_view
from playground.language import mark, say
from playground.records import CacheReuse, Progress

if TYPE_CHECKING:
    from playground.kv_cache.compare import Compared
    from playground.pipeline import Run

STATE_LIFE_S = 3600
MAX_ROWS = 4
REPEATS, MOST_REPEATS = 3, 20
BLOCK_SIZES = [1, 4, 8, 16, 32, 64]


@dataclass(frozen=True, slots=True)
class RequestExample:
    """What a button fills in."""

    name: str
    requests: tuple[tuple[str, str], ...]  # text and picture
    system: str = ""


DESCRIBED = "Assistant: A large green star in the center.\nUser: "
EXAMPLES = (
    RequestExample(mark("你好 → 你好世界。"), (("你好", NO_PICTURE), ("你好世界。", NO_PICTURE))),
    RequestExample(
        mark("Same image, other question"),
        (("Describe this image.", RUN_PICTURES), ("How many shapes are there?", RUN_PICTURES)),
    ),
    RequestExample(
        mark("Same question, other image"),
        (("Describe this image.", "star"), ("Describe this image.", "heart")),
    ),
    RequestExample(
        mark("A shared system prompt"),
        (("Who are you?", NO_PICTURE), ("What shape is it?", "heart"), ("你好", NO_PICTURE)),
        system="You are a careful assistant. You answer in one short sentence and invent nothing.",
    ),
    RequestExample(
        mark("A growing conversation"),
        (
            ("Describe this image.", "star"),
            (f"Describe this image.\n{DESCRIBED}What color is it?", "star"),
            (
                f"Describe this image.\n{DESCRIBED}What color is it?\nAssistant: Green.\n"
                "User: Where is it?",
                "star",
            ),
        ),
    ),
)


@dataclass(frozen=True, slots=True, eq=False)
class RequestsPart:
    """The part's components, as the tab's run needs them."""

    controls: tuple[Any, ...]
    outputs: tuple[Any, ...]
    served: gr.State  # ``ServedRequests``, the last of the outputs


def build_requests_part(app: App) -> RequestsPart:
    """Build the part inside the tab."""
    gr.Markdown(
        say(
            "The requests are served in order. Each takes over what it shares with an earlier one "
            "**from its first token on**, and computes the rest; every answer is checked against "
            "the one without a cache."
        )
    )
    with gr.Row():
        buttons = [
            gr.Button(say(each.name), size="sm", scale=0, min_width=180, elem_classes="pg-example")
            for each in EXAMPLES
        ]
    rows, texts, pictures = _build_rows()
    count, block_size, repeats, system = _build_more()
    start = gr.Button(say("Serve these requests"), variant="primary", scale=0, min_width=200)
    summary, table, strips = build_html_view(), build_html_view(), build_html_view()
    times = PlotlyView(label=say("Times of the requests"))
    formula = build_html_view()
    code = build_code_panel()
    controls = (count, system, block_size, repeats, *texts, *pictures)
    served = gr.State(None, time_to_live=STATE_LIFE_S)
    outputs = (summary, strips, table, times, formula, code, served)
    app.on_model(start.click, stream_requests, controls, outputs)
    for button, example in zip(buttons, EXAMPLES, strict=True):
        filled = button.click(
            lambda example=example: fill_values(example),
            None,
            [count, system, *texts, *pictures, *rows],
            queue=False,
            show_progress="hidden",
            api_visibility="private",
        )
        app.on_model(filled.then, stream_requests, controls, outputs)
    count.input(
        lambda wanted: [gr.update(visible=number < wanted) for number in range(MAX_ROWS)],
        count,
        rows,
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
    return RequestsPart(controls, outputs, served)


def _build_rows() -> tuple[list[gr.Row], list[gr.Textbox], list[gr.Dropdown]]:
    """A text and a picture per request; rows that the first example leaves free are hidden."""
    rows, texts, pictures = [], [], []
    for number in range(MAX_ROWS):
        text, picture = _request_of(EXAMPLES[0], number)
        with gr.Row(visible=number < len(EXAMPLES[0].requests)) as row:
            name = say("Request {number}", number=number + 1)
            texts.append(gr.Textbox(text, label=name, lines=1, max_lines=6, scale=3, min_width=240))
            pictures.append(
                gr.Dropdown(
                    picture_choices(),
                    value=picture,
                    label=say("Picture of request {number}", number=number + 1),
                    scale=1,
                    min_width=190,
                )
            )
        rows.append(row)
    return rows, texts, pictures


def _build_more() -> tuple[gr.Slider, gr.Dropdown, gr.Slider, gr.Textbox]:
    """What most people leave as it is: number, block size, timed runs, system prompt."""
    first = EXAMPLES[0]
    more = say("More: number of requests, system prompt, block size")
    with gr.Accordion(more, open=False):
        with gr.Row():
            count = gr.Slider(2, MAX_ROWS, len(first.requests), step=1, label=say("Requests"))
            block_size = gr.Dropdown(
                BLOCK_SIZES,
                value=1,
                label=say("Block size (tokens)"),
                info=say("Only whole blocks are kept. 1: token by token."),
            )
            repeats = gr.Slider(
                1,
                MOST_REPEATS,
                REPEATS,
                step=1,
                label=say("Timed runs"),
                info=say("Of each way, in turns."),
            )
        system = gr.Textbox(
            first.system,
            label=say("System prompt of all requests"),
            info=say(
                "Empty: this run's own. In a request, lines that begin with “Assistant:” or "
                "“User:” are further turns."
            ),
        )
    return count, block_size, repeats, system


def _request_of(example: RequestExample, number: int) -> tuple[str, str]:
    return example.requests[number] if number < len(example.requests) else ("", NO_PICTURE)


def fill_values(example: RequestExample) -> tuple[Any, ...]:
    """The controls' values for an example, and which rows are in sight."""
    requests = [_request_of(example, number) for number in range(MAX_ROWS)]
    shown = [gr.update(visible=number < len(example.requests)) for number in range(MAX_ROWS)]
    return (
        len(example.requests),
        example.system,
        *(text for text, _ in requests),
        *(picture for _, picture in requests),
        *shown,
    )


@on_gpu
def stream_requests(
    run: Run,
    progress: Progress,
    count: float,
    system: str,
    block_size: float,
    repeats: float,
    *values: Any,
) -> Iterator[tuple[Any, ...]]:
    """Serve the requests in order; the strips grow with each, the charts come at the end."""
    wanted = check_whole(say("The number of requests"), count, low=1, high=MAX_ROWS)
    turns = check_whole(say("The number of timed runs"), repeats, low=1, high=MOST_REPEATS)
    size = check_whole(say("The block size"), block_size, low=1, high=64)
    texts, pictures = values[:wanted], values[MAX_ROWS : MAX_ROWS + wanted]
    prompts = [
        build_prompt(run, say("Request {number}", number=number), text, picture, system)
        for number, (text, picture) in enumerate(zip(texts, pictures, strict=True), 1)
    ]
    engine = run.engine
    inputs = [playground.preprocess.stage.run_preprocess(engine, prompt) for prompt in prompts]
    rules = playground.kv_cache.block_hash.HashRules(size)
    rows: list[Compared] = []
    strips = ""
    for row in playground.kv_cache.compare.compare_requests(
        engine, inputs, rules, repeats=turns, progress=progress
    ):
        rows.append(row)
        strips += request_html(row, len(rows), engine, size)
        if len(rows) < len(inputs):
            yield (gr.skip(), strips, *(gr.skip() for _ in range(5)))
    yield (
        summary_html(rows),
        strips,
        requests_table(rows),
        plot_request_times(rows),
        formula_html(rows[-1], engine),
        write_snippet("cache", run, reuse=as_reuse(rows[0], rows[-1])),
        record_requests(run, rows),
    )


def as_reuse(first: Compared, last: Compared) -> CacheReuse:
    """The first and the last request as the record that the snippet is written from."""
    shared, reason = playground.kv_cache.shared_prefix.shared_prefix(first.inputs, last.inputs)
    return CacheReuse(
        first=first.inputs,
        second=last.inputs,
        shared_tokens=shared,
        reused_tokens=playground.kv_cache.shared_prefix.reusable_tokens(last.inputs, shared),
        reason=reason,
        miss_ms=last.miss_ms,
        hit_ms=last.hit_ms,
        kv_bytes=last.kv_bytes,
        max_abs_diff=last.max_abs_diff,
        next_token=last.next_token,
        hit_logits=last.logits,
        miss_logits=last.logits,
    )
