"""The decoder tab's sequence: the prompt, or a prompt and an answer."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from components.parts.experiments import run_experiment
from components.parts.question import Question
from components.pointer.selection import read_selection
from components.prompt.examples import load_examples
from components.prompt.reader import read_prompt
from components.tabs.decoder import attention, influence, sequence, what_if
from components.tabs.decoder.answer import answer_ids, answer_of, continue_greedily
from components.tabs.decoder.answer_words import shade_shares
from components.tabs.decoder.sequence import GREEDY, PROMPT, SAMPLED, TYPED, Answered
from components.tabs.decoder.tab import TAB
from components.tabs.decoder.verdict import compare_change
from components.views.facts import share_words
from playground.decoder.attention import attention_rows, layer_queries_keys
from playground.engine import Engine
from playground.errors import InputError
from playground.experiments.first_object import find_first_object
from playground.experiments.what_if import WhatIf
from playground.pipeline import Run
from tests.components.drawings import make_drawing
from tests.components.html_reader import read_html
from tests.components.runs import ignore_progress

TEXT = "A red circle."


@pytest.fixture(scope="module")
def found(run: Run) -> Answered:
    """A typed answer, read and measured."""
    *_, last = sequence.answered(run, ignore_progress, TYPED, (), TEXT)
    return last


def test_the_greedy_answer_follows_the_prompt(run: Run) -> None:
    first, last = sequence.answered(run, ignore_progress, GREEDY, (), "")
    ids = list(answer_ids(continue_greedily(run, ignore_progress)))
    assert first.run is last.run
    assert first.tokens == ()
    assert last.run.inputs.input_ids[0].tolist() == [*run.inputs.input_ids[0].tolist(), *ids]
    assert [token.id for token in last.tokens] == ids


def test_a_sampled_answer_and_a_typed_one(run: Run, found: Answered) -> None:
    ids = run.engine.tokenizer.encode(TEXT, add_special_tokens=False)
    assert [token.id for token in found.tokens] == ids
    *_, last = sequence.answered(run, ignore_progress, SAMPLED, tuple(ids), "")
    assert [token.log_prob for token in last.tokens] == [token.log_prob for token in found.tokens]


@pytest.mark.parametrize(
    ("chosen", "sampled", "text", "message"),
    [
        (PROMPT, (), "", "Choose a sequence with an answer"),
        (SAMPLED, (), "", "In the sampling tab, click a token"),
        (SAMPLED, (10**9,), "", "There is no token 1,000,000,000"),
        (TYPED, (), "", "The text is empty"),
    ],
)
def test_what_is_no_answer(
    run: Run, chosen: str, sampled: tuple[int, ...], text: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        list(sequence.answered(run, ignore_progress, chosen, sampled, text))


@pytest.mark.parametrize("raw", [7, "1", [1.5], [True], [-1], [[1]], [1] * 1_025])
def test_what_is_no_list_of_tokens(run: Run, raw: Any) -> None:
    with pytest.raises(InputError):
        sequence.TOKENS.parse(raw, run)


@pytest.mark.parametrize("shade", ["attention", "lost", "surprisal", "layer"])
def test_the_strip_has_a_chip_for_each_token(run: Run, found: Answered, shade: Any) -> None:
    page = read_html(sequence.strip(run, TYPED, shade, found))
    (box,) = [each for each in page.find("div") if "data-answer" in each.attrs]
    about = json.loads(box.attrs["data-answer"])
    start = run.inputs.num_tokens
    assert about["start"] == start
    assert about["positions"] == found.run.merged.position_ids[0, 0, start:].tolist()
    chips = page.find("b")
    assert [int(chip.attrs["data-start"]) for chip in chips] == list(
        range(start, found.run.inputs.num_tokens)
    )
    assert "".join(chip.text for chip in chips) == TEXT
    shares = shade_shares(found.tokens, shade, found.run.decoded.num_layers)
    assert shares is not None
    assert all(0 <= share <= 1 for share in shares)
    assert f"probability {share_words(found.tokens[0].prob)}" in chips[0].attrs["title"]
    assert sequence.strip(run, PROMPT, shade, found) == ""


def test_without_an_image_only_the_model_shades(text_run: Run) -> None:
    text_run.ensure("decoder")
    *_, found = sequence.answered(text_run, ignore_progress, TYPED, (), TEXT)
    assert shade_shares(found.tokens, "attention", 4) is None
    assert shade_shares(found.tokens, "lost", 4) is None
    assert "has no image" in sequence.strip(text_run, TYPED, "lost", found)
    rows = read_html(sequence.table(text_run, TYPED, found)).find("tr")
    assert len(rows) == len(found.tokens) + 1


def test_parts_show_the_chosen_sequence(run: Run) -> None:
    drawing = make_drawing(TAB)
    key = drawing.runs.add(run)
    values = {"decoder.facts.sequence": TYPED, "decoder.facts.text": TEXT}
    asked = {"run": key, "part": "decoder.attention", "outputs": ["words"], "values": values}
    with pytest.raises(InputError, match="Press “Read the answer” above"):
        drawing.answer(asked)
    *_, done = run_experiment(
        drawing, sequence.PART, asked | {"experiment": "answered"}, ignore_progress
    )
    finding = done["finding"]
    assert finding["name"] == "decoder.facts.answered"
    asked |= {"findings": {finding["name"]: finding["key"]}, "selection": {"answer": 1}}
    shown = drawing.answer(asked)["outputs"]["words"]["html"]
    other = drawing.shown_run(attention.PART, run, Question.read(asked))
    weights = attention_rows(
        layer_queries_keys(run.engine, other.decoded, attention.LAYER.parse(None, run)),
        [run.inputs.num_tokens + 1],
    ).mean(0)[0]
    assert f"{weights.max():.0%}, is on token {int(weights.argmax())}" in shown
    values["decoder.facts.sequence"] = PROMPT
    assert "This is the last token" in drawing.answer(asked)["outputs"]["words"]["html"]


def test_a_token_of_an_answer_is_none_of_the_prompt(run: Run, found: Answered) -> None:
    assert read_selection(run, {"answer": 0}) is None
    there = read_selection(found.run, {"answer": 2})
    assert there is not None
    assert there.index == run.inputs.num_tokens + 2
    assert read_selection(found.run, {"answer": 99}) is None
    with pytest.raises(InputError):
        read_selection(found.run, {"answer": -1})
    with pytest.raises(InputError):
        read_selection(found.run, {"answer": "1"})


def test_what_ifs_are_about_the_answer_in_the_sequence(run: Run, found: Answered) -> None:
    ids = tuple(token.id for token in found.tokens)
    assert answer_ids(answer_of(found.run, ignore_progress)) == ids
    skipped = {control.id: control.parse(None, run) for control in what_if.CHANGES}
    skipped |= {what_if.SKIPPED.id: (1,)}
    (compared,) = what_if.changed(found.run, ignore_progress, *skipped.values())
    assert compared.answer_shift.ids == ids
    np.testing.assert_allclose(
        compared.answer_shift.before, [token.log_prob for token in found.tokens], atol=2e-5
    )
    assert (compared.answer_shift.after != compared.answer_shift.before).all()


def test_red_attends_to_the_red_circle_and_needs_it(shipped_engine: Engine) -> None:
    """In one picture: the occlusion map of a token beside the attention of its prediction."""
    example = load_examples()[0]
    given = {"images": example.images, "video": None, "text": example.text, "system": ""}
    run = Run(shipped_engine, read_prompt(shipped_engine, **given, max_pixels=None))
    run.ensure("decoder")
    *_, found = sequence.answered(run, ignore_progress, GREEDY, (), "")
    (number,) = [number for number, token in enumerate(found.tokens) if token.text.strip() == "red"]
    selection = read_selection(found.run, {"answer": number})
    *_, measured = influence.measured(found.run, ignore_progress, None, 1, selection)
    assert measured.token == number
    (span,) = run.inputs.spans
    circle = find_first_object(run.inputs, span)
    inside = np.isin(np.arange(span.start, span.end), circle)
    layers = measured.influence.attention
    heads = layers[..., span.start : span.end].reshape(-1, span.end - span.start)
    best = heads[int(np.argmax(heads[:, inside].sum(1) / heads.sum(1)))]
    assert best[inside].mean() > 2 * best[~inside].mean()
    change = WhatIf(masked=circle)
    shift = compare_change(found.run, ignore_progress, change).answer_shift
    assert shift.drop[number] > 1  # nats
    drops = measured.influence.drops_on(span).reshape(-1)
    assert drops[inside].mean() > 2 * np.abs(drops[~inside]).mean()
    assert len(read_html(influence.maps(found.run, measured, None)).find("figure")) == 3
