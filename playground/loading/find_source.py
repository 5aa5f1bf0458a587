"""What was typed → the folder with the weights, downloaded if need be, and an adapter on them."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from playground.errors import CheckpointError
from playground.language import say
from playground.loading.adapters import (
    AdapterFiles,
    find_base,
    is_adapter,
    read_adapter,
    shown_base,
)
from playground.loading.hub_download import (
    fetch_from_hub,
    fetch_from_modelscope,
    find_downloaded,
)
from playground.loading.local_folders import find_checkpoint_folder
from playground.loading.source_names import MODELSCOPE, Source, parse_source
from playground.model_facts import CHECKPOINTS
from playground.records import Progress

SHIPPED = CHECKPOINTS / "tiny"
"""The checkpoint that comes with the repository."""


@dataclass(frozen=True, slots=True)
class Found:
    """A checkpoint on this machine."""

    folder: Path  # with the weights; of the base, if there is an adapter
    name: str  # of that folder, in messages
    source: str  # the short name of what was typed
    revision: str  # of what was typed: a commit hash, or "local"
    adapter: AdapterFiles | None = None


def find_source(typed: str, report: Progress) -> Found:
    """Find, or download, what a source names, and the base of an adapter.

    The base of a local adapter is looked for on this machine only: the user has named nothing that
    is to be downloaded.

    Raises:
        CheckpointError: nothing is there, or not all of it.
    """
    source = parse_source(typed)
    folder, name, revision = _find_folder(source, report)
    if not is_adapter(folder):
        return Found(folder, name, name, revision)
    adapter = read_adapter(folder, name)
    base = find_base(adapter)
    if base.kind == "hub" and source.kind == "modelscope":
        base = replace(base, kind="modelscope")  # ids are the same there
    if base.kind in ("hub", "modelscope") and source.kind not in ("hub", "modelscope"):
        base_folder = find_downloaded(base, adapter.source)
    else:
        base_folder, _, _ = _find_folder(base, report)
    if is_adapter(base_folder):
        raise CheckpointError(
            say(
                "{source!r} is an adapter for {base}, which is an adapter itself.",
                source=name,
                base=shown_base(adapter.base),
            ),
            remedy=say("Merge that one into its base first, and name the result."),
        )
    is_shipped = base_folder.resolve() == SHIPPED
    base_name = "tiny" if is_shipped else shown_base(adapter.base)
    return Found(SHIPPED if is_shipped else base_folder, base_name, name, revision, adapter)


def _find_folder(source: Source, report: Progress) -> tuple[Path, str, str]:
    """The local folder of a source, downloaded if needed, its short name and its revision."""
    if source.kind == "shipped":
        return CHECKPOINTS / source.name.replace("-", "_"), source.name, "local"
    if source.kind == "modelscope":
        folder, revision = fetch_from_modelscope(source, report)
        return folder, f"{MODELSCOPE}{source.name}", revision
    if source.kind == "hub":
        folder, revision = fetch_from_hub(source, report)
        return folder, source.name, revision
    folder = Path(os.path.expanduser(source.name))  # Path.expanduser raises for an unknown user
    return find_checkpoint_folder(folder, source.name), source.name, "local"
