"""How sure each coordinate is: against plain forwards and the stored logits."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch

from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.grounding import edges as edges_module
from playground.grounding.edges import Edge, measure_edges
from playground.grounding.number_tokens import answer_tokens
from playground.grounding.read import Coordinate, Found
from playground.loading.load import load_engine
from playground.logits import apply_head
from playground.pipeline import Run
from playground.preprocess.stage import model_kwargs
from playground.tokens import token_bytes
from tests.playground.grounding.conftest import BOX, answer_with
from tests.playground.sampling_prefills import poisoned_deltas

TWO_DIGITS = re.compile("0|[1-9][0-9]?")
DIGITS = {str(digit).encode(): str(digit) for digit in range(10)}
# A number in tokens of several digits, with what stands before and after it.
WIDE_TOKENS = ("12", "345", ": [9", ", 7", "6]")


def stored_product(answered: Run, coordinate: Coordinate) -> float:
    """The product of softmax of the run's own logits for the written digits and their end."""
    tokens = answer_tokens(answered.inputs)
    start = tokens[0].char_start
    first = next(t for t in tokens if t.char_start - start == coordinate.start)
    last = next(t for t in tokens if t.char_end - start == coordinate.end)
    rows = list(range(first.index - 1, last.index + 1))
    logits = apply_head(answered.engine, answered.decoded.last_hidden_state[rows])
    probs = logits.double().softmax(-1)
    ids = answered.inputs.input_ids[0, first.index : last.index + 1]
    ten = [answered.engine.tokenizer.convert_tokens_to_ids(digit) for digit in DIGITS.values()]
    written = probs[:-1].gather(1, ids[:, None]).prod()
    return float(written * (1 - probs[-1, ten].sum()))


def test_the_written_value_has_the_probability_of_the_stored_logits(any_engine: Engine) -> None:
    answered, (box,) = answer_with(any_engine, BOX)
    measured = measure_edges(answered, box)
    for edge, coordinate in zip(measured, box.coordinates, strict=True):
        assert edge is not None
        assert edge.written == coordinate.value
        expected = stored_product(answered, coordinate)
        assert edge.written_prob == pytest.approx(expected, rel=1e-3, abs=1e-5 * expected)
        assert edge.written_prob == pytest.approx(expected, abs=1e-5)
        assert 0 < edge.mass <= 1
        assert edge.mass == pytest.approx(sum(prob for _, prob in edge.values))
        assert edge.low <= edge.median <= edge.high
        assert [value for value, _ in edge.values] == sorted({value for value, _ in edge.values})


def enumerate_values(answered: Run, start: int, lead: bytes) -> dict[int, float]:
    """Every number of at most two digits, by plain forwards over the whole sequence."""
    engine = answered.engine
    model: Any = engine.model
    raws = [token_bytes(engine.tokenizer, number) for number in range(len(engine.tokenizer))]
    values: dict[int, float] = defaultdict(float)

    def follow(ids: list[int], digits: str, prob: float) -> None:
        kwargs = model_kwargs(answered.inputs)
        for name in ("input_ids", "attention_mask", "mm_token_type_ids"):
            kwargs[name] = kwargs[name][:, :start]
            added = torch.tensor([ids], dtype=torch.int64)
            if name != "input_ids":
                added = torch.full_like(added, int(name == "attention_mask"))
            kwargs[name] = torch.cat([kwargs[name], added], dim=1)
        before = model.model.rope_deltas
        with torch.no_grad():
            probs = model(**kwargs).logits[0, -1].double().softmax(-1).tolist()
        model.model.rope_deltas = before
        others = 1.0
        for number, raw in enumerate(raws):
            match = re.match(rb"([0-9]+)(.*)", raw.removeprefix(lead if not digits else b""), re.S)
            if match is None or (not digits and not raw.startswith(lead)):
                continue
            others -= probs[number]
            longer, joint = digits + match[1].decode(), prob * probs[number]
            if not TWO_DIGITS.fullmatch(longer):
                continue
            if match[2]:
                values[int(longer)] += joint
            else:
                follow([*ids, number], longer, joint)
        if digits:
            values[int(digits)] += prob * others

    follow([], "", 1.0)
    return values


def check_against_enumeration(answered: Run, box: Found, number: int, lead: bytes) -> Edge:
    edge = measure_edges(answered, box, beam=None)[number]
    assert edge is not None
    tokens = answer_tokens(answered.inputs)
    shift = tokens[0].char_start
    place = box.coordinates[number].start
    first = next(t for t in tokens if t.char_start - shift <= place < t.char_end - shift)
    expected = enumerate_values(answered, first.index, lead)
    assert dict(edge.values).keys() == expected.keys()
    for value, prob in edge.values:
        assert prob == pytest.approx(expected[value], rel=1e-3, abs=1e-9)
    assert edge.mass == pytest.approx(sum(expected.values()), rel=1e-3)
    assert edge.mass <= 1
    return edge


def test_without_a_limit_it_is_the_whole_distribution(
    any_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edges_module, "WHOLE", TWO_DIGITS)
    answered, (point,) = answer_with(any_engine, '{"point_2d": [31, 7]}')
    edge = check_against_enumeration(answered, point, 1, b"")
    assert [value for value, _ in edge.values] == list(range(100))


