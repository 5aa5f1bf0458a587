"""The policy lab: what is hashed, how large blocks are, and who goes when the store is full."""

from __future__ import annotations

import html
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import gradio as gr

import playground
from components.charts.cache_policy import plot_policies, plot_tree
from components.html_view import build_html_view
from components.pictures import picture_html, picture_row_html
from components.plotly_view import PlotlyView
from components.prompt_reader import check_number, check_whole, prompt_fingerprint
from components.stage_tab import App, Section
from components.strips import visible
from components.tables import Cell, format_bytes, table_html
from components.tabs.cache.logs import PRESETS, read_log, read_log_names
from components.tabs.cache.scenes import RUN_PICTURES
from components.tabs.cache.words import end_words
from playground.errors import InputError
from playground.records import ModelInputs, Progress

if TYPE_CHECKING:
    from playground.block_hash import HashRules
    from playground.cache_log import LoggedRequest, Replayed
    from playground.cache_tree import Segment
    from playground.pipeline import Run
    from playground.prefix_lookup import Lookup

BLOCK_SIZE, BUDGET_SHARE = 8, 50
NEW_TOKENS = 24
BUDGETS = 8  # points of the policy chart
THUMBNAIL = 110
POLICIES = [
    ("LRU: least recently used goes", "lru"),
    ("FIFO: oldest goes", "fifo"),
    ("LFU: least often used goes", "lfu"),
]


@dataclass(frozen=True, slots=True)
class LabSettings:
    """The lab's controls, checked."""

    log: str
    rules: HashRules
    policy: Any
    share: float  # of the budget that would keep everything, in percent


