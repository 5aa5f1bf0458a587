"""The slim bar on top: checkpoint, device, dtype and the parity badge, or how far loading is."""

from __future__ import annotations

from datetime import datetime
from html import escape
from typing import TYPE_CHECKING

from components.engine_host import HostStatus

if TYPE_CHECKING:
    from playground.engine import Engine
    from playground.records import Parity


def loading_html(status: HostStatus) -> str:
    """How far the checkpoint is, or why it failed."""
    if status.phase == "failed":
        return _bar(f'<span class="chip" data-tone="bad" role="alert">{escape(status.what)}</span>')
    share = f" {status.done:,} of {status.total:,}" if status.total else ""
    value = f'value="{status.done}" max="{status.total}"' if status.total else ""
    return _bar(
        f'<span class="chip" data-tone="warn">{escape(status.what)}{share} …</span>'
        f'<progress aria-label="Loading the checkpoint" {value}></progress>'
    )


def status_html(
    engine: Engine,
    parity: Parity | None = None,
    *,
    seconds: float | None = None,
    note: str = "",
) -> str:
    """The facts of the loaded checkpoint, and the badge and duration of the latest run."""
    millions = sum(p.numel() for p in engine.model.parameters()) / 1e6
    size = f"{millions / 1000:.2f} B" if millions >= 1000 else f"{millions:.1f} M"
    dtype = str(engine.dtype).removeprefix("torch.")
    chips = [
        _chip("checkpoint", _shown_source(engine.source)),
        _chip("parameters", size),
        _chip("device", str(engine.device)),
        _chip("dtype", dtype),
        _chip("attention", engine.attn),
    ]
    if parity is not None:
        chips.append(parity_badge(parity))
    if seconds is not None:
        finished = f"{datetime.now():%H:%M:%S.%f}"[:-3]
        chips.append(_chip("last run", f"{seconds:.2f} s", f"finished at {finished}"))
    if note:
        chips.append(f'<span class="chip" data-tone="warn">{escape(note)}</span>')
    return _bar("".join(chips))


def parity_badge(parity: Parity) -> str:
    """max |Δ logits| of the staged run against one plain forward; red past the tolerance."""
    tone = "ok" if parity.ok else "bad"
    verdict = "equal to model.forward" if parity.ok else "differs from model.forward"
    return (
        f'<span class="chip" data-tone="{tone}" id="parity-badge" title="Largest difference of the '
        f"last position's logits between the staged run and one plain model(**inputs); up to "
        f'{parity.tolerance:g} is accepted at this dtype.">'
        f"parity: max |Δ logits| = {parity.max_abs_diff:.2g}, {verdict}</span>"
    )


def _chip(name: str, value: str, title: str = "") -> str:
    return (
        f'<span class="chip" data-chip="{name}" title="{title}">'
        f'<span class="chip-name">{name}</span> {escape(value)}</span>'
    )


def _bar(content: str) -> str:
    return f'<div class="status-bar" role="status">{content}</div>'


def _shown_source(source: str) -> str:
    """A Hub id as it is; of a local folder only the last part, as visitors see this."""
    return "tiny (shipped)" if source == "tiny" else source.rstrip("/").split("/")[-1]
