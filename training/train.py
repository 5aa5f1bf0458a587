"""Train the shipped checkpoint: `python -m training.train`.

Two stages, vision then joint, on `--ranks` processes of one thread each. Snapshots go to
`--run-dir`; `--resume` continues from them, with a larger budget also after a stage has ended.
`--stages joint --init-from playground/checkpoints/tiny` continues from a checkpoint.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import Qwen3VLForConditionalGeneration

from training.checkpoint import config_for, save_checkpoint
from training.forward import PRECISION
from training.joint_stage import build_joint_batch, run_joint_batch
from training.loop import Budget, Run, run_stage
from training.model import TEXT, VISION, build_config, build_model
from training.optim import Optimizers
from training.tokenizer import train_tokenizer
from training.vision_stage import CellHeads, build_vision_batch, run_vision_batch

STAGES = ("vision", "joint")


@dataclass(frozen=True, slots=True)
class Options:
    """The command-line options."""

    run_dir: Path
    stages: tuple[str, ...]
    seed: int
    ranks: int
    resume: bool
    low_precision: bool
    vision_steps: int
    vision_minutes: float | None
    vision_images: int
    joint_steps: int
    joint_minutes: float | None
    joint_rows: int
    export: bool
    device: str
    workers: int
    init_from: Path | None


def train_vision(options: Options) -> None:
    """Train the vision tower with its cell heads."""
    # The vision tower's initial weights do not depend on the vocabulary.
    special = ("endoftext", "im_end", "image_pad", "video_pad", "vision_start", "vision_end")
    config = build_config(64, {f"<|{name}|>": index for index, name in enumerate(special)})
    visual = build_model(config, options.seed).model.visual
    torch.manual_seed(options.seed)
    heads = CellHeads(TEXT["hidden_size"], len(VISION["deepstack_visual_indexes"]))
    visual.to(options.device)
    heads.to(options.device)
    named = [
        *visual.named_parameters(prefix="model.visual"),
        *heads.named_parameters(prefix="heads"),
    ]
    optimizers = Optimizers(named, adam_lr=2e-3, muon_lr=3e-3)
    run = Run(
        "vision",
        {"visual": visual, "heads": heads},
        optimizers,
        Budget(options.vision_steps, options.vision_minutes),
        options.run_dir,
        torch.device(options.device),
    )
    if options.resume:
        run.load()
    run_stage(
        run,
        partial(build_vision_batch, options.seed, options.vision_images),
        partial(run_vision_batch, visual, heads),
        num_workers=options.workers,
    )


def load_tokenizer(options: Options) -> Tokenizer:
    """The run's tokenizer, trained once."""
    path = options.run_dir / "tokenizer.json"
    if not path.exists() and options.init_from is not None:
        shutil.copyfile(options.init_from / "tokenizer.json", path)
    if not path.exists():
        train_tokenizer(options.seed).save(str(path))
    return Tokenizer.from_file(str(path))


def build_joint_run(
    options: Options, tokenizer: Tokenizer
) -> tuple[Run, Qwen3VLForConditionalGeneration, CellHeads]:
    """The whole model, from its snapshot, from a checkpoint, or on top of the trained vision
    tower."""
    device = torch.device(options.device)
    model = build_model(config_for(tokenizer), options.seed).to(device)
    heads = CellHeads(TEXT["hidden_size"], len(VISION["deepstack_visual_indexes"])).to(device)
    optimizers = Optimizers(
        [*model.named_parameters(), *heads.named_parameters(prefix="heads")],
        adam_lr=1.5e-3,
        muon_lr=3e-3,
        vision_factor=0.6,
    )
    budget = Budget(options.joint_steps, options.joint_minutes)
    modules = {"model": model, "heads": heads}
    run = Run("joint", modules, optimizers, budget, options.run_dir, device)
    if options.resume and run.load():
        return run, model, heads
    if options.init_from is not None:
        weights = load_file(options.init_from / "model.safetensors", device=options.device)
        # The output layer is tied to the embeddings and not in the file.
        model.load_state_dict(weights, strict=False)
    else:
        path = options.run_dir / "vision.pt"
        vision = torch.load(path, weights_only=True, map_location=device)["modules"]
        model.model.visual.load_state_dict(vision["visual"])
        heads.load_state_dict(vision["heads"])
    return run, model, heads


