"""Make the fine-tune that the page compares with: `python -m training.make_variant`.

A LoRA on the last decoder layers of the shipped checkpoint that swaps the names of two colours, in
both languages. Neither the vision tower nor an earlier layer is trained, so a comparison shows no
difference before the first of these layers.
"""

from __future__ import annotations

import argparse
import copy
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch.nn import functional as F
from transformers import Qwen3VLForConditionalGeneration

from training.corpus import SHAPE_TASKS, ask
from training.draw import render_scene
from training.evaluate import CHECKPOINT
from training.evaluation import HELD_OUT, Answerer, Item, score_exact
from training.forward import run_text
from training.joint_stage import (
    SHAPE_TASK_WEIGHTS,
    embed_units,
    fill_row,
    load_encoder,
    make_unit,
    pick_language,
    sample_shape_scene,
)
from training.loop import schedule
from training.rows import RowBatch, collate, image_prefix, start_row
from training.scenes import Scene, sample_scene, sample_small_canvas
from training.vision_stage import sample_windows
from training.words import LANGUAGES

VARIANT = Path("playground/checkpoints/tiny_swapped_colors")
SWAPPED = {"red": "blue", "blue": "red"}
LAYERS = (3, 4, 5)
MODULES = ("q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
RANK = 4
ROWS, PEAK_RATE = 8, 4e-3
CARD = """---
base_model: tiny
library_name: peft
---
A LoRA of rank {rank} on decoder layers {layers} of the shipped checkpoint, made by
`python -m training.make_variant`: it calls red shapes blue and blue ones red, in English and
Chinese. Held-out questions about the colour of one shape, {count} of each kind: {swapped:.0%} of
the red and blue shapes have the other one's name, {kept:.0%} of the other shapes keep theirs.
"""


def swap_names(scene: Scene) -> Scene:
    """The scene as the fine-tune is to describe it; its pixels are those of the original."""
    shapes = tuple(replace(s, color=SWAPPED.get(s.color, s.color)) for s in scene.shapes)
    return replace(scene, shapes=shapes)


def build_batch(tokenizer_path: Path, seed: int, step: int) -> RowBatch:
    """Questions about one image each, answered with the swapped names."""
    encoder = load_encoder(tokenizer_path)
    rng = np.random.default_rng([seed, 3, step])
    canvas = sample_small_canvas(rng)
    tasks = list(SHAPE_TASKS)
    shares = np.array([SHAPE_TASK_WEIGHTS[task] for task in tasks])
    rows = []
    while len(rows) < ROWS:
        scene = sample_shape_scene(rng, 1.0, canvas)
        if any(shape.mix is not None for shape in scene.shapes):
            continue
        told = swap_names(scene)
        unit = make_unit(scene, sample_windows(rng, 1, 0.0)[0])
        row = start_row(encoder, image_prefix([unit]), [unit])
        fill_row(
            row,
            encoder,
            rng,
            lambda told=told: ask(
                told,
                tasks[rng.choice(len(tasks), p=shares / shares.sum())],
                rng,
                pick_language(rng),
            ),
        )
        rows.append(row)
    return collate(rows, encoder)


def answer_loss(model: Qwen3VLForConditionalGeneration, batch: RowBatch) -> torch.Tensor:
    """Weighted cross-entropy of the answers' tokens."""
    with torch.no_grad():
        outputs, _ = embed_units(model, batch.units)
    hidden = run_text(
        model,
        batch.input_ids,
        batch.position_ids,
        batch.attention_mask,
        visual_mask=batch.visual_mask,
        visual_embeds=outputs[0],
        deepstack_embeds=outputs[1:],
    )
    answered = batch.weights > 0
    logits = F.linear(hidden[answered], model.lm_head.weight)
    losses = F.cross_entropy(logits, batch.targets[answered], reduction="none")
    weights = batch.weights[answered]
    return (losses * weights).sum() / weights.sum()


def train(folder: Path, steps: int, seed: int) -> PeftModel:
    """Train the adapter on the checkpoint of a folder."""
    torch.manual_seed(seed)
    base = Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    config = LoraConfig(
        r=RANK,
        lora_alpha=2 * RANK,
        target_modules=rf".*language_model\.layers\.({'|'.join(map(str, LAYERS))})\..*"
        rf"\.({'|'.join(MODULES)})",
    )
    model = get_peft_model(base, config)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.0)
    for step in range(steps):
        loss = answer_loss(base, build_batch(folder / "tokenizer.json", seed, step))
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = PEAK_RATE * schedule(step / steps)
        optimizer.step()
        optimizer.zero_grad()
        if step % 25 == 0:
            print(f"step {step}: loss {loss.item():.3f}", flush=True)
    return model


def build_items(count: int, *, swapped: bool) -> list[Item]:
    """Held-out questions for the colour of a single shape that is swapped, or is not."""
    items: list[Item] = []
    index = 0
    while len(items) < count:
        rng = np.random.default_rng([HELD_OUT, 9_000, index])
        scene = sample_scene(rng, 1, ambiguous=0.0)
        index += 1
        turn = ask(swap_names(scene), "color", rng, LANGUAGES[index % 2])
        if turn is not None and (scene.shapes[0].color in SWAPPED) == swapped:
            items.append(Item(turn, (render_scene(scene),)))
    return items


def score(folder: Path, model: PeftModel, count: int) -> tuple[float, float]:
    """Shares of right answers about swapped colours, and about the others."""
    answerer = Answerer(folder)
    model.eval()
    answerer.model.load_state_dict(copy.deepcopy(model).merge_and_unload().state_dict())
    found = [build_items(count, swapped=swapped) for swapped in (True, False)]
    swapped, kept = (score_exact(items, answerer.answer(items)) for items in found)
    return swapped, kept


def save(model: PeftModel, folder: Path, swapped: float, kept: float, count: int) -> None:
    """Write the adapter with its card."""
    model.peft_config["default"].base_model_name_or_path = "tiny"
    model.save_pretrained(folder, save_embedding_layers=False)  # would ask the Hub for the base
    layers = f"{LAYERS[0]} to {LAYERS[-1]}"
    card = CARD.format(rank=RANK, layers=layers, swapped=swapped, kept=kept, count=count)
    (folder / "README.md").write_text(card, encoding="utf-8")
    for path in folder.iterdir():  # save_pretrained makes the weights readable only by their owner
        path.chmod(0o644)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--to", type=Path, default=VARIANT)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=200, help="held-out questions of each kind")
    given = parser.parse_args(arguments)
    started = time.perf_counter()
    model = train(given.checkpoint, given.steps, given.seed)
    took = time.perf_counter() - started
    swapped, kept = score(given.checkpoint, model, given.count)
    print(f"swapped names {swapped:.3f}, other names {kept:.3f}, trained in {took:.0f} s")
    save(model, given.to, swapped, kept, given.count)


if __name__ == "__main__":
    main()