def build_policy_section(app: App) -> Section:
    """Build the part inside the tab."""
    gr.Markdown(
        "A log of requests goes through one store. Every move of a control replays it **by name "
        "and size** at once; *Replay with the model* serves it for real, and checks each answer "
        "against the one without a store."
    )
    with gr.Row():
        buttons = [
            gr.Button(each.name, size="sm", scale=0, min_width=180, elem_classes="pg-example")
            for each in PRESETS
        ]
    log = gr.Textbox(
        PRESETS[0].log,
        label="The log: session | picture | question",
        info="Pictures: no picture, this run's, circle and square, four shapes, red or orange, "
        "star, heart, number 42.",
        lines=4,
        max_lines=8,
    )
    with gr.Row():
        block_size = gr.Slider(
            1, 64, BLOCK_SIZE, step=1, label="Block size (tokens)", min_width=170
        )
        share = gr.Slider(
            0,
            100,
            BUDGET_SHARE,
            step=5,
            label="Budget (% of what the log would fill)",
            min_width=170,
        )
        policy = gr.Dropdown(POLICIES, value="lru", label="When it is full", min_width=170)
    with gr.Row():
        with gr.Column(min_width=220):
            pictures = gr.Checkbox(
                True,
                label="Hash the pictures too",
                info="Off: token ids only, as if a placeholder said what the picture shows.",
            )
        with gr.Column(min_width=220):
            salt = gr.Checkbox(
                True,
                label="Salt per session",
                info="Off: session B hits what session A has left.",
            )
    start = gr.Button("Replay with the model", variant="primary", scale=0, min_width=200)
    verdict, lesson = build_html_view(), build_html_view()
    tree = PlotlyView(label="The store as a tree")
    chosen = gr.Slider(0, 30, 0, step=1, label="Outline a request in the tree", info="0: none.")
    policies = PlotlyView(label="Policies compared")
    with gr.Accordion("Every request", open=True):
        table = build_html_view()

    settings = [log, block_size, share, policy, pictures, salt]
    live = [verdict, lesson, tree, chosen, policies, table]
    for control in (block_size, share, policy, pictures, salt):
        app.on_view(control.input, rehearse_lab, settings, live)
    app.on_view(log.blur, rehearse_lab, settings, live)
    app.on_view(chosen.input, outline_request, [*settings, chosen], [tree])
    app.on_model(start.click, stream_replay, settings, live)
    for button, preset in zip(buttons, PRESETS, strict=True):
        filled = button.click(
            lambda preset=preset: (preset.log, preset.share, preset.pictures, preset.salt),
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
    return Section(tuple(settings), tuple(live), rehearse_lab)


def read_settings(
    log: Any, block_size: Any, share: Any, policy: Any, pictures: Any, salt: Any
) -> LabSettings:
    """The controls' values, checked.

    Raises:
        InputError: a value is none that the controls offer.
    """
    if policy not in [value for _, value in POLICIES]:
        raise InputError("When it is full: choose one of those offered.")
    size = check_whole("The block size", block_size, low=1, high=64)
    rules = playground.block_hash.HashRules(
        size, with_pictures=bool(pictures), with_salt=bool(salt)
    )
    return LabSettings(
        str(log or ""), rules, policy, check_number("The budget", share, low=0, high=100)
    )


# ----------------------------------------------------------------------------- by name and size


def rehearse_lab(run: Run, *values: Any) -> tuple[Any, ...]:
    """Everything but answers and times, without the model."""
    settings = read_settings(*values)
    log = _names(run, settings)
    store = _new_store(run, settings, log)
    found = playground.cache_log.rehearse(store, log)
    rows = _rehearsed_rows(run, settings, log, found)
    return (
        verdict_html(log, [lookup.reused_tokens for lookup in found], store),
        "",
        draw_tree(run, store, log),
        gr.update(maximum=len(log), value=0),
        _policy_chart(run, settings, log, store.blocks.max_bytes),
        table_html(("Request", "Session", "Asked", "Tokens", "Reused", "Why it ends there"), rows),
    )


def _names(run: Run, settings: LabSettings) -> tuple[LoggedRequest, ...]:
    # A log may name the run's pictures; hashing them for every other log would be a waste.
    names_run = RUN_PICTURES in settings.log
    key = prompt_fingerprint(run.prompt if names_run else replace(run.prompt, turns=()))
    return read_log_names(run, key, settings.log)


def _new_store(run: Run, settings: LabSettings, log: Sequence[LoggedRequest]) -> Any:
    full = playground.cache_log.log_bytes(run.engine, log, settings.rules)
    return playground.prefix_store.PrefixStore(
        run.engine,
        settings.rules,
        max_bytes=int(full * settings.share / 100),
        policy=settings.policy,
    )


def _policy_chart(
    run: Run, settings: LabSettings, log: Sequence[LoggedRequest], budget: int
) -> Any:
    full = playground.cache_log.log_bytes(run.engine, log, settings.rules)
    budgets = sorted({budget, *(full * step // (BUDGETS - 1) for step in range(BUDGETS))})
    compared = playground.cache_log.compare_policies(run.engine, log, settings.rules, budgets)
    return plot_policies(compared, budget, settings.policy)


def outline_request(run: Run, *values: Any) -> Any:
    """The tree with one request's branch outlined."""
    *others, chosen = values
    settings = read_settings(*others)
    log = _names(run, settings)
    number = check_whole("The request", chosen, low=0, high=len(log))
    store = _new_store(run, settings, log)
    playground.cache_log.rehearse(store, log)
    return draw_tree(run, store, log, number)


def draw_tree(run: Run, store: Any, log: Sequence[LoggedRequest], number: int = 0) -> Any:
    """The store's tree; with a number, that request's own blocks are outlined."""
    segments = playground.cache_tree.build_tree(store.blocks)
    names = {
        picture.digest: name
        for request in log
        for picture, name in zip(
            request.identity.pictures, _picture_names(request.inputs), strict=True
        )
    }
    before = [() if each.parent is None else segments[each.parent].ids for each in segments]
    texts = [
        segment_text(run, segment, names, above)
        for segment, above in zip(segments, before, strict=True)
    ]
    marked: frozenset[str] = frozenset()
    if number:
        request = log[number - 1]
        marked = frozenset(store.lookup(request.identity, request.session).keys)
    return plot_tree(segments, texts, marked)


def _picture_names(inputs: ModelInputs) -> list[str]:
    return [
        next(
            facts.name
            for facts in [f for f in inputs.media if f.kind == span.kind][span.media_index :]
        )
        for span in inputs.spans
    ]


def segment_text(
    run: Run, segment: Segment, names: dict[str, str], above: tuple[int, ...] = ()
) -> str:
    """What a segment stands for: its text, its pictures by name, other special tokens as a mark.

    Args:
        run: gives the tokenizer.
        segment: of the tree.
        names: of pictures, by digest.
        above: token ids of the segment before it; a picture that began there has its name there.
    """
    facts, special = run.engine.facts, set(run.engine.tokenizer.get_added_vocab().values())
    pads = {facts.image_token_id, facts.video_token_id}
    parts, digests = [], list(segment.digests)
    previous = above[-1] if above else -1
    for token_id in segment.ids:
        if token_id in pads and previous not in pads:
            parts.append(f"▦ {names.get(digests.pop(0), '')} " if digests else "▦ ")
        elif token_id in pads and not parts:
            parts.append("▦… ")
            digests = digests[1:]
        elif token_id not in pads:
            text = playground.tokens.token_text(run.engine.tokenizer, token_id)
            parts.append("◆" if token_id in special else visible(text).replace("␣", " "))
        previous = token_id
    return "".join(parts)


def verdict_html(log: Sequence[LoggedRequest], reused: Sequence[int], store: Any) -> str:
    """Hit rate, tokens saved and bytes, in one sentence."""
    total = sum(request.inputs.num_tokens for request in log)
    hits, stats = sum(count > 0 for count in reused), store.blocks.stats
    return (
        f'<p class="pg-fact"><strong>{hits} of {len(log)} requests hit</strong> and take over '
        f"{sum(reused):,} of {total:,} tokens ({sum(reused) / total:.0%}). The store holds "
        f"{format_bytes(stats.num_bytes)} of at most {format_bytes(stats.max_bytes)}: "
        f"{stats.num_blocks:,} blocks and the features of {stats.num_pictures} pictures; "
        f"{stats.num_evicted:,} entries were evicted.</p>"
    )


def _asked(request: LoggedRequest) -> str:
    names = ", ".join(dict.fromkeys(_picture_names(request.inputs)))
    text = request.inputs.prompt.turns[-1].text
    return f"▦ {names}: {text}" if names else text


def _rehearsed_rows(
    run: Run, settings: LabSettings, log: Sequence[LoggedRequest], found: Sequence[Lookup]
) -> list[list[Cell]]:
    return [
        [
            str(number),
            request.session,
            _asked(request),
            request.inputs.num_tokens,
            lookup.reused_tokens,
            end_words(run.engine, lookup, settings.rules.block_size),
        ]
        for number, (request, lookup) in enumerate(zip(log, found, strict=True), 1)
    ]


# ----------------------------------------------------------------------------- with the model


def stream_replay(run: Run, progress: Progress, *values: Any) -> Iterator[tuple[Any, ...]]:
    """Serve the log for real; the table grows with the requests, the tree comes at the end."""
    settings = read_settings(*values)
    log = read_log(run, settings.log)
    store = _new_store(run, settings, log)
    rows: list[Replayed] = []
    # A secret of this replay: what it leaves cannot be hit from anywhere else.
    for row in playground.cache_log.replay_log(
        store,
        log,
        secret=secrets.token_hex(16),
        max_new_tokens=NEW_TOKENS,
        progress=progress,
    ):
        rows.append(row)
        if len(rows) % 5 == 0 and len(rows) < len(log):
            skipped = (gr.skip(),) * 4
            yield gr.skip(), lesson_html(rows), *skipped[:3], replay_table(run, settings, rows)
    yield (
        verdict_html(log, [row.lookup.reused_tokens for row in rows], store),
        lesson_html(rows),
        draw_tree(run, store, log),
        gr.update(maximum=len(log), value=0),
        _policy_chart(run, settings, log, store.blocks.max_bytes),
        replay_table(run, settings, rows),
    )


def replay_table(run: Run, settings: LabSettings, rows: Sequence[Replayed]) -> str:
    """Every request that was served: what it took over, how long it took, what it answered."""
    cells: list[list[Cell]] = [
        [
            str(row.number),
            row.request.session,
            _asked(row.request),
            f"{row.lookup.reused_tokens:,} of {row.request.inputs.num_tokens:,}",
            f"{row.elapsed_ms:,.1f} ms",
            f"{row.scratch_ms:,.1f} ms",
            f"{row.max_abs_diff:.2g}",
            row.answer if row.is_right else f"✗ {row.answer} (right: {row.right_answer})",
            str(len(row.kept.evicted)),
            end_words(run.engine, row.lookup, settings.rules.block_size),
        ]
        for row in rows
    ]
    headers = (
        "Request",
        "Session",
        "Asked",
        "Reused",
        "First token",
        "without store",
        "|Δ logit|",
        "Answer",
        "Evicted",
        "Why it ends there",
    )
    return table_html(headers, cells, "The log, served by the model", right=(3, 4, 5, 6, 8))


def lesson_html(rows: Sequence[Replayed]) -> str:
    """What went wrong, if anything: a wrong picture's answer, another session's prefix."""
    wrong = [row for row in rows if not row.is_right]
    parts = [_wrong_html(rows, wrong)] if wrong else []
    seen = [row for row in rows if _leaked_from(row, rows)]
    if seen:
        parts.append(_leak_html(seen[0], rows))
    if not parts:
        worst = max(row.max_abs_diff for row in rows)
        parts.append(
            '<p class="pg-verdict"><span class="pg-badge pg-badge-hit">All right</span><span>'
            f"Every answer of {len(rows)} is the one without a store; the largest |Δ logit| is "
            f"{worst:.1g}.</span></p>"
        )
    return "".join(parts)


def _wrong_html(rows: Sequence[Replayed], wrong: Sequence[Replayed]) -> str:
    """The first wrong answer with both pictures: the one asked about, and the one answered from."""
    row = wrong[0]
    digests = {picture.digest for picture in row.request.identity.pictures}
    source = next(
        (
            earlier
            for earlier in reversed(rows[: row.number - 1])
            if earlier.is_right
            and earlier.request.identity.pictures
            and not digests & {each.digest for each in earlier.request.identity.pictures}
            and earlier.request.identity.ids[: row.lookup.reused_tokens]
            == row.request.identity.ids[: row.lookup.reused_tokens]
        ),
        None,
    )
    figures = [_picture(row, "Asked about")] + (
        [_picture(source, "Answered from")] if source else []
    )
    words = (
        f"Request {row.number} hit on equal token ids. It was answered “{row.answer}” where "
        f"“{row.right_answer}” is right; its logits are off by {row.max_abs_diff:.2g}. "
        f"{len(wrong)} of {len(rows)} requests went wrong without a word of warning."
    )
    return (
        '<p class="pg-verdict"><span class="pg-badge pg-badge-miss">Wrong picture</span>'
        f"<span>{html.escape(words)}</span></p>{picture_row_html(figures)}"
    )


def _picture(row: Replayed, caption: str) -> str:
    inputs = row.request.inputs
    name = _picture_names(inputs)[0]
    return picture_html(
        playground.preprocess.unpatchify(inputs, inputs.spans[0])[0],
        alt=f"{caption}: {name}",
        caption=f"{caption}: {name}",
        shown_width=THUMBNAIL,
        max_side=2 * THUMBNAIL,
    )


def _leaked_from(row: Replayed, rows: Sequence[Replayed]) -> str:
    """The other session that left what this request took over beyond the common template."""
    if row.lookup.reused_tokens < row.request.inputs.num_tokens // 2:
        return ""
    reused = row.lookup.reused_tokens
    prefix = row.request.identity.ids[:reused]
    before = [
        each for each in rows[: row.number - 1] if each.request.identity.ids[:reused] == prefix
    ]
    sessions = {each.request.session for each in before}
    if not before or row.request.session in sessions:
        return ""
    return before[0].request.session


def _leak_html(row: Replayed, rows: Sequence[Replayed]) -> str:
    other = _leaked_from(row, rows)
    total, reused = row.request.inputs.num_tokens, row.lookup.reused_tokens
    words = (
        f"Request {row.number} of session {row.request.session} took over {reused:,} of "
        f"{total:,} tokens that only session {other} had sent: {row.elapsed_ms:,.1f} ms instead "
        f"of {row.scratch_ms:,.1f}. The answer is right, but its speed tells "
        f"{row.request.session} that somebody has asked exactly this. A salt per session ends it."
    )
    return (
        '<p class="pg-verdict"><span class="pg-badge pg-badge-miss">A stranger’s prefix</span>'
        f"<span>{html.escape(words)}</span></p>"
    )
