"""Source → engine: find, download and check a checkpoint, place it on a device, speed it up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playground.lazy import lazy_modules

if TYPE_CHECKING:
    from playground.loading import (
        checkpoint_files,
        checkpoint_mark,
        config_checks,
        hub_download,
        load,
        local_folders,
        one_row,
        other_kinds,
        patch_projection,
        placement,
        progress_bars,
        rename_weights,
        small_files,
        source_names,
        weight_headers,
        weight_names,
    )

__all__ = [
    "checkpoint_files",
    "checkpoint_mark",
    "config_checks",
    "hub_download",
    "load",
    "local_folders",
    "one_row",
    "other_kinds",
    "patch_projection",
    "placement",
    "progress_bars",
    "rename_weights",
    "small_files",
    "source_names",
    "weight_headers",
    "weight_names",
]

__getattr__ = lazy_modules(__name__, __all__)
