from __future__ import annotations

import re

import torch

from components.tabs.model_tab import build_model_tab, facts_table
from playground.engine import Engine
from tests.components.runs import build_alone


def _facts(engine: Engine) -> dict[str, str]:
    """The table's values by name."""
    rows = re.findall(r'<tr><th scope="row">(.*?)</th><td>(.*?)</td>', facts_table(engine))
    return dict(rows)


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
    assert _facts(tiny_random_moe_engine)["Experts"] == "4"
    assert "2 of 4 work on each token" in facts_table(tiny_random_moe_engine)


def test_the_panel_draws_a_value_for_every_output(tiny_random_engine: Engine) -> None:
    tab = build_alone(build_model_tab)
    tree, facts = tab.draw(tiny_random_engine)
    assert len(tab.outputs) == 2
    assert tree.data[0].type == "treemap"
    assert facts == facts_table(tiny_random_engine)
