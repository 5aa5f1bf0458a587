"""Source → engine: find, download and check a checkpoint, place it on a device, speed it up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playground.lazy import lazy_modules

if TYPE_CHECKING:
    from playground.loading import (
        adapters,
        checkpoint_files,
        checkpoint_mark,
        config_checks,
        find_source,
        hub_download,
        load,
        local_folders,
        merge_adapter,
        one_row,
        other_kinds,
        patch_projection,
        placement,
        progress_bars,
        quantised,
        read_weights,
        rename_weights,
        second,
        small_files,
        source_names,
        weight_headers,
        weight_names,
    )

__all__ = [
    "adapters",
    "checkpoint_files",
    "checkpoint_mark",
    "config_checks",
    "find_source",
    "hub_download",
    "load",
    "local_folders",
    "merge_adapter",
    "one_row",
    "other_kinds",
    "patch_projection",
    "placement",
    "progress_bars",
    "quantised",
    "read_weights",
    "rename_weights",
    "second",
    "small_files",
    "source_names",
    "weight_headers",
    "weight_names",
]

__getattr__ = lazy_modules(__name__, __all__)
