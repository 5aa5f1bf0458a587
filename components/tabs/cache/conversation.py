"""A conversation whose follow-ups reuse the keys and values of all earlier turns and images.

The latest result of *Send* is the conversation so far; each message extends it. All conversations
share one store, and each has its own salt.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from markupsafe import Markup

import playground
from components.parts.controls import Choice, TextField
from components.parts.part import Part
from components.prompt.checks import check_text
from components.tabs.cache.conversation_words import last_request_html, store_html, talk_html
from components.tabs.cache.scenes import (
    NO_IMAGE,
    RUN_IMAGES,
    choose_media,
    image_choices,
    without_pixels,
)
from components.views.facts import fact_html
from playground.errors import InputError
from playground.language import mark, say
from playground.prompt import Prompt, Turn
from playground.records import ModelInputs, Progress

if TYPE_CHECKING:
    from playground.engine import Engine
    from playground.kv_cache.prefix_lookup import Lookup
    from playground.kv_cache.prefix_store import PrefixStore
    from playground.pipeline import Run

MAX_TURNS = 12  # questions; the checkpoint has a context of a few thousand tokens
NEW_TOKENS = 48


@dataclass(frozen=True, slots=True, eq=False)
class Exchange:
    """One question, its answer, and what the request reused from the cache."""

    text: str
    image: str  # one of IMAGE_CHOICES
    answer: str
    answer_tokens: int
    lookup: Lookup = field(repr=False)
    hit_ms: float  # time to first token
    miss_ms: float  # time to first token without the cache
    max_abs_diff: float  # largest |Δ logit| of the first token, hit against miss


@dataclass(frozen=True, slots=True, eq=False)
class Talk:
    """A conversation so far."""

    salt: str = field(repr=False)  # part of each block hash
    exchanges: tuple[Exchange, ...] = ()
    inputs: ModelInputs | None = field(
        default=None, repr=False
    )  # the last request, without pixel values
    kept_tokens: int = 0  # tokens of the last request in the store afterwards


class SharedStore:
    """The store that all conversations share, created with the first message."""

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
    """Whether a first message can be about the run's own image or video."""
    return bool(run.prompt.images or run.prompt.videos)


TEXT = TextField(
    id="text",
    label=mark("Your message"),
    placeholder=mark("What color is it?"),
    value=lambda run: "Describe this image." if has_media(run) else "你好",
    then="send",
)
IMAGE = Choice(
    id="picture",
    label=mark("Image for this message"),
    options=lambda _run: image_choices(),
    value=lambda run: RUN_IMAGES if has_media(run) else NO_IMAGE,
    compact=True,
)
PART = Part(
    "conversation",
    mark("Conversation"),
    stage="cache",
    intro=mark(
        "Each follow-up sends the whole conversation again but computes only the new tokens: the "
        "keys and values of all earlier questions, answers and images are cached. You can add "
        "another image at any time."
    ),
    controls=(TEXT, IMAGE),
    layout=("messages", ("text", "picture"), ("send", "restart"), "last"),
)


@PART.experiment(
    mark("Send"),
    needs=("send", "text", "picture"),
    primary=True,
    afterwards={"text": "", "picture": NO_IMAGE},
)
def send(run: Run, progress: Progress, talk: Talk | None, text: str, image: str) -> Iterator[Talk]:
    """Answer one more message, reusing the conversation's keys and values.

    Raises:
        InputError: the message is empty, or the conversation is too long.
    """
    engine, store = run.engine, STORE.get(run.engine)
    talk = talk or Talk(secrets.token_hex(16))
    prompt = build_talk(run, talk, text, image)
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
        image=image,
        answer=prefill.answer_text(engine, ids),
        answer_tokens=len(ids),
        lookup=served.lookup,
        hit_ms=served.elapsed_ms,
        miss_ms=scratch_ms,
        max_abs_diff=float((served.logits.float() - scratch.float()).abs().max()),
    )
    exchanges = (*talk.exchanges, exchange)
    yield Talk(talk.salt, exchanges, without_pixels(inputs), served.kept.num_tokens)


def build_talk(run: Run, talk: Talk, text: object, image: object) -> Prompt:
    """Build the prompt of the whole conversation with one more message.

    Raises:
        InputError: the message is empty, or the conversation is too long.
    """
    typed = check_text(say("The message"), text)
    if len(talk.exchanges) >= MAX_TURNS:
        raise InputError(
            say("The conversation has {count} questions.", count=MAX_TURNS),
            limit=say("That is the limit."),
            remedy=say("Start a new conversation."),
        )
    turns: list[Turn] = []
    for exchange in talk.exchanges:
        images, video = choose_media(run, exchange.image)
        turns += [
            Turn("user", exchange.text, images, video),
            Turn("assistant", exchange.answer),
        ]
    images, video = choose_media(run, image)
    if not typed.strip() and not images and video is None:
        raise InputError(say("The message is empty."), remedy=say("Write some text."))
    turns.append(Turn("user", typed, images, video))
    return Prompt(tuple(turns), system=run.prompt.system, max_pixels=run.prompt.max_pixels)


@PART.html(needs=("send",))
def messages(run: Run, talk: Talk | None) -> str:
    """The conversation, with what each message reused from the cache."""
    if talk is None:
        return fact_html(
            say("No messages yet. Send one, then ask a follow-up question: “What color is it?”")
        )
    return talk_html(run, talk)


@PART.html(needs=("send",))
def restart(_run: Run, talk: Talk | None) -> str:
    """A button that clears the conversation."""
    if talk is None:
        return ""
    return Markup('<button type="button" class="pg-button" data-forget="send">{}</button>').format(
        say("New conversation")
    )


@PART.html(needs=("send",))
def last(_run: Run, talk: Talk | None) -> str:
    """The last request's tokens, and a note on the shared cache."""
    return "" if talk is None else last_request_html(talk) + store_html()
