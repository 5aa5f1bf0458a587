"""A folder with an adapter of PEFT: what it holds, and which checkpoint is below it.

Only ``adapter_config.json`` and the names of files are read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from playground.errors import CheckpointError
from playground.language import say
from playground.loading.small_files import read_json
from playground.loading.source_names import Source, parse_source
from playground.loading.weight_headers import read_weight_headers

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
WHOLE_MODEL = ("model.safetensors", "model.safetensors.index.json")
# Written beside an adapter by trainers that also trained modules outside of it.
OTHER_TRAINED = ("non_lora_state_dict.bin", "non_lora_trainables.bin")


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """An adapter's folder."""

    folder: Path
    source: str  # the user's name for it
    base: str  # as ``base_model_name_or_path`` names it
    base_revision: str | None


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no model of its own."""
    return (folder / CONFIG).is_file() and not any(
        (folder / name).is_file() for name in WHOLE_MODEL
    )


def read_adapter(folder: Path, source: str) -> AdapterFiles:
    """Check an adapter's files without reading its weights.

    Raises:
        CheckpointError: no weights, weights as a pickle, or no name of its base.
    """
    config = read_json(folder / CONFIG, source)
    base = config.get("base_model_name_or_path")
    if not base or not isinstance(base, str):
        raise CheckpointError(
            say("The adapter {source!r} names no base.", source=source),
            remedy=say(
                "Write the folder or the Hub id of the checkpoint that it was trained on into "
                "base_model_name_or_path of its adapter_config.json."
            ),
        )
    _check_weights(folder, source)
    revision = config.get("revision")
    return AdapterFiles(folder, source, base, revision if isinstance(revision, str) else None)


def _check_weights(folder: Path, source: str) -> None:
    if not (folder / WEIGHTS).is_file():
        is_pickled = any(folder.glob("adapter_model*.bin"))
        raise CheckpointError(
            say("The adapter {source!r} has pickled weights only.", source=source)
            if is_pickled
            else say("The adapter {source!r} has no weights.", source=source),
            limit=say("Needed is {file}.", file=WEIGHTS),
            remedy=say("Load it with PEFT and save it again with save_pretrained.")
            if is_pickled
            else say("Finish the download."),
        )
    read_weight_headers(folder / WEIGHTS, source)
    for name in OTHER_TRAINED:
        if (folder / name).is_file():
            raise CheckpointError(
                say(
                    "{source!r} is an adapter, and {file} beside it holds more trained weights, "
                    "which PEFT does not load.",
                    source=source,
                    file=name,
                ),
                remedy=say("Merge all of them with its trainer's own script, and give the result."),
            )


def find_base(adapter: AdapterFiles) -> Source:
    """Where the checkpoint below an adapter is.

    A relative path is one from the adapter's folder, or else, as for PEFT, from the current one.

    Raises:
        CheckpointError: it is a path, and nothing is there.
    """
    beside = adapter.folder / Path(adapter.base).expanduser()
    if adapter.base != "tiny" and beside.is_dir():
        return Source("folder", str(beside))
    source = parse_source(adapter.base)
    if source.kind == "folder" and not Path(source.name).expanduser().is_dir():
        raise CheckpointError(
            say(
                "{source!r} is an adapter for {base}, which is not on this machine.",
                source=adapter.source,
                base=shown_base(adapter.base),
            ),
            remedy=say(
                "Write the folder or the Hub id of the checkpoint that it was trained on into "
                "base_model_name_or_path of its adapter_config.json."
            ),
        )
    if source.kind == "hub" and not source.revision:
        return Source("hub", source.name, adapter.base_revision)
    return source


def shown_base(base: str) -> str:
    """The base's name for a message: the path of another machine says only its last part."""
    path = Path(base)
    return path.name if path.is_absolute() else path.as_posix()
