"""Facts of a configuration against sums worked out by hand."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from transformers import AutoConfig

from playground.engine import Engine
from playground.model_facts import (
    ModuleNode,
    build_on_meta,
    describe_config,
    load_config,
    module_tree,
)

# Qwen3-VL-2B by hand. Text: hidden 2048, 16 heads and 8 KV heads of 128, MLP 6144, 28 layers.
EMBED_TOKENS = 151_936 * 2048
SELF_ATTN = 2048 * 2048 + 2 * (1024 * 2048) + 2048 * 2048 + 2 * 128  # q, k + v, o, q/k norms
TEXT_MLP = 3 * 6144 * 2048
TEXT_LAYER = SELF_ATTN + TEXT_MLP + 2 * 2048  # and two norms
TEXT = EMBED_TOKENS + 28 * TEXT_LAYER + 2048  # and the final norm
# Vision: hidden 1024, MLP 4096, 24 blocks, 2 x 16 x 16 pixels of 3 colours, four patches a token.
PATCH_EMBED = 1024 * (3 * 2 * 16 * 16) + 1024
POS_EMBED = 2304 * 1024
VISION_ATTN = 3072 * 1024 + 3072 + 1024 * 1024 + 1024
VISION_MLP = 4096 * 1024 + 4096 + 1024 * 4096 + 1024
VISION_BLOCK = VISION_ATTN + VISION_MLP + 4 * 1024
MERGER_LINEARS = 4096 * 4096 + 4096 + 2048 * 4096 + 2048
MERGER = MERGER_LINEARS + 2 * 1024  # its norm comes before the four patches are joined
DEEPSTACK_MERGER = MERGER_LINEARS + 2 * 4096  # its norm comes after
VISION = PATCH_EMBED + POS_EMBED + 24 * VISION_BLOCK + MERGER + 3 * DEEPSTACK_MERGER


@pytest.fixture(scope="module")
def tree_2b() -> dict[str, ModuleNode]:
    return {node.path: node for node in module_tree(build_on_meta(load_config()))}


def test_the_2b_configuration_has_the_published_facts() -> None:
    facts = describe_config(load_config())
    assert dataclasses.asdict(facts) == {
        "model_type": "qwen3_vl",
        "num_layers": 28,
        "hidden_size": 2048,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": 6144,
        "num_experts": 0,
        "num_experts_per_tok": 0,
        "vocab_size": 151_936,
        "max_position_embeddings": 262_144,
        "tied_embeddings": True,
        "mrope_section": (24, 20, 20),
        "mrope_interleaved": True,
        "rope_theta": 5_000_000.0,
        "vision_depth": 24,
        "vision_hidden_size": 1024,
        "vision_intermediate_size": 4096,
        "vision_num_heads": 16,
        "num_position_embeddings": 2304,
        "patch_size": 16,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "deepstack_visual_indexes": (5, 11, 17),
        "out_hidden_size": 2048,
        "image_token_id": 151_655,
        "video_token_id": 151_656,
        "vision_start_token_id": 151_652,
        "vision_end_token_id": 151_653,
    }
    assert not facts.is_moe
    assert facts.num_grid_per_side == 48
    assert facts.token_pixels == 32
    assert facts.vision_head_dim == 64
    assert sum(facts.mrope_section) == facts.head_dim // 2


@pytest.mark.parametrize(
    ("listed", "taps", "mergers", "added", "never_added"),
    [
        ((0, 1, 2), (0, 1, 2), (0, 1, 2), (0, 1), (2,)),  # two decoder layers
        ((2, 0), (0, 2), (1, 0), (0, 2), ()),  # in the order of the blocks
        ((1, 1), (1,), (0,), (1,), (1,)),
        ((8, 16, 24), (), (), (), (8, 16, 24)),  # transformers' default on a small tower
        ((-1, 1), (1,), (1,), (1,), (-1,)),
        ((), (), (), (), ()),
    ],
)
def test_taps_are_those_that_transformers_computes_and_adds(
    listed: tuple[int, ...],
    taps: tuple[int, ...],
    mergers: tuple[int, ...],
    added: tuple[int, ...],
    never_added: tuple[int, ...],
) -> None:
    facts = dataclasses.replace(
        describe_config(load_config()),
        deepstack_visual_indexes=listed,
        vision_depth=4,
        num_layers=2,
    )
    assert (facts.taps, facts.tap_mergers) == (taps, mergers)
    assert (facts.added_taps, facts.never_added) == (added, never_added)


def test_a_table_whose_length_is_no_square_makes_a_smaller_grid() -> None:
    facts = dataclasses.replace(describe_config(load_config()), num_position_embeddings=250)
    assert facts.num_grid_per_side == int(250**0.5) == 15


def test_kv_cache_bytes_of_the_2b_model() -> None:
    facts = describe_config(load_config())
    assert facts.kv_bytes_per_token(torch.bfloat16) == 28 * 2 * 8 * 128 * 2 == 114_688
    assert facts.kv_bytes_per_token(torch.float32) == 229_376


def test_kv_cache_bytes_are_those_of_a_real_cache(tiny_random_engine: Engine) -> None:
    ids = torch.arange(7)[None]
    with tiny_random_engine.exclusive():
        cache = tiny_random_engine.model(input_ids=ids, use_cache=True).cache
    stored = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert stored == 7 * tiny_random_engine.facts.kv_bytes_per_token(torch.float32)


@pytest.mark.parametrize(
    ("path", "want"),
    [
        ("model.language_model.embed_tokens", EMBED_TOKENS),
        ("model.language_model.layers.0.self_attn", SELF_ATTN),
        ("model.language_model.layers.27.mlp", TEXT_MLP),
        ("model.language_model.layers.13", TEXT_LAYER),
        ("model.language_model.layers", 28 * TEXT_LAYER),
        ("model.language_model", TEXT),
        ("model.visual.patch_embed", PATCH_EMBED),
        ("model.visual.pos_embed", POS_EMBED),
        ("model.visual.blocks.5.attn", VISION_ATTN),
        ("model.visual.blocks.23.mlp", VISION_MLP),
        ("model.visual.blocks.11", VISION_BLOCK),
        ("model.visual.merger", MERGER),
        ("model.visual.deepstack_merger_list.2", DEEPSTACK_MERGER),
        ("model.visual.deepstack_merger_list", 3 * DEEPSTACK_MERGER),
        ("model.visual", VISION),
        ("lm_head", 0),  # tied: counted at embed_tokens
        ("", VISION + TEXT),
    ],
)
def test_parameters_per_module_of_the_2b_model(
    tree_2b: dict[str, ModuleNode], path: str, want: int
) -> None:
    assert tree_2b[path].num_parameters == want
    assert tree_2b[path].num_bytes == 2 * want  # the configuration names bfloat16


def test_the_2b_model_has_2127532032_parameters() -> None:
    assert VISION + TEXT == 2_127_532_032
    assert build_on_meta(load_config()).num_parameters() == 2_127_532_032


@pytest.mark.parametrize(
    ("path", "kind", "weights"),
    [
        ("model.language_model.embed_tokens", "Embedding", {"weight": (151_936, 2048)}),
        ("lm_head", "Linear", {"weight": (151_936, 2048)}),
        ("model.language_model", "Qwen3VLTextModel", {"norm.weight": (2048,)}),
        (
            "model.language_model.layers.3",
            "Qwen3VLTextDecoderLayer",
            {"input_layernorm.weight": (2048,), "post_attention_layernorm.weight": (2048,)},
        ),
        (
            "model.language_model.layers.3.self_attn",
            "Qwen3VLTextAttention",
            {"q_norm.weight": (128,), "k_norm.weight": (128,)},
        ),
        ("model.language_model.layers.3.self_attn.k_proj", "Linear", {"weight": (1024, 2048)}),
        ("model.language_model.layers.3.mlp.down_proj", "Linear", {"weight": (2048, 6144)}),
        (
            "model.visual.patch_embed.proj",
            "Conv3d",
            {"weight": (1024, 3, 2, 16, 16), "bias": (1024,)},
        ),
        ("model.visual.pos_embed", "Embedding", {"weight": (2304, 1024)}),
        (
            "model.visual.blocks.0.attn.qkv",
            "Linear",
            {"weight": (3072, 1024), "bias": (3072,)},
        ),
        (
            "model.visual.deepstack_merger_list.0",
            "Qwen3VLVisionPatchMerger",
            {"norm.weight": (4096,), "norm.bias": (4096,)},
        ),
        (
            "model.visual.merger.linear_fc2",
            "Linear",
            {"weight": (2048, 4096), "bias": (2048,)},
        ),
    ],
)
def test_shapes_of_the_2b_model(
    tree_2b: dict[str, ModuleNode], path: str, kind: str, weights: dict[str, tuple[int, ...]]
) -> None:
    assert tree_2b[path].kind == kind
    assert dict(tree_2b[path].weights) == weights


def test_the_2b_tree_is_small_enough_to_draw(tree_2b: dict[str, ModuleNode]) -> None:
    # Whole model, model, visual, language_model, lm_head; patch_embed + proj, pos_embed, blocks,
    # merger + 2, list + 3 x 3; a block and 6 below it; embed_tokens, layers; a layer and 9 below.
    assert len(tree_2b) == 5 + 4 + 3 + 10 + 24 * 7 + 2 + 28 * 10 == 472
    assert all(node.num_parameters or node.tied_to for node in tree_2b.values())


def test_the_head_says_whose_weight_it_shares(tree_2b: dict[str, ModuleNode]) -> None:
    assert tree_2b["lm_head"].tied_to == "model.language_model.embed_tokens"
    assert {node.path for node in tree_2b.values() if node.tied_to} == {"lm_head"}


def test_building_on_meta_takes_no_storage() -> None:
    model = build_on_meta(load_config())
    assert {weight.device.type for weight in model.parameters()} == {"meta"}
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    assert not model.training


def test_parents_come_first_and_hold_the_sum_of_their_parts(engine: Engine) -> None:
    nodes = module_tree(engine.model)
    seen: dict[str, ModuleNode] = {}
    children: dict[str, int] = {}
    for node in nodes:
        assert (node.parent is None) == (node.path == "")
        if node.parent is not None:
            assert node.parent in seen
            children[node.parent] = children.get(node.parent, 0) + node.num_parameters
        seen[node.path] = node
    for path, below in children.items():
        own = sum(torch.Size(shape).numel() for _, shape in seen[path].weights)
        assert seen[path].num_parameters == below + own
    weights = {weight.data_ptr(): weight for weight in engine.model.parameters()}
    assert nodes[0].num_parameters == sum(weight.numel() for weight in weights.values())
    assert nodes[0].num_bytes == sum(weight.nbytes for weight in weights.values())


def test_depth_counts_steps_from_the_whole_model(tree_2b: dict[str, ModuleNode]) -> None:
    assert tree_2b[""].depth == 0
    assert tree_2b["lm_head"].depth == 1
    assert tree_2b["model.visual.blocks.0"].depth == 4
    assert tree_2b["model.visual.blocks.0"].name == "0"


def test_a_mixture_of_experts_is_described_by_one_expert(tiny_random_moe_engine: Engine) -> None:
    facts = tiny_random_moe_engine.facts
    assert facts.is_moe
    assert (facts.num_experts, facts.num_experts_per_tok, facts.intermediate_size) == (4, 2, 32)
    tree = {node.path: node for node in module_tree(tiny_random_moe_engine.model)}
    experts = tree["model.language_model.layers.0.mlp.experts"]
    assert dict(experts.weights) == {"gate_up_proj": (4, 64, 64), "down_proj": (4, 64, 32)}
    assert experts.num_parameters == 4 * 3 * 64 * 32
    assert tree["lm_head"].tied_to == ""
    assert tree["lm_head"].num_parameters == facts.vocab_size * 64


def test_a_mixture_without_its_own_head_dim_gets_hidden_over_heads() -> None:
    config = AutoConfig.for_model("qwen3_vl_moe")
    facts = describe_config(config)
    assert facts.is_moe
    assert facts.num_experts == 60
    assert facts.head_dim == 128
