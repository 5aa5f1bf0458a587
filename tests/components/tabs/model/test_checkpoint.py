from __future__ import annotations

from dataclasses import replace

import torch

from components.tabs.model import checkpoint
from components.tabs.model.tab import TAB
from playground.engine import Engine
from playground.origin import AdaptedModule, Adapter, Origin, PartWeights, Quantisation
from tests.components.drawings import draw_part, make_drawing
from tests.components.html_reader import read_html
from tests.components.runs import make_run


def _rows(engine: Engine) -> list[list[str]]:
    """All rows of the three tables."""
    run = make_run(engine)
    tables = (checkpoint.whole(run), checkpoint.decoder(run), checkpoint.tower(run))
    return [row for table in tables for row in read_html(table).rows()]


def _facts(engine: Engine) -> dict[str, str]:
    """The tables' values by name."""
    return {name: value for name, value, _ in _rows(engine)}


def test_the_table_says_what_is_loaded(tiny_random_engine: Engine) -> None:
    facts, config = _facts(tiny_random_engine), tiny_random_engine.facts
    assert facts["Dtype"] == "float32"
    assert facts["Device"] == "cpu"
    assert facts["Attention"] == "sdpa"
    assert facts["mrope_section"] == "[4, 2, 2]"
    assert facts["KV cache"] == f"{config.kv_bytes_per_token(torch.float32):,} bytes per token"
    assert facts["Context window"] == "4,096 tokens"
    assert facts["DeepStack"] == "after blocks 0, 1, 2"
    assert facts["Position grid"] == "8 × 8"
    assert "Experts" not in facts


def test_experts_are_counted(tiny_random_moe_engine: Engine) -> None:
    assert ["Experts", "4", "2 of 4 process each token"] in _rows(tiny_random_moe_engine)


def test_the_table_says_what_was_quantised_and_merged(tiny_random_engine: Engine) -> None:
    parts = (PartWeights("vision tower", 18, 0), PartWeights("decoder MLP", 12, 12))
    lora = Adapter("LoRA", "tiny", 1.0, (AdaptedModule("a.q_proj", 4, 1.0),), ("model.norm",))
    origin = Origin(Quantisation("FP8", "e4m3", "bfloat16", parts), lora)
    rows = _rows(replace(tiny_random_engine, origin=origin))
    start = [name for name, *_ in rows].index("Weights")
    assert rows[start : start + 5] == [
        [
            "Weights",
            "FP8 e4m3, dequantised to bfloat16",
            "quantised in the files; plain matrices in bfloat16 here",
        ],
        ["Weights: vision tower", "0 of 18 matrices quantised", "left out"],
        ["Weights: decoder MLP", "12 of 12 matrices quantised", "dequantised to bfloat16"],
        ["Adapter", "LoRA of rank 4 on tiny", "merged; it changes 1 modules: q_proj"],
        ["Replaced modules", "model.norm", "stored whole in the adapter"],
    ]
    kept = Origin(Quantisation("bitsandbytes", "nf4", "", parts))
    rows = _rows(replace(tiny_random_engine, origin=kept))
    assert ["Weights", "bitsandbytes nf4", "quantised in the files and in memory"] in rows
    assert ["Weights: decoder MLP", "12 of 12 matrices quantised", "bitsandbytes"] in rows


def test_every_output_is_drawn_before_any_stage_has_run(shipped_engine: Engine) -> None:
    run = make_run(shipped_engine)
    drawn = draw_part(make_drawing(TAB), checkpoint.PART, run)
    assert list(drawn) == ["modules", "whole", "decoder", "tower"]
    assert drawn.pop("modules").data[0].type == "treemap"
    assert all("<table>" in each for each in drawn.values())
    assert not run.has("preprocess")
