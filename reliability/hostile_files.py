"""Uploads from anyone: valid files of every kind, unusual, broken and malicious ones."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
import pillow_heif
from PIL import Image

pillow_heif.register_heif_opener()  # lets Pillow write HEIC
LONGEST_ROW = 50_000  # pixels actually written; a header may claim billions


@dataclass(frozen=True, slots=True)
class File:
    """One upload."""

    name: str
    content: bytes
    accepted: bool | None  # None: either is correct, with a clear message


def make_image(mode: str = "RGB", size: tuple[int, int] = (64, 48), seed: int = 0) -> Image.Image:
    """An image of seeded noise in this mode."""
    rng = np.random.default_rng(seed)
    if mode == "I;16":
        grey = rng.integers(0, 65536, size[::-1]).astype(np.uint16)
        return Image.fromarray(grey)
    rgb = Image.fromarray(rng.integers(0, 256, (*size[::-1], 3)).astype(np.uint8))
    return rgb if mode == "RGB" else rgb.convert(mode)


def encode(image: Image.Image, form: str, **options: object) -> bytes:
    """The file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def image_files() -> Iterator[File]:
    """Every kind of image."""
    yield from _right_images()
    yield from _odd_sizes()
    yield from _broken_images()
    yield from _bombs()
    yield from _no_images()


def _right_images() -> Iterator[File]:
    modes = {
        "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
        "JPEG": ("L", "RGB", "CMYK"),
        "WEBP": ("RGB", "RGBA"),
        "GIF": ("L", "P", "RGB"),
        "BMP": ("1", "L", "P", "RGB"),
        "TIFF": ("1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "F", "LAB"),
        "HEIF": ("L", "RGB", "RGBA"),
        "AVIF": ("L", "RGB", "RGBA"),
    }
    for form, names in modes.items():
        for mode in names:
            yield File(f"{form} {mode}", encode(make_image(mode), form), True)
    for orientation in range(10):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield File(f"EXIF {orientation}", encode(make_image(), "JPEG", exif=exif), True)
    frames = [make_image(seed=seed) for seed in range(3)]
    for form in ("GIF", "WEBP", "PNG", "TIFF"):
        content = encode(frames[0], form, save_all=True, append_images=frames[1:])
        yield File(f"{form} of several frames", content, True)
    yield File("interlaced GIF", encode(make_image("P"), "GIF", interlace=1), True)
    yield File("progressive JPEG", encode(make_image(), "JPEG", progressive=True), True)


def _odd_sizes() -> Iterator[File]:
    for width, height in ((1, 1), (1, 2), (2, 1), (31, 33), (200, 1), (1, 200), (2000, 10)):
        yield File(f"{width} x {height}", encode(make_image(size=(width, height)), "PNG"), True)
    for width, height in ((201, 1), (1, 201), (3000, 2)):
        yield File(f"{width} x {height}", encode(make_image(size=(width, height)), "PNG"), False)


def _broken_images() -> Iterator[File]:
    for form in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "HEIF", "AVIF"):
        whole = encode(make_image(), form)
        for share in (0.02, 0.3, 0.7, 0.98):
            yield File(f"{form} cut at {share:.0%}", whole[: int(len(whole) * share)], None)
        yield File(f"{form} with a tail", whole + b"<script>alert(1)</script>" * 9, None)
        yield File(f"{form} header, then noise", whole[:24] + bytes(range(256)) * 9, None)
    flipped = bytearray(encode(make_image(), "PNG"))
    flipped[40] ^= 0xFF
    yield File("PNG with a wrong checksum", bytes(flipped), None)


def png_claiming(width: int, height: int, rows: int = 1) -> bytes:
    """A PNG whose header claims a size that its data may not have."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    packer = zlib.compressobj(9)
    row = bytes(1 + 3 * min(width, LONGEST_ROW))
    data = b"".join(packer.compress(row) for _ in range(rows)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*part) for part in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    )


def _bombs() -> Iterator[File]:
    for side in (5001, 13_000, 50_000, 2**31 - 1):
        yield File(
            f"PNG claiming {side}²", png_claiming(side, side, rows=1 if side > 9e4 else 9), False
        )
    yield File("PNG claiming 0", png_claiming(0, 0), False)
    yield File("PNG claiming 0 x 5", png_claiming(0, 5), False)
    yield File("PNG of 6000²", png_claiming(6000, 6000, rows=6000), False)


def _no_images() -> Iterator[File]:
    contents = {
        "empty": b"",
        "one byte": b"\0",
        "text": b"hello " * 99,
        "html": b"<html><script>alert(1)</script></html>",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        "svg with entity": b'<!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>',
        "pdf": b"%PDF-1.7\n1 0 obj<<>>endobj",
        "zip": b"PK\3\4" + bytes(99),
        "pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
        "playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage",
        "elf": b"\x7fELF" + bytes(200),
        "nothing but zeros": bytes(10_000),
    }
    for name, content in contents.items():
        yield File(name, content, False)
    for form in ("ICO", "PPM", "TGA", "PCX", "SGI"):
        yield File(f"{form}, which is not on the list", encode(make_image(), form), False)


# ------------------------------------------------------------------------------------- videos


def make_video(num_frames: int, *, rate: Fraction = Fraction(4), side: int = 64) -> bytes:
    """An MP4 of seeded noise."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        for index in range(num_frames):
            pixels = np.asarray(make_image(size=(side, side), seed=index))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def video_files() -> Iterator[File]:
    """Every kind of video; the extension is the client's claim."""
    whole = make_video(8)
    yield File("whole.mp4", whole, True)
    yield File("one-frame.mp4", make_video(1), True)
    yield File("two-frames.mp4", make_video(2), True)
    yield File("odd-frames.mp4", make_video(7), True)
    yield File("slow.mp4", make_video(5, rate=Fraction(1, 10)), None)
    yield File("fast.mp4", make_video(30, rate=Fraction(240)), True)
    yield File("ntsc.mp4", make_video(9, rate=Fraction(30_000, 1001)), True)
    yield File("no-frames.mp4", make_video(0), False)
    yield File("wrong-ending.webm", whole, None)
    for share in (0.02, 0.3, 0.6, 0.95):
        yield File(f"cut-{share:.0%}.mp4".replace("%", ""), whole[: int(len(whole) * share)], None)
    noisy = bytearray(whole)
    noisy[len(noisy) // 3 : len(noisy) // 3 + 400] = bytes(400)
    yield File("damaged.mp4", bytes(noisy), None)
    yield File("text.mp4", b"no video at all " * 99, False)
    yield File("playlist.mp4", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", False)
    yield File("picture.mp4", encode(make_image(), "PNG"), None)
    yield File("empty.mp4", b"", False)
