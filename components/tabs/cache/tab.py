"""Stage 6 on the page: two requests, and what the first one's cache saves the second."""

from __future__ import annotations

import html
from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING, Any

import gradio as gr

import playground
from components.charts.cache import plot_times
from components.html_view import build_html_view
from components.plotly_view import PlotlyView
from components.prompt_reader import check_text
from components.snippets import write_snippet
from components.stage_tab import App, StageTab, build_code_panel, build_stage_header
from components.strips import sequence_strip_html, visible
from components.tables import Cell, format_bytes, table_html
from playground.errors import InputError
from playground.records import CacheReuse, Progress, Prompt, Turn

if TYPE_CHECKING:
    from playground.pipeline import Run

REPEATS = 5
MOST_REPEATS = 20

# First text, second text, whether the run's pictures go with both.
EXAMPLES = {
    "“你好” → “你好世界。”": ("你好", "你好世界。", False),
    "Same image, other question": ("Describe this image.", "How many shapes are there?", True),
}


def build_cache_tab(app: App) -> StageTab:
    """Build the tab."""
    run_button = build_stage_header(
        "Cache reuse",
        "The first request leaves its keys and values behind. The second one takes over those of "
        "the shared beginning and computes only the rest, with the same logits in the end.",
    )
    with gr.Row():
        gr.Markdown("Examples:", elem_classes="pg-inline")
        buttons = [gr.Button(label, size="sm", scale=0, min_width=230) for label in EXAMPLES]
    first_start, second_start, image_start = next(iter(EXAMPLES.values()))
    with gr.Row():
        first = gr.Textbox(value=first_start, label="First request", lines=2, min_width=260)
        second = gr.Textbox(value=second_start, label="Second request", lines=2, min_width=260)
    with_media = gr.Checkbox(
        value=image_start,
        label="Put this run's pictures before both",
        info="The same image, another question.",
    )
    repeats = gr.Slider(
        1,
        MOST_REPEATS,
        value=REPEATS,
        step=1,
        label="Timed runs of each way",
        info="With the cache and without take turns.",
    )
    verdict = build_html_view()
    first_strip = build_html_view()
    second_strip = build_html_view()
    with gr.Row():
        table = build_html_view(wide=True)
        times = PlotlyView(label="Times")
    code = build_code_panel()
    for button, values in zip(buttons, EXAMPLES.values(), strict=True):
        _fill_on_click(button, values, [first, second, with_media])
    return StageTab(
        "cache",
        run_button,
        (first, second, with_media, repeats),
        (verdict, first_strip, second_strip, table, times, code),
        stream_tab,
    )


def _fill_on_click(button: gr.Button, values: tuple[Any, ...], outputs: list[Any]) -> None:
    button.click(
        lambda: values,
        None,
        outputs,
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )


# ----------------------------------------------------------------------------------- handlers


def stream_tab(
    run: Run,
    progress: Progress,
    first_text: str,
    second_text: str,
    with_media: bool,
    repeats: float,
) -> Iterator[tuple[Any, ...]]:
    """Serve both requests and show what the second one reused."""
    engine = run.engine
    first, second = (
        playground.preprocess.run_preprocess(engine, build_request(run, name, text, with_media))
        for name, text in (("first", first_text), ("second", second_text))
    )
    reuse = playground.kv_cache.run_cache_reuse(
        engine, first, second, repeats=_whole(repeats), progress=progress
    )
    labels = ["reused" if i < reuse.reused_tokens else "stored" for i in range(first.num_tokens)]
    yield (
        verdict_html(reuse, missing_media=with_media and not _has_media(run)),
        f'<h4 class="pg-column-name">First request</h4>{sequence_strip_html(first, labels=labels)}',
        '<h4 class="pg-column-name">Second request</h4>'
        + sequence_strip_html(second, labels=second_labels(reuse)),
        reuse_table(reuse, same_token=_same_token(reuse)),
        plot_times(reuse),
        write_snippet("cache", run, reuse=reuse),
    )


def build_request(run: Run, name: str, text: str, with_media: bool) -> Prompt:
    """One user message with the run's system prompt and, if wanted, its pictures.

    Raises:
        InputError: the text is none, or there is nothing in the request.
    """
    text = check_text(f"The {name} request", text)
    media = with_media and _has_media(run)
    if not text.strip() and not media:
        raise InputError(f"The {name} request is empty.", remedy="Write a few words.")
    prompt = run.prompt
    turn = Turn(
        "user",
        text,
        pictures=prompt.pictures if media else (),
        clip=prompt.clips[0] if media and prompt.clips else None,
    )
    return Prompt((turn,), system=prompt.system, max_pixels=prompt.max_pixels)


def _has_media(run: Run) -> bool:
    return bool(run.prompt.pictures or run.prompt.clips)


def _whole(value: float) -> int:
    """The slider's number; it can be made to send anything.

    Raises:
        InputError: no whole number.
    """
    if not isinstance(value, int | float) or value != value or value != int(value):
        raise InputError(f"The number of timed runs is {value}.", remedy="Type a whole number.")
    return int(value)


def second_labels(reuse: CacheReuse) -> list[str]:
    """What the cache did with each token of the second request."""
    return ["reused"] * reuse.reused_tokens + ["computed"] * reuse.computed_tokens


# ---------------------------------------------------------------------------------- in words


def verdict_html(reuse: CacheReuse, *, missing_media: bool = False) -> str:
    """Hit or miss, how much of it, and why the shared beginning ends where it ends."""
    name = "hit" if reuse.hit else "miss"
    total = reuse.second.num_tokens
    words = (
        f"{reuse.reused_tokens:,} of {total:,} tokens are taken from the cache, "
        f"{reuse.computed_tokens:,} are computed."
        if reuse.hit
        else f"All {total:,} tokens are computed."
    )
    note = " This run has no picture, so both requests are text only." if missing_media else ""
    return (
        f'<p class="pg-verdict"><span class="pg-badge pg-badge-{name}">{name.capitalize()}</span>'
        f"<span>{words} Both begin with the same {reuse.shared_tokens:,} tokens. "
        f"{html.escape(reuse.reason)}{note}</span></p>"
    )


def _same_token(reuse: CacheReuse) -> bool:
    return bool(reuse.hit_logits.argmax() == reuse.miss_logits.argmax())


def reuse_table(reuse: CacheReuse, *, same_token: bool) -> str:
    """Hit and miss in numbers."""
    miss, hit = median(reuse.miss_ms), median(reuse.hit_ms)
    total = reuse.second.num_tokens
    token = f"“{visible(reuse.next_token.text)}” ({reuse.next_token.prob:.1%})"
    rows: list[list[Cell]] = [
        ["Tokens reused", "0", f"{reuse.reused_tokens:,}"],
        ["Tokens computed", f"{total:,}", f"{reuse.computed_tokens:,}"],
        ["Median time", f"{miss:,.2f} ms", f"{hit:,.2f} ms"],
        ["Speed-up", "1", f"{miss / hit:.2f} ×"],
        ["Speed-up by tokens alone", "1", f"{total / reuse.computed_tokens:.2f} ×"],
        ["Keys and values reused", "–", format_bytes(reuse.kv_bytes)],
        ["Largest |Δ logit|", "–", f"{reuse.max_abs_diff:.2g}"],
        ["Likeliest next token", token if same_token else "another one", token],
    ]
    return table_html(
        ("Second request", "Without the cache", "With it"), rows, "Hit against miss", right=(1, 2)
    )
