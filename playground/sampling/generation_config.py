"""The checkpoint's generation config: end tokens, default settings, and vision tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from playground.engine import Engine
from playground.errors import InputError
from playground.language import say
from playground.sampling.settings import LIMITS, check_settings
from playground.sampling.trace import SamplingSettings
from playground.tokens import token_text

LEAST_TEMPERATURE = LIMITS["temperature"].above or 0.0  # the least one that is not greedy
MAX_QUOTE = 40  # characters of a value in a note


def end_token_ids(engine: Engine) -> frozenset[int]:
    """The ids that end an answer: ``generation_config.eos_token_id``, one or several."""
    config: Any = engine.model.generation_config
    ids = config.eos_token_id
    return frozenset([ids] if isinstance(ids, int) else ids or ())


@dataclass(frozen=True, slots=True)
class OwnSettings:
    """The sampling settings of the checkpoint's own ``generation_config.json``."""

    settings: SamplingSettings
    notes: tuple[str, ...]  # values of the file that were read in another way, or not at all


def own_settings(engine: Engine) -> SamplingSettings:
    """The settings of the checkpoint's ``generation_config``; greedy if ``do_sample`` is off."""
    return read_own_settings(engine).settings


def read_own_settings(engine: Engine) -> OwnSettings:
    """The same, with a note for each value that is out of range or not a number.

    transformers loads any value and fails only when it generates. Text is read as the number that
    it holds, -1 turns ``top_k`` off as in vLLM, and a tiny temperature is greedy in effect.
    """
    config: Any = engine.model.generation_config
    is_sampled = config.do_sample is True or str(config.do_sample).lower() == "true"
    cuts = ("top_k", "top_p", "min_p", "typical_p")
    names = ("temperature", *cuts, "repetition_penalty", "no_repeat_ngram_size")
    given = {name: getattr(config, name, None) for name in names}
    # transformers' defaults for missing fields; only top-k is on by default.
    if given["temperature"] is None:
        given["temperature"] = 1.0
    if is_sampled and given["top_k"] is None:
        given["top_k"] = 50
    if not is_sampled:
        given["temperature"] = 0.0
    checked: dict[str, float] = {}
    notes: list[str] = []
    for name, value in given.items():
        if value is None:
            continue
        number, note = _read_value(name, value)
        if number is not None:
            checked[name] = number
        if note:
            notes.append(note)
    return OwnSettings(SamplingSettings(**checked), tuple(notes))  # type: ignore[arg-type]


def _read_value(name: str, value: Any) -> tuple[float | None, str]:
    """A value of the file as a setting, None if it cannot be one; and a note, or nothing."""
    number = _to_number(value)
    if name == "top_k" and number == -1:
        return 0, ""
    if name == "temperature" and number is not None and 0 < number < LEAST_TEMPERATURE:
        note = say(
            "generation_config.json has temperature {value:g}, which is greedy in effect.",
            value=number,
        )
        return 0.0, note
    try:
        checked = check_settings({name: value if number is None else number})
        return getattr(checked, name), ""
    except InputError as error:
        note = say(
            "generation_config.json has {name} {value}, which is not used. {limit}",
            name=name,
            value=repr(value)[:MAX_QUOTE],
            limit=error.limit,
        )
        return None, note


def _to_number(value: Any) -> float | None:
    """A number, also from text; a whole one as an int."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if isinstance(value, float) and value.is_integer() else value


def barred_token_ids(engine: Engine) -> tuple[int, ...]:
    """The ids of the vision tokens, ascending: they are never sampled."""
    facts, tokenizer = engine.facts, engine.tokenizer
    ids = {
        facts.image_token_id,
        facts.video_token_id,
        facts.vision_start_token_id,
        facts.vision_end_token_id,
    }
    vision_pad = tokenizer.get_added_vocab().get("<|vision_pad|>")  # not in the configuration
    if vision_pad is not None:
        ids.add(vision_pad)
    return tuple(sorted(ids))


def check_token_ids(engine: Engine, token_ids: Iterable[int]) -> None:
    """Check tokens that are to stand in an answer.

    Raises:
        InputError: there is no such token, or it is a vision token.
    """
    barred = barred_token_ids(engine)
    for token_id in token_ids:
        if not 0 <= token_id < engine.facts.vocab_size:
            raise InputError(
                say("There is no token {index:,}.", index=token_id),
                limit=say("The vocabulary has {count:,} tokens.", count=engine.facts.vocab_size),
            )
        if token_id in barred:
            raise InputError(
                say(
                    "{token} is a vision token and is never generated.",
                    token=token_text(engine.tokenizer, token_id),
                ),
                remedy=say("Choose another token."),
            )
