"""Boxes over an image: their places, labels that stay inside it, and small drawings."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from components.look.colors import CATEGORICAL
from components.views.boxes import (
    DrawnBox,
    SharedImage,
    boxes_layer,
    corners,
    object_color,
    object_name,
    small_drawing,
)
from components.views.images import image_html
from tests.components.html_reader import Element, read_html

SIZE = (200, 100)


def style(element: Element) -> dict[str, str]:
    return dict(part.split(":", 1) for part in element.attrs["style"].split(";") if part)


def place(element: Element) -> list[float]:
    """Left, top, width and height in percent."""
    found = style(element)
    return [float(found[name].rstrip("%")) for name in ("left", "top", "width", "height")]


def drawn(pixels: tuple[float, ...], **more: object) -> list[Element]:
    box = DrawnBox(pixels, "1 dog", "#215ad3", **more)  # type: ignore[arg-type]
    return read_html(boxes_layer([box], SIZE)).elements


def test_a_box_lies_over_its_pixels() -> None:
    box, label = drawn((50, 20, 150, 80), patch=(2, 3, 4), settings={"object": 0}, is_chosen=True)
    assert place(box) == [25, 20, 50, 60]
    assert (box.attrs["data-span"], box.attrs["data-row"], box.attrs["data-column"]) == (
        "2", "3", "4",
    )  # fmt: skip
    assert json.loads(box.attrs["data-set"]) == {"object": 0}
    assert (box.attrs["role"], box.attrs["tabindex"], box.attrs["aria-pressed"]) == (
        "button", "0", "true",
    )  # fmt: skip
    assert label.text == "1 dog"


def test_swapped_corners_are_the_same_box() -> None:
    assert place(drawn((150, 80, 50, 20))[0]) == place(drawn((50, 20, 150, 80))[0])
    assert corners((150, 80, 50, 20)) == (50, 20, 150, 80)
    assert corners((7, 9)) == (7, 9, 7, 9)


def test_large_boxes_are_below_small_ones() -> None:
    small, large = DrawnBox((9, 9, 20, 20), "s", "#fff"), DrawnBox((0, 0, 99, 99), "l", "#fff")
    names = [each.text for each in read_html(boxes_layer([small, large], SIZE)).find("span")]
    assert names == ["l", "s"]


@pytest.mark.parametrize(
    ("pixels", "label"),
    [
        ((50, 20, 150, 80), "left:0.0%;bottom:100%"),
        ((120, 20, 150, 80), "right:0.0%;bottom:100%"),
        ((50, 2, 150, 80), "left:0.0%;top:0.0%"),
        ((120, 20, 280, 80), "right:50.0%;bottom:100%"),  # half of it is outside
        ((-20, -20, 80, 80), "left:20.0%;top:20.0%"),
        ((120, 50), "right:16px;top:-6px"),
    ],
)
def test_labels_stay_inside_the_image(pixels: tuple[float, ...], label: str) -> None:
    assert drawn(pixels)[1].attrs["style"] == label


def test_coordinates_far_outside_are_cut() -> None:
    assert place(drawn((1e300, -1e300, 1e301, 5))[0]) == [200, -200, 0, 205]


def test_bands_run_along_the_edges() -> None:
    bands = read_html(
        boxes_layer(
            [DrawnBox((50, 20, 150, 80), "", "#fff", bands=((40, 60), None, (150, 150), (70, 90)))],
            SIZE,
        )
    ).find(cls="pg-band")
    assert [place(band) for band in bands] == [
        [20, 20, 10, 60],  # left
        [75, 20, 0, 60],  # right
        [25, 70, 50, 20],  # bottom
    ]


def test_the_band_of_a_point_is_a_rectangle_around_it() -> None:
    (band,) = read_html(
        boxes_layer([DrawnBox((50, 20), "", "#fff", bands=((40, 60), None))], SIZE)
    ).find(cls="pg-band")
    assert place(band) == [20, 20, 10, 0]


def test_ghosts_are_dashed_and_cannot_be_clicked() -> None:
    ghosts = [each for each in drawn((50, 20, 150, 80), ghosts=((48, 20, 150, 80),))
              if "pg-ghost" in each.classes]  # fmt: skip
    assert [place(ghost) for ghost in ghosts] == [[24, 20, 51, 60]]
    assert all("data-set" not in ghost.attrs for ghost in ghosts)


def test_labels_of_models_are_text() -> None:
    box = DrawnBox((0, 0, 9, 9), object_name(0, '<b onclick="x">\n'), "#fff")
    layer = boxes_layer([box], SIZE)
    assert read_html(layer).find("b") == []
    assert "⏎" in layer


def test_objects_have_numbers_and_colours() -> None:
    assert object_name(1, "") == "2"
    assert len(object_name(0, "x" * 99)) < 30
    colors = [object_color(number) for number in range(9)]
    assert colors == [*CATEGORICAL, CATEGORICAL[0]]


def test_layers_are_inside_the_picture() -> None:
    pixels = np.zeros((100, 200, 3), np.uint8)
    page = read_html(
        image_html(pixels, alt="", layers=boxes_layer([DrawnBox((0, 0, 9, 9), "", "#fff")], SIZE))
    )
    (box,) = page.find(cls="pg-box")
    assert box.parents == ("figure", "div")


def test_a_small_drawing_shows_where_a_misreading_ends_up() -> None:
    image = SharedImage.of(np.zeros((100, 200, 3), np.uint8))
    drawing = small_drawing(image, (0, 0, 50, 50), (100, 50, 400, 60), color="#fff", alt="<x>")
    page = read_html(drawing)
    (svg,) = page.find("svg")
    assert svg.attrs["aria-label"] == "<x>"
    (shown,), (defined,) = page.find("use"), read_html(image.definition).find("image")
    assert shown.attrs["href"] == f"#{defined.attrs['id']}"
    assert (defined.attrs["width"], defined.attrs["height"]) == ("200", "100")
    left, top, width, height = map(float, svg.attrs["viewbox"].split())
    assert (left, top) == (-12, -12)
    assert (width, height) == (424, 124)
    paths = [each.attrs["d"] for each in page.find("path")]
    assert paths[2] == paths[3] == "M100.00 50.00H400.00V60.00H100.00z"


def test_a_small_drawing_does_not_follow_a_box_to_the_horizon() -> None:
    image = SharedImage.of(np.zeros((100, 200, 3), np.uint8))
    page = read_html(small_drawing(image, (5, 5), (9e9, -9e300), color="#fff", alt=""))
    left, top, width, height = map(float, page.find("svg")[0].attrs["viewbox"].split())
    assert (left + width) == pytest.approx(1000, rel=0.05)
    assert top == pytest.approx(-500, rel=0.1)
    for path in page.find("path"):
        assert re.fullmatch(r"M[\d.]+ -?[\d.]+h0", path.attrs["d"])
