"""Check a checkpoint folder before any weight is read.

Only JSON files and the headers of the safetensors files are opened, so that a partial or
unsupported folder is refused within milliseconds, with a message that says what was found and what
is needed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from playground.errors import CheckpointError
from playground.language import mark, say
from playground.loading.local_folders import describe_other_kind, refuse_file
from playground.loading.other_kinds import check_kind
from playground.loading.quantised import count_parts, read_method
from playground.loading.small_files import read_json, refuse_stand_ins, some_of
from playground.loading.source_names import FORMS
from playground.loading.weight_headers import TensorHeader, read_weight_headers
from playground.loading.weight_names import SHOW_COMMAND, check_weight_names
from playground.origin import PartWeights

SUPPORTED = ("qwen3_vl", "qwen3_vl_moe")

NEEDED = mark(
    "Needed is a folder with a Qwen3-VL's config.json (model_type qwen3_vl or qwen3_vl_moe), its "
    "model*.safetensors, tokenizer and preprocessor_config.json."
)

# model_type → readable name; any other type is named as it is.
FOREIGN = {
    "qwen": mark("the first Qwen, a text-only model"),
    "qwen2": mark("a text-only Qwen2"),
    "qwen2_moe": mark("a text-only Qwen2 mixture of experts"),
    "qwen2_vl": mark("a Qwen2-VL: another vision tower, no DeepStack"),
    "qwen2_5_vl": mark("a Qwen2.5-VL: another vision tower, no DeepStack"),
    "qwen3": mark("a text-only Qwen3: no vision tower"),
    "qwen3_moe": mark("a text-only Qwen3 mixture of experts: no vision tower"),
    "qwen3_omni_moe": mark("a Qwen3-Omni: it hears and speaks, and has another vision tower"),
    "qwen3_omni_moe_thinker": mark("only the thinker of a Qwen3-Omni"),
    "qwen3_vl_text": mark("only the text part of a Qwen3-VL"),
    "qwen3_vl_moe_text": mark("only the text part of a Qwen3-VL mixture of experts"),
    "qwen3_vl_vision": mark("only the vision tower of a Qwen3-VL"),
}

# The dtype names of the safetensors header; others (quantised integers) are omitted.
FLOAT_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
}

SHARD = re.compile(r"-(\d+)-of-(\d+)\.safetensors$")


@dataclass(frozen=True, slots=True)
class CheckpointFiles:
    """Facts from the headers."""

    folder: Path
    model_type: str
    num_floats: int  # elements of all tensors in a float dtype of two bytes or more
    stored_dtype: torch.dtype  # dtype of most weights
    quantization: str = ""  # quant_method of config.json: fp8, bitsandbytes, or none
    packed_bytes: int = 0  # of all other tensors
    parts: tuple[PartWeights, ...] = ()

    def count_bytes(self, dtype: torch.dtype) -> int:
        """Bytes of the weights in a dtype, if what is quantised stays so."""
        return self.num_floats * dtype.itemsize + self.packed_bytes


def check_checkpoint(folder: Path, source: str) -> CheckpointFiles:
    """Check a local folder's files without reading weights.

    Args:
        folder: where the files are.
        source: the user's name for it; messages show no other path.

    Raises:
        CheckpointError: the folder is missing, partial or not a Qwen3-VL.
    """
    if not folder.exists():
        raise CheckpointError(
            say("There is no folder {source!r}.", source=source), remedy=say(FORMS)
        )
    if not folder.is_dir():
        raise refuse_file(folder, source)
    model_type = check_config(folder, source)
    _check_processor_files(folder, source)
    tensors: list[TensorHeader] = []
    for path in _find_weight_files(folder, source):
        tensors += read_weight_headers(path, source)
    config = read_json(folder / "config.json", source)
    check_weight_names(tensors, config, source)
    method = read_method(config)
    floats = [tensor for tensor in tensors if tensor.dtype in FLOAT_DTYPES]
    return CheckpointFiles(
        folder,
        model_type,
        num_floats=sum(tensor.numel for tensor in floats),
        stored_dtype=_stored_dtype(floats, config if method else {}),
        quantization=method,
        packed_bytes=sum(
            tensor.num_bytes for tensor in tensors if tensor.dtype not in FLOAT_DTYPES
        ),
        parts=count_parts(tensors),
    )


def _stored_dtype(tensors: Sequence[TensorHeader], config: dict[str, Any]) -> torch.dtype:
    """The dtype of most weights; of a quantised checkpoint what its configuration says, if it does.

    There most float tensors may be scales.
    """
    named = f"torch.{config.get('dtype') or config.get('torch_dtype')}"
    for dtype in FLOAT_DTYPES.values():
        if str(dtype) == named:
            return dtype
    sizes: dict[torch.dtype, int] = {}
    for tensor in tensors:
        stored = FLOAT_DTYPES[tensor.dtype]
        sizes[stored] = sizes.get(stored, 0) + tensor.numel
    return max(sizes, key=lambda stored: sizes[stored]) if sizes else torch.float32


def check_config(folder: Path, source: str) -> str:
    """Read the model type from ``config.json`` and refuse any other than ``SUPPORTED``.

    Raises:
        CheckpointError: no readable ``config.json``, or one of another model.
    """
    path = folder / "config.json"
    refuse_stand_ins(folder, source)
    if not path.is_file():
        _refuse_other_kind(folder, source)
        is_empty = not any(folder.iterdir())
        found = say("is an empty folder") if is_empty else say("has no config.json")
        raise CheckpointError(
            say("{source!r} {what}.", source=source, what=found), limit=say(NEEDED)
        )
    config = read_json(path, source)
    model_type = config.get("model_type")
    if model_type not in SUPPORTED:
        if model_type is None:
            name = say("without a model_type")
        elif model_type in FOREIGN:
            name = say(FOREIGN[model_type])
        else:
            name = say("of model_type {model_type!r}", model_type=model_type)
        raise CheckpointError(
            say("The checkpoint {source!r} is {name}.", source=source, name=name), limit=say(NEEDED)
        )
    missing = [part for part in ("text_config", "vision_config") if part not in config]
    if missing:
        raise CheckpointError(
            say(
                "config.json of {source!r} has no {missing}.",
                source=source,
                missing=say(", ").join(missing),
            ),
            limit=say(NEEDED),
        )
    check_kind(folder, config, source)
    return str(model_type)


def _refuse_other_kind(folder: Path, source: str) -> None:
    if other := describe_other_kind(folder):
        what, remedy = other
        raise CheckpointError(say("{source!r} {what}.", source=source, what=what), remedy=remedy)


def _check_processor_files(folder: Path, source: str) -> None:
    def has(*names: str) -> bool:
        return all((folder / name).is_file() for name in names)

    if not has("tokenizer.json") and not has("vocab.json", "merges.txt"):
        raise CheckpointError(
            say("{source!r} has no tokenizer.", source=source),
            limit=say("Needed is tokenizer.json, or vocab.json with merges.txt."),
            remedy=say("Copy the tokenizer files of the same model into the folder."),
        )
    if not has("preprocessor_config.json") and not has("processor_config.json"):
        raise CheckpointError(
            say("{source!r} has no image processor settings.", source=source),
            limit=say("Needed is preprocessor_config.json or processor_config.json."),
            remedy=say("Copy them from the same model's repository into the folder."),
        )


def _find_weight_files(folder: Path, source: str) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    if not index.is_file():
        _refuse_without_index(folder, source)
        bins = any(folder.glob("*.bin")) or any(folder.glob("*.pt*"))
        raise CheckpointError(
            say("{source!r} has pickled weights only.", source=source)
            if bins
            else say("{source!r} has no weights.", source=source),
            limit=say(
                "Needed is model.safetensors, or the shards with model.safetensors.index.json."
            ),
            remedy=say("Convert them with save_pretrained.")
            if bins
            else say("Finish the download."),
        )
    weight_map = read_json(index, source).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(
            say("{file} of {source!r} has no weight_map.", file=index.name, source=source),
            limit=say(NEEDED),
        )
    names = sorted({str(name) for name in weight_map.values()})
    if any(Path(name).name != name for name in names):
        raise CheckpointError(
            say(
                "{file} of {source!r} names files outside the folder.",
                file=index.name,
                source=source,
            )
        )
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(
            say(
                "{source!r} lacks {missing} of {total} weight files: {shown}.",
                source=source,
                missing=len(missing),
                total=len(names),
                shown=some_of(missing, 3),
            ),
            remedy=say("Finish the download."),
        )
    return [folder / name for name in names]


def _refuse_without_index(folder: Path, source: str) -> None:
    """Weights of another format, under another name, or shards whose index is lost."""
    names = sorted(path.name for path in folder.glob("*.safetensors"))
    if not names:
        _refuse_other_kind(folder, source)
        return
    if len(names) == 1 and not (shard := SHARD.search(names[0])):
        raise CheckpointError(
            say(
                "{source!r} has its weights in {name}; transformers reads model.safetensors.",
                source=source,
                name=names[0],
            ),
            remedy=say("Rename that file to model.safetensors."),
        )
    shards = [shard for name in names if (shard := SHARD.search(name))]
    counts = {int(shard[2]) for shard in shards}
    missing = set(range(1, max(counts, default=0) + 1)) - {int(shard[1]) for shard in shards}
    if missing:
        raise CheckpointError(
            say(
                "{source!r} has {found} of {count} shards, and no model.safetensors.index.json.",
                source=source,
                found=len(shards),
                count=max(counts),
            ),
            remedy=say("Finish the download."),
        )
    raise CheckpointError(
        say(
            "{source!r} has {count} shards ({name} …), but no model.safetensors.index.json.",
            source=source,
            count=len(names),
            name=names[0],
        ),
        remedy=say("Write it with: {command} {source}", command=SHOW_COMMAND, source=source),
    )
