"""Evaluate a checkpoint and write the figures into its card: `python -m training.evaluate`."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from training.ablations import run_ablations
from training.calibration import measure_calibration
from training.card import render_card
from training.evaluation import (
    ALL_TASKS,
    Answerer,
    build_items,
    build_talk_items,
    score_exact,
    score_slots,
)
from training.words import LANGUAGES

CHECKPOINT = Path("playground/checkpoints/tiny")
FOREIGN_TASKS = ("describe", "count", "color", "shape", "where", "relation", "yes_no", "digits")
SHORT_TASKS = ("count", "count_of", "color", "shape", "where", "size", "relation", "order")
START, END = "<!-- figures: start -->", "<!-- figures: end -->"

Table = dict[str, dict[str, float]]


def score_tasks(
    answerer: Answerer, tasks: tuple[str, ...], count: int, *, foreign: bool = False
) -> Table:
    """Share of exact answers per task and language; for descriptions also per slot."""
    table: Table = {}
    for task in tasks:
        for language in LANGUAGES:
            items = build_items(task, language, count, foreign=foreign)
            answers = answerer.answer(items)
            table.setdefault(task, {})[language] = score_exact(items, answers)
            if task == "describe":
                for slot, share in score_slots(items, answers).items():
                    table.setdefault(f"describe: {slot} slots", {})[language] = share
        print(_line([task, *(f"{v:.3f}" for v in table[task].values())]), flush=True)
    if not foreign and "direction" in tasks:
        for language in LANGUAGES:
            items = build_talk_items(language)
            score = score_exact(items, answerer.answer(items))
            table.setdefault("talk", {})[language] = score
    present = [task for task in SHORT_TASKS if task in table]
    if present:
        table["short answers, mean"] = {
            language: sum(table[task][language] for task in present) / len(present)
            for language in LANGUAGES
        }
    return table


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def format_table(header: list[str], rows: list[list[str]]) -> str:
    return "\n".join([_line(header), _line(["---"] * len(header)), *(_line(row) for row in rows)])


def format_scores(table: Table) -> str:
    rows = [
        [task, *(f"{scores[lang]:.3f}" for lang in LANGUAGES)] for task, scores in table.items()
    ]
    return format_table(["task", "English", "Chinese"], rows)


def format_ablations(table: Table) -> str:
    names = list(next(iter(table.values())))
    rows = [[part, *(f"{row[name]:.2f}" for name in names)] for part, row in table.items()]
    return format_table(["", *names], rows)


def format_figures(figures: dict) -> str:
    """The evaluation section of the card."""
    mixes = figures["calibration"]
    calibration = format_table(
        ["share of the second colour", *mixes],
        [["probability of its name", *(f"{value:.2f}" for value in mixes.values())]],
    )
    return "\n\n".join(
        [
            f"Held-out scenes, greedy decoding, {figures['count']} prompts per task and language;"
            " an answer counts if it is one of the accepted phrasings, character for character.",
            format_scores(figures["tasks"]),
            "### Scenes of another renderer\n\nDrawn by `training/foreign_scenes.py`, which shares"
            f" no drawing code, tints or fonts with training ({figures['foreign_count']} prompts"
            " each).",
            format_scores(figures["foreign"]),
            "### The parts matter\n\nEnglish, "
            f"{figures['ablation_count']} prompts per task; exact answers, or slots of"
            " descriptions.",
            format_ablations(figures["ablations"]),
            "### Unsure where it should be\n\nOne circle whose hue lies between two names; the"
            " training labels were drawn in proportion.",
            calibration,
        ]
    )


def write_card(card: Path, text: str) -> None:
    """Replace the text between the model card's markers; create the card if it is missing."""
    page = card.read_text(encoding="utf-8") if card.exists() else render_card(card.parent)
    before, rest = page.split(START)
    after = rest.split(END)[1]
    card.write_text(f"{before}{START}\n{text}\n{END}{after}", encoding="utf-8")


def evaluate(
    folder: Path,
    count: int,
    foreign_count: int,
    ablation_count: int,
    tasks: tuple[str, ...] = ALL_TASKS,
) -> dict:
    """All figures of a checkpoint."""
    answerer = Answerer(folder)
    figures: dict = {
        "count": count,
        "foreign_count": foreign_count,
        "ablation_count": ablation_count,
    }
    figures["tasks"] = score_tasks(answerer, tasks, count)
    figures["foreign"] = score_tasks(
        answerer, tuple(t for t in FOREIGN_TASKS if t in tasks), foreign_count, foreign=True
    )
    figures["calibration"] = {
        f"{mix:g}": share for mix, share in measure_calibration(answerer, 8).items()
    }
    if ablation_count:
        figures["ablations"] = run_ablations(answerer, ablation_count)
    return figures


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--count", type=int, default=200, help="prompts per task and language")
    parser.add_argument("--foreign-count", type=int, help="the same for the other renderer")
    parser.add_argument("--ablation-count", type=int, default=100)
    parser.add_argument("--tasks", nargs="+", choices=ALL_TASKS, default=list(ALL_TASKS))
    parser.add_argument("--no-card", action="store_true", help="print the figures only")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--threads", type=int, help="number of torch threads")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    started = time.monotonic()
    ablation_count = 0 if options.no_card else options.ablation_count
    figures = evaluate(
        options.checkpoint,
        options.count,
        options.count if options.foreign_count is None else options.foreign_count,
        ablation_count,
        tuple(options.tasks),
    )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    if options.no_card:
        print(format_scores(figures["tasks"]))
        print(format_scores(figures["foreign"]))
        print(figures["calibration"])
    else:
        text = format_figures(figures)
        print(text)
        write_card(options.checkpoint / "README.md", text)
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