@pytest.fixture(scope="module")
def wide_engine(tiny_random_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """A random checkpoint whose tokens hold several digits and what surrounds them."""
    folder = tmp_path_factory.mktemp("wide")
    engine = load_engine(tiny_random_folder, device="cpu", dtype="float32")
    # Into rows of lm_head that the tokenizer leaves unused, or in place of rare tokens.
    engine.tokenizer.add_tokens(list(WIDE_TOKENS))
    model: Any = engine.model
    model.resize_token_embeddings(len(engine.tokenizer), mean_resizing=False)
    model.save_pretrained(folder)
    engine.processor.save_pretrained(folder)
    return load_engine(folder, device="cpu", dtype="float32")


def test_tokens_of_several_digits(wide_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edges_module, "WHOLE", TWO_DIGITS)
    answered, (point,) = answer_with(wide_engine, '{"point_2d": [98, 76]}')
    texts = [token.text for token in answer_tokens(answered.inputs)]
    assert {": [9", ", 7", "6]"} <= set(texts)
    first = check_against_enumeration(answered, point, 0, b": [")
    second = check_against_enumeration(answered, point, 1, b", ")
    assert first.written == 98
    # Only tokens that begin with the same lead are followed.
    assert [value for value, _ in first.values] == [9, *range(90, 100)]
    assert [value for value, _ in second.values] == [7, *range(70, 80)]


def test_a_narrower_beam_covers_less(shipped_engine: Engine) -> None:
    answered, (box,) = answer_with(shipped_engine, BOX)
    narrow, wide = (measure_edges(answered, box, beam=beam) for beam in (1, 64))
    for few, many in zip(narrow, wide, strict=True):
        assert few is not None
        assert many is not None
        assert few.mass <= many.mass
        known = dict(many.values)
        for value, prob in few.values:
            assert value in known
            assert prob == pytest.approx(known[value], rel=1e-3, abs=1e-9)
    assert any(few.mass < many.mass for few, many in zip(narrow, wide, strict=True) if few and many)


def test_rows_that_do_not_fit_run_in_parts(
    tiny_random_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, (box,) = answer_with(tiny_random_engine, BOX)
    together = measure_edges(answered, box, beam=8)
    monkeypatch.setattr(edges_module, "CACHE_BYTES", 1)
    alone = measure_edges(answer_with(tiny_random_engine, BOX)[0], box, beam=8)
    for one, other in zip(together, alone, strict=True):
        assert one is not None
        assert other is not None
        assert one.mass == pytest.approx(other.mass, rel=1e-3)


def test_it_runs_once_and_leaves_the_run_as_it_was(shipped_engine: Engine) -> None:
    answered, (box,) = answer_with(shipped_engine, BOX)
    keys = [layer.keys.clone() for layer in answered.decoded.cache.layers]
    lengths: list[tuple[int, ...]] = []
    layer = shipped_engine.model.model.language_model.layers[0]
    hook = layer.register_forward_pre_hook(lambda _m, args: lengths.append(tuple(args[0].shape)))
    with poisoned_deltas(shipped_engine):
        first = measure_edges(answered, box)
    ran = len(lengths)
    assert measure_edges(answered, box) == first
    hook.remove()
    assert len(lengths) == ran <= 4 * 4
    assert all(tokens <= 4 for _, tokens, _ in lengths)  # no second prefill
    assert all(map(torch.equal, (each.keys for each in answered.decoded.cache.layers), keys))


def test_it_stops_between_forwards_and_keeps_what_is_done(shipped_engine: Engine) -> None:
    answered, (box,) = answer_with(shipped_engine, BOX)
    seen: list[int] = []

    def stop(_what: str, done: int, total: int) -> None:
        assert total == 4
        seen.append(done)
        if done == 1:
            raise StageCancelled

    with pytest.raises(StageCancelled):
        measure_edges(answered, box, progress=stop)
    seen.clear()
    measure_edges(answered, box, progress=lambda _w, done, _t: seen.append(done))
    assert set(seen) == {1, 2, 3}


@pytest.mark.parametrize(
    ("written", "expected"),
    [("[12.5, -3]", [None, None]), ("[05, 12345]", [None, None]), ("[1e2, 1000]", [None, 1000])],
)
def test_only_plain_whole_numbers_are_measured(
    tiny_random_engine: Engine, written: str, expected: list[int | None]
) -> None:
    answered, (point,) = answer_with(tiny_random_engine, f'{{"point_2d": {written}}}')
    found = measure_edges(answered, point, beam=2)
    assert [None if edge is None else edge.written for edge in found] == expected


def test_a_box_of_another_answer_is_refused(tiny_random_engine: Engine) -> None:
    answered, _ = answer_with(tiny_random_engine, BOX)
    _, (other,) = answer_with(tiny_random_engine, "[" + BOX)
    with pytest.raises(InputError, match="does not hold"):
        measure_edges(answered, other)


def test_quantiles_by_hand() -> None:
    edge = edges_module._make_edge(5, {9: 0.1, 1: 0.05, 5: 0.3, 6: 0.05})
    assert edge.values == ((1, 0.05), (5, 0.3), (6, 0.05), (9, 0.1))
    assert edge.mass == pytest.approx(0.5)
    assert (edge.low, edge.median, edge.high) == (1, 5, 9)
    assert edge.written_prob == 0.3
