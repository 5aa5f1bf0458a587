"""The requests served last: what their drawings and a download of the tab are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playground.kv_cache.compare import Compared
    from playground.records import CacheReuse


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """With what the requests were served."""

    requests: tuple[Mapping[str, Any], ...]  # text and picture of each
    system: str
    block_size: int
    repeats: int


@dataclass(frozen=True, slots=True, eq=False)
class ServedRequests:
    """Requests one after another, so far; their inputs are without pixels."""

    settings: ServeSettings
    rows: tuple[Compared, ...] = field(repr=False)
    reuse: CacheReuse = field(repr=False)  # the first and the last of them

    @property
    def requests(self) -> tuple[dict[str, Any], ...]:
        """All in numbers, as plain JSON: what a download holds."""
        return tuple(_record(number, row) for number, row in enumerate(self.rows, 1))


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
