"""The checkpoint's generation config: end tokens, default settings, and vision tokens."""

from __future__ import annotations

from typing import Any

from playground.engine import Engine
from playground.records import SamplingSettings
from playground.sampling.settings import check_settings


def end_token_ids(engine: Engine) -> frozenset[int]:
    """The ids that end an answer: ``generation_config.eos_token_id``, one or several."""
    config: Any = engine.model.generation_config
    ids = config.eos_token_id
    return frozenset([ids] if isinstance(ids, int) else ids or ())


def own_settings(engine: Engine) -> SamplingSettings:
    """The settings of the checkpoint's ``generation_config``; greedy if ``do_sample`` is off."""
    config: Any = engine.model.generation_config
    given = {
        name: getattr(config, name, None)
        for name in ("top_k", "top_p", "min_p", "typical_p", "repetition_penalty")
    }
    # transformers' defaults for missing fields; only top-k is on by default.
    temperature = 1.0 if config.temperature is None else config.temperature
    given["temperature"] = temperature if config.do_sample else 0.0
    if config.do_sample and given["top_k"] is None:
        given["top_k"] = 50
    return check_settings({name: value for name, value in given.items() if value is not None})


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
