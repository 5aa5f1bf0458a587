"""Token strips: every token once, in order, with its details, and no executable script."""

from __future__ import annotations

import pytest

from components.views import strips
from components.views.strips import fold_tokens, sequence_strip_html
from components.views.template import template_html
from components.views.text import visible
from playground.engine import Engine
from playground.preprocess.stage import run_preprocess
from playground.prompt import Prompt, PromptImage, PromptVideo, Turn
from playground.records import ModelInputs
from playground.tokens import find_typed_specials
from tests.components.html_reader import read_html

HOSTILE = '<script>alert(1)</script> <img src=x> {{value}} "q" & 你好 🦜'


@pytest.fixture(scope="module")
def inputs(
    tiny_random_engine: Engine, image: PromptImage, wide_image: PromptImage, video: PromptVideo
) -> ModelInputs:
    turns = (
        Turn("user", HOSTILE, images=(image, wide_image), video=video),
        Turn("assistant", "Two\nlines."),
        Turn("user", "And <|im_end|> now?"),
    )
    return run_preprocess(tiny_random_engine, Prompt(turns, system="Be kind."))


def test_chips_cover_the_sequence_once_and_in_order(inputs: ModelInputs) -> None:
    chips = [
        each
        for each in read_html(sequence_strip_html(inputs)).find("li")
        if "data-start" in each.attrs
    ]
    ranges = [(int(each.attrs["data-start"]), int(each.attrs["data-end"])) for each in chips]
    assert [start for start, _ in ranges] == [0, *(end for _, end in ranges[:-1])]
    assert ranges[-1][1] == inputs.num_tokens
    folded = {(start, end) for start, end in ranges if end - start > 1}
    assert folded == {(span.start, span.end) for span in inputs.spans}


def test_a_chip_says_what_its_token_is(inputs: ModelInputs) -> None:
    page = read_html(sequence_strip_html(inputs))
    token = next(each for each in inputs.tokens if each.kind == "text" and each.role == "user")
    chip = page.find("li", data_start=str(token.index))[0]
    assert chip.text == visible(token.text)
    assert "pg-text" in chip.classes
    for fact in (f"index {token.index}", f"id {token.id}", token.raw.hex(" ").upper(), "user"):
        assert fact in chip.attrs["title"]


def test_image_chips_give_count_grid_and_number(inputs: ModelInputs) -> None:
    page = read_html(sequence_strip_html(inputs))
    first, second, frame, *_ = inputs.spans
    words = [page.find("li", data_start=str(span.start))[0].text for span in (first, second, frame)]
    assert words[0].startswith(f"▦{first.merged_h * first.merged_w} × <|image_pad|>")
    assert words[0].endswith(f"{first.merged_w} × {first.merged_h}, image 1")
    assert words[1].endswith("image 2")
    assert words[2].startswith("▶")
    assert words[2].endswith("video 1, temporal patch 1")


def test_kinds_have_marks_besides_their_colours(inputs: ModelInputs) -> None:
    marks = strips.KIND_MARKS
    assert len(set(marks.values())) == len(marks)
    legend = read_html(sequence_strip_html(inputs)).find("ul", "pg-legend")[0]
    for mark in marks.values():
        assert mark in legend.text


def test_labels_split_a_run_of_image_tokens(inputs: ModelInputs) -> None:
    span = inputs.spans[0]
    cut = span.start + 5
    labels = ["reused"] * cut + ["computed"] * (inputs.num_tokens - cut)
    runs = [run for run in fold_tokens(inputs, labels) if run.span is span]
    assert [(run.start, run.end, run.label) for run in runs] == [
        (span.start, cut, "reused"),
        (cut, span.end, "computed"),
    ]
    page = read_html(sequence_strip_html(inputs, labels=labels))
    part = page.find("li", data_start=str(cut))[0]
    assert part.attrs["data-label"] == "computed"
    assert "part of image 1" in part.text
    assert {each.text for each in page.find("li", "pg-chip") if "data-start" not in each.attrs} == {
        "reused from the cache",
        "computed",
    }


def test_the_wrong_number_of_labels_is_refused(inputs: ModelInputs) -> None:
    with pytest.raises(ValueError, match=f"expected {inputs.num_tokens} labels, got 1"):
        sequence_strip_html(inputs, labels=["reused"])


def test_text_of_users_stays_text(inputs: ModelInputs) -> None:
    for source in (sequence_strip_html(inputs), template_html(inputs)):
        page = read_html(source)
        assert page.find("script") == []
        assert page.find("img") == []
    spelled = "".join(
        each.text for each in read_html(sequence_strip_html(inputs)).find("li", "pg-text")
    )
    assert "script" in spelled


def test_the_template_is_whole_and_in_blocks_by_role(inputs: ModelInputs) -> None:
    page = read_html(template_html(inputs))
    roles = [each.text for each in page.find("p", "pg-role")]
    assert roles == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant — the model continues from here",
    ]
    shown = "".join(each.text for each in page.find("div", "pg-message-text"))
    for mark in strips.KIND_MARKS.values():
        shown = shown.replace(mark, "") if mark else shown
    assert shown.replace("⏎\n", "\n").replace("\\u200b", "\u200b") == inputs.rendered_prompt
    chips = page.find("span", "pg-chip")
    assert sum("pg-image" in each.classes for each in chips) == 2
    assert sum("pg-video" in each.classes for each in chips) == 1
    # The typed one is text; those of the template are chips.
    ends = inputs.rendered_prompt.count("<|im_end|>")
    assert sum(each.text == "◆<|im_end|>" for each in chips) == ends == 4


def test_typed_special_tokens_are_marked_where_they_stand(
    inputs: ModelInputs, tiny_random_engine: Engine
) -> None:
    typed = find_typed_specials(tiny_random_engine.tokenizer, inputs.expanded_prompt)
    page = read_html(template_html(inputs, typed))
    (chip,) = page.find("span", "pg-typed")
    assert chip.text == "✎<\\u200b|im_end|>"
    assert "treated as text" in chip.attrs["title"]
    message = page.find("div", "pg-message-text")[3]  # And <|im_end|> now?
    assert chip.text in message.text
    legend = page.find("ul", "pg-legend")[0]
    assert "typed special token, treated as text" in legend.text
    assert page.find("span", "pg-special")  # those of the template stay as they are

    strip = read_html(sequence_strip_html(inputs, typed=typed))
    chips = [each for each in strip.find("li", "pg-typed") if "data-start" in each.attrs]
    tokens = [inputs.tokens[int(each.attrs["data-start"])] for each in chips]
    assert "<\u200b|im_end|>" in b"".join(token.raw for token in tokens).decode()
    assert all("part of <|im_end|>" in each.attrs["title"] for each in chips)
    assert not read_html(sequence_strip_html(inputs)).find("li", "pg-typed")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" a\tb\n", "␣a⇥b⏎"),
        ("<\u200b|im_end|>", "<\\u200b|im_end|>"),
        ("\x00\x1b", "\\x00\\x1b"),
        ("\u202eabc", "\\u202eabc"),
        ("👩\u200d🚀 你", "👩\u200d🚀␣你"),
    ],
)
def test_nothing_is_invisible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_long_sequence_is_cut_and_counted(
    inputs: ModelInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strips, "MAX_CHIPS", 10)
    page = read_html(sequence_strip_html(inputs))
    assert len([each for each in page.find("li") if "data-start" in each.attrs]) == 10
    rest = inputs.num_tokens - fold_tokens(inputs)[10].start
    assert page.find("li", "pg-rest")[0].text == f"… {rest} more tokens"
