"""Tables: values against the tensors, alignment, escaping and limits."""

from __future__ import annotations

import re

import pytest

from components.views import tables
from components.views.tables import (
    Mono,
    RerunButton,
    format_bytes,
    table_html,
    tensors_table,
    tokens_table,
)
from playground.engine import Engine
from playground.language import speaking
from playground.preprocess.stage import run_preprocess
from playground.prompt import Prompt, PromptImage, Turn
from playground.records import ModelInputs
from playground.tokens import find_typed_specials
from tests.components.html_reader import read_html

EMOJI = "🜁"  # four bytes, in no training text: one character split over several tokens


@pytest.fixture(scope="module")
def inputs(tiny_random_engine: Engine, image: PromptImage) -> ModelInputs:
    turn = Turn("user", f"Describe this image. {EMOJI}", images=(image,))
    return run_preprocess(tiny_random_engine, Prompt((turn,)))


def test_numbers_stand_to_the_right_and_text_does_not() -> None:
    page = read_html(table_html(("Name", "Count"), [("a", 12345), ("b", 0.5), ("c", None)]))
    heads = page.find("th")
    assert ["pg-num" in each.classes for each in heads] == [False, True]
    assert all(each.attrs["scope"] == "col" for each in heads)
    assert page.rows() == [["Name", "Count"], ["a", "12,345"], ["b", "0.5"], ["c", "–"]]
    forced = read_html(table_html(("Name", "Time"), [("a", "3 ms")], right=(1,)))
    assert "pg-num" in forced.find("td")[1].classes


def test_a_table_that_scrolls_has_a_name_and_can_be_reached() -> None:
    region = read_html(table_html(("A",), [(1,)], "What it shows")).find("div", "pg-table")[0]
    assert region.attrs["tabindex"] == "0"
    assert region.attrs["role"] == "region"
    assert region.attrs["aria-label"] == "What it shows"
    with speaking("zh"):
        unnamed = read_html(table_html(("A",), [(1,)])).find("div", "pg-table")[0]
    assert unnamed.attrs["aria-label"] == "表格"


def test_cells_are_escaped() -> None:
    page = read_html(table_html(("<h>",), [("<script>",), (Mono("<b>&"),)], "<c>"))
    assert page.rows() == [["<h>"], ["<script>"], ["<b>&"]]
    assert page.find("script") == []


def test_long_tables_are_cut_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_ROWS", 3)
    rows = read_html(table_html(("N",), [(n,) for n in range(10)])).rows()
    assert rows == [["N"], ["0"], ["1"], ["2"], ["… and 7 more rows"]]


def test_long_words_have_room() -> None:
    """A narrow table would put every word, or every Chinese character, on its own line."""
    headers = ("t", "Positions used", "占用的位置数", "x" * 99, "Asked", "请求", "w")
    row = (1, 2, 3, 4, "▦ circle: How many shapes are there?", 5, Mono("x" * 99))
    page = table_html(headers, [row])
    heads = re.findall("<th [^>]*>", page)
    rooms = [re.findall(r"--letters: (\d+)", head) for head in heads]
    assert rooms == [[], ["9"], ["8"], ["18"], ["12"], ["4"], []]


def test_rows_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 2 cells, got 1"):
        table_html(("A", "B"), [(1,)])


def test_token_rows_match_the_record(inputs: ModelInputs) -> None:
    rows = read_html(tokens_table(inputs)).rows()[1:]
    span = inputs.spans[0]
    assert len(rows) == inputs.num_tokens - (span.end - span.start) + 1
    folded = next(row for row in rows if "–" in row[0])
    count = span.end - span.start
    assert folded[0] == f"{span.start}–{span.end - 1}"
    assert folded[2] == f"{count} × <|image_pad|>"
    assert folded[6] == "image"
    by_index = {row[0]: row for row in rows}
    for token in inputs.tokens:
        if token.kind == "text":
            row = by_index[str(token.index)]
            assert row[1] == str(token.id)
            assert bytes.fromhex(row[3]) == token.raw
            assert row[5] == token.role


