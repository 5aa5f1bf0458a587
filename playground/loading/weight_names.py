"""Names of stored tensors: recognise those of other libraries, and weights that are none.

transformers (5.24) reads ``model.language_model.…``, ``model.visual.…`` and ``lm_head.weight``, and
the same without the leading ``model.``. Wrappers put a prefix in front, and other libraries name
the two halves differently; transformers then finds none of its tensors.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from playground.errors import CheckpointError
from playground.language import say
from playground.loading.source_names import describe_relative
from playground.loading.weight_headers import TensorHeader

# What wrappers put into a name, at the front or between two modules.
WRAPPERS = {
    "base_model.model.": "PEFT",
    "_orig_mod.": "torch.compile",
    "_fsdp_wrapped_module.": "FSDP",
    "_checkpoint_wrapped_module.": "FSDP",
    "_forward_module.": "Lightning",
    "module.": "DataParallel",
}
INFIXES = re.compile(r"(?:^|(?<=\.))(?:" + "|".join(map(re.escape, WRAPPERS)) + ")")

TEXT_PARTS = r"(layers|embed_tokens|norm)\."
VISION_PARTS = r"(blocks|patch_embed|pos_embed|merger|deepstack_merger_list)\."
# Name in a file → name in transformers. What precedes a match is dropped.
LAYOUTS = (
    (re.compile(rf"(?:^|.*?\.)(?:visual|vision_tower|vision_model)\.{VISION_PARTS}"), "visual"),
    (re.compile(rf"(?:^|.*?\.)language_model\.(?:model\.)?{TEXT_PARTS}"), "language_model"),
    (re.compile(rf"(?:^|.*?\.)model\.{TEXT_PARTS}"), "language_model"),
)
HEAD = re.compile(r"(?:^|.*\.)lm_head\.")

ADAPTER_PARTS = re.compile(r"\.(lora_[AB]|lora_embedding_[AB]|base_layer|modules_to_save)\.")
SHOW_COMMAND = "python -m playground.loading.rename_weights"


def name_in_transformers(name: str) -> str:
    """The name that transformers gives to a tensor stored under ``name``."""
    bare = INFIXES.sub("", name)
    for pattern, half in LAYOUTS:
        if match := pattern.match(bare):
            return f"model.{half}.{match[1]}.{bare[match.end() :]}"
    return HEAD.sub("lm_head.", bare)


def is_read_as(name: str, wanted: str) -> bool:
    """Whether transformers finds ``wanted`` in a tensor stored under ``name``."""
    return wanted in (name, f"model.{name}")


def check_weight_names(
    tensors: Sequence[TensorHeader], config: dict[str, Any], source: str
) -> None:
    """Refuse weights that transformers would not find, or that are only a part.

    Args:
        tensors: all of the checkpoint.
        config: the content of ``config.json``.
        source: the user's name for the checkpoint.

    Raises:
        CheckpointError: names an example and the command or the change that mends it.
    """
    _refuse_empty(tensors, source)
    _refuse_adapters(tensors, source)
    renamed = [
        (tensor.name, wanted)
        for tensor in tensors
        if not is_read_as(tensor.name, wanted := name_in_transformers(tensor.name))
    ]
    if renamed:
        raise _other_names(renamed, len(tensors), source)
    _refuse_transposed(tensors, source)
    _refuse_headless(tensors, config, source)


def _refuse_empty(tensors: Sequence[TensorHeader], source: str) -> None:
    empty = [tensor.name for tensor in tensors if tensor.numel == 0]
    if empty:
        raise CheckpointError(
            say(
                "{count} of {total} tensors of {source!r} have size 0 ({name} …): placeholders "
                "that DeepSpeed ZeRO-3 leaves when it saves without gathering the weights.",
                count=len(empty),
                total=len(tensors),
                source=source,
                name=empty[0],
            ),
            remedy=say(
                "In the folder with zero_to_fp32.py, run: python zero_to_fp32.py . OUTPUT "
                "--safe_serialization. For the next training, set "
                "stage3_gather_16bit_weights_on_model_save to true."
            ),
        )


def _refuse_adapters(tensors: Sequence[TensorHeader], source: str) -> None:
    parts = [tensor.name for tensor in tensors if ADAPTER_PARTS.search(tensor.name)]
    if parts:
        raise CheckpointError(
            say(
                "The weights of {source!r} hold an adapter that is not merged ({count} tensors: "
                "{name} …).",
                source=source,
                count=len(parts),
                name=parts[0],
            ),
            remedy=say("Save it again after PEFT's merge_and_unload()."),
        )


def _other_names(renamed: list[tuple[str, str]], total: int, source: str) -> CheckpointError:
    stored, wanted = renamed[0]
    libraries = {WRAPPERS[wrapper] for wrapper in INFIXES.findall(stored)}
    if "vision_tower." in stored or stored.startswith("language_model."):
        libraries.add("MLX")
    return CheckpointError(
        say(
            "{count} of {total} tensors of {source!r} have names that transformers does not read"
            "{origin}: {stored} instead of {wanted}.",
            count=len(renamed),
            total=total,
            source=source,
            origin=f" ({', '.join(sorted(libraries))})" if libraries else "",
            stored=stored,
            wanted=wanted,
        ),
        remedy=_rename_remedy(source),
    )


def _rename_remedy(source: str) -> str:
    return say(
        "Write a renamed copy: {command} {source} {target}",
        command=SHOW_COMMAND,
        source=source,
        target=source.rstrip("/") + "-renamed",
    )


def is_channels_last(tensor: TensorHeader) -> bool:
    """MLX stores the patch embedding as ``(out, frames, height, width, channels)``."""
    shape = tensor.shape
    is_patches = tensor.name.endswith("patch_embed.proj.weight") and len(shape) == 5
    return is_patches and shape[-1] == 3 != shape[1] and shape[2] == shape[3]


def _refuse_transposed(tensors: Sequence[TensorHeader], source: str) -> None:
    for tensor in filter(is_channels_last, tensors):
        raise CheckpointError(
            say(
                "{name} of {source!r} has its channels last {shape}, as MLX stores it.",
                name=tensor.name,
                source=source,
                shape=tensor.shape,
            ),
            remedy=_rename_remedy(source),
        )


def _refuse_headless(tensors: Sequence[TensorHeader], config: dict[str, Any], source: str) -> None:
    """Only the top level's ``tie_word_embeddings`` counts in transformers; its default is false."""
    if config.get("tie_word_embeddings") or any(t.name == "lm_head.weight" for t in tensors):
        return
    text = config.get("text_config")
    is_tied_below = isinstance(text, dict) and text.get("tie_word_embeddings")
    found = (
        say("the weights have no lm_head.weight, and config.json ties only its text_config")
        if is_tied_below
        else say(
            "the weights have no lm_head.weight, and tie_word_embeddings in config.json is not true"
        )
    )
    if purpose := describe_relative(source):
        raise CheckpointError(
            say("{source!r} has no output layer: {found}.", source=source, found=found),
            limit=purpose,
            remedy=say("Give the Qwen3-VL-Instruct of the same size."),
        )
    raise CheckpointError(
        say("{source!r} has no output layer: {found}.", source=source, found=found),
        remedy=say(
            'If the model ties its head to the token embeddings, write "tie_word_embeddings": true '
            "at the top level of config.json; otherwise save lm_head.weight too."
        ),
    )
