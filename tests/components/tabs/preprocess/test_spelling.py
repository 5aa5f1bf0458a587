"""Texts split into tokens: every byte once, and sentences that match the tokenizer."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from components.tabs.preprocess import spelling
from components.tabs.preprocess import spelling_words as view
from components.tabs.preprocess.gallery import SAMPLES, gallery_html
from components.tabs.preprocess.spelling import OWN_TEXT
from components.tabs.preprocess.spelling_words import spelling_counts, spelling_html
from playground.engine import Engine
from playground.errors import InputError
from playground.pipeline import Run
from playground.tokens import Cluster, Spelling, byte_of_symbol, spell_text
from tests.components.html_reader import read_html

TEXTS = ("零点几个字", "Describe <b>this</b> & that", "👩\u200d🚀 caf\u00e9", "\u0301x")


@pytest.mark.parametrize("text", TEXTS)
def test_every_byte_and_token_once_and_in_order(engine: Engine, text: str) -> None:
    taken = spell_text(engine.tokenizer, text)
    page = read_html(spelling_html(taken))
    shown = [each.text for each in page.find("span", "pg-byte")]
    assert bytes.fromhex("".join(shown)) == text.encode()
    assert [int(each.text) for each in page.find("span", "pg-piece")] == list(taken.ids)
    assert len(page.find("span", "pg-character")) == len(text)


def test_cells_are_as_wide_as_their_bytes(engine: Engine) -> None:
    taken = spell_text(engine.tokenizer, "零点几个字")
    page = read_html(spelling_html(taken))
    for each in page.find("span", "pg-character"):
        assert each.attrs["style"] == "grid-column:span 3"
    split = [len(cluster.raws) > 1 for cluster in taken.clusters]
    assert ["pg-split" in each.classes for each in page.find("li", "pg-cluster")] == split
    assert any(split)
    assert not all(split)


def test_text_stays_text(engine: Engine) -> None:
    page = read_html(spelling_html(spell_text(engine.tokenizer, "<script>{{x}}</script>")))
    assert page.find("script") == []


def test_signs_that_cannot_be_seen_alone_are_shown() -> None:
    text = "\u200d\u0301\ufe0f"
    cluster = Cluster(text, (1,), (text.encode(),))
    page = read_html(spelling_html(Spelling(text, (cluster,))))
    assert [each.text for each in page.find("span", "pg-character")] == [
        "\\u200d",
        "\u25cc\u0301",
        "\\ufe0f",
    ]


def test_long_texts_are_cut_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "MAX_CLUSTERS", 2)
    clusters = tuple(Cluster(letter, (n,), (letter.encode(),)) for n, letter in enumerate("abcde"))
    page = read_html(spelling_html(Spelling("abcde", clusters)))
    assert len(page.find("li", "pg-cluster")) == 2
    assert page.find("li", "pg-more")[0].text == "… and 3 more"


def test_counts_in_words_by_hand() -> None:
    word = Cluster("Hello", (7,), (b"Hello",))
    sign = Cluster("点", (1, 2, 3), tuple(bytes([byte]) for byte in "点".encode()))
    taken = Spelling("Hello点", (word, sign))
    assert read_html(f"<p>{spelling_counts(taken)}</p>").find("p")[0].text == (
        "6 characters = 8 bytes = 4 tokens; 点 takes 3 tokens, each only part of the "
        "character and Hello is one token of 5 characters."
    )
    letter = Spelling("a", (Cluster("a", (1,), (b"a",)),))
    assert spelling_counts(letter) == "1 character = 1 byte = 1 token."


def test_the_gallery_says_what_this_tokenizer_does(engine: Engine) -> None:
    page = read_html(gallery_html(engine.tokenizer))
    samples = page.find("section", "pg-sample")
    assert len(samples) == len(SAMPLES)
    texts = {each.text for each in page.find("h4")}
    assert "Accents" in texts
    whole = " ".join(each.text for each in samples)
    assert "This tokenizer normalises text with NFC: both spellings give the same ids" in whole
    assert "has 5 characters as typed; its tokens decode to 4" in whole
    count = len(spell_text(engine.tokenizer, "零点几个字").ids)
    assert f"5 characters = 15 bytes = {count} tokens" in whole


class NoNormaliser:
    """A tokenizer of single bytes without normalisation."""

    added_tokens_decoder: ClassVar[dict[int, str]] = {}

    def __call__(self, text: str, **_options: object) -> dict[str, list[int]]:
        return {"input_ids": list(text.encode())}

    def convert_ids_to_tokens(self, token_id: int) -> str:
        return next(symbol for symbol, byte in byte_of_symbol().items() if byte == token_id)


def test_the_gallery_does_not_claim_what_is_not_so() -> None:
    page = read_html(gallery_html(NoNormaliser()))
    whole = " ".join(each.text for each in page.find("section", "pg-sample"))
    assert "This tokenizer does not normalise text: the two spellings give different ids" in whole
    assert "5 characters as typed; its tokens decode to 5" in whole


# --------------------------------------------------------------------------- reader's own text


def test_ones_own_text_is_taken_apart(text_run: Run) -> None:
    page = read_html(spelling.spelled(text_run, "cafe\u0301 <|im_end|>"))
    words = page.find("p", "pg-fact")[0].text
    assert "NFC normalised" in words
    assert "Treated as text: <" in words
    special = set(text_run.engine.tokenizer.get_added_vocab().values())
    assert not special & {int(each.text) for each in page.find("span", "pg-piece")}
    assert "no text yet" in spelling.spelled(text_run, "")


@pytest.mark.parametrize("text", ["a" * 201, ["a"], 3])
def test_ones_own_text_is_checked(text_run: Run, text: Any) -> None:
    assert "200" in OWN_TEXT.info
    with pytest.raises(InputError):
        OWN_TEXT.parse(text, text_run)


def test_half_a_character_is_refused(text_run: Run) -> None:
    with pytest.raises(InputError, match="surrogate"):
        spelling.spelled(text_run, OWN_TEXT.parse("\ud83d", text_run))
