"""Merge an adapter of PEFT into the checkpoint that it was trained on.

The stages read weights as plain matrices and call modules by their names in transformers, so an
adapter is merged: the result is what ``PeftModel.merge_and_unload`` gives.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import nn

from playground.errors import CheckpointError, PlaygroundError
from playground.language import mark, say
from playground.loading.adapters import AdapterFiles, shown_base
from playground.loading.small_files import some_of
from playground.loading.source_names import summarise_error
from playground.origin import AdaptedModule, Adapter

NAME = "default"  # PEFT's name for the only adapter
PREFIX = "base_model.model."  # of PEFT's wrapper
OTHER_BASE = mark("Check that base_model_name_or_path names the checkpoint that it was trained on.")
KINDS = {"LORA": "LoRA", "ADALORA": "AdaLoRA", "LOHA": "LoHa", "LOKR": "LoKr"}


@torch.no_grad()
def merge_adapter(model: Any, files: AdapterFiles, scale: float) -> tuple[Any, Adapter]:
    """Load an adapter onto its base and add it to the weights, which are changed in place.

    Args:
        model: the base, just loaded.
        files: the adapter.
        scale: factor on what a LoRA adds; 1.0 is how it was trained.

    Returns:
        The merged model, and what was merged.

    Raises:
        CheckpointError: PEFT cannot merge this kind, or the adapter belongs to another base.
    """
    try:
        with warnings.catch_warnings():
            # PEFT's warnings: transformers' deprecations, and tied weights, which are untied here.
            warnings.simplefilter("ignore")
            config = _read_config(files)
            wrapped = _load(model, config, files)
            _scale(wrapped, config, scale, files)
            adapter = _describe(wrapped, config, files, scale)
            return wrapped.merge_and_unload(), adapter
    except (PlaygroundError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # what PEFT raises depends on the kind
        raise CheckpointError(
            say(
                "The adapter {source!r} cannot be merged into {base}: {said}",
                source=files.source,
                base=shown_base(files.base),
                said=summarise_error(error, files.folder, files.source),
            ),
            remedy=say(OTHER_BASE),
        ) from error


def _read_config(files: AdapterFiles) -> Any:
    from peft import PeftConfig  # takes a second

    config: Any = PeftConfig.from_pretrained(str(files.folder))
    reason = ""
    if config.is_prompt_learning or config.is_adaption_prompt:
        reason = say("it trains tokens in front of the prompt, not weights")
    elif getattr(config, "layer_replication", None):
        reason = say("its layer_replication changes the number of layers")
    elif getattr(config, "alora_invocation_tokens", None):
        reason = say("an activated LoRA adds to the weights for some tokens only")
    if reason:
        raise CheckpointError(
            say(
                "The adapter {source!r} ({kind}) cannot be merged: {reason}.",
                source=files.source,
                kind=_kind(config),
                reason=reason,
            ),
            remedy=say("Give a LoRA, or a whole checkpoint."),
        )
    config.inference_mode = True
    return config


def _kind(config: Any) -> str:
    if getattr(config, "use_dora", False):
        return "DoRA"
    name = str(config.peft_type.value)
    return KINDS.get(name, name)


def _load(model: Any, config: Any, files: AdapterFiles) -> Any:
    from peft import PeftModel
    from peft.tuners.tuners_utils import BaseTunerLayer

    wrapped: Any = PeftModel(model, config)
    layers = [module for module in wrapped.modules() if isinstance(module, BaseTunerLayer)]
    _untie(wrapped, layers)
    # As PeftModel.from_pretrained does, which does not return what was missing.
    result = wrapped.load_adapter(
        str(files.folder),
        NAME,
        key_mapping=getattr(model, "_checkpoint_conversion_mapping", {}),
        torch_device="cpu",
    )
    for what, keys in (
        (say("names modules that the base does not have"), result.unexpected_keys),
        (say("lacks tensors for modules of the base"), result.missing_keys),
    ):
        if keys:
            raise CheckpointError(
                say(
                    "The adapter {source!r} {what} ({count} tensors: {shown}).",
                    source=files.source,
                    what=what,
                    count=len(keys),
                    shown=some_of([key.removeprefix(PREFIX) for key in keys], 2),
                ),
                remedy=say(OTHER_BASE),
            )
    return wrapped


def _untie(wrapped: Any, layers: list[Any]) -> None:
    """Give the head a weight of its own if an adapter adds to it or to the embeddings.

    Otherwise merging would add to both what was trained for one.
    """
    embeddings, head = wrapped.get_input_embeddings(), wrapped.get_output_embeddings()
    if (embeddings in layers or head in layers) and head.weight is embeddings.weight:
        base = head.get_base_layer() if head in layers else head
        base.weight = nn.Parameter(base.weight.clone(), requires_grad=False)
        wrapped.config.tie_word_embeddings = False


def _scale(wrapped: Any, config: Any, scale: float, files: AdapterFiles) -> None:
    if scale == 1.0:
        return
    if _kind(config) != "LoRA":
        raise CheckpointError(
            say(
                "The adapter {source!r} is of the kind {kind}; only a LoRA can be scaled.",
                source=files.source,
                kind=_kind(config),
            ),
            remedy=say("Leave out --adapter-scale."),
        )
    from peft.tuners.lora import LoraLayer

    for module in wrapped.modules():
        if isinstance(module, LoraLayer):
            module.scale_layer(scale)


def _describe(wrapped: Any, config: Any, files: AdapterFiles, scale: float) -> Adapter:
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    named = [(path.removeprefix(PREFIX), module) for path, module in wrapped.named_modules()]
    return Adapter(
        kind=_kind(config),
        base=shown_base(files.base),
        scale=scale,
        modules=tuple(
            AdaptedModule(path, _rank(module), _norm(module))
            for path, module in named
            if isinstance(module, BaseTunerLayer)
        ),
        replaced=tuple(p for p, module in named if isinstance(module, AuxiliaryTrainingWrapper)),
    )


def _rank(layer: Any) -> int:
    ranks = getattr(layer, "r", None)
    return int(ranks.get(NAME, 0)) if isinstance(ranks, dict) else 0


def _norm(layer: Any) -> float:
    """Of the matrix that is added; a DoRA then scales the rows of the sum."""
    if not hasattr(layer, "get_delta_weight"):
        return math.nan
    return float(layer.get_delta_weight(NAME).float().norm())
