"""The policy lab: what is hashed, how large blocks are, and what is evicted when the store is full.

Hits and evictions follow from hashes and sizes alone, so they are computed without the model. Only
answers and times need a replay with the model.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import playground
from components.charts.cache_policy import plot_policies
from components.compute.gpu_process import on_gpu
from components.parts.compound_controls import Presets
from components.parts.controls import Choice, Number, Slider, TextField, Toggle
from components.parts.part import Heading, Part
from components.tabs.cache.logs import PRESETS, Preset, read_log
from components.tabs.cache.policy_tree import draw_tree
from components.tabs.cache.policy_words import (
    lesson_html,
    rehearsed_table,
    replay_table,
    replay_verdict_html,
)
from components.tabs.cache.rehearsal import (
    StoreSettings,
    new_store,
    rehearse_if_readable,
    rehearse_log,
)
from components.tabs.cache.scenes import list_images, say_log, without_pixels
from components.views.facts import fact_html
from playground.language import mark, say
from playground.records import Progress

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from playground.kv_cache.log import Replayed
    from playground.pipeline import Run

BLOCK_SIZE, BUDGET_SHARE = 8, 50
NEW_TOKENS = 24
BUDGETS = 8  # points of the policy chart
MAX_LOG = 60  # requests; the same limit as the engine's
MAX_LOG_CHARS = 20_000
SHOW_EVERY = 5  # requests between two updates of a replay


def preset_values(preset: Preset) -> dict[str, Any]:
    """The values that a preset fills in: its log and settings."""
    return {
        "log": say_log(preset.log),
        "share": preset.share,
        "pictures": preset.images,
        "salt": preset.salt,
        "outlined": None,
    }


SETTINGS = ("log", "block-size", "share", "policy", "pictures", "salt")
PART = Part(
    "policy",
    mark("Policy lab"),
    stage="cache",
    intro=mark(
        "One prefix cache serves a log of requests. Blocks are hashed as in vLLM (PagedAttention, "
        "Kwon et al. 2023). Each change of a setting replays the log **by hash and size** alone; "
        "*Replay with the model* computes every request and checks each answer against a run "
        "without the cache."
    ),
    controls=(
        Presets(
            id="rehearsed-presets",
            options=lambda _run: [
                (say(preset.name), preset_values(preset)) for preset in PRESETS if not preset.replay
            ],
        ),
        Presets(
            id="replayed-presets",
            options=lambda _run: [
                (say(preset.name), preset_values(preset)) for preset in PRESETS if preset.replay
            ],
            then="replay",
        ),
        TextField(
            id="log",
            label=mark("Request log: session | image | question"),
            value=lambda _run: say_log(PRESETS[0].log),
            lines=4,
            max_chars=MAX_LOG_CHARS,
        ),
        Slider(
            id="block-size", label=mark("Block size (tokens)"), low=1, high=64, value=BLOCK_SIZE
        ),
        Slider(
            id="share",
            label=mark("Cache budget (% of what the whole log needs)"),
            low=0,
            high=100,
            value=BUDGET_SHARE,
            step=5,
        ),
        Choice(
            id="policy",
            label=mark("Eviction policy"),
            options=(
                (mark("LRU: least recently used"), "lru"),
                (mark("FIFO: first in, first out"), "fifo"),
                (mark("LFU: least frequently used"), "lfu"),
            ),
            compact=True,
        ),
        Toggle(
            id="pictures",
            label=mark("Hash the images too"),
            info=mark(
                "Off: hash only token ids, so images with equally many placeholder tokens count "
                "as equal."
            ),
            value=True,
        ),
        Toggle(
            id="salt",
            label=mark("Salt per session"),
            info=mark("Off: session B can hit the blocks of session A."),
            value=True,
        ),
        Number(
            id="outlined",
            label=mark("Outline a request in the tree"),
            info=mark("0: none."),
            value=0,
            low=0,
            high=MAX_LOG,
        ),
    ),
    layout=(
        ("rehearsed-presets", "replayed-presets"),
        "log",
        "names",
        ("block-size", "share", "policy"),
        ("pictures", "salt"),
        ("replay",),
        "verdict",
        "lesson",
        "tree",
        "outlined",
        "policies",
        Heading(mark("All requests")),
        "requests",
    ),
)


@PART.html()
def names(_run: Run) -> str:
    """The image names that a log may use."""
    return fact_html(say("Images: {names}.", names=list_images()))


# --------------------------------------------------------------------------- without the model


@PART.html(needs=SETTINGS)
def verdict(run: Run, *settings: Any) -> str:
    """Hit rate, tokens saved and bytes."""
    rehearsed = rehearse_log(run, StoreSettings.of(*settings))
    reused = [lookup.reused_tokens for lookup in rehearsed.found]
    return replay_verdict_html(rehearsed.log, reused, rehearsed.store.blocks.stats)


@PART.chart(mark("Prefix tree of the cache"), needs=(*SETTINGS, "outlined"))
def tree(run: Run, *settings: Any) -> go.Figure | None:
    """The store after the log, as a prefix tree; one request can be outlined."""
    *others, outlined = settings
    rehearsed = rehearse_if_readable(run, StoreSettings.of(*others))
    if rehearsed is None:
        return None
    number = outlined if outlined <= len(rehearsed.log) else 0
    return draw_tree(run, rehearsed.store, rehearsed.log, number)


@PART.chart(mark("Eviction policies compared"), needs=SETTINGS)
def policies(run: Run, *settings: Any) -> go.Figure | None:
    """Share of tokens that each policy reuses at each budget."""
    chosen = StoreSettings.of(*settings)
    rehearsed = rehearse_if_readable(run, chosen)
    if rehearsed is None:
        return None
    log, budget = rehearsed.log, rehearsed.store.blocks.max_bytes
    engine, compare = run.engine, playground.kv_cache.log
    full = compare.log_bytes(engine, log, chosen.rules)
    budgets = sorted({budget, *(full * step // (BUDGETS - 1) for step in range(BUDGETS))})
    compared = run.memo(
        "cache.policies",
        lambda: compare.compare_policies(engine, log, chosen.rules, budgets),
        of=(chosen.log, chosen.rules, budget),
    )
    return plot_policies(compared, budget, chosen.policy)


# ----------------------------------------------------------------------------- with the model


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """The requests of a log replayed with the model so far."""

    settings: StoreSettings
    rows: tuple[Replayed, ...]


@PART.experiment(mark("Replay with the model"), needs=SETTINGS, primary=True)
@on_gpu
def replay(run: Run, progress: Progress, *settings: Any) -> Iterator[Replay]:
    """Replay the log with the model.

    Raises:
        InputError: as ``rehearse_log``.
    """
    chosen = StoreSettings.of(*settings)
    log = read_log(run, chosen.log)
    rows: tuple[Replayed, ...] = ()
    # Each replay has its own secret, so nothing else can hit its blocks.
    for row in playground.kv_cache.log.replay_log(
        new_store(run, chosen, log),
        log,
        secret=secrets.token_hex(16),
        max_new_tokens=NEW_TOKENS,
        progress=progress,
    ):
        request = replace(row.request, inputs=without_pixels(row.request.inputs))
        rows = (*rows, replace(row, request=request))
        if len(rows) % SHOW_EVERY == 0 or len(rows) == len(log):
            yield Replay(chosen, rows)


@PART.html(needs=(*SETTINGS, "replay"), live=True)
def lesson(run: Run, *given: Any) -> str:
    """What went wrong in a replay with these settings, if anything."""
    *settings, replayed = given
    if replayed is None or replayed.settings != StoreSettings.of(*settings):
        return ""
    return lesson_html(run.engine, replayed.rows)


@PART.html(needs=(*SETTINGS, "replay"), live=True)
def requests(run: Run, *given: Any) -> str:
    """All requests: replayed with the model if the settings match, else by hash and size."""
    *settings, replayed = given
    chosen = StoreSettings.of(*settings)
    if replayed is not None and replayed.settings == chosen:
        return replay_table(run, chosen.rules.block_size, replayed.rows)
    rehearsed = rehearse_if_readable(run, chosen)
    if rehearsed is None:
        return ""
    return rehearsed_table(run, chosen.rules.block_size, rehearsed.log, rehearsed.found)
