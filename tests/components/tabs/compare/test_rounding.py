"""What if rounded: from the controls to both answers, the charts and the examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from components.prompt.examples import load_examples
from components.tabs.compare import rounding, tab
from components.tabs.compare.rounding import CHOICE_IDS, PART, PRESETS, Rounded, read_formats
from components.tabs.compare.rounding_words import LABELS, formats_words
from components.tabs.decoder.answer import NEW_TOKENS, answer_of
from playground.compare.rounded import MODEL_PARTS
from playground.compare.rounded_runs import run_rounded
from playground.compare.rounding import Format
from playground.engine import Engine
from playground.pipeline import Run
from playground.prompt import PromptImage
from tests.components.drawings import draw_part, make_drawing
from tests.components.html_reader import read_html
from tests.components.runs import ignore_progress, make_run

INT4_MLP = ("kept", "kept", "kept", "int4", "kept", 32)
KEPT = ("kept",) * 5 + (0,)


@pytest.fixture(scope="module")
def run(tiny_random_engine: Engine, image: PromptImage) -> Run:
    made = make_run(tiny_random_engine, "What is this?", image)
    made.ensure("decoder")
    return made


@pytest.fixture(scope="module")
def rounded(run: Run) -> Rounded:
    (found,) = rounding.ran(run, ignore_progress, *INT4_MLP)
    return found


def parse_all(run: Run, raw: dict[str, Any]) -> list[Any]:
    """The values of ``CHOICE_IDS`` from raw ones by id."""
    by_id = {control.id: control for control in PART.controls}
    return [by_id[name].parse(raw.get(name), run) for name in CHOICE_IDS]


def test_the_parts_are_the_engine_s() -> None:
    assert tuple(LABELS) == MODEL_PARTS


@pytest.mark.parametrize(
    ("label", "formats"),
    [
        ("FP8 everywhere", dict.fromkeys(MODEL_PARTS, Format("fp8"))),
        ("int8 everywhere", dict.fromkeys(MODEL_PARTS, Format("int8"))),
        ("int4 everywhere", dict.fromkeys(MODEL_PARTS, Format("int4"))),
        ("int4, decoder MLP only", {"mlp": Format("int4")}),
    ],
)
def test_presets(run: Run, label: str, formats: dict[str, Format]) -> None:
    values = dict(PRESETS.details(run)["options"])[label]
    assert read_formats(*parse_all(run, values)) == formats
    assert PRESETS.then in PART.experiments


def test_groups_are_those_of_int4(run: Run) -> None:
    raw = {"vision": "int4", "merger": "kept", "mlp": "int8", "group": 64}
    assert read_formats(*parse_all(run, raw)) == {
        "vision": Format("int4", 64),
        "attention": Format("fp8"),
        "mlp": Format("int8"),
        "embeddings": Format("fp8"),
    }


def test_what_is_shown_is_the_engine_s(run: Run, rounded: Rounded) -> None:
    expected = run_rounded(
        run,
        {"mlp": Format("int4", 32)},
        original=answer_of(run, ignore_progress),
        max_new_tokens=NEW_TOKENS,
    )
    assert rounded.found.rounded == expected.rounded
    (bars,) = rounding.errors(run, rounded).data  # type: ignore[union-attr]
    (part,) = (each for each in expected.parts if each.format)
    np.testing.assert_allclose(bars.x, [part.error], rtol=1e-6)
    assert (bars.y, bars.customdata) == (("Decoder MLP",), ("int4, groups of 32",))
    drift = rounding.drift(run, rounded).data[0]  # type: ignore[union-attr]
    steps = dict(zip(drift.customdata, drift.y, strict=True))
    relative = {check.name: check.relative for check in expected.drift.checks}
    assert steps["decoder.hidden_states.0"] == 0
    assert steps["decoder.logits"] == pytest.approx(relative["decoder.logits"])
    shift = rounding.shift(run, rounded)
    assert shift is not None
    assert [trace.name for trace in shift.data] == ["original", "rounded"]
    verdict = rounding.verdict(run, rounded)
    assert f"= {expected.shift.kl:.3g} nats" in verdict


def test_the_shown_formats_and_a_hint_after_a_change(run: Run, rounded: Rounded) -> None:
    text = rounding.settings(run, rounded, *INT4_MLP)
    assert "Rounded in this run: Decoder MLP int4, groups of 32." in text
    assert "have changed" not in text
    assert "have changed" in rounding.settings(run, rounded, *KEPT)


def test_bytes_are_counted_with_the_scales(run: Run, rounded: Rounded) -> None:
    table = read_html(rounding.sizes(run, rounded))
    rows = {row[0]: row[1:] for row in table.rows()}
    part = next(each for each in rounded.found.parts if each.part == "mlp")
    assert rows["Decoder MLP"][:2] == ["int4, groups of 32", f"{part.num_weights:,}"]
    assert rows["Vision tower"][0] == "as it is"
    assert rows["Vision tower"][2] == rows["Vision tower"][3]
    # 4 bits a weight, and 4 bytes for each group of 32: the rows are multiples of it.
    assert part.stored_bytes == part.num_weights // 2 + part.num_weights // 32 * 4


def test_nothing_rounded_changes_nothing(run: Run) -> None:
    (found,) = rounding.ran(run, ignore_progress, *KEPT)
    assert "stays the same" in rounding.verdict(run, found)
    assert "Rounded in this run: nothing." in rounding.settings(run, found, *KEPT)
    assert rounding.errors(run, found) is None
    assert "equal at every step" in rounding.drift(run, found).layout.title.text  # type: ignore[union-attr]
    assert "0% less" in rounding.sizes(run, found)


def test_every_example_is_tried(shipped_engine: Engine) -> None:
    """FP8 everywhere changes no first token of the gallery on the shipped checkpoint."""
    run = make_run(shipped_engine, "Hello")
    *_, found = rounding.tried(run, ignore_progress, *("fp8",) * 5, 0)
    assert len(found.answers) == len(load_examples())
    assert 0 not in [each.first_difference for each in found.answers]
    shown = rounding.examples(run, found)
    rows = read_html(shown).rows()[1:]
    assert [row[0] for row in rows] == [example.text for example in load_examples()]
    assert [row[2] for row in rows] == [each.original.text for each in found.answers]
    changed = sum(each.first_difference is not None for each in found.answers)
    words = f"Of {len(rows)} examples, 0 begin with another token and {changed} get another answer."
    assert words in shown


def test_the_formats_in_words() -> None:
    assert formats_words(dict.fromkeys(MODEL_PARTS, Format("int4", 64))) == (
        "int4, groups of 64 everywhere"
    )
    some = {"merger": Format("fp8"), "mlp": Format("int8")}
    assert formats_words(some) == "Mergers FP8; Decoder MLP int8"


def test_before_it_has_run_only_the_code_is_shown(run: Run) -> None:
    drawn = draw_part(make_drawing(tab.TAB), PART, run)
    assert "float8_e4m3fn" in drawn.pop("script")
    assert not any(drawn.values())
