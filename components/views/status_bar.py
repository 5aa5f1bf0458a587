"""The status bar: checkpoint, device, dtype and the parity badge, or loading progress."""

from __future__ import annotations

from datetime import datetime
from html import escape
from typing import TYPE_CHECKING

import playground
from components.compute.engine_host import HostStatus
from components.views.origin_words import origin_phrases
from playground.language import mark, say, say_again

if TYPE_CHECKING:
    from playground.engine import Engine
    from playground.records import Parity


def loading_html(status: HostStatus) -> str:
    """Loading progress of the checkpoint, or why loading failed."""
    if status.phase == "failed":
        return _bar(
            f'<span class="chip" data-tone="bad" role="alert">{escape(status.words)}</span>'
        )
    counts = {"done": status.done, "total": status.total}
    share = " " + say("{done:,} of {total:,}", **counts) if status.total else ""
    value = f'value="{status.done}" max="{status.total}"' if status.total else ""
    return _bar(
        f'<span class="chip" data-tone="warn">{escape(status.words)}{share} …</span>'
        f'<progress aria-label="{say("Loading the checkpoint")}" {value}></progress>'
    )


def status_html(
    engine: Engine,
    parity: Parity | None = None,
    *,
    seconds: float | None = None,
    note: str = "",
) -> str:
    """The loaded checkpoint, and the parity badge and duration of the latest run."""
    millions = playground.model_facts.count_parameters(engine.model) / 1e6
    size = f"{millions / 1000:.2f} B" if millions >= 1000 else f"{millions:.1f} M"
    dtype = str(engine.dtype).removeprefix("torch.")
    chips = [
        _chip(mark("checkpoint"), _shown_source(engine.source)),
        *(_chip(name, words) for name, words in origin_phrases(engine.origin).items()),
        _chip(mark("parameters"), size),
        _chip(mark("device"), str(engine.device)),
        _chip(mark("dtype"), dtype),
        _chip(mark("attention"), engine.attn),
    ]
    if engine.other is not None:
        second = engine.other
        title = " · ".join(origin_phrases(second.origin).values())
        chips.append(_chip(mark("compared with"), _shown_source(second.source), title))
        chips += map(_notice, second.notices)
    chips += map(_notice, engine.notices)
    if parity is not None:
        chips.append(parity_badge(parity))
    if seconds is not None:
        finished = f"{datetime.now():%H:%M:%S.%f}"[:-3]
        took = say("{seconds:.2f} s", seconds=seconds)
        chips.append(_chip(mark("last run"), took, say("finished at {time}", time=finished)))
    if note:
        chips.append(_notice(note))
    return _bar("".join(chips))


def parity_badge(parity: Parity) -> str:
    """max |Δ logits| between the staged run and one plain forward; red above the tolerance."""
    tone = "ok" if parity.ok else "bad"
    verdict = say("equal to model.forward") if parity.ok else say("differs from model.forward")
    about = say(
        "Largest absolute difference between the last position's logits in the staged run and in "
        "a plain model(**inputs) call. The tolerance for this dtype is {tolerance:g}.",
        tolerance=parity.tolerance,
    )
    badge = say(
        "parity: max |Δ logits| = {diff:.2g}, {verdict}", diff=parity.max_abs_diff, verdict=verdict
    )
    return (
        f'<span class="chip" data-tone="{tone}" id="parity-badge" title="{escape(about)}">'
        f"{badge}</span>"
    )


def _notice(words: str) -> str:
    return f'<span class="chip" data-tone="warn">{escape(say_again(words))}</span>'


def _chip(name: str, value: str, title: str = "") -> str:
    return (
        f'<span class="chip" data-chip="{name}" title="{escape(title)}">'
        f'<span class="chip-name">{say(name)}</span> {escape(value)}</span>'
    )


def _bar(content: str) -> str:
    return f'<div class="status-bar" role="status">{content}</div>'


def _shown_source(source: str) -> str:
    """A Hub id unchanged; only the last part of a local path, because visitors see it."""
    return say("tiny (shipped)") if source == "tiny" else source.rstrip("/").split("/")[-1]
