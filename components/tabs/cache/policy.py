"""The policy lab: what is hashed, how large blocks are, and who goes when the store is full."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import gradio as gr

import playground
from components.chart_view.view import PlotlyView
from components.charts.cache_policy import plot_policies
from components.compute.gpu_process import on_gpu
from components.prompt.checks import check_number, check_whole
from components.prompt.reader import prompt_fingerprint
from components.tabs.cache.logs import PRESETS, Preset, read_log, read_log_names
from components.tabs.cache.policy_tree import draw_tree
from components.tabs.cache.policy_words import (
    lesson_html,
    rehearsed_table,
    replay_table,
    verdict_html,
)
from components.tabs.cache.scenes import RUN_PICTURES, list_pictures, say_log
from components.tabs.stage_tab import App, Section
from components.views.html_view import build_html_view
from playground.errors import InputError
from playground.language import mark, say
from playground.records import Progress

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from playground.kv_cache.block_hash import HashRules
    from playground.kv_cache.block_store import Policy
    from playground.kv_cache.log import LoggedRequest, Replayed
    from playground.kv_cache.prefix_store import PrefixStore
    from playground.pipeline import Run

BLOCK_SIZE, BUDGET_SHARE = 8, 50
NEW_TOKENS = 24
BUDGETS = 8  # points of the policy chart
POLICIES = [
    (mark("LRU: least recently used goes"), "lru"),
    (mark("FIFO: oldest goes"), "fifo"),
    (mark("LFU: least often used goes"), "lfu"),
]


@dataclass(frozen=True, slots=True)
class LabSettings:
    """The lab's controls, checked."""

    log: str
    rules: HashRules
    policy: Policy
    share: float  # of the budget that would keep everything, in percent


def build_policy_section(app: App) -> Section:
    """Build the part inside the tab."""
    gr.Markdown(
        say(
            "A log of requests goes through one store. Every move of a control replays it **by "
            "name and size** at once; *Replay with the model* serves it for real, and checks each "
            "answer against the one without a store."
        )
    )
    with gr.Row():
        buttons = [
            gr.Button(say(each.name), size="sm", scale=0, min_width=180, elem_classes="pg-example")
            for each in PRESETS
        ]
    settings = _build_settings()
    start = gr.Button(say("Replay with the model"), variant="primary", scale=0, min_width=200)
    verdict, lesson = build_html_view(), build_html_view()
    tree = PlotlyView(label=say("The store as a tree"))
    chosen = gr.Slider(
        0, 30, 0, step=1, label=say("Outline a request in the tree"), info=say("0: none.")
    )
    policies = PlotlyView(label=say("Policies compared"))
    with gr.Accordion(say("Every request"), open=True):
        table = build_html_view()

    live = [verdict, lesson, tree, chosen, policies, table]
    log, *others = settings
    for control in others:
        app.on_view(control.input, rehearse_lab, settings, live)
    app.on_view(log.blur, rehearse_lab, settings, live)
    app.on_view(chosen.input, outline_request, [*settings, chosen], [tree])
    app.on_model(start.click, stream_replay, settings, live)
    for button, preset in zip(buttons, PRESETS, strict=True):
        _fill_on_click(app, button, preset, settings, live)
    return Section(tuple(settings), tuple(live), rehearse_lab)


def _build_settings() -> list[Any]:
    """The log and the controls, in the order of ``read_settings``."""
    log = gr.Textbox(
        say_log(PRESETS[0].log),
        label=say("The log: session | picture | question"),
        info=say("Pictures: {names}.", names=list_pictures()),
        lines=4,
        max_lines=8,
    )
    with gr.Row():
        block_size = gr.Slider(
            1, 64, BLOCK_SIZE, step=1, label=say("Block size (tokens)"), min_width=170
        )
        share = gr.Slider(
            0,
            100,
            BUDGET_SHARE,
            step=5,
            label=say("Budget (% of what the log would fill)"),
            min_width=170,
        )
        policy = gr.Dropdown(
            [(say(name), value) for name, value in POLICIES],
            value="lru",
            label=say("When it is full"),
            min_width=170,
        )
    with gr.Row():
        with gr.Column(min_width=220):
            pictures = gr.Checkbox(
                True,
                label=say("Hash the pictures too"),
                info=say("Off: token ids only, as if a placeholder said what the picture shows."),
            )
        with gr.Column(min_width=220):
            salt = gr.Checkbox(
                True,
                label=say("Salt per session"),
                info=say("Off: session B hits what session A has left."),
            )
    return [log, block_size, share, policy, pictures, salt]


