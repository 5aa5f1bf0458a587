from __future__ import annotations

import torch

from components.tabs.model_tab import build_model_tab, fact_tables
from playground.engine import Engine
from tests.components.html_reader import read_html
from tests.components.runs import build_alone


def _facts(engine: Engine) -> dict[str, str]:
    """The tables' values by name."""
    rows = [row for table in fact_tables(engine) for row in read_html(table).rows()]
    return {name: value for name, value, _ in rows}


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
    assert "2 of 4 work on each token" in "".join(fact_tables(tiny_random_moe_engine))


def test_the_panel_draws_a_value_for_every_output(tiny_random_engine: Engine) -> None:
    tab = build_alone(build_model_tab)
    tree, *tables = tab.draw(tiny_random_engine)
    assert len(tab.outputs) == 1 + len(tables)
    assert tree.data[0].type == "treemap"
    assert tables == fact_tables(tiny_random_engine)
