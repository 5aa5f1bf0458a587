"""Token rows: one visual prefix shared by many independent conversations.

A prompt's image comes before its question, so all questions about one image share a prefix. A
row holds that prefix once, then one branch per conversation. A branch attends to the prefix and
itself, and its positions continue from the prefix, as if it were alone. The vision tower runs once
for a dozen questions.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import regex
import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.patches import MERGE
from training.questions import Turn
from training.words import KEY_WORDS

Grid = tuple[int, int]  # patches: rows, columns

KEY_WEIGHT = 2.0
WORD_WEIGHT = 0.5
# In these tasks a single token among many decides the answer.
TASK_WEIGHTS = {"yes_no": 2.5, "relation": 1.3, "direction": 1.5, "pair": 1.3, "count_of": 1.3}
_KEYS = {
    "en": regex.compile(r"\b(?i:" + "|".join(KEY_WORDS["en"]) + r")\b|\b[A-Z]{2,3}\b|\b[A-Z]\.|\d"),
    "zh": regex.compile(
        "|".join(sorted(KEY_WORDS["zh"], key=len, reverse=True))
        + r"|^有|一个(?=图形|。)|[A-Z]{1,3}|\d"
    ),
}


@dataclass(frozen=True, slots=True)
class VisionUnit:
    """One image, or one temporal patch of a video."""

    pixels: Tensor  # (patches, 1536)
    grid: Grid
    window: Tensor  # (4,)
    labels: dict[str, Tensor] | None = None  # see vision_stage.label_cells

    @property
    def num_tokens(self) -> int:
        return self.grid[0] * self.grid[1] // MERGE**2

    def to(self, device: torch.device) -> VisionUnit:
        labels = self.labels
        if labels is not None:
            labels = {name: label.to(device) for name, label in labels.items()}
        return VisionUnit(self.pixels.to(device), self.grid, self.window.to(device), labels)


@dataclass
class Row:
    """Token ids with their targets, in lists of equal length."""

    input_ids: list[int]
    positions: list[tuple[int, int, int]]
    units: list[VisionUnit]
    segments: list[int] = field(default_factory=list)  # 0: prefix, then one number per branch
    targets: list[int] = field(default_factory=list)  # the next token
    weights: list[float] = field(default_factory=list)  # 0: no loss
    tasks: list[str] = field(default_factory=list)  # of each branch

    def __post_init__(self) -> None:
        length = len(self.input_ids)
        self.segments, self.targets, self.weights = [0] * length, [0] * length, [0.0] * length

    @property
    def prefix_end(self) -> int:
        """Position at which every branch starts."""
        prefix = [p for p, s in zip(self.positions, self.segments, strict=True) if s == 0]
        return max(max(position) for position in prefix) + 1 if prefix else 0


class Encoder:
    """Prompt pieces to token ids, cached because the same phrasings recur."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.image_pad = tokenizer.token_to_id("<|image_pad|>")
        self.video_pad = tokenizer.token_to_id("<|video_pad|>")
        self.encode = lru_cache(maxsize=100_000)(self._encode)
        self.encode_answer = lru_cache(maxsize=200_000)(self._encode_answer)

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text).ids

    def _encode_answer(self, text: str, language: str) -> tuple[list[int], list[float]]:
        """Ids and loss weights of an answer with its end token."""
        encoding = self.tokenizer.encode(text + "<|im_end|>")
        spans = [match.span() for match in _KEYS[language].finditer(text)]
        weights = [
            KEY_WEIGHT if any(a < end and start < b for a, b in spans) else WORD_WEIGHT
            for start, end in encoding.offsets
        ]
        return encoding.ids, weights


def image_prefix(units: list[VisionUnit], *, system: str = "", numbered: bool = False) -> str:
    """A user turn up to its question, with all its placeholder tokens."""
    parts = [f"<|im_start|>system\n{system}<|im_end|>\n" if system else "", "<|im_start|>user\n"]
    for number, unit in enumerate(units, start=1):
        parts.append(f"Picture {number}: " if numbered else "")
        parts.append(f"<|vision_start|>{'<|image_pad|>' * unit.num_tokens}<|vision_end|>")
    return "".join(parts)


def video_prefix(units: list[VisionUnit], timestamps: list[float], *, system: str = "") -> str:
    """A user turn with a video; the processor puts frame markers inside the video's own."""
    start = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
    frames = "".join(
        f"<{time:.1f} seconds><|vision_start|>{'<|video_pad|>' * unit.num_tokens}<|vision_end|>"
        for unit, time in zip(units, timestamps, strict=True)
    )
    return f"{start}<|im_start|>user\n<|vision_start|>{frames}<|vision_end|>"


def text_prefix(*, system: str = "") -> str:
    """The tokens before 'user' in a text-only prompt."""
    return f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>" if system else "<|im_start|>"