def _fill_on_click(
    app: App, button: gr.Button, preset: Preset, settings: list[Any], live: list[Any]
) -> None:
    """A preset fills in its log with the settings under which it shows something."""
    log, _, share, _, pictures, salt = settings
    filled = button.click(
        lambda: (say_log(preset.log), preset.share, preset.pictures, preset.salt),
        None,
        [log, share, pictures, salt],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
    if preset.replay:
        app.on_model(filled.then, stream_replay, settings, live)
    else:
        app.on_view(filled.then, rehearse_lab, settings, live)


def read_settings(
    log: Any, block_size: Any, share: Any, policy: Any, pictures: Any, salt: Any
) -> LabSettings:
    """The controls' values, checked.

    Raises:
        InputError: a value is none that the controls offer.
    """
    if policy not in [value for _, value in POLICIES]:
        raise InputError(say("When it is full: choose one of those offered."))
    size = check_whole(say("The block size"), block_size, low=1, high=64)
    rules = playground.kv_cache.block_hash.HashRules(
        size, with_pictures=bool(pictures), with_salt=bool(salt)
    )
    return LabSettings(
        str(log or ""), rules, policy, check_number(say("The budget"), share, low=0, high=100)
    )


# ----------------------------------------------------------------------------- by name and size


def rehearse_lab(run: Run, *values: Any) -> tuple[Any, ...]:
    """Everything but answers and times, without the model."""
    settings = read_settings(*values)
    log = _names(run, settings)
    store = _new_store(run, settings, log)
    found = playground.kv_cache.log.rehearse(store, log)
    return (
        verdict_html(log, [lookup.reused_tokens for lookup in found], store.blocks.stats),
        "",
        draw_tree(run, store, log),
        gr.update(maximum=len(log), value=0),
        _policy_chart(run, settings, log, store.blocks.max_bytes),
        rehearsed_table(run, settings.rules.block_size, log, found),
    )


def _names(run: Run, settings: LabSettings) -> tuple[LoggedRequest, ...]:
    # A log may name the run's pictures; hashing them for every other log would be a waste.
    names_run = RUN_PICTURES in settings.log or say(RUN_PICTURES) in settings.log
    key = prompt_fingerprint(run.prompt if names_run else replace(run.prompt, turns=()))
    return read_log_names(run, key, settings.log)


def _new_store(run: Run, settings: LabSettings, log: Sequence[LoggedRequest]) -> PrefixStore:
    full = playground.kv_cache.log.log_bytes(run.engine, log, settings.rules)
    return playground.kv_cache.prefix_store.PrefixStore(
        run.engine,
        settings.rules,
        max_bytes=int(full * settings.share / 100),
        policy=settings.policy,
    )


def _policy_chart(
    run: Run, settings: LabSettings, log: Sequence[LoggedRequest], budget: int
) -> go.Figure:
    full = playground.kv_cache.log.log_bytes(run.engine, log, settings.rules)
    budgets = sorted({budget, *(full * step // (BUDGETS - 1) for step in range(BUDGETS))})
    compared = playground.kv_cache.log.compare_policies(run.engine, log, settings.rules, budgets)
    return plot_policies(compared, budget, settings.policy)


def outline_request(run: Run, *values: Any) -> go.Figure:
    """The tree with one request's branch outlined."""
    *others, chosen = values
    settings = read_settings(*others)
    log = _names(run, settings)
    number = check_whole(say("The request"), chosen, low=0, high=len(log))
    store = _new_store(run, settings, log)
    playground.kv_cache.log.rehearse(store, log)
    return draw_tree(run, store, log, number)


# ----------------------------------------------------------------------------- with the model


@on_gpu
def stream_replay(run: Run, progress: Progress, *values: Any) -> Iterator[tuple[Any, ...]]:
    """Serve the log for real; the table grows with the requests, the tree comes at the end."""
    settings = read_settings(*values)
    log = read_log(run, settings.log)
    store = _new_store(run, settings, log)
    rows: list[Replayed] = []
    # A secret of this replay: what it leaves cannot be hit from anywhere else.
    for row in playground.kv_cache.log.replay_log(
        store,
        log,
        secret=secrets.token_hex(16),
        max_new_tokens=NEW_TOKENS,
        progress=progress,
    ):
        rows.append(row)
        if len(rows) % 5 == 0 and len(rows) < len(log):
            served = replay_table(run, settings.rules.block_size, rows)
            yield gr.skip(), lesson_html(run.engine, rows), gr.skip(), gr.skip(), gr.skip(), served
    yield (
        verdict_html(log, [row.lookup.reused_tokens for row in rows], store.blocks.stats),
        lesson_html(run.engine, rows),
        draw_tree(run, store, log),
        gr.update(maximum=len(log), value=0),
        _policy_chart(run, settings, log, store.blocks.max_bytes),
        replay_table(run, settings.rules.block_size, rows),
    )