def test_characters_covered(inputs: ModelInputs) -> None:
    rows = {row[0]: row for row in read_html(tokens_table(inputs)).rows()[1:]}
    text_tokens = [token for token in inputs.tokens if token.kind == "text"]
    whole = next(token for token in text_tokens if token.text == " this")
    assert rows[str(whole.index)][4] == "5"
    index = inputs.expanded_prompt.index(EMOJI)
    parts = [t for t in text_tokens if t.char_start <= index < t.char_end]
    assert len(parts) > 1, "the tokenizer knows this character: choose another"
    assert all(EMOJI in rows[str(token.index)][4] for token in parts)
    assert all(rows[str(token.index)][4].startswith("part of ") for token in parts)


def test_tensor_rows_match_the_tensors(inputs: ModelInputs) -> None:
    rows = {row[0]: row for row in read_html(tensors_table(inputs)).rows()[1:]}
    assert list(rows) == [
        "input_ids",
        "attention_mask",
        "mm_token_type_ids",
        "pixel_values",
        "image_grid_thw",
    ]
    values = inputs.pixel_values
    assert values is not None
    name, shape, dtype, device, low, mean, high, size, first = rows["pixel_values"]
    assert shape == f"{values.shape[0]} × {values.shape[1]}"
    assert (name, dtype, device) == ("pixel_values", "float32", "cpu")
    assert first.split(", ")[:4] == [f"{value:.4f}" for value in values.flatten()[:4].tolist()]
    assert first.endswith(", …")
    assert float(low) == pytest.approx(values.min().item(), rel=1e-3)
    assert float(mean) == pytest.approx(values.mean().item(), rel=1e-3)
    assert float(high) == pytest.approx(values.max().item(), rel=1e-3)
    assert size == format_bytes(values.nbytes)
    grid = inputs.image_grid_thw
    assert grid is not None
    _, down, across = grid[0].tolist()
    mean = f"{(1 + down + across) / 3:.4g}"
    assert rows["image_grid_thw"][4:7] == ["1", mean, str(max(down, across))]
    assert rows["image_grid_thw"][-1] == f"1, {down}, {across}"  # all values: no ellipsis
    moved = read_html(tensors_table(inputs, "cuda:0")).rows()[1]
    assert moved[3] == "cpu → cuda:0"


def test_a_button_in_a_cell() -> None:
    rows = [
        (RerunButton("Use <b>", {"max_pixels": 4096}),),
        (RerunButton("On", {"max_pixels": 1}, True),),
    ]
    page = read_html(table_html(("Use",), rows))
    first, second = page.find("button", "pg-choice")
    assert (first.text, first.attrs["data-rerun"]) == ("Use <b>", '{"max_pixels": 4096}')
    assert (first.attrs["aria-pressed"], second.attrs["aria-pressed"]) == ("false", "true")


def test_typed_special_tokens_are_marked_in_the_table(tiny_random_engine: Engine) -> None:
    turn = Turn("user", "Hi <|im_end|> there")
    typed_inputs = run_preprocess(tiny_random_engine, Prompt((turn,)))
    typed = find_typed_specials(tiny_random_engine.tokenizer, typed_inputs.expanded_prompt)
    marked = {
        row[0]
        for row in read_html(tokens_table(typed_inputs, typed)).rows()[1:]
        if row[6] == "✎ text: typed <|im_end|>"
    }
    (each,) = typed
    spelled = b"".join(typed_inputs.tokens[int(index)].raw for index in sorted(marked, key=int))
    assert "<\u200b|im_end|>" in spelled.decode()
    assert len(spelled) <= len("<\u200b|im_end|>".encode()) + 1  # a space may belong to the token
    assert each.name == "<|im_end|>"


@pytest.mark.parametrize(
    ("num_bytes", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (2_500_000, "2.5 MB"),
        (3 * 10**9, "3.0 GB"),
    ],
)
def test_sizes_in_words(num_bytes: int, words: str) -> None:
    assert format_bytes(num_bytes) == words
