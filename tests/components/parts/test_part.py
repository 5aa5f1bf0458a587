"""Parts as values: what a declaration gives, and which declarations are refused."""

from __future__ import annotations

from typing import Any

import pytest

from components.parts.all_parts import Parts
from components.parts.compound_controls import Clicked
from components.parts.controls import Slider
from components.parts.part import SELECTION, Fold, Part, StageParts, Text
from components.tabs import STAGE_TABS
from playground.pipeline import Run


def make_part(id: str = "one", **more: Any) -> Part:
    """A part with a slider and a sentence that needs it."""
    part = Part(
        id, "One", stage="merge", controls=(Slider(id="size", label="Size", high=3),), **more
    )

    @part.html(needs=("size", SELECTION))
    def sentence(run: Run, size: int, selection: Any) -> str:
        """Its size."""
        return f"{size} {selection}"

    return part


def stage(*parts: Part) -> StageParts:
    """A tab that holds these parts."""
    return StageParts(stage="merge", label="3", title="", sentence="", parts=parts)


def test_a_declared_function_stays_a_function() -> None:
    part = make_part()
    assert part.outputs["sentence"].draw(None, 2, None) == "2 None"
    assert part.key == "merge.one"
    assert part.full_name("size") == "merge.one.size"
    assert part.full_name("two.size") == "merge.two.size"
    assert part.full_name(SELECTION) == SELECTION


def test_by_default_controls_stand_above_buttons_and_outputs() -> None:
    part = make_part()

    @part.experiment("Measure")
    def measured(run: Run, progress: Any) -> Any:
        """One number."""
        yield 1

    assert part.items == (("size",), ("measured",), "sentence")


def test_two_things_of_a_part_cannot_share_a_name() -> None:
    part = make_part()
    with pytest.raises(ValueError, match="two things named size"):

        @part.html()
        def size(run: Run) -> str:
            """The same name as the control."""
            return ""


def test_two_parts_cannot_share_a_key() -> None:
    with pytest.raises(ValueError, match=r"Two parts are named merge\.one"):
        Parts((stage(make_part(), make_part()),))


def test_a_need_must_be_there() -> None:
    part = make_part()

    @part.html(needs=("other.size",))
    def more(run: Run, size: int) -> str:
        """Of another part."""
        return ""

    with pytest.raises(ValueError, match=r"needs other\.size, which is not there"):
        Parts((stage(part),))
    Parts((stage(part, make_part("other")),))


@pytest.mark.parametrize(
    "layout", [("size",), ("size", "sentence", "sentence"), ("size", "sentence", "more")]
)
def test_a_layout_names_each_thing_once(layout: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="layout"):
        Parts((stage(make_part(layout=layout)),))


def test_a_layout_may_have_rows_folds_and_words() -> None:
    part = make_part(layout=(Text("About"), Fold("More", (("size", "sentence"),))))
    assert Parts((stage(part),)).by_key["merge.one"] is part


def test_what_clicks_set_needs_no_room() -> None:
    part = Part(
        "one",
        "One",
        stage="merge",
        controls=(Clicked(id="chosen", read=lambda raw, _run: raw),),
        layout=("shown",),
    )

    @part.html(needs=("chosen",))
    def shown(run: Run, chosen: Any) -> str:
        """What was clicked."""
        return str(chosen)

    Parts((stage(part),))


def test_the_page_s_own_parts_fit_together() -> None:
    parts = Parts(STAGE_TABS)
    assert len(parts.by_key) >= 35
    assert all(part.outputs for part in parts.by_key.values())
    assert all(
        output.draw.__doc__ for part in parts.by_key.values() for output in part.outputs.values()
    )
