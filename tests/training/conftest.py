"""A tokenizer, a random model and their processor, made once for all training tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForImageTextToText, AutoProcessor

from training.checkpoint import config_for, save_checkpoint
from training.model import build_model
from training.rows import Encoder
from training.tokenizer import train_tokenizer

# One thread: on a busy machine several wait for one another at every product.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return train_tokenizer(num_scenes=40)


@pytest.fixture(scope="session")
def encoder(tokenizer: Tokenizer) -> Encoder:
    return Encoder(tokenizer)


@pytest.fixture(scope="session")
def random_checkpoint(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete checkpoint folder with fresh weights."""
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(build_model(config_for(tokenizer), seed=0), tokenizer, folder)
    return folder


@pytest.fixture(scope="session")
def processor(random_checkpoint: Path) -> Any:
    return AutoProcessor.from_pretrained(random_checkpoint)


@pytest.fixture(scope="session")
def model(random_checkpoint: Path) -> Any:
    return AutoModelForImageTextToText.from_pretrained(random_checkpoint).eval()
