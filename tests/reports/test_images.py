"""Images of public reports: sizes, metadata, transparency. The threads are at each test."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from playground.engine import Engine
from playground.errors import InputError
from playground.preprocess.media import read_image
from playground.preprocess.stage import run_preprocess
from playground.prompt import Prompt, Turn
from tests.media_samples import make_image


def encode(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def photo(width: int = 64, height: int = 48) -> Image.Image:
    return Image.fromarray(make_image(width, height).pixels)


# --------------------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    "size",
    [
        (305, 30),  # ollama/ollama#13113
        (237, 23),  # ollama/ollama#13044
        (26, 28),  # vllm-project/vllm#15080
        (332, 27),  # vllm-project/vllm#21109
        (16, 16),  # zai-org/GLM-V#146
        (798, 519),  # ollama/ollama#11217
        (690, 15_420),  # QwenLM/Qwen3-VL#220
        (1000, 5),  # jundot/omlx#3529: 200 is allowed
    ],
)
def test_sizes_that_other_servers_fail_on(engine: Engine, size: tuple[int, int]) -> None:
    image = read_image(encode(photo(*size)))
    inputs = run_preprocess(engine, Prompt((Turn("user", "a", (image,)),)))
    plain = engine.processor.image_processor(images=[photo(*size)], return_tensors="pt")
    assert inputs.image_grid_thw is not None
    assert inputs.pixel_values is not None
    assert inputs.image_grid_thw.tolist() == plain["image_grid_thw"].tolist()
    assert torch.equal(inputs.pixel_values, plain["pixel_values"])


def test_a_strip_beyond_the_processors_ratio_is_refused() -> None:
    """jundot/omlx#3529: 1093 by 5 pixels are 218.6 to 1."""
    with pytest.raises(InputError, match=r"1093 × 5 pixels.*200 times"):
        read_image(encode(photo(1093, 5)))


# --------------------------------------------------------------------------- texts of a PNG

LARGE = bytes(2 * 2**20)  # Pillow's own limit is one megabyte


def with_chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG with one chunk more."""
    png = encode(photo())
    place = png.index(b"IDAT") - 4
    checked = kind + data
    chunk = struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))
    return png[:place] + chunk + png[place:]


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        (b"iCCP", b"printer\0\0"),  # python-pillow/Pillow#2445
        (b"zTXt", b"parameters\0\0"),  # python-pillow/Pillow#8363
        (b"iTXt", b"prompt\0\x01\0\0\0"),  # hiyouga/LlamaFactory#6300
    ],
)
def test_a_large_profile_or_text_is_no_reason_to_refuse_a_png(kind: bytes, head: bytes) -> None:
    image = read_image(with_chunk(kind, head + zlib.compress(LARGE)))
    np.testing.assert_array_equal(image.pixels, np.asarray(photo()))
    assert image.notices == ()


@pytest.mark.parametrize("kind", [b"iCCP", b"zTXt"])
def test_a_text_that_unpacks_without_end_is_refused(kind: bytes) -> None:
    """python-pillow/Pillow#1060 is why there is a limit."""
    bomb = zlib.compress(bytes(20 * 2**20))
    with pytest.raises(InputError, match="not a readable image"):
        read_image(with_chunk(kind, b"x\0\0" + bomb))


# --------------------------------------------------------------------------- EXIF

TURNED = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)  # orientation 6
BEHIND = 8 + 2 + 2 * 12 + 4  # where the values of two entries lie


def exif(entry: bytes, values: bytes) -> bytes:
    """Handwritten EXIF: the orientation, one more entry, and its values."""
    head = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2)
    return head + TURNED + entry + struct.pack("<I", 0) + values


GPS = (
    struct.pack("<HHHII", 1, 2, 5, 3, BEHIND + 18)  # the latitude: three fractions
    + struct.pack("<I", 0)
    + struct.pack("<6I", 0, 0, 0, 0, 0, 0)
)
BROKEN = {
    # python-pillow/Pillow#8548: the position is 0/0 degrees
    "gps": exif(struct.pack("<HHII", 0x8825, 4, 1, BEHIND), GPS),
    # python-pillow/Pillow#8965: a signed fraction of -1/0
    "fraction": exif(struct.pack("<HHII", 0x011A, 10, 1, BEHIND), struct.pack("<ii", -1, 0)),
    # python-pillow/Pillow#4346: numbers where bytes of no type belong
    "undefined": exif(struct.pack("<HHII", 0x9286, 3, 5, BEHIND), struct.pack("<5H", *range(5))),
}


@pytest.mark.parametrize("kind", sorted(BROKEN))
def test_a_broken_tag_does_not_keep_a_photograph_lying(kind: str) -> None:
    image = read_image(encode(photo(), "JPEG", exif=BROKEN[kind], quality=95))
    stored = read_image(encode(photo(), "JPEG", quality=95))
    np.testing.assert_array_equal(image.pixels, np.rot90(stored.pixels, -1))
    assert image.notices == ("Turned upright according to its EXIF orientation.",)


@pytest.mark.parametrize("name", ["Exif", "another"])
def test_exif_under_a_doubled_header(name: str) -> None:
    """python-pillow/Pillow#8348: ``Exif`` twice; browsers and Pillow read what follows."""
    tags = Image.Exif()
    tags[0x0112] = 6
    doubled = {"Exif": b"Exif\0\0" + tags.tobytes(), "another": tags.tobytes()}[name]
    assert read_image(encode(photo(), "JPEG", exif=doubled)).size == (48, 64)


# --------------------------------------------------------------------------- transparency

ONE_BIT = (  # python-pillow/Pillow#9281: 8 by 2 pixels, the upper row transparent
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAACAQAAAABN76BAAAAAAnRSTlMAAQGU/a4AAAAMSURBVHicY/jPwAAAAwEBAMn+"
    "ku8AAAAASUVORK5CYII="
)


def test_one_bit_with_a_transparent_colour() -> None:
    image = read_image(base64.b64decode(ONE_BIT))
    assert image.pixels[0].min() == 255
    assert image.pixels[1].max() == 0
    assert image.notices == ("Transparent areas are shown on white.",)


def test_rgb_with_a_transparent_colour() -> None:
    """huggingface/transformers#49003: a ``tRNS`` chunk leaves the mode RGB."""
    picture = Image.new("RGB", (4, 2), (255, 0, 0))
    picture.paste((0, 0, 255), (0, 0, 2, 2))
    image = read_image(encode(picture, transparency=(255, 0, 0)))
    assert image.pixels[0].tolist() == [[0, 0, 255]] * 2 + [[255, 255, 255]] * 2


def test_a_palette_all_of_whose_colours_are_transparent() -> None:
    """python-pillow/Pillow#1838."""
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0)).convert("P")
    assert read_image(encode(clear)).pixels.min() == 255
