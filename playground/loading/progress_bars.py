"""A replacement for tqdm that prints nothing and passes on other libraries' progress."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any


class SilentBar:
    """The part of tqdm that transformers and huggingface_hub use. Override ``moved`` to report."""

    def __init__(
        self,
        items: Sequence[Any] | None = None,
        *,
        total: float | None = None,
        initial: float = 0,
        unit: str = "it",
        **_: Any,
    ) -> None:
        self.items = items
        self.total = total if total is not None else (len(items) if items is not None else 0)
        self.n = initial
        self.unit = unit

    def moved(self) -> None:
        """Called whenever ``n`` has changed, from the worker's thread."""

    def __iter__(self) -> Iterator[Any]:
        for item in self.items or ():
            yield item
            self.update()

    def update(self, n: float | None = 1) -> None:
        """Count ``n`` more."""
        self.n += n or 0
        self.moved()

    @property
    def format_dict(self) -> dict[str, Any]:
        """The rate that huggingface_hub reads; unknown, since nothing is printed."""
        return {"rate": None}

    def _print_nothing(self, *_: Any, **__: Any) -> None:
        pass

    refresh = set_description = set_description_str = set_postfix_str = close = _print_nothing

    def __enter__(self) -> SilentBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
