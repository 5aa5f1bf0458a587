"""Images as HTML: exact pixels, a grid in the right places, a small payload."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from components.views.images import (
    color_values,
    grey_out,
    image_html,
    image_row_html,
    image_uri,
    overlay_values,
    scale_html,
)
from tests.components.html_reader import read_html


def decode(uri: str) -> np.ndarray:
    data = base64.b64decode(uri.partition("base64,")[2])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_small_images_arrive_without_loss() -> None:
    pixels = noise(48, 80)
    image = read_html(image_html(pixels, alt="noise")).find("img")[0]
    np.testing.assert_array_equal(decode(image.attrs["src"]), pixels)
    assert (image.attrs["width"], image.attrs["height"]) == ("80", "48")


def test_the_smaller_of_both_formats_is_sent() -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:32] = 255
    uri = image_uri(pixels)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    assert len(base64.b64decode(uri.partition("base64,")[2])) <= len(buffer.getvalue())


def test_maps_stay_exact_however_many_bytes_they_take() -> None:
    pixels = noise(200, 200)
    assert np.any(decode(image_uri(pixels)) != pixels)
    page = read_html(image_html(pixels, alt="", pixelated=True))
    np.testing.assert_array_equal(decode(page.find("img")[0].attrs["src"]), pixels)


def test_photos_are_compressed() -> None:
    x = np.linspace(0, 9, 1280)[None, :, None] + np.linspace(0, 7, 960)[:, None, None]
    waves = 127 + 90 * np.sin(x * np.array([1.0, 1.7, 2.3]))
    photo = np.clip(waves + np.random.default_rng(0).normal(0, 4, (960, 1280, 3)), 0, 255)
    uri = image_uri(photo.astype(np.uint8))
    assert uri.startswith("data:image/webp")
    assert len(uri) < 200_000
    sent = decode(uri)
    assert sent.shape == (768, 1024, 3)
    smaller = np.asarray(Image.fromarray(photo.astype(np.uint8)).resize((1024, 768)))
    assert np.abs(sent.astype(float) - smaller).mean() < 4


def test_the_grid_has_every_border_once_and_merge_blocks_stronger() -> None:
    page = read_html(image_html(noise(96, 128), alt="", grid=(6, 8)))
    svg = page.find("svg")[0]
    # html.parser lowers the case of attribute names.
    assert svg.attrs["viewbox"] == "0 0 8 6"
    lines = {
        name: page.find("path", name)[0].attrs["d"] for name in ("pg-grid-patch", "pg-grid-block")
    }
    assert lines["pg-grid-patch"] == "M0 1H8M0 3H8M0 5H8M1 0V6M3 0V6M5 0V6M7 0V6"
    assert lines["pg-grid-block"] == "M0 2H8M0 4H8M2 0V6M4 0V6M6 0V6"


def test_words_are_escaped() -> None:
    page = read_html(image_html(noise(8, 8), alt='a "b" <c>', caption="<script>x</script> & y"))
    assert page.find("img")[0].attrs["alt"] == 'a "b" <c>'
    assert page.find("figcaption")[0].text == "<script>x</script> & y"
    assert page.find("script") == []


def test_size_on_the_page() -> None:
    small = read_html(image_html(noise(16, 16), alt="", pixelated=True)).find("figure")[0]
    assert small.attrs["style"] == "max-width:400px"
    assert "pg-pixelated" in small.classes
    tall = read_html(image_html(noise(400, 100), alt="")).find("figure")[0]
    assert tall.attrs["style"] == "max-width:120px"  # 480 pixels high
    chosen = read_html(image_html(noise(16, 16), alt="", shown_width=150)).find("figure")[0]
    assert chosen.attrs["style"] == "max-width:150px"


def test_no_image_makes_no_row() -> None:
    assert image_row_html([]) == ""


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(height, width, 3\) uint8, got \(8, 8"):
        image_html(np.zeros(shape, np.uint8), alt="")


def test_values_take_the_colours_of_the_scale() -> None:
    stops = [(0.0, "#000000"), (0.5, "#ff0000"), (1.0, "#ffffff")]
    values = np.array([[-9.0, 2.0, 3.0], [4.0, 6.0, 99.0]])
    found = color_values(values, stops, 2.0, 6.0)
    assert found.dtype == np.uint8
    expected = [[[0, 0, 0], [0, 0, 0], [128, 0, 0]], [[255, 0, 0], [255] * 3, [255] * 3]]
    np.testing.assert_array_equal(found, expected)


def test_equal_values_have_a_colour_too() -> None:
    assert color_values(np.ones((2, 2)), [(0.0, "#102030"), (1.0, "#ffffff")], 1, 1).max() == 48


def test_an_overlay_lets_the_image_through_where_there_is_nothing() -> None:
    stops = [(0.0, "#ff0000"), (1.0, "#ffff00")]
    found = overlay_values(np.array([[0.0, 0.25, 1.0]]), stops, 1.0)
    assert found.shape == (1, 3, 4)
    assert found[0, 0, 3] == 0
    assert found[0, 1, 3] == pytest.approx(found[0, 2, 3] * 0.25**0.7, abs=1)
    np.testing.assert_array_equal(found[0, 2, :3], [255, 255, 0])


def test_an_overlay_lies_over_the_whole_image() -> None:
    overlay = np.random.default_rng(0).integers(0, 256, (3, 5, 4), dtype=np.uint8)
    page = read_html(image_html(noise(48, 80), alt="", overlay=overlay, marked=(1, 4)))
    image = page.find("img", cls="pg-overlay")[0].attrs
    data = base64.b64decode(image["src"].partition("base64,")[2])
    shown = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))
    seen = overlay[..., 3] > 0
    np.testing.assert_array_equal(shown[seen], overlay[seen])
    assert image["alt"] == "", "the picture below has the words"
    assert page.find("svg", cls="pg-mark-cell")[0].attrs["viewbox"] == "0 0 5 3"
    assert page.find("rect", x="4", y="1")
    with pytest.raises(ValueError, match="columns, 4"):
        image_html(noise(4, 4), alt="", overlay=noise(2, 2))


def test_the_ground_of_an_overlay_is_small_dark_and_grey() -> None:
    ground = grey_out(noise(100, 200), max_side=50)
    assert ground.shape == (25, 50, 3)
    assert (ground == ground[..., :1]).all()
    assert grey_out(np.full((4, 4, 3), 200, np.uint8), max_side=50).max() == 84


def test_a_scale_says_what_its_ends_are() -> None:
    words = read_html(scale_html([(0.0, "#000000"), (1.0, "#ffffff")], "0", "<1", "cosine"))
    assert words.find("div", cls="pg-scale")[0].text == "cosine 0<1"
