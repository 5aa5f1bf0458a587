"""The requests served last, in numbers: what a download of the tab holds."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playground.kv_cache.compare import Compared
    from playground.pipeline import Run


@dataclass(frozen=True, slots=True, eq=False)
class ServedRequests:
    """Requests one after another, as plain JSON."""

    run: weakref.ref[Run]  # whose pictures and system prompt they used
    requests: tuple[dict[str, Any], ...] = field(repr=False)


def record_requests(run: Run, rows: Sequence[Compared]) -> ServedRequests:
    """All requests in numbers; tensors are left out, since the page's session holds this."""
    return ServedRequests(weakref.ref(run), tuple(_record(*row) for row in enumerate(rows, 1)))


def find_served(run: Run, served: ServedRequests | None) -> ServedRequests | None:
    """The requests, if they belong to this run."""
    return served if served is not None and served.run() is run else None


def _record(number: int, row: Compared) -> dict[str, Any]:
    return {
        "request": number,
        "text": row.inputs.prompt.turns[-1].text,
        "system": row.inputs.prompt.system,
        "num_tokens": row.inputs.num_tokens,
        "reused_tokens": row.reused_tokens,
        "computed_tokens": row.computed_tokens,
        "hit": row.hit,
        "end": row.lookup.end.kind,
        "miss_ms": list(row.miss_ms),
        "hit_ms": list(row.hit_ms),
        "miss_operations": row.miss_flops.total,
        "hit_operations": row.hit_flops.total,
        "kv_bytes": row.kv_bytes,
        "max_abs_diff": row.max_abs_diff,
        "next_token_id": row.next_token.id,
        "next_token": row.next_token.text,
        "next_token_prob": row.next_token.prob,
        "answer": row.answer,
    }
