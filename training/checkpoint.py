"""Write a complete checkpoint folder that transformers can load."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer
from transformers import GenerationConfig, Qwen3VLConfig, Qwen3VLForConditionalGeneration

from training.model import build_config
from training.tokenizer import ADDED_TOKENS, write_processor_files


def config_for(tokenizer: Tokenizer) -> Qwen3VLConfig:
    token_ids = {text: tokenizer.token_to_id(text) for text in ADDED_TOKENS}
    return build_config(tokenizer.get_vocab_size(), token_ids)


def generation_config_for(tokenizer: Tokenizer) -> GenerationConfig:
    """Qwen3-VL's sampling defaults; every token that can end an answer ends generation."""
    end, text_end = (tokenizer.token_to_id(t) for t in ("<|im_end|>", "<|endoftext|>"))
    return GenerationConfig(
        bos_token_id=text_end,
        eos_token_id=[end, text_end],
        pad_token_id=text_end,
        do_sample=True,
        temperature=0.7,
        top_k=20,
        top_p=0.8,
        max_new_tokens=128,
    )


def save_checkpoint(
    model: Qwen3VLForConditionalGeneration, tokenizer: Tokenizer, folder: Path
) -> None:
    """Weights (float32 safetensors), configurations, tokenizer, processors, chat template."""
    folder.mkdir(parents=True, exist_ok=True)
    model.generation_config = generation_config_for(tokenizer)
    model.save_pretrained(folder)
    write_processor_files(tokenizer, folder)
    # save_pretrained makes the weights readable only by their owner.
    for path in folder.iterdir():
        if path.is_file():
            path.chmod(0o644)
