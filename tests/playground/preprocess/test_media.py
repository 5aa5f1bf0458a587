"""Images from files: accepted, converted and rejected ones."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from playground.errors import InputError
from playground.preprocess.media import MAX_IMAGE_PIXELS, read_image, read_video
from tests.media_samples import make_image


def encode(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def make_png(width: int, height: int, *, bits: int = 8, rows: bytes = b"") -> bytes:
    """A handmade RGB PNG of any claimed size, or with 16 bits per channel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize("format", ["PNG", "WEBP", "BMP", "TIFF"])
def test_lossless_formats_keep_every_pixel(format: str, tmp_path: Path) -> None:
    want = make_image(40, 24).pixels
    path = tmp_path / f"scene.{format.lower()}"
    options = {"lossless": True} if format == "WEBP" else {}
    Image.fromarray(want).save(path, format, **options)
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels, want)
    assert image.size == (40, 24)
    assert image.name == path.name
    assert image.notices == ()


def test_jpeg_from_bytes_is_close() -> None:
    want = np.full((16, 16, 3), (200, 40, 90), np.uint8)
    image = read_image(encode(Image.fromarray(want), "JPEG", quality=95), name="photo")
    assert np.abs(image.pixels.astype(int) - want).max() <= 3
    assert image.name == "photo"


def test_transparent_pixels_become_white_and_half_transparent_ones_mix() -> None:
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0] = [(255, 0, 0, 255), (255, 0, 0, 0), (255, 0, 0, 51)]
    image = read_image(encode(Image.fromarray(pixels, "RGBA")))
    # 51 of 255 is a fifth: 255 * 0.2 + 255 * 0.8 red, 0 * 0.2 + 255 * 0.8 green and blue.
    assert image.pixels[0].tolist() == [[255, 0, 0], [255, 255, 255], [255, 204, 204]]
    assert image.notices == ("Transparent areas are shown on white.",)


def test_opaque_alpha_is_no_change_worth_a_notice() -> None:
    pixels = np.full((2, 2, 4), (9, 8, 7, 255), np.uint8)
    image = read_image(encode(Image.fromarray(pixels, "RGBA")))
    assert image.pixels[0, 0].tolist() == [9, 8, 7]
    assert image.notices == ()


def test_transparent_palette_entry_becomes_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    image = read_image(encode(image, "PNG", transparency=1))
    assert image.pixels[0].tolist() == [[255, 0, 0], [255, 255, 255]]
    assert image.notices == (
        "Palette colours were converted to RGB.",
        "Transparent areas are shown on white.",
    )


def test_sixteen_bit_greys_use_their_full_range() -> None:
    greys = np.array([[0, 257, 32768, 65535]], np.uint16)
    image = read_image(encode(Image.fromarray(greys)))
    assert image.pixels[0, :, 0].tolist() == [0, 1, 128, 255]  # value / 257
    assert (image.pixels == image.pixels[..., :1]).all()
    assert image.notices == ("16-bit grey values were rescaled to 8 bits.",)


def test_sixteen_bit_colours_keep_their_upper_byte() -> None:
    rows = b"\x00" + struct.pack(">6H", 0xFFFF, 0x8000, 0, 0x0100, 0x7F80, 0xFF00)

    png = make_png(2, 1, bits=16, rows=rows)
    image = read_image(png)
    assert image.pixels[0].tolist() == [[255, 128, 0], [1, 127, 255]]
    assert image.notices == ("16 bits per channel were reduced to 8.",)


def test_floating_point_greys_are_stretched_and_nan_is_zero() -> None:
    values = np.array([[0.0, 0.5, 1.0, np.nan]], np.float32)
    image = read_image(encode(Image.fromarray(values), "TIFF"))
    assert image.pixels[0, :, 0].tolist() == [0, 128, 255, 0]
    assert "from the darkest to the lightest" in image.notices[0]


