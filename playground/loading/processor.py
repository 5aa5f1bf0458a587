"""The checkpoint's processor: tokenizer, chat template, image and video processors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoProcessor, PreTrainedConfig, ProcessorMixin

from playground.errors import CheckpointError
from playground.language import say
from playground.loading.config_checks import check_processor_fits
from playground.loading.source_names import summarise_error


def load_processor(folder: Path, source: str, config: PreTrainedConfig) -> ProcessorMixin:
    try:
        processor: Any = AutoProcessor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # tokenizers raises a bare Exception for a broken tokenizer.json
        raise CheckpointError(
            say(
                "The processor of {source!r} cannot be loaded: {said}",
                source=source,
                said=summarise_error(error, folder, source),
            ),
            remedy=say("Download its tokenizer and preprocessor files again."),
        ) from error
    _check_processor(processor, source, config)
    check_processor_fits(processor, config, folder, source)
    # The tokenizer pads on the right by default, which silently gives wrong answers in a batch.
    processor.tokenizer.padding_side = "left"
    loaded: ProcessorMixin = processor
    return loaded


def _check_processor(processor: Any, source: str, config: Any) -> None:
    kind = type(processor).__name__
    if kind != "Qwen3VLProcessor":
        raise CheckpointError(
            say("The processor of {source!r} is a {kind}.", source=source, kind=kind),
            limit=say("Needed is a Qwen3VLProcessor."),
        )
    if not processor.chat_template:  # older exports store it with the tokenizer
        processor.chat_template = processor.tokenizer.chat_template
    if not processor.chat_template:
        raise CheckpointError(
            say("{source!r} has no chat template.", source=source),
            limit=say("Needed is chat_template.jinja, or the template in tokenizer_config.json."),
        )
    for token, wanted in (
        (processor.image_token, config.image_token_id),
        (processor.video_token, config.video_token_id),
    ):
        got = processor.tokenizer.convert_tokens_to_ids(token)
        if got != wanted:
            raise CheckpointError(
                say(
                    "Tokenizer and config of {source!r} disagree: {token} is {got}, not {wanted}.",
                    source=source,
                    token=token,
                    got=got,
                    wanted=wanted,
                ),
                remedy=say("Use the tokenizer that belongs to these weights."),
            )
    if len(processor.tokenizer) > config.text_config.vocab_size:
        raise CheckpointError(
            say(
                "The tokenizer of {source!r} has {tokens:,} tokens, the model {rows:,}.",
                source=source,
                tokens=len(processor.tokenizer),
                rows=config.text_config.vocab_size,
            ),
            remedy=say("Use the tokenizer that belongs to these weights."),
        )