def place_tokens(
    input_ids: list[int], grids: list[Grid], pad_ids: tuple[int, ...]
) -> list[tuple[int, int, int]]:
    """M-RoPE positions (t, h, w): text advances all three, an image spans a grid."""
    positions: list[tuple[int, int, int]] = []
    here, index, remaining = 0, 0, iter(grids)
    while index < len(input_ids):
        if input_ids[index] not in pad_ids:
            positions.append((here, here, here))
            here, index = here + 1, index + 1
            continue
        rows, columns = (side // MERGE for side in next(remaining))
        positions += [(here, here + r, here + c) for r in range(rows) for c in range(columns)]
        here, index = here + max(rows, columns), index + rows * columns
    return positions


def start_row(encoder: Encoder, prefix: str, units: list[VisionUnit]) -> Row:
    input_ids = list(encoder.tokenizer.encode(prefix).ids)
    pads = (encoder.image_pad, encoder.video_pad)
    grids = [unit.grid for unit in units]
    return Row(input_ids, place_tokens(input_ids, grids, pads), units)


def encode_branch(
    encoder: Encoder, turns: list[Turn], answers: list[str], *, text_only: bool = False
) -> tuple[list[int], list[float]]:
    """Ids and loss weights (0 outside answers) of one conversation after the prefix."""
    ids: list[int] = []
    weights: list[float] = []
    for number, (turn, answer) in enumerate(zip(turns, answers, strict=True)):
        opening = "user\n" if text_only and number == 0 else ""
        if number > 0:
            opening = "\n<|im_start|>user\n"
        question = encoder.encode(f"{opening}{turn.question}<|im_end|>\n<|im_start|>assistant\n")
        answer_ids, answer_weights = encoder.encode_answer(answer, turn.language)
        scale = TASK_WEIGHTS.get(turn.task, 1.0)
        ids += question + answer_ids
        weights += [0.0] * len(question) + [weight * scale for weight in answer_weights]
    return ids, weights


def add_branch(row: Row, ids: list[int], weights: list[float], task: str) -> None:
    """Append one conversation; each token's target is the next one of its branch."""
    start, segment = row.prefix_end, len(row.tasks) + 1
    row.tasks.append(task)
    row.input_ids += ids
    row.positions += [(start + i,) * 3 for i in range(len(ids))]
    row.segments += [segment] * len(ids)
    row.targets += [*ids[1:], 0]
    row.weights += [*weights[1:], 0.0]


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Rows padded on the right to one length."""

    input_ids: Tensor  # (rows, tokens)
    position_ids: Tensor  # (3, rows, tokens)
    attention_mask: Tensor  # (rows, 1, tokens, tokens), True where a token may attend
    visual_mask: Tensor  # (rows, tokens)
    targets: Tensor  # (rows, tokens)
    weights: Tensor  # (rows, tokens)
    tasks: list[list[str]]
    segments: Tensor  # (rows, tokens), -1 for padding
    units: list[VisionUnit]

    def to(self, device: torch.device) -> RowBatch:
        tensors = {
            name: getattr(self, name).to(device)
            for name in RowBatch.__slots__
            if isinstance(getattr(self, name), Tensor)
        }
        return replace(self, **tensors, units=[unit.to(device) for unit in self.units])


def collate(rows: list[Row], encoder: Encoder) -> RowBatch:
    length = max(len(row.input_ids) for row in rows)
    input_ids = torch.zeros(len(rows), length, dtype=torch.long)
    positions = torch.zeros(3, len(rows), length, dtype=torch.long)
    segments = torch.full((len(rows), length), -1)
    targets = torch.zeros(len(rows), length, dtype=torch.long)
    weights = torch.zeros(len(rows), length)
    for index, row in enumerate(rows):
        count = len(row.input_ids)
        input_ids[index, :count] = torch.tensor(row.input_ids)
        positions[:, index, :count] = torch.tensor(row.positions).T
        segments[index, :count] = torch.tensor(row.segments)
        targets[index, :count] = torch.tensor(row.targets)
        weights[index, :count] = torch.tensor(row.weights)
    same = segments[:, :, None] == segments[:, None, :]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    mask = (same | (segments == 0)[:, None, :]) & causal
    visual = (input_ids == encoder.image_pad) | (input_ids == encoder.video_pad)
    visual &= segments == 0
    return RowBatch(
        input_ids=input_ids,
        position_ids=positions,
        attention_mask=mask[:, None],
        visual_mask=visual,
        targets=targets,
        weights=weights,
        tasks=[row.tasks for row in rows],
        segments=segments,
        units=[unit for row in rows for unit in row.units],
    )


def choose_answer(turn: Turn, rng: np.random.Generator) -> str:
    return turn.answers[rng.integers(len(turn.answers))]
