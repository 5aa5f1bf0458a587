"""The loaded checkpoint and its lock. No per-user state is stored here."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from playground.limits import Limits
from playground.model_facts import ModelFacts
from playground.origin import Origin

# The tolerance of the parity badge, on the last position's logits. The staged run makes the same
# calls on the same numbers, so float32 allows almost no difference; half precision on a GPU may use
# other kernels.
PARITY_TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.25, torch.float16: 0.05}


@dataclass(frozen=True, slots=True, eq=False)
class Engine:
    """A Qwen3-VL checkpoint, ready to run stage by stage.

    The model's modules are shared by all users. Every forward goes through ``exclusive``, passes
    explicit ``position_ids`` (``Qwen3VLModel.rope_deltas`` is shared state) and hooks it only
    through ``playground.capture``.
    """

    model: Any  # Qwen3VLForConditionalGeneration or the mixture of experts
    processor: Any  # Qwen3VLProcessor: the mixin's type does not declare the tokenizer
    facts: ModelFacts
    source: str  # as given by the user
    revision: str  # commit hash of a Hub checkpoint, "local" otherwise
    attn: str
    limits: Limits = Limits()  # noqa: RUF009 - frozen
    origin: Origin = Origin()  # noqa: RUF009 - frozen
    other: Engine | None = None  # the second checkpoint, to compare with; it has its own lock
    notices: tuple[str, ...] = ()  # sentences of ``say``: what a reader of its numbers should know
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return self.processor.tokenizer

    @property
    def device(self) -> torch.device:
        """The device of the token embeddings, where inputs go."""
        device: torch.device = self.model.get_input_embeddings().weight.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """The model's dtype."""
        dtype: torch.dtype = self.model.get_input_embeddings().weight.dtype
        return dtype

    @property
    def parity_tolerance(self) -> float:
        """Largest |Δ logits| that the parity badge accepts."""
        return PARITY_TOLERANCE.get(self.dtype, 0.25)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock for one step of the model, without gradients in this thread."""
        with self.lock, torch.no_grad():
            yield
