"""What plain transformers makes of an answer, from token ids and pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from playground.pipeline import Run
from playground.preprocess.stage import model_kwargs


def plain_log_probs(run: Run, answer: Sequence[int], before: Sequence[int] = ()) -> np.ndarray:
    """Log-probability of each token of ``answer`` after the prompt and ``before``, in nats."""
    kwargs = model_kwargs(run.inputs)
    added = torch.tensor([[*before, *answer]])
    kwargs["input_ids"] = torch.cat([kwargs["input_ids"], added], 1)
    for name, filler in (("attention_mask", 1), ("mm_token_type_ids", 0)):
        kwargs[name] = torch.cat([kwargs[name], torch.full_like(added, filler)], 1)
    model: Any = run.engine.model
    shared = model.model.rope_deltas
    with torch.no_grad():
        logits = model(**kwargs).logits[0, -len(answer) - 1 : -1]
    model.model.rope_deltas = shared
    log_probs = logits.float().log_softmax(-1)
    return np.asarray(log_probs.gather(1, torch.tensor(list(answer))[:, None])[:, 0])
