"""Second stage: train the whole model to answer; the cell heads regularise the vision tower."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F
from transformers import Qwen3VLForConditionalGeneration

from training.corpus import SHAPE_TASKS, WRITING_TASKS, ask
from training.corpus_pairs import ask_clip, ask_pair
from training.draw import render_scene, render_with_boxes
from training.forward import run_text, run_vision
from training.motion import sample_clip
from training.patches import PATCH, patchify
from training.questions import Turn
from training.rows import (
    Encoder,
    Row,
    RowBatch,
    VisionUnit,
    add_branch,
    choose_answer,
    collate,
    encode_branch,
    image_prefix,
    start_row,
    text_prefix,
    video_prefix,
)
from training.scenes import (
    Scene,
    sample_canvas,
    sample_scene,
    sample_small_canvas,
    sample_writing_scene,
)
from training.talk import PLAIN_TEXTS, SYSTEM_PROMPTS, sample_talk
from training.vision_stage import IGNORE, CellHeads, cell_loss, label_cells, sample_windows
from training.words import LANGUAGES

Generator = np.random.Generator

ROW_TOKENS = 144
MIN_BRANCH_TOKENS = 56  # however long the prefix is
ROW_KINDS = {"shapes": 0.54, "writing": 0.17, "pair": 0.18, "clip": 0.095, "talk": 0.015}
SHAPE_TASK_WEIGHTS = {
    "describe": 0.08,
    "count": 0.02,
    "count_of": 0.17,
    "color": 0.06,
    "shape": 0.04,
    "where": 0.12,
    "size": 0.08,
    "relation": 0.13,
    "order": 0.13,
    "exists": 0.06,
    "whether": 0.14,
}
WRITING_TASK_WEIGHTS = {"describe": 0.15, "read": 0.75, "color": 0.1}
LETTER_SHARE = 0.6  # there are more letters than digits
CELL_WEIGHT = 0.35
# Shares of images with a shifted position grid, early and late. With half from the start, the
# decoder never learned to use the positions from the vision tower.
SHIFTED_SHARES = (0.05, 0.2)


def make_unit(scene: Scene, window: Tensor) -> VisionUnit:
    pixels, boxes = render_with_boxes(scene)
    labels = label_cells(scene, boxes)
    if window[1] < 1:
        # In a shifted image, only the decoder can locate a shape, through M-RoPE.
        labels["position"] = torch.full_like(labels["position"], IGNORE)
    grid = (scene.height // PATCH, scene.width // PATCH)
    return VisionUnit(patchify(pixels), grid, window, labels)


def sample_shape_scene(rng: Generator, progress: float, canvas: tuple[int, int] | None) -> Scene:
    """One shape at first, then up to four."""
    shares = np.array([0.75, 0.25, 0, 0] if progress < 0.07 else [0.27, 0.3, 0.26, 0.17])
    return sample_scene(rng, 1 + int(rng.choice(4, p=shares)), canvas)


def vary_question(turn: Turn, rng: Generator) -> Turn:
    """Sometimes drop the capital and the full stop, as people do when typing."""
    if rng.random() > 0.1:
        return turn
    question = turn.question.rstrip("?.？。")
    if turn.language == "en" and rng.random() < 0.6:
        question = question[:1].lower() + question[1:]
    return replace(turn, question=question)


def fill_row(
    row: Row,
    encoder: Encoder,
    rng: Generator,
    next_turn: Callable[[], Turn | None],
    *,
    text_only: bool = False,
    multi: float = 0.12,
) -> None:
    """Add conversations until the row is full; some have several turns."""
    asked: set[str] = set()
    limit = max(ROW_TOKENS, len(row.input_ids) + MIN_BRANCH_TOKENS)
    for _ in range(60):
        turns: list[Turn] = []
        for _ in range(1 if rng.random() > multi else int(rng.integers(2, 4))):
            turn = next_turn()
            if turn is not None and (text_only or turn.question not in asked):
                asked.add(turn.question)
                turns.append(vary_question(turn, rng))
        if not turns:
            continue
        answers = [choose_answer(turn, rng) for turn in turns]
        ids, weights = encode_branch(encoder, turns, answers, text_only=text_only)
        if len(row.input_ids) + len(ids) > limit:
            if row.tasks:
                break
            continue
        add_branch(row, ids, weights, turns[0].task)


def shifted_share(progress: float) -> float:
    """How many images of a batch have a shifted position grid."""
    return SHIFTED_SHARES[0] if progress < 0.5 else SHIFTED_SHARES[1]


def sample_system(rng: Generator) -> str:
    return SYSTEM_PROMPTS[rng.integers(len(SYSTEM_PROMPTS))] if rng.random() < 0.2 else ""


def pick_language(rng: Generator) -> str:
    return LANGUAGES[rng.integers(2)]


def build_shape_row(
    encoder: Encoder, rng: Generator, canvas: tuple[int, int], progress: float
) -> Row:
    scene = sample_shape_scene(rng, progress, canvas)
    unit = make_unit(scene, sample_windows(rng, 1, shifted_share(progress))[0])
    numbered = rng.random() < 0.1
    row = start_row(
        encoder, image_prefix([unit], system=sample_system(rng), numbered=numbered), [unit]
    )
    tasks, shares = list(SHAPE_TASKS), [SHAPE_TASK_WEIGHTS[task] for task in SHAPE_TASKS]
    total = sum(shares)

    def next_turn() -> Turn | None:
        task = tasks[rng.choice(len(tasks), p=np.array(shares) / total)]
        return ask(scene, task, rng, pick_language(rng))

    fill_row(row, encoder, rng, next_turn)
    return row


def build_writing_row(
    encoder: Encoder, rng: Generator, canvas: tuple[int, int], progress: float
) -> Row:
    scene = sample_writing_scene(rng, canvas, letter_share=LETTER_SHARE)
    unit = make_unit(scene, sample_windows(rng, 1, shifted_share(progress))[0])
    row = start_row(encoder, image_prefix([unit], system=sample_system(rng)), [unit])
    tasks = list(WRITING_TASKS)
    shares = [WRITING_TASK_WEIGHTS[task] for task in tasks]

    def next_turn() -> Turn | None:
        return ask(scene, tasks[rng.choice(len(tasks), p=shares)], rng, pick_language(rng))

    fill_row(row, encoder, rng, next_turn)
    return row


def build_pair_row(
    encoder: Encoder, rng: Generator, canvas: tuple[int, int], progress: float
) -> Row:
    canvases = [canvas, canvas if rng.random() < 0.7 else sample_canvas(rng)]
    most = 1 if progress < 0.3 or rng.random() < 0.5 else 3
    scenes = [sample_scene(rng, int(rng.integers(1, most + 1)), size) for size in canvases]
    if rng.random() < 0.5:
        scenes.reverse()
    units = [
        make_unit(scene, window)
        for scene, window in zip(
            scenes, sample_windows(rng, 2, shifted_share(progress)), strict=True
        )
    ]
    numbered = rng.random() < 0.4
    prefix = image_prefix(units, system=sample_system(rng), numbered=numbered)
    row = start_row(encoder, prefix, units)
    pair = (scenes[0], scenes[1])
    fill_row(row, encoder, rng, lambda: ask_pair(pair, rng, pick_language(rng)))
    return row


def build_clip_row(encoder: Encoder, rng: Generator, progress: float) -> Row:
    clip = sample_clip(rng)
    window = sample_windows(rng, 1, shifted_share(progress))[0]
    frames = [render_scene(frame) for frame in clip.frames]
    scene = clip.frames[0]
    grid = (scene.height // PATCH, scene.width // PATCH)
    units = [
        VisionUnit(patchify(first, second), grid, window)
        for first, second in zip(frames[::2], frames[1::2], strict=True)
    ]
    prefix = video_prefix(units, clip.timestamps, system=sample_system(rng))
    row = start_row(encoder, prefix, units)
    fill_row(row, encoder, rng, lambda: ask_clip(clip, rng, pick_language(rng)))
    return row


def build_talk_row(encoder: Encoder, rng: Generator) -> Row:
    """Chats without an image; sometimes plain text that continues a prefix."""
    if rng.random() < 0.25:
        row = Row([], [], [])
        end = encoder.encode("<|endoftext|>")
        for text in rng.permutation(np.array(PLAIN_TEXTS)):
            ids = [*encoder.encode(str(text)), *end]
            add_branch(row, ids, [0.5] * len(ids), "plain")
        return row
    row = start_row(encoder, text_prefix(system=sample_system(rng)), [])
    fill_row(row, encoder, rng, lambda: sample_talk(rng), text_only=True)
    return row


@cache
def load_encoder(tokenizer_path: Path) -> Encoder:
    """One per process: workers keep their own caches."""
    return Encoder(Tokenizer.from_file(str(tokenizer_path)))


def build_joint_batch(
    tokenizer_path: Path, seed: int, size: int, step: int, rank: int, progress: float
) -> RowBatch:
    """A batch determined by (seed, step, rank) and the progress."""
    encoder = load_encoder(tokenizer_path)
    rng = np.random.default_rng([seed, 2, step, rank])
    canvas = (sample_canvas if rng.random() < 0.4 else sample_small_canvas)(rng)
    rows = []
    for _ in range(size):
        kind = list(ROW_KINDS)[rng.choice(len(ROW_KINDS), p=list(ROW_KINDS.values()))]
        if kind == "shapes":
            rows.append(build_shape_row(encoder, rng, canvas, progress))
        elif kind == "writing":
            rows.append(build_writing_row(encoder, rng, canvas, progress))
        elif kind == "pair":
            rows.append(build_pair_row(encoder, rng, canvas, progress))
        elif kind == "clip":
            rows.append(build_clip_row(encoder, rng, progress))
        else:
            rows.append(build_talk_row(encoder, rng))
    return collate(rows, encoder)


def embed_units(
    model: Qwen3VLForConditionalGeneration, units: list[VisionUnit]
) -> tuple[list[Tensor], dict[tuple[int, int], tuple[list[int], list[Tensor]]]]:
    """Vision outputs of all units in order, units of one grid batched.

    Returns the merger's and the taps' outputs, each (visual tokens, hidden), and per grid the
    unit numbers with their batched outputs.
    """
    by_grid: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, unit in enumerate(units):
        by_grid[unit.grid].append(index)
    pieces: list[list[Tensor]] = [[] for _ in units]
    grouped = {}
    for grid, indices in by_grid.items():
        pixels = torch.stack([units[index].pixels for index in indices])
        window = torch.stack([units[index].window for index in indices])
        merged, taps = run_vision(model.model.visual, pixels, grid, window)
        grouped[grid] = (indices, [merged, *taps])
        for row, index in enumerate(indices):
            pieces[index] = [output[row] for output in (merged, *taps)]
    return [torch.cat(outputs) for outputs in zip(*pieces, strict=True)], grouped


def run_joint_batch(
    model: Qwen3VLForConditionalGeneration, heads: CellHeads, batch: RowBatch
) -> tuple[Tensor, dict[str, float]]:
    """Weighted answer loss plus the cell heads' loss; accuracies of key words by task."""
    outputs, grouped = embed_units(model, batch.units) if batch.units else ([], {})
    hidden = run_text(
        model,
        batch.input_ids,
        batch.position_ids,
        batch.attention_mask,
        visual_mask=batch.visual_mask if outputs else None,
        visual_embeds=outputs[0] if outputs else None,
        deepstack_embeds=outputs[1:] if outputs else None,
    )
    positions = batch.weights > 0
    logits = F.linear(hidden[positions], model.lm_head.weight)
    targets, weights = batch.targets[positions], batch.weights[positions]
    losses = F.cross_entropy(logits, targets, reduction="none")
    loss = (losses * weights).sum() / weights.sum()
    metrics = {"answer_loss": loss.item(), **key_word_accuracy(batch, logits, positions)}
    cells, num_units = loss.new_zeros(()), 0
    for indices, features in grouped.values():
        chosen = [i for i, index in enumerate(indices) if batch.units[index].labels is not None]
        if not chosen:
            continue
        labels = [batch.units[indices[i]].labels for i in chosen]
        stacked = {name: torch.stack([label[name] for label in labels]) for name in labels[0]}
        part, _ = cell_loss(heads([feature[chosen] for feature in features]), stacked)
        cells, num_units = cells + part * len(chosen), num_units + len(chosen)
    if num_units:
        loss = loss + CELL_WEIGHT * cells / num_units
    return loss, metrics


@torch.no_grad()
def key_word_accuracy(batch: RowBatch, logits: Tensor, positions: Tensor) -> dict[str, float]:
    """Share of correct key words by the first task of each branch."""
    right = (logits.argmax(-1) == batch.targets[positions]).tolist()
    weights = batch.weights[positions].tolist()
    row_numbers = positions.nonzero()[:, 0].tolist()
    segments = batch.segments[positions].tolist()
    hits: dict[str, list[bool]] = defaultdict(list)
    for row, segment, weight, hit in zip(row_numbers, segments, weights, right, strict=True):
        if weight > 1:
            hits[batch.tasks[row][segment - 1]].append(hit)
    return {task: sum(values) / len(values) for task, values in hits.items()}
