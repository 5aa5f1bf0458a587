"""The rounding formula, element by element, and torch's own cast to float8."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from playground.compare import rounding
from playground.compare.rounding import GROUPS, Format, round_weight, row_width, stored_bytes
from playground.errors import InputError


def test_int4_by_hand() -> None:
    weight = torch.tensor([[3.5, -0.25, 0.75, 1.0, -3.4], [0.0, 0.0, 0.0, 0.0, 0.0]])
    rounded = round_weight(weight, Format("int4"))
    # scale = 3.5 / 7 = 0.5: 7, -0.5 → 0, 1.5 → 2, 2 and -6.8 → -7, then times 0.5.
    assert rounded.values.tolist() == [[3.5, 0.0, 1.0, 1.0, -3.5], [0.0] * 5]
    assert rounded.square == pytest.approx(3.5**2 + 0.25**2 + 0.75**2 + 1 + 3.4**2)
    assert rounded.error_square == pytest.approx(0.25**2 + 0.25**2 + 0.1**2)


def test_int8_by_hand() -> None:
    weight = torch.tensor([[127.0, 0.5, -1.5, 63.4], [-2.0, 1.0, 0.0, 0.008]])
    # The second row's scale is 2 / 127: -127, 63.5 → 64, 0 and 0.508 → 1.
    expected = torch.tensor([[127.0, 0.0, -2.0, 63.0], [-127.0, 64.0, 0.0, 1.0]])
    expected[1] *= 2 / 127
    torch.testing.assert_close(round_weight(weight, Format("int8")).values, expected)


def test_fp8_by_hand() -> None:
    """3 bits of mantissa; below 2^-6 the steps are 2^-9. The largest value makes the scale 1."""
    weight = torch.tensor([[448.0, 17.0, 19.0, -0.3, 0.001, 2**-9, 0.0009]])
    expected = [448.0, 16.0, 20.0, -0.3125, 2**-9, 2**-9, 0.0]
    assert round_weight(weight, Format("fp8")).values[0].tolist() == expected


def test_fp8_is_torch_s_cast() -> None:
    torch.manual_seed(0)
    weight = torch.randn(6, 50)
    scale = weight.abs().amax(1, keepdim=True) / torch.finfo(torch.float8_e4m3fn).max
    expected = (weight / scale).to(torch.float8_e4m3fn).float() * scale
    assert torch.equal(round_weight(weight, Format("fp8")).values, expected)


@pytest.mark.parametrize("chunk", [7, 1 << 22])
@pytest.mark.parametrize("group", [0, *GROUPS])
@pytest.mark.parametrize(("kind", "most"), [("int8", 127), ("int4", 7)])
def test_integers_are_the_formula(
    kind: rounding.Kind, most: int, group: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Element by element in numpy; 200 inputs leave a shorter last group for each size."""
    monkeypatch.setattr(rounding, "CHUNK_VALUES", chunk * 200)
    torch.manual_seed(1)
    weight = torch.randn(11, 200)
    expected = np.empty((11, 200), np.float32)
    width = group or 200
    for row in range(11):
        for start in range(0, 200, width):
            values = weight[row, start : start + width].numpy()
            scale = np.float32(np.abs(values).max()) / np.float32(most)
            for column, value in enumerate(values, start):
                expected[row, column] = np.rint(value / scale) * scale
    found = round_weight(weight, Format(kind, group))
    np.testing.assert_array_equal(found.values.numpy(), expected)
    difference = expected.astype(float) - weight.numpy().astype(float)
    assert found.error_square == pytest.approx((difference**2).sum(), rel=1e-4)


def test_a_group_has_a_scale_of_its_own() -> None:
    row = torch.ones(40)
    row[0], row[32], row[33] = 7.0, 14.0, 3.0
    grouped = round_weight(row[None], Format("int4", 32)).values[0]
    assert grouped[1:32].tolist() == [1.0] * 31  # scale 1
    assert grouped[32:35].tolist() == [14.0, 4.0, 0.0]  # the last 8: scale 2, 1.5 → 2, 0.5 → 0
    assert round_weight(row[None], Format("int4")).values[0, 1] == 0  # one scale of 2 for all


def test_a_weight_keeps_its_shape_and_dtype() -> None:
    filters = torch.randn(4, 3, 2, 2, 2, dtype=torch.bfloat16)
    rounded = round_weight(filters, Format("int4")).values
    assert rounded.shape == filters.shape
    assert rounded.dtype == torch.bfloat16
    assert torch.equal(rounded.flatten(1), round_weight(filters.flatten(1), Format("int4")).values)
    experts = torch.randn(2, 5, 8)
    rounded = round_weight(experts, Format("int8")).values
    assert torch.equal(rounded[1], round_weight(experts[1], Format("int8")).values)
    assert (row_width(filters.shape), row_width(experts.shape)) == (24, 8)


@pytest.mark.parametrize("kind", ["fp8", "int8", "int4"])
def test_tiny_weights_stay_finite(kind: rounding.Kind) -> None:
    weight = torch.tensor([[1e-45, 0.0, -1e-45], [1e-38, 1e-40, 0.0]])
    assert torch.isfinite(round_weight(weight, Format(kind)).values).all()


def test_bytes_by_hand() -> None:
    assert stored_bytes((10, 100), Format("int8")) == 10 * (100 + 4)
    assert stored_bytes((10, 100), Format("fp8")) == 10 * (100 + 4)
    assert stored_bytes((10, 101), Format("int4")) == 10 * (51 + 4)  # two a byte
    assert stored_bytes((10, 100), Format("int4", 32)) == 10 * (50 + 4 * 4)
    assert stored_bytes((2, 10, 64), Format("int4", 64)) == 20 * (32 + 4)
    assert stored_bytes((4, 3, 2, 2, 2), Format("int8")) == 4 * (24 + 4)


@pytest.mark.parametrize(("kind", "group"), [("fp8", 32), ("int4", 33), ("int8", -32)])
def test_other_groups_are_refused(kind: rounding.Kind, group: int) -> None:
    with pytest.raises(InputError, match="has no groups"):
        Format(kind, group)
