"""Generated tokens, coloured by their probability, with their numbers."""

from __future__ import annotations

import dataclasses

import pytest

from components.views.generated import probability_class, token_chips_html
from playground.sampling.trace import Candidate, TokenStep
from tests.components.html_reader import read_html


def make_step(token_id: int, text: str, raw: float, prob: float) -> TokenStep:
    chosen = Candidate(token_id, text, raw, prob, None)
    other = Candidate(token_id + 1, "other", 0.5, 0.0, "top_k")
    return TokenStep(token_id, text, prob, 0.25, 0.5, 3, (other, chosen))


def test_generated_tokens_show_the_probability_before_the_filters() -> None:
    steps = [make_step(5, " <b>", 0.03, 1.0), make_step(9, "x", 0.95, 1.0)]
    page = read_html(token_chips_html(steps, mark=1))
    first, second = page.find("span", "pg-token")
    assert first.text == " <b>"
    assert "pg-unlikely" in first.classes
    assert "pg-sure" in second.classes
    assert first.attrs["tabindex"] == "0"
    assert (
        "before the filters 3.0% · after the filters 100.0% · entropy 0.25 nats"
        in first.attrs["title"]
    )
    assert "pg-diverges" in second.classes
    assert "pg-diverges" not in first.classes


@pytest.mark.parametrize(
    ("prob", "name"),
    [
        (1.0, "pg-sure"),
        (0.9, "pg-sure"),
        (0.89, "pg-likely"),
        (0.2, "pg-unsure"),
        (0, "pg-unlikely"),
    ],
)
def test_bands_of_probability(prob: float, name: str) -> None:
    assert probability_class(prob) == name


def test_the_chosen_token_must_be_among_the_candidates() -> None:
    lost = dataclasses.replace(make_step(5, "a", 0.1, 0.2), id=77)
    with pytest.raises(StopIteration):
        _ = lost.raw_prob