def test_cmyk_is_converted() -> None:
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # magenta + yellow = red
    image = read_image(encode(image, "TIFF"))
    assert image.pixels[4, 4].tolist() == [255, 0, 0]
    assert image.notices == ("CMYK colours were converted to RGB.",)


def test_black_and_white_becomes_rgb_without_a_notice() -> None:
    image = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    image = read_image(encode(image))
    assert image.pixels[0].tolist() == [[0, 0, 0], [255, 255, 255]]
    assert image.notices == ()


def test_exif_orientation_is_applied() -> None:
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :16] = 255  # left half white
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate 90 degrees clockwise to see it upright
    image = read_image(encode(Image.fromarray(pixels), "PNG", exif=exif))
    assert image.size == (16, 32)
    assert image.pixels[0, 0, 0] == 255  # the left half is now at the top
    assert image.pixels[-1, 0, 0] == 0
    assert image.notices == ("Turned upright according to its EXIF orientation.",)


@pytest.mark.parametrize(
    ("format", "word"), [("GIF", "frames"), ("WEBP", "frames"), ("TIFF", "pages")]
)
def test_first_frame_of_an_animation_is_used(format: str, word: str) -> None:
    colours = [(255, 0, 0), (0, 0, 255)]
    frames = [Image.new("RGB", (16, 16), colour) for colour in colours]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encode(frames[0], format, save_all=True, append_images=frames[1:], **options)
    image = read_image(data)
    assert image.pixels[8, 8].tolist() == [255, 0, 0]
    assert image.notices[0] == f"The file has several {word}; the first one is used."


@pytest.mark.parametrize("size", [(13_000, 13_000), (6_000, 4_200), (50_000, 50_000)])
def test_an_image_is_refused_before_decoding_when_its_header_claims_too_much(
    size: tuple[int, int],
) -> None:
    with pytest.raises(InputError, match="too large") as caught:
        read_image(make_png(*size), name="bomb.png")
    assert caught.value.limit == "The limit is 25 million pixels."


def test_the_largest_image_is_accepted() -> None:
    image = Image.new("1", (5_000, 5_000))
    assert image.width * image.height == MAX_IMAGE_PIXELS
    assert read_image(encode(image)).size == (5_000, 5_000)


def test_aspect_ratio_of_200_is_the_limit() -> None:
    assert read_image(encode(Image.new("RGB", (400, 2)))).size == (400, 2)
    with pytest.raises(InputError, match="402 × 2 pixels"):
        read_image(encode(Image.new("RGB", (402, 2))))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_file_that_is_cut_off_is_refused(format: str) -> None:
    data = encode(Image.fromarray(make_image(64, 64).pixels), format)
    with pytest.raises(InputError, match="damaged"):
        read_image(data[: len(data) // 2])


@pytest.mark.parametrize(
    "data", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7", b"\x89PNG\r\n\x1a\n", b"x"]
)
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="not a readable image") as caught:
        read_image(data)
    assert "PNG" in caught.value.limit


def test_a_format_outside_the_list_is_refused() -> None:
    with pytest.raises(InputError, match="not a readable image"):
        read_image(encode(Image.new("RGB", (8, 8)), "ICO"))


def test_empty_and_missing_files_are_refused_by_name_only(tmp_path: Path) -> None:
    empty = tmp_path / "empty.png"
    empty.touch()
    with pytest.raises(InputError, match=r"empty\.png is empty"):
        read_image(empty)
    with pytest.raises(InputError, match="is empty"):
        read_image(b"")
    with pytest.raises(InputError, match=r"gone\.png cannot be opened") as caught:
        read_image(tmp_path / "gone.png")
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("read", [read_image, read_video])
@pytest.mark.parametrize("address", ["http://127.0.0.1:9/a.png", "file:///etc/hostname", "data:,x"])
def test_addresses_are_never_opened(read: object, address: str) -> None:
    with pytest.raises(InputError, match="URLs are not opened"):
        read(address)  # type: ignore[operator]
