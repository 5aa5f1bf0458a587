"""Serve several requests: which tokens the cache provides, and what that saves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import playground
from components.charts.cache import plot_request_times
from components.compute.gpu_process import on_gpu
from components.parts.compound_controls import Presets, Rows
from components.parts.controls import Choice, Option, Slider, TextField
from components.parts.part import Fold, Part
from components.snippets.scripts import write_snippet
from components.tabs.cache.scenes import (
    NO_IMAGE,
    RUN_IMAGES,
    build_prompt,
    image_choices,
    without_pixels,
)
from components.tabs.cache.served import ServedRequests, ServeSettings
from components.tabs.cache.words import (
    changed_html,
    formula_html,
    request_html,
    requests_summary_html,
    requests_table,
)
from playground.language import mark, say
from playground.records import CacheReuse, Progress

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from playground.kv_cache.compare import Compared
    from playground.pipeline import Run

MAX_ROWS = 4
REPEATS, MOST_REPEATS = 3, 20
BLOCK_SIZES = (1, 4, 8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class RequestExample:
    """Requests that an example button fills in."""

    name: str
    requests: tuple[tuple[str, str], ...]  # (text, image name)
    system: str = ""

    @property
    def rows(self) -> list[dict[str, str]]:
        """The requests as the control's value."""
        return [{"text": text, "picture": image} for text, image in self.requests]


DESCRIBED = "Assistant: A large green star in the center.\nUser: "
EXAMPLES = (
    RequestExample(mark("你好 → 你好世界。"), (("你好", NO_IMAGE), ("你好世界。", NO_IMAGE))),
    RequestExample(
        mark("Same image, different question"),
        (("Describe this image.", RUN_IMAGES), ("How many shapes are there?", RUN_IMAGES)),
    ),
    RequestExample(
        mark("Same question, different image"),
        (("Describe this image.", "star"), ("Describe this image.", "heart")),
    ),
    RequestExample(
        mark("A shared system prompt"),
        (("Who are you?", NO_IMAGE), ("What shape is it?", "heart"), ("你好", NO_IMAGE)),
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


def list_images_of(_run: Run) -> list[Option]:
    """The images that a request may have; the same for every run."""
    return image_choices()


REQUESTS = Rows(
    id="requests",
    fields=(
        TextField(id="text", label=mark("Text"), lines=2),
        Choice(id="picture", label=mark("Image"), options=list_images_of, compact=True),
    ),
    low=1,
    high=MAX_ROWS,
    value=EXAMPLES[0].rows,
    names=(mark("Request 1"), mark("Request 2"), mark("Request 3"), mark("Request 4")),
    add=mark("Add a request"),
)
SYSTEM = TextField(
    id="system",
    label=mark("System prompt for all requests"),
    info=mark(
        "Leave empty to use this run's system prompt. In a request, a line that starts with "
        "“Assistant:” or “User:” begins a new turn."
    ),
)
BLOCK_SIZE = Choice(
    id="block-size",
    label=mark("Block size (tokens)"),
    info=mark("Only full blocks are cached. 1 caches token by token."),
    options=lambda _run: [(str(size), size) for size in BLOCK_SIZES],
)
TIMED_RUNS = Slider(
    id="repeats",
    label=mark("Timed runs"),
    info=mark("Repeats per variant, interleaved."),
    low=1,
    high=MOST_REPEATS,
    value=REPEATS,
)
SETTINGS = ("requests", "system", "block-size", "repeats")
PART = Part(
    "requests",
    mark("Hit or miss"),
    stage="cache",
    intro=mark(
        "The requests run in order. Each request reuses the **prefix** that it shares with an "
        "earlier one and computes the rest. Every answer is checked against a run without the "
        "cache."
    ),
    controls=(
        Presets(
            id="examples",
            options=tuple(
                (example.name, {"requests": example.rows, "system": example.system or None})
                for example in EXAMPLES
            ),
            then="serve",
        ),
        REQUESTS,
        SYSTEM,
        BLOCK_SIZE,
        TIMED_RUNS,
    ),
    layout=(
        "examples",
        "requests",
        Fold(
            mark("More settings: system prompt, block size, timed runs"),
            (("block-size", "repeats"), "system"),
        ),
        ("serve",),
        "changed",
        "summary",
        "table",
        "strips",
        "times",
        "formula",
        "script",
    ),
)


@PART.experiment(mark("Serve these requests"), needs=SETTINGS, auto=True, primary=True)
@on_gpu
def serve(
    run: Run,
    progress: Progress,
    requests: tuple[Mapping[str, Any], ...],
    system: str,
    block_size: int,
    repeats: int,
) -> Iterator[ServedRequests]:
    """Serve the requests in order.

    Raises:
        InputError: a request is empty or names an unknown image.
    """
    engine = run.engine
    prompts = [
        build_prompt(
            run, say("Request {number}", number=number), row["text"], row["picture"], system
        )
        for number, row in enumerate(requests, 1)
    ]
    inputs = [playground.preprocess.stage.run_preprocess(engine, prompt) for prompt in prompts]
    settings = ServeSettings(requests, system, block_size, repeats)
    rows: tuple[Compared, ...] = ()
    for row in playground.kv_cache.compare.compare_requests(
        engine,
        inputs,
        playground.kv_cache.block_hash.HashRules(block_size),
        repeats=repeats,
        progress=progress,
    ):
        rows = (*rows, row)
        yield ServedRequests(settings, tuple(map(_lighten, rows)), as_reuse(rows[0], rows[-1]))


def _lighten(row: Compared) -> Compared:
    return replace(row, inputs=without_pixels(row.inputs))


def as_reuse(first: Compared, last: Compared) -> CacheReuse:
    """The first and the last request as the record for the code snippet."""
    shared, reason = playground.kv_cache.shared_prefix.shared_prefix(first.inputs, last.inputs)
    return CacheReuse(
        first=without_pixels(first.inputs),
        second=without_pixels(last.inputs),
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


@PART.html(needs=("serve", *SETTINGS))
def changed(_run: Run, served: ServedRequests | None, *settings: Any) -> str:
    """A note if the results were computed with other settings than the current ones."""
    is_other = served is not None and served.settings != ServeSettings(*settings)
    return changed_html() if is_other else ""


@PART.html(needs=("serve",))
def summary(_run: Run, served: ServedRequests | None) -> str:
    """What the cache saved for the last request."""
    return requests_summary_html(served.rows) if served else ""


@PART.html(needs=("serve",))
def table(_run: Run, served: ServedRequests | None) -> str:
    """The numbers of all requests."""
    return requests_table(served.rows) if served else ""


@PART.html(needs=("serve",), live=True)
def strips(run: Run, served: ServedRequests | None) -> str:
    """Each request with its tokens marked as reused or computed."""
    if served is None:
        return ""
    return "".join(
        request_html(row, number, run.engine, served.settings.block_size)
        for number, row in enumerate(served.rows, 1)
    )


@PART.chart(mark("Time to first token per request"), needs=("serve",))
def times(_run: Run, served: ServedRequests | None) -> go.Figure | None:
    """Time to first token of each request, with and without the cache."""
    return plot_request_times(served.rows) if served else None


@PART.html(needs=("serve",))
def formula(run: Run, served: ServedRequests | None) -> str:
    """How the last request's savings are calculated."""
    return formula_html(served.rows[-1], run.engine) if served else ""


@PART.code(mark("Show the code"), needs=("serve",))
def script(run: Run, served: ServedRequests | None) -> str:
    """Code for the first and the last request in plain transformers."""
    return write_snippet("cache", run, reuse=served.reuse) if served else ""
