"""Calibration: the model's probabilities for colours between two names."""

from __future__ import annotations

import numpy as np
import torch

from training.draw import render_scene
from training.evaluation import HELD_OUT, Answerer, Item
from training.questions import Turn
from training.scenes import MIXABLE, Background, Scene, Shape, mix_colors

MIXES = (0.0, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0)
QUESTION = "What color is the shape?"


def build_mixed_items(mix: float, per_pair: int) -> list[tuple[Item, str, str]]:
    """Images of one circle, its hue at `mix` between two names: (item, first, second)."""
    found = []
    for number, (first, second) in enumerate(MIXABLE):
        for index in range(per_pair):
            rng = np.random.default_rng([HELD_OUT, 99, number, index])
            shape = Shape(
                kind="circle",
                color=first,
                size="large",
                cell=4,
                x=float(rng.uniform(0.4, 0.6)),
                y=float(rng.uniform(0.4, 0.6)),
                radius=float(rng.uniform(0.19, 0.23)),
                rgb=mix_colors(first, second, mix),
                mix=mix,
            )
            tone = float(rng.choice([0.1, 0.95, 1.0]))
            background = Background("plain", (tone,) * 3, (tone,) * 3, 0.0, 0.0)
            scene = Scene(160, 160, background, (shape,), seed=index)
            item = Item(Turn("color", "en", QUESTION, ("",)), (render_scene(scene),))
            found.append((item, first, second))
    return found


@torch.no_grad()
def measure_calibration(answerer: Answerer, per_pair: int) -> dict[float, float]:
    """Mean probability of the second of the two names for every mix.

    Measured at the answer's first word; phrasings that start differently do not count.
    """
    tokenizer = answerer.processor.tokenizer
    table = {}
    for mix in MIXES:
        cases = build_mixed_items(mix, per_pair)
        inputs = answerer.prepare([item for item, _, _ in cases])
        logits = answerer.model(**inputs).logits[:, -1]
        shares = []
        for row, (_, first, second) in zip(logits.softmax(-1), cases, strict=True):
            ids = [tokenizer.encode(name.capitalize())[0] for name in (first, second)]
            p, q = (row[i].item() for i in ids)
            shares.append(q / (p + q))
        table[mix] = sum(shares) / len(shares)
    return table
