"""The latest served requests: the data behind the charts and the tab's download."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playground.kv_cache.compare import Compared
    from playground.records import CacheReuse


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """The settings that the requests were served with."""

    requests: tuple[Mapping[str, Any], ...]  # text and image of each
    system: str
    block_size: int
    repeats: int


@dataclass(frozen=True, slots=True, eq=False)
class ServedRequests:
    """The requests served so far, without their pixel values."""

    settings: ServeSettings
    rows: tuple[Compared, ...] = field(repr=False)
    reuse: CacheReuse = field(repr=False)  # of the first and the last request

    @property
    def requests(self) -> tuple[dict[str, Any], ...]:
        """The numbers of every request, as plain JSON for the download."""
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
