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
from components.prompt.checks import check_text
from components.tabs.cache.scenes import (
    NO_PICTURE,
    RUN_PICTURES,
    choose_media,
    picture_choices,
    say_picture,
)
from components.tabs.cache.words import badge_html, end_words, token_labels, tolerance_words
from components.tabs.stage_tab import App, Section
from components.views.html_view import build_html_view
from components.views.pictures import picture_html, picture_row_html
from components.views.strips import sequence_strip_html
from components.views.tables import format_bytes
from playground.errors import InputError
from playground.language import say
from playground.records import ModelInputs, Progress, Prompt, Turn

if TYPE_CHECKING:
    from playground.engine import Engine
    from playground.kv_cache.prefix_store import PrefixStore, Served
    from playground.pipeline import Run

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
                rules = playground.kv_cache.block_hash.HashRules(1)
                self._store = playground.kv_cache.prefix_store.PrefixStore(engine, rules)
            return self._store


def build_conversation_section(app: App) -> Section:
    """Build the part inside the tab."""
    gr.Markdown(
        say(
            "Each follow-up sends the whole conversation again, and computes only what is new: the "
            "keys and values of every earlier question, answer and picture are still there. "
            "Another picture may come at any time."
        )
    )
    store = SharedStore()
    talk = gr.State(None, time_to_live=STATE_LIFE_S)
    page = build_html_view()
    with gr.Row():
        text = gr.Textbox(
            "Describe this image.",
            label=say("Your message"),
            placeholder=say("What color is it?"),
            scale=3,
            min_width=240,
        )
        picture = gr.Dropdown(
            picture_choices(),
            value=RUN_PICTURES,
            label=say("Picture of this message"),
            scale=1,
            min_width=190,
        )
    with gr.Row():
        send = gr.Button(say("Send"), variant="primary", scale=0, min_width=140)
        clear = gr.Button(say("New conversation"), scale=0, min_width=210)
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
    words = say("Nothing said yet. Send a message, then ask on: “What color is it?”")
    return (
        None,
        f'<p class="pg-fact">{words}</p>',
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
    inputs = playground.preprocess.stage.run_preprocess(engine, prompt)
    prefill = playground.kv_cache.partial_prefill
    identity = playground.kv_cache.block_hash.identify(inputs)
    progress(say("without the cache"), 0, 2)
    empty = playground.cache.empty_cache(engine)
    scratch, scratch_ms = playground.timing.time_ms(
        engine, lambda: prefill.prefill_on(engine, inputs, identity, empty, 0)[0]
    )
    progress(say("with the cache"), 1, 2)
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
        f'<h4 class="pg-column-name">{say("The last request")}</h4>'
        f"{sequence_strip_html(inputs, labels=labels)}{store_html(store)}",
        "",
        NO_PICTURE,
    )


def build_talk(run: Run, talk: Talk, text: object, picture: object) -> Prompt:
    """The whole conversation with one more message.

    Raises:
        InputError: the message is empty, or the conversation is too long.
    """
    typed = check_text(say("The message"), text)
    if len(talk.exchanges) >= MAX_TURNS:
        raise InputError(
            say("The conversation has {count} questions.", count=MAX_TURNS),
            limit=say("No more are kept."),
            remedy=say("Start a new conversation."),
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
        raise InputError(say("The message is empty."), remedy=say("Write a few words."))
    turns.append(Turn("user", typed, pictures, clip))
    return Prompt(tuple(turns), system=run.prompt.system, max_pixels=run.prompt.max_pixels)


# ---------------------------------------------------------------------------------- in words


def facts_html(
    engine: Engine, inputs: ModelInputs, served: Served, scratch_ms: float, difference: float
) -> str:
    """What the cache served of one request."""
    if served.reused_tokens:
        counts = say(
            "{reused:,} of {total:,} tokens reused ({saved:.0%}), {computed:,} computed; "
            "{hit_ms:,.1f} ms to the first token instead of {miss_ms:,.1f}; largest |Δ logit| "
            "{difference:.1g} ({tolerance}).",
            reused=served.reused_tokens,
            total=inputs.num_tokens,
            saved=1 - served.computed_tokens / inputs.num_tokens,
            computed=served.computed_tokens,
            hit_ms=served.elapsed_ms,
            miss_ms=scratch_ms,
            difference=difference,
            tolerance=tolerance_words(engine.dtype),
        )
    else:
        counts = say(
            "All {total:,} tokens are computed: {ms:,.1f} ms.",
            total=inputs.num_tokens,
            ms=served.elapsed_ms,
        )
    words = f"{counts} {end_words(engine, served.lookup, 1)}"
    return badge_html(served.reused_tokens > 0, html.escape(words))


def talk_html(run: Run, talk: Talk) -> str:
    """The conversation, each message with what the cache served of it."""
    user, assistant, empty = say("user"), say("assistant"), say("(empty)")
    return "".join(
        f'<section class="pg-message pg-role-user"><p class="pg-role">{user}</p>'
        f"{_pictures_html(run, each)}"
        f'<div class="pg-message-text" translate="no">{html.escape(each.text)}</div>'
        f"{each.facts}</section>"
        f'<section class="pg-message pg-role-assistant"><p class="pg-role">{assistant}</p>'
        f'<div class="pg-message-text" translate="no">{html.escape(each.answer) or empty}</div>'
        "</section>"
        for each in talk.exchanges
    )


def _pictures_html(run: Run, exchange: Exchange) -> str:
    pictures, clip = choose_media(run, exchange.picture)
    shown: Sequence[Any] = [*pictures, *([clip] if clip else [])]
    return picture_row_html(
        [
            picture_html(
                each.pixels if hasattr(each, "pixels") else each.frames[0],
                alt=say_picture(each.name),
                caption=say_picture(each.name),
                max_side=2 * THUMBNAIL,
                shown_width=THUMBNAIL,
            )
            for each in shown
        ]
    )


def store_html(store: PrefixStore) -> str:
    """The shared store in one sentence; bytes only, since other sessions' are in it too."""
    words = say(
        "All sessions share one store of at most {size}; the least recently used goes first. Every "
        "session has a secret of its own in each block’s name, so nobody hits what another one "
        "said.",
        size=format_bytes(store.blocks.stats.max_bytes),
    )
    return f'<p class="pg-fact">{words}</p>'
