"""The merge tab as a whole, and how it follows the pointer."""

from __future__ import annotations

import pytest

from components.tabs.merge.distances import draw_distances
from components.tabs.merge.focus import cut_text
from components.tabs.merge.tab import build_merge_tab
from playground.engine import Engine
from playground.pipeline import Run
from playground.pointer import locate_token
from playground.records import Clip, Picture
from tests.components.html_reader import read_html
from tests.components.runs import build_alone, draw_tab, make_run
from tests.components.tabs.merge.merged import NAMES, draw_parts

# ------------------------------------------------------------------------------- the whole tab


def test_the_tab_yields_a_value_for_every_output(image_run: Run) -> None:
    drawn = draw_tab(build_alone(build_merge_tab), image_run)
    assert len(drawn) == len(NAMES) + 1  # the code


def test_every_sentence_is_sound_html(
    image_run: Run, tiny_random_engine: Engine, picture: Picture, clip: Clip
) -> None:
    both = make_run(tiny_random_engine, "<b>Where?</b>", picture, clip=clip)
    for run in (image_run, both):
        for value in draw_parts(run).values():
            if isinstance(value, str) and value.startswith("<"):
                assert not read_html(value).find("b")


def test_text_alone_says_what_is_skipped(text_run: Run) -> None:
    drawn = draw_parts(text_run)
    assert "masked_scatter</code> is skipped" in drawn["intro"]
    assert "exactly like plain 1-D" in drawn["positions_intro"]
    assert "nothing to add" in drawn["deepstack_intro"]
    for name in ("picture_only", "distances", "routes_only"):
        assert drawn[name]["visible"] is False
    for name in ("values", "flat_map", "mrope_map", "routes"):
        assert drawn[name] is None
    assert len(drawn["norms"].data) == 1
    assert drawn["lines"].layout.annotations == ()
    assert [trace.name for trace in drawn["pca"].data] == ["text tokens", "special tokens"]


def test_what_only_pictures_have_is_shown_again(image_run: Run) -> None:
    drawn = draw_parts(image_run)
    for name in ("picture_only", "distances", "routes_only"):
        assert drawn[name]["visible"] is True


# ------------------------------------------------------------------------------ the pointer


def test_a_click_on_text_alone_leaves_the_hidden_maps_empty(text_run: Run) -> None:
    place = locate_token(text_run.inputs, text_run.positions, 1)
    assert draw_distances(text_run, place, "distance") == ("", None, None, "")


@pytest.mark.parametrize(
    ("text", "cut"), [("abcdefgh", "abcdefgh"), ("abcdefghi", "abc…fghi"), ("a b", "a␣b")]
)
def test_long_texts_keep_both_ends(text: str, cut: str) -> None:
    assert cut_text(text, 8) == cut
