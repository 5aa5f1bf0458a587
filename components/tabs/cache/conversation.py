"""A conversation whose follow-ups take over all that was said before, pictures included."""

from __future__ import annotations

import html
import secrets
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

import playground
from components.html_view import build_html_view
from components.pictures import picture_html, picture_row_html
from components.prompt_reader import check_text
from components.stage_tab import App, Section
from components.strips import sequence_strip_html
from components.tables import format_bytes
from components.tabs.cache.scenes import NO_PICTURE, PICTURE_CHOICES, RUN_PICTURES, choose_media
from components.tabs.cache.words import end_words, token_labels, tolerance_words
from playground.errors import InputError
from playground.records import ModelInputs, Progress, Prompt, Turn

if TYPE_CHECKING:
    from playground.engine import Engine
    from playground.pipeline import Run
    from playground.prefix_store import PrefixStore, Served

STATE_LIFE_S = 3600
MAX_TURNS = 12  # questions; the checkpoint's context is a few thousand tokens
NEW_TOKENS = 48
THUMBNAIL = 96


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question and its answer."""

    text: str
    picture: str  # of PICTURE_CHOICES
    answer: str
    facts: str  # HTML: what the cache served


@dataclass(frozen=True, slots=True)
class Talk:
    """A session's conversation. The keys and values are in the store, under the salt."""

    salt: str
    exchanges: tuple[Exchange, ...] = ()


class SharedStore:
    """The one store that all sessions' conversations share, made with the first request."""

    def __init__(self) -> None:
        self._store: PrefixStore | None = None
        self._lock = threading.Lock()

    def get(self, engine: Engine) -> PrefixStore:
        """The store of this engine."""
        with self._lock:
            if self._store is None or self._store.engine is not engine:
                rules = playground.block_hash.HashRules(1)
                self._store = playground.prefix_store.PrefixStore(engine, rules)
            return self._store


def build_conversation_section(app: App) -> Section:
    """Build the part inside the tab."""
    gr.Markdown(
        "Each follow-up sends the whole conversation again, and computes only what is new: the "
        "keys and values of every earlier question, answer and picture are still there. Another "
        "picture may come at any time."
    )
    store = SharedStore()
    talk = gr.State(None, time_to_live=STATE_LIFE_S)
    page = build_html_view()
    with gr.Row():
        text = gr.Textbox(
            "Describe this image.",
            label="Your message",
            placeholder="What color is it?",
            scale=3,
            min_width=240,
        )
        picture = gr.Dropdown(
            PICTURE_CHOICES,
            value=RUN_PICTURES,
            label="Picture of this message",
            scale=1,
            min_width=190,
        )
    with gr.Row():
        send = gr.Button("Send", variant="primary", scale=0, min_width=140)
        clear = gr.Button("New conversation", scale=0, min_width=210)
    strip = build_html_view()

    def stream(run: Run, progress: Progress, *values: Any) -> Iterator[tuple[Any, ...]]:
        yield from stream_message(run, progress, store.get(run.engine), *values)

    outputs = [talk, page, strip, text, picture]
    for trigger in (send.click, text.submit):
        app.on_model(trigger, stream, [talk, text, picture], outputs)
    app.on_view(clear.click, draw_conversation, [], outputs)
    return Section((), tuple(outputs), draw_conversation)


def draw_conversation(run: Run) -> tuple[Any, ...]:
    """A new conversation: another run's pictures would be other ones."""
    has_media = bool(run.prompt.pictures or run.prompt.clips)
    return (
        None,
        '<p class="pg-fact">Nothing said yet. Send a message, then ask on: “What color is it?”</p>',
        "",
        "Describe this image." if has_media else "你好",
        RUN_PICTURES if has_media else NO_PICTURE,
    )


