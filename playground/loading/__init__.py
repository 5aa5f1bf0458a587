"""Source → engine: find, download and check a checkpoint, place it on a device, speed it up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playground.lazy import lazy_modules

if TYPE_CHECKING:
    from playground.loading import (
        checkpoint_files,
        checkpoint_mark,
        hub_download,
        load,
        one_row,
        patch_projection,
        placement,
        progress_bars,
    )

__all__ = [
    "checkpoint_files",
    "checkpoint_mark",
    "hub_download",
    "load",
    "one_row",
    "patch_projection",
    "placement",
    "progress_bars",
]

__getattr__ = lazy_modules(__name__, __all__)
