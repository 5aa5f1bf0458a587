"""The folder in which a checkpoint lies: a Hub cache, a training run, or one that is none.

Only names of files are read.
"""

from __future__ import annotations

import re
from pathlib import Path

from playground.errors import CheckpointError
from playground.language import say
from playground.loading.small_files import some_of

CHECKPOINT = re.compile(r"(?:checkpoint|epoch|step|iter|global_step)[-_]?(\d+)")
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".zst")


def find_checkpoint_folder(folder: Path, source: str) -> Path:
    """The folder with the checkpoint's files: the given one, or the only one inside it.

    A Hub cache folder (``models--owner--name``) holds snapshots, of which ``refs/main`` is the
    current one. A training run holds ``checkpoint-*``.

    Raises:
        CheckpointError: several checkpoints are inside; the message names the newest.
    """
    if not folder.is_dir() or (folder / "config.json").is_file():
        return folder
    if (folder / "snapshots").is_dir():
        return _find_snapshot(folder, source)
    if (folder / "adapter_config.json").is_file():
        return folder
    inside = [path for path in sorted(folder.iterdir()) if _has_config(path)]
    numbered = sorted(
        (path for path in inside if CHECKPOINT.fullmatch(path.name)),
        key=lambda path: int(CHECKPOINT.fullmatch(path.name)[1]),  # type: ignore[index]
    )
    candidates = numbered or inside
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise _choose_one(source, [path.name for path in candidates], is_numbered=bool(numbered))
    caches = sorted(folder.glob("models--*"))
    if len(caches) == 1:
        return _find_snapshot(caches[0], source)
    if caches:
        raise _choose_one(source, [path.name for path in caches], is_numbered=False)
    return folder


def _has_config(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("config.json", "adapter_config.json"))


def _find_snapshot(folder: Path, source: str) -> Path:
    snapshots = [path for path in sorted((folder / "snapshots").glob("*")) if path.is_dir()]
    main = folder / "refs" / "main"
    if main.is_file():
        current = folder / "snapshots" / main.read_text(encoding="utf-8").strip()
        if current in snapshots:
            return current
    if not snapshots:
        raise CheckpointError(
            say("{source!r} is a folder of the Hub's cache without a snapshot.", source=source),
            remedy=say("Finish the download."),
        )
    if len(snapshots) == 1:
        return snapshots[0]
    newest = max(snapshots, key=lambda path: path.stat().st_mtime)
    names = [f"snapshots/{path.name}" for path in snapshots if path != newest]
    raise _choose_one(source, [*names, f"snapshots/{newest.name}"], is_numbered=True)


def _choose_one(source: str, names: list[str], *, is_numbered: bool) -> CheckpointError:
    """Several checkpoints; a training run's newest is the last one."""
    base = source.rstrip("/")
    if is_numbered:
        remedy = say("The newest is: --model {path}", path=f"{base}/{names[-1]}")
    else:
        remedy = say("Choose one, for example: --model {path}", path=f"{base}/{names[0]}")
    return CheckpointError(
        say(
            "{source!r} holds {count} checkpoints: {names}.",
            source=source,
            count=len(names),
            names=some_of(names, 4),
        ),
        remedy=remedy,
    )


def describe_other_kind(folder: Path) -> tuple[str, str] | None:
    """What a folder without weights in safetensors format holds instead, and what to do.

    Returns:
        A phrase and a remedy; ``None`` if the names of the files say nothing.
    """
    if any(folder.glob("*.gguf")):
        return describe_gguf()
    if (folder / "zero_to_fp32.py").is_file():
        return (
            say("holds DeepSpeed's shards of a training state, not the weights"),
            say("Inside it, run: python zero_to_fp32.py . . --safe_serialization"),
        )
    states = [*folder.glob("*.distcp"), *folder.glob("*/*.distcp")]
    if states:
        return (
            say("holds FSDP's shards of a training state, not the weights"),
            say(
                "Merge them with: accelerate merge-weights {shards} OUTPUT",
                shards=f"{folder.name}/{states[0].parent.name}".removesuffix(f"/{folder.name}"),
            ),
        )
    for pattern, kind in (
        ("*.onnx", "ONNX"),
        ("*.xml", "OpenVINO"),
        ("*.engine", "TensorRT"),
        ("*.mlpackage", "Core ML"),
        ("*.tflite", "TensorFlow Lite"),
        ("*.msgpack", "Flax"),
    ):
        if any(folder.glob(pattern)) or any(folder.glob(f"onnx/{pattern}")):
            return (
                say("is an export for {kind}, not weights for transformers", kind=kind),
                say("Give the checkpoint that it was exported from."),
            )
    return None


def describe_gguf() -> tuple[str, str]:
    """GGUF: llama.cpp's quantised file, which transformers does not read for a Qwen3-VL."""
    return (
        say("holds GGUF weights, which llama.cpp reads and transformers does not for Qwen3-VL"),
        say("Give the checkpoint that they were made from, for example Qwen/Qwen3-VL-2B-Instruct."),
    )


def refuse_file(path: Path, source: str) -> CheckpointError:
    """What is wrong with a file where a folder is needed."""
    if path.suffix == ".gguf":
        what, remedy = describe_gguf()
        return CheckpointError(say("{source!r} {what}.", source=source, what=what), remedy=remedy)
    if path.suffix in ARCHIVES:
        remedy = say("Unpack it, and give the folder.")
    else:
        holder = Path(source).parent.as_posix()
        remedy = say("Give the folder that holds it: --model {folder}", folder=holder)
    return CheckpointError(say("{source!r} is a file, not a folder.", source=source), remedy=remedy)
