"""The merge tab as a whole: every output of every part, and how the token looked at is named."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import pytest

from components.tabs.merge import deepstack, distances, embeddings, positions
from components.tabs.merge.focus import cut_text
from components.tabs.merge.tab import TAB
from playground.engine import Engine
from playground.pipeline import Run
from playground.prompt import PromptImage, PromptVideo
from tests.components.drawings import draw_part, make_drawing
from tests.components.html_reader import read_html
from tests.components.runs import make_run


def draw_all(run: Run) -> dict[str, Any]:
    """Every output of every part that applies, by full name."""
    run.ensure("merge")
    drawing = make_drawing(TAB)
    return {
        f"{part.id}.{name}": drawn
        for part in TAB.all_parts
        if part.shown is None or part.shown(run)
        for name, drawn in draw_part(drawing, part, run).items()
    }


@pytest.mark.parametrize("kind", ["image", "image and video", "text"])
def test_every_output_is_drawn_in_sound_html(
    shipped_engine: Engine, image: PromptImage, video: PromptVideo, kind: str
) -> None:
    media: dict[str, Any] = {"video": video} if "video" in kind else {}
    images = (image,) if "image" in kind else ()
    drawn = draw_all(make_run(shipped_engine, "<b>Where?</b>", *images, **media))
    applies = [part for part in TAB.parts if kind != "text" or part is not distances.PART]
    assert {name.split(".")[0] for name in drawn} == {part.id for part in applies} | {"code"}
    for value in drawn.values():
        assert isinstance(value, go.Figure | str | None)
        if isinstance(value, str) and value.startswith("<"):
            assert not read_html(value).find("b")


def test_text_alone_says_what_is_skipped(text_run: Run) -> None:
    drawn = draw_all(text_run)
    assert "masked_scatter</code> is skipped" in drawn["embeddings.intro"]
    assert "exactly like plain 1-D" in drawn["positions.intro"]
    assert "DeepStack adds nothing" in drawn["deepstack.intro"]
    assert distances.PART.shown is not None
    assert not distances.PART.shown(text_run)
    assert embeddings.values(text_run) is None
    assert deepstack.routes(text_run) is None
    assert deepstack.table(text_run) == deepstack.chosen(text_run, None) == ""
    assert len(embeddings.norms(text_run).data) == 1
    assert positions.lines(text_run).layout.annotations == ()
    names = [trace.name for trace in embeddings.pca(text_run, "directions").data]
    assert names == ["text tokens", "special tokens"]


@pytest.mark.parametrize(
    ("text", "cut"), [("abcdefgh", "abcdefgh"), ("abcdefghi", "abc…fghi"), ("a b", "a␣b")]
)
def test_long_texts_keep_both_ends(text: str, cut: str) -> None:
    assert cut_text(text, 8) == cut
