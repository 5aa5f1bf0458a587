"""GPTQ and AWQ, packed by hand as their formats are written down: run as they are stored."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from playground.model_facts import count_parameters
from tests.playground.loading.edits import edit_config
from tests.playground.loading.test_quantised import GROUP, MLP, check_every_stage, load

BIAS = 8  # stored numbers of 4 bits are 0 to 15
PER_WORD = 8  # of them in 32 bits
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)  # columns within a word, from the lowest bits


def pack(numbers: torch.Tensor, order: tuple[int, ...] = tuple(range(PER_WORD))) -> torch.Tensor:
    """``(rows, columns)`` numbers of 4 bits as ``(rows, columns / 8)`` words."""
    fields = numbers.long().unflatten(1, (-1, PER_WORD))[..., list(order)]
    words = (fields << 4 * torch.arange(PER_WORD)).sum(-1)
    return torch.where(words >= 2**31, words - 2**32, words).int()


def pack_checkpoint(folder: Path, method: str) -> torch.Tensor:
    """Quantise the decoder's projections; what ``MLP``'s weight is then."""
    stored, by_hand = {}, torch.empty(0)
    for name, weight in load_file(folder / "model.safetensors").items():
        if "language_model.layers" not in name or not name.endswith("proj.weight"):
            stored[name] = weight.half()
            continue
        columns = weight.T.unflatten(0, (-1, GROUP))  # (groups, rows of a group, out)
        scales = (columns.abs().amax(1) / 7).half()
        steps = (columns / scales[:, None].float()).round().clamp(-BIAS, 7)
        if name == f"{MLP}.weight":
            by_hand = (steps * scales[:, None].float()).flatten(0, 1).T
        numbers, zeros = steps.flatten(0, 1) + BIAS, torch.full(scales.shape, BIAS)
        path = name.removesuffix(".weight")
        stored[f"{path}.scales"] = scales
        if method == "gptq":
            stored[f"{path}.qweight"] = pack(numbers.T).T.contiguous()
            stored[f"{path}.qzeros"] = pack(zeros - 1)  # the format's first version adds one
            stored[f"{path}.g_idx"] = torch.arange(len(numbers), dtype=torch.int32) // GROUP
        else:
            stored[f"{path}.qweight"] = pack(numbers, AWQ_ORDER)
            stored[f"{path}.qzeros"] = pack(zeros, AWQ_ORDER)
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    own = {
        "gptq": {"desc_act": False, "sym": True, "checkpoint_format": "gptq"},
        "awq": {"zero_point": True, "version": "gemm"},
    }
    common = {"quant_method": method, "bits": 4, "group_size": GROUP}
    left_out = {"modules_to_not_convert": ["model.visual", "lm_head"]}
    edit_config(folder, dtype="float16", quantization_config=common | own[method] | left_out)
    return by_hand


@pytest.mark.skipif(find_spec("gptqmodel") is None, reason="gptqmodel is not installed")
@pytest.mark.filterwarnings("ignore")  # the package's own
@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_gptq_and_awq_stay_quantised(brought: Path, method: str) -> None:
    num_weights = load().model.num_parameters()
    by_hand = pack_checkpoint(brought, method)
    engine = load()
    states = torch.randn(5, by_hand.shape[1], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        got = engine.model.get_submodule(MLP)(states.to(engine.dtype)).float()
    torch.testing.assert_close(got, states @ by_hand.T, rtol=0.01, atol=0.01)
    check_every_stage(engine)
    assert count_parameters(engine.model) == num_weights
    quantisation = engine.origin.quantisation
    assert quantisation is not None
    assert (quantisation.form, quantisation.dequantised_to) == ("int4", "")
    assert [part.num_quantised for part in quantisation.parts] == [0, 0, 0, 16, 12]