def stream_message(
    run: Run,
    progress: Progress,
    store: PrefixStore,
    talk: Talk | None,
    text: str,
    picture: str,
) -> Iterator[tuple[Any, ...]]:
    """Answer one more message on top of the conversation's keys and values."""
    engine = run.engine
    talk = talk or Talk(secrets.token_hex(16))
    prompt = build_talk(run, talk, text, picture)
    inputs = playground.preprocess.run_preprocess(engine, prompt)
    prefill = playground.partial_prefill
    identity = playground.block_hash.identify(inputs)
    progress("without the cache", 0, 2)
    empty = playground.kv_cache.empty_cache(engine)
    scratch, scratch_ms = playground.timing.time_ms(
        engine, lambda: prefill.prefill_on(engine, inputs, identity, empty, 0)[0]
    )
    progress("with the cache", 1, 2)
    served = store.serve(inputs, salt=talk.salt, identity=identity)
    ids = prefill.answer_greedily(
        engine, inputs, served.logits, served.cache, NEW_TOKENS, progress=progress
    )
    store.keep(identity.extend(ids), served.cache, salt=talk.salt)
    difference = float((served.logits.float() - scratch.float()).abs().max())
    exchange = Exchange(
        text=text,
        picture=picture,
        answer=prefill.answer_text(engine, ids),
        facts=facts_html(engine, inputs, served, scratch_ms, difference),
    )
    talk = Talk(talk.salt, (*talk.exchanges, exchange))
    labels = token_labels(inputs.num_tokens, served.reused_tokens, served.kept.num_tokens)
    yield (
        talk,
        talk_html(run, talk),
        f'<h4 class="pg-column-name">The last request</h4>'
        f"{sequence_strip_html(inputs, labels=labels)}{store_html(store)}",
        "",
        NO_PICTURE,
    )


def build_talk(run: Run, talk: Talk, text: object, picture: object) -> Prompt:
    """The whole conversation with one more message.

    Raises:
        InputError: the message is empty, or the conversation is too long.
    """
    typed = check_text("The message", text)
    if len(talk.exchanges) >= MAX_TURNS:
        raise InputError(
            f"The conversation has {MAX_TURNS} questions.",
            limit="No more are kept.",
            remedy="Start a new conversation.",
        )
    turns: list[Turn] = []
    for exchange in talk.exchanges:
        pictures, clip = choose_media(run, exchange.picture)
        turns += [
            Turn("user", exchange.text, pictures, clip),
            Turn("assistant", exchange.answer),
        ]
    pictures, clip = choose_media(run, picture)
    if not typed.strip() and not pictures and clip is None:
        raise InputError("The message is empty.", remedy="Write a few words.")
    turns.append(Turn("user", typed, pictures, clip))
    return Prompt(tuple(turns), system=run.prompt.system, max_pixels=run.prompt.max_pixels)


# ---------------------------------------------------------------------------------- in words


def facts_html(
    engine: Engine, inputs: ModelInputs, served: Served, scratch_ms: float, difference: float
) -> str:
    """What the cache served of one request."""
    name = "hit" if served.reused_tokens else "miss"
    saved = 1 - served.computed_tokens / inputs.num_tokens
    counts = (
        f"{served.reused_tokens:,} of {inputs.num_tokens:,} tokens reused ({saved:.0%}), "
        f"{served.computed_tokens:,} computed; {served.elapsed_ms:,.1f} ms to the first token "
        f"instead of {scratch_ms:,.1f}; largest |Δ logit| {difference:.1g} "
        f"({tolerance_words(engine.dtype)}). "
        if served.reused_tokens
        else f"All {inputs.num_tokens:,} tokens are computed: {served.elapsed_ms:,.1f} ms. "
    )
    words = counts + end_words(engine, served.lookup, 1)
    return (
        f'<p class="pg-verdict"><span class="pg-badge pg-badge-{name}">{name.capitalize()}</span>'
        f"<span>{html.escape(words)}</span></p>"
    )


def talk_html(run: Run, talk: Talk) -> str:
    """The conversation, each message with what the cache served of it."""
    return "".join(
        f'<section class="pg-message pg-role-user"><p class="pg-role">user</p>'
        f"{_pictures_html(run, each)}"
        f'<div class="pg-message-text">{html.escape(each.text)}</div>{each.facts}</section>'
        f'<section class="pg-message pg-role-assistant"><p class="pg-role">assistant</p>'
        f'<div class="pg-message-text">{html.escape(each.answer) or "(empty)"}</div></section>'
        for each in talk.exchanges
    )


def _pictures_html(run: Run, exchange: Exchange) -> str:
    pictures, clip = choose_media(run, exchange.picture)
    shown: Sequence[Any] = [*pictures, *([clip] if clip else [])]
    return picture_row_html(
        [
            picture_html(
                each.pixels if hasattr(each, "pixels") else each.frames[0],
                alt=each.name,
                caption=each.name,
                max_side=2 * THUMBNAIL,
                shown_width=THUMBNAIL,
            )
            for each in shown
        ]
    )


def store_html(store: PrefixStore) -> str:
    """The shared store in one sentence; bytes only, since other sessions' are in it too."""
    stats = store.blocks.stats
    return (
        f'<p class="pg-fact">All sessions share one store of at most '
        f"{format_bytes(stats.max_bytes)}; the least recently used goes first. Every session has "
        "a secret of its own in each block’s name, so nobody hits what another one said.</p>"
    )