def train_joint(options: Options) -> None:
    """Train the whole model, and write a loadable checkpoint to the run's folder."""
    tokenizer = load_tokenizer(options)
    run, model, heads = build_joint_run(options, tokenizer)
    run_stage(
        run,
        partial(
            build_joint_batch, options.run_dir / "tokenizer.json", options.seed, options.joint_rows
        ),
        partial(run_joint_batch, model, heads),
        num_workers=options.workers,
    )
    if not dist.is_initialized() or dist.get_rank() == 0:
        save_checkpoint(model, tokenizer, options.run_dir / "checkpoint")


def export_snapshot(options: Options) -> None:
    """Write the joint stage's snapshot as a checkpoint, during training or after."""
    tokenizer = load_tokenizer(options)
    _, model, _ = build_joint_run(options, tokenizer)
    save_checkpoint(model, tokenizer, options.run_dir / "checkpoint")


def run_rank(rank: int, options: Options, rendezvous: str) -> None:
    """All chosen stages on one process."""
    torch.set_num_threads(1)
    PRECISION.low = options.low_precision
    if options.ranks > 1:
        dist.init_process_group(
            "gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=options.ranks
        )
    if "vision" in options.stages:
        train_vision(options)
    if "joint" in options.stages:
        train_joint(options)
    if options.ranks > 1:
        dist.destroy_process_group()


def has_bfloat16_units() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())


def parse_options(arguments: list[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run-dir", type=Path, default=Path("training/runs"))
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ranks", type=int, default=max(1, min(2, os.cpu_count() or 1)))
    parser.add_argument("--resume", action="store_true", help="continue from the snapshots")
    parser.add_argument("--float32", action="store_true", help="never use bfloat16 products")
    parser.add_argument("--vision-steps", type=int, default=2000)
    parser.add_argument("--vision-minutes", type=float, help="time limit of the vision stage")
    parser.add_argument("--vision-images", type=int, default=16, help="per step and rank")
    parser.add_argument("--joint-steps", type=int, default=10_000)
    parser.add_argument("--joint-minutes", type=float, help="time limit of the joint stage")
    parser.add_argument("--joint-rows", type=int, default=6, help="per step and rank")
    parser.add_argument(
        "--export", action="store_true", help="only write the joint snapshot as a checkpoint"
    )
    parser.add_argument("--device", default="cpu", help="cpu, or cuda with --ranks 1 --workers 12")
    parser.add_argument(
        "--init-from", type=Path, help="checkpoint folder whose weights the joint stage starts from"
    )
    parser.add_argument("--workers", type=int, default=0, help="processes that build batches")
    given = parser.parse_args(arguments)
    return Options(
        run_dir=given.run_dir,
        stages=tuple(given.stages),
        seed=given.seed,
        ranks=given.ranks,
        resume=given.resume or given.export,
        low_precision=given.device == "cpu" and not given.float32 and has_bfloat16_units(),
        vision_steps=given.vision_steps,
        vision_minutes=given.vision_minutes,
        vision_images=given.vision_images,
        joint_steps=given.joint_steps,
        joint_minutes=given.joint_minutes,
        joint_rows=given.joint_rows,
        export=given.export,
        device=given.device,
        workers=given.workers,
        init_from=given.init_from,
    )


def main(arguments: list[str] | None = None) -> None:
    options = parse_options(arguments)
    options.run_dir.mkdir(parents=True, exist_ok=True)
    if options.export:
        export_snapshot(options)
        return
    if "joint" in options.stages:
        load_tokenizer(options)  # once, before the ranks start
    with tempfile.TemporaryDirectory() as folder:
        rendezvous = str(Path(folder) / "ranks")
        if options.ranks == 1:
            run_rank(0, options, rendezvous)
        else:
            mp.spawn(run_rank, (options, rendezvous), nprocs=options.ranks)


if __name__ == "__main__":
    main()
