"""Photographs as phones, scanners and editors save them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from playground.errors import InputError
from playground.preprocess.large_jpeg import MAX_SOURCE_PIXELS
from playground.preprocess.media import read_image
from tests.media_samples import make_image


def encode(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def photo(width: int = 160, height: int = 96) -> Image.Image:
    return Image.fromarray(make_image(width, height).pixels)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


@pytest.mark.parametrize("format", ["HEIF", "AVIF"])
def test_heic_and_avif_are_read(format: str, tmp_path: Path) -> None:
    path = tmp_path / "IMG_0001.HEIC"
    path.write_bytes(encode(photo(), format, quality=95))
    image = read_image(path)
    assert difference(image.pixels, np.asarray(photo())) < 5
    assert image.notices == ()


@pytest.mark.parametrize("format", ["HEIF", "AVIF"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_their_orientation_is_applied_once(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    # As phones do, the file says it in EXIF and in its own properties (irot, imir).
    image = read_image(encode(photo(), format, quality=95, exif=exif.tobytes()))
    upright = photo()
    upright.getexif()[0x0112] = orientation
    assert difference(image.pixels, np.asarray(ImageOps.exif_transpose(upright))) < 5


def test_exif_alone_does_not_turn_a_heic() -> None:
    # ISO/IEC 23008-12 turns by the item's properties; an Exif object writes none here.
    exif = Image.Exif()
    exif[0x0112] = 6
    image = read_image(encode(photo(), "HEIF", quality=95, exif=exif))
    assert difference(image.pixels, np.asarray(photo())) < 5
    assert image.notices == ()


@pytest.mark.parametrize("format", ["HEIF", "AVIF"])
def test_transparent_heic_and_avif_are_shown_on_white(format: str) -> None:
    clear = Image.new("RGBA", (64, 64), (10, 20, 30, 0))
    image = read_image(encode(clear, format, quality=95))
    assert image.pixels.min() > 250
    assert image.notices == ("Transparent areas are shown on white.",)


@pytest.mark.parametrize(("format", "word"), [("HEIF", "images"), ("AVIF", "frames")])
def test_of_several_images_the_main_one_is_read(format: str, word: str) -> None:
    others = [Image.new("RGB", (64, 64), colour) for colour in ("blue", "green")]
    data = encode(
        Image.new("RGB", (64, 64), "red"), format, save_all=True, append_images=others, quality=95
    )
    image = read_image(data)
    assert difference(image.pixels, np.full((64, 64, 3), (255, 0, 0))) < 4
    assert f"several {word}" in image.notices[0]


@pytest.mark.parametrize("format", ["HEIF", "AVIF"])
def test_they_keep_the_limits(format: str) -> None:
    data = encode(photo(), format)
    with pytest.raises(InputError, match="too large: 160 × 96 pixels"):
        read_image(data, max_pixels=160 * 96 - 1)
    with pytest.raises(InputError, match="damaged"):
        read_image(data[: len(data) // 2])
    with pytest.raises(InputError, match="not a readable image"):
        read_image(data[:40])


def test_ten_bits_of_a_heic_are_reduced_with_a_notice() -> None:
    import pillow_heif

    deep = np.repeat(make_image(64, 64).pixels.astype(np.uint16) * 257, 1, axis=0)
    file = pillow_heif.from_bytes(mode="RGB;16", size=(64, 64), data=deep.tobytes())
    buffer = io.BytesIO()
    file.save(buffer, quality=95)
    image = read_image(buffer.getvalue())
    assert difference(image.pixels, make_image(64, 64).pixels) < 5
    assert image.notices == ("10 bits per channel were reduced to 8.",)


@pytest.mark.parametrize(
    ("limit", "scale", "progressive"),
    [(5_000, 2, False), (3_000, 4, False), (500, 8, False), (7_700, 2, True)],
)
def test_a_large_jpeg_is_decoded_at_a_smaller_scale(
    limit: int, scale: int, progressive: bool
) -> None:
    full = photo()
    data = encode(full, "JPEG", quality=95, progressive=progressive, subsampling=2)
    image = read_image(data, max_pixels=limit)
    assert image.size == (160 // scale, 96 // scale)
    assert difference(image.pixels, np.asarray(full.reduce(scale))) < 5
    assert f"decoded at 1/{scale} of its size" in image.notices[0]


@pytest.mark.parametrize(
    ("mode", "size", "want"),
    [("RGB", (8064, 6048), (4032, 3024)), ("L", (11648, 8736), (2912, 2184))],
)
def test_photographs_of_48_and_100_megapixels(
    mode: str, size: tuple[int, int], want: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(Image.new(mode, size, "#5a5a5a"), "JPEG", exif=exif)
    image = read_image(data, name="photo.jpg")
    assert image.size == want[::-1]
    assert set(image.pixels[..., 0].ravel().tolist()) == {90}
    assert image.notices[-1] == "Turned upright according to its EXIF orientation."
    assert image.notices[0].startswith(
        f"The image has {size[0] * size[1] / 1e6:.3g} million pixels; it was decoded at 1/"
    )


def test_a_progressive_jpeg_is_refused_when_its_coefficients_would_not_fit() -> None:
    data = encode(photo(), "JPEG", progressive=True, subsampling=0)
    with pytest.raises(InputError, match="too large"):
        read_image(data, max_pixels=160 * 96 - 160 * 96 // 2)


def test_a_jpeg_beyond_any_camera_is_refused() -> None:
    data = bytearray(encode(photo(), "JPEG"))
    frame = data.index(b"\xff\xc0") + 5  # height and width follow
    data[frame : frame + 4] = (16_384).to_bytes(2, "big") + (16_384).to_bytes(2, "big")
    assert MAX_SOURCE_PIXELS < 16_384**2
    with pytest.raises(InputError, match="too large"):
        read_image(bytes(data))


def test_a_phone_jpeg_with_a_second_picture_inside() -> None:
    data = encode(photo(), "MPO", save_all=True, append_images=[photo(80, 48)], quality=95)
    image = read_image(data)
    assert difference(image.pixels, np.asarray(photo())) < 5
    assert image.notices == ("The file has several frames; the first one is used.",)
    small = read_image(data, max_pixels=5_000)
    assert small.size == (80, 48)
    assert difference(small.pixels, np.asarray(photo().reduce(2))) < 4


@pytest.mark.parametrize(
    ("highest", "bits"), [(255, 8), (1023, 10), (4095, 12), (16383, 14), (65535, 16)]
)
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_deep_greys_are_scaled_by_the_bits_in_use(highest: int, bits: int, format: str) -> None:
    greys = np.linspace(0, highest, 256).round().astype(np.uint16).reshape(16, 16)
    image = read_image(encode(Image.fromarray(greys), format))
    assert image.pixels[..., 0].ravel().tolist() == list(range(256))
    want = (
        "16-bit grey values were rescaled to 8 bits."
        if bits == 16
        else f"16-bit grey values that use only {bits} bits (0 to {highest:,}) were rescaled to 8 "
        "bits."
    )
    assert image.notices == (want,)


def test_a_black_16_bit_image_stays_black() -> None:
    assert read_image(encode(Image.fromarray(np.zeros((4, 4), np.uint16)), "PNG")).pixels.max() == 0


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_compressed_ycbcr_tiff_is_read(compression: str) -> None:
    data = encode(photo().convert("YCbCr"), "TIFF", compression=compression)
    assert difference(read_image(data).pixels, np.asarray(photo())) < 6


def test_an_uncompressed_ycbcr_tiff_says_what_it_is() -> None:
    data = encode(photo().convert("YCbCr"), "TIFF")
    with pytest.raises(InputError, match="kind of TIFF that is not read: uncompressed YCbCr"):
        read_image(data)
