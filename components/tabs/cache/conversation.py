"""A conversation whose follow-ups take over all that was said before, pictures included.

The conversation so far is what *Send* has found last; each message extends it. Its keys and values
are in a store that all conversations share, under a salt of its own.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from markupsafe import Markup

import playground
from components.controls import Choice, TextField
from components.part import Part
from components.prompt.checks import check_text
from components.tabs.cache.conversation_words import last_request_html, store_html, talk_html
from components.tabs.cache.scenes import (
    NO_PICTURE,
    RUN_PICTURES,
    choose_media,
    picture_choices,
    without_pixels,
)
from components.views.facts import fact_html
from playground.errors import InputError
from playground.language import mark, say
from playground.records import ModelInputs, Progress, Prompt, Turn

if TYPE_CHECKING:
    from playground.engine import Engine
    from playground.kv_cache.prefix_lookup import Lookup
    from playground.kv_cache.prefix_store import PrefixStore
    from playground.pipeline import Run

MAX_TURNS = 12  # questions; the checkpoint's context is a few thousand tokens
NEW_TOKENS = 48


@dataclass(frozen=True, slots=True, eq=False)
class Exchange:
    """One question, its answer, and what the cache served of the request."""

    text: str
    picture: str  # of PICTURE_CHOICES
    answer: str
    lookup: Lookup = field(repr=False)
    hit_ms: float  # to the first token
    miss_ms: float  # the same without the cache
    max_abs_diff: float  # of the first token's logits, hit against miss


@dataclass(frozen=True, slots=True, eq=False)
class Talk:
    """A conversation so far."""

    salt: str = field(repr=False)  # in the name of each of its blocks
    exchanges: tuple[Exchange, ...] = ()
    inputs: ModelInputs | None = field(default=None, repr=False)  # the last request, no pixels
    kept_tokens: int = 0  # of the last request, in the store afterwards


class SharedStore:
    """The one store that all conversations share, made with the first message."""

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


STORE = SharedStore()


def has_media(run: Run) -> bool:
    """Whether a first message can be about the run's own pictures."""
    return bool(run.prompt.pictures or run.prompt.clips)


TEXT = TextField(
    id="text",
    label=mark("Your message"),
    placeholder=mark("What color is it?"),
    value=lambda run: "Describe this image." if has_media(run) else "你好",
    then="send",
)
PICTURE = Choice(
    id="picture",
    label=mark("Picture of this message"),
    options=lambda _run: picture_choices(),
    value=lambda run: RUN_PICTURES if has_media(run) else NO_PICTURE,
    compact=True,
)
PART = Part(
    "conversation",
    mark("Conversation"),
    stage="cache",
    intro=mark(
        "Each follow-up sends the whole conversation again, and computes only what is new: the "
        "keys and values of every earlier question, answer and picture are still there. "
        "Another picture may come at any time."
    ),
    controls=(TEXT, PICTURE),
    layout=("messages", ("text", "picture"), ("send", "restart"), "last"),
)


@PART.experiment(
    mark("Send"),
    needs=("send", "text", "picture"),
    primary=True,
    afterwards={"text": "", "picture": NO_PICTURE},
)
def send(
    run: Run, progress: Progress, talk: Talk | None, text: str, picture: str
) -> Iterator[Talk]:
    """Answer one more message on top of the conversation's keys and values.

    Raises:
        InputError: the message is empty, or the conversation is too long.
    """
    engine, store = run.engine, STORE.get(run.engine)
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
    exchange = Exchange(
        text=text,
        picture=picture,
        answer=prefill.answer_text(engine, ids),
        lookup=served.lookup,
        hit_ms=served.elapsed_ms,
        miss_ms=scratch_ms,
        max_abs_diff=float((served.logits.float() - scratch.float()).abs().max()),
    )
    exchanges = (*talk.exchanges, exchange)
    yield Talk(talk.salt, exchanges, without_pixels(inputs), served.kept.num_tokens)


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


@PART.html(needs=("send",))
def messages(run: Run, talk: Talk | None) -> str:
    """The conversation, each message with what the cache served of it."""
    if talk is None:
        return fact_html(say("Nothing said yet. Send a message, then ask on: “What color is it?”"))
    return talk_html(run, talk)


@PART.html(needs=("send",))
def restart(_run: Run, talk: Talk | None) -> str:
    """A button that forgets the conversation."""
    if talk is None:
        return ""
    return Markup('<button type="button" class="pg-button" data-forget="send">{}</button>').format(
        say("New conversation")
    )


@PART.html(needs=("send",))
def last(_run: Run, talk: Talk | None) -> str:
    """The last request's tokens, and the store that they are kept in."""
    return "" if talk is None else last_request_html(talk) + store_html()
