"""Previews of uploads that browsers do not show: what the gallery gets, and what Run reads."""

from __future__ import annotations

import os
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from gradio.components.gallery import GalleryData, GalleryImage
from gradio.data_classes import ImageData
from PIL import Image

import playground
from components.parts.run_events import PROMPT_NAMES
from components.prompt.previews import FOLDER, describe_video, original_of, show_previews
from components.prompt.reader import read_prompt
from components.share.kept_files import KeptFiles
from components.share.link_prompt import link_prompt
from playground.engine import Engine
from playground.errors import InputError
from playground.language import speaking
from playground.prompt import Prompt
from tests.media_samples import make_image, make_video, write_video


@pytest.fixture(autouse=True)
def upload_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return tmp_path


def upload_heic(folder: Path, name: str = "IMG_0001.HEIC") -> Path:
    """A turned HEIC of 1600 x 1200 in a folder of its own, where Gradio puts an upload."""
    image = Image.fromarray(make_image(1600, 1200).pixels)
    exif = Image.Exif()
    exif[0x0112] = 6  # written as the HEIC property that turns it by 90°, too
    path = folder / "hash" / name
    path.parent.mkdir()
    fast = {"preset": "ultrafast"}  # a tenth of the time
    image.save(path, "HEIF", quality=90, exif=exif.tobytes(), enc_params=fast)
    return path


def read(engine: Engine, *items: str | tuple[str, str | None]) -> Prompt:
    return read_prompt(engine, images=items, video=None, text="a", system="", max_pixels=None)


def test_the_gallery_shows_a_heic_as_webp_and_run_reads_the_heic(
    tmp_path: Path, tiny_random_engine: Engine
) -> None:
    heic = upload_heic(tmp_path)
    png = tmp_path / "a.png"
    Image.fromarray(make_image(64, 64).pixels).save(png)
    shown = show_previews([(str(heic), None), (str(png), "caption")])
    assert shown[1] == (str(png), "caption")
    preview, caption = shown[0]
    assert caption is None
    with Image.open(preview) as image:
        assert image.format == "WEBP"
        assert image.size == (960, 1280)  # upright
        pixels = np.asarray(image.convert("RGB"), np.float64)
    original = playground.preprocess.media.read_image(heic)
    small = Image.fromarray(original.pixels).resize((960, 1280))
    assert np.abs(pixels - np.asarray(small, np.float64)).mean() < 8

    (before,) = read(tiny_random_engine, str(heic)).images
    (after,) = read(tiny_random_engine, (preview, None)).images
    assert after.name == before.name == "IMG_0001.HEIC"
    assert after.notices == before.notices
    np.testing.assert_array_equal(after.pixels, before.pixels)


def test_a_preview_gets_no_preview(tmp_path: Path) -> None:
    shown = show_previews([str(upload_heic(tmp_path))])
    again = show_previews(shown)
    assert again == gr.skip()
    assert [*tmp_path.glob(f"**/{FOLDER}/*")] == [Path(shown[0])]


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF"])
def test_what_browsers_show_stays(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{format.lower()}"
    Image.fromarray(make_image(64, 64).pixels).save(path)
    assert show_previews([str(path)]) == gr.skip()


def test_tiff_has_a_preview(tmp_path: Path) -> None:
    path = tmp_path / "scan.tif"
    Image.fromarray(make_image(64, 48).pixels).save(path)
    with Image.open(show_previews([str(path)])[0]) as image:
        assert (image.format, image.size) == ("WEBP", (64, 48))


def test_a_damaged_heic_is_left_for_run_to_refuse(
    tmp_path: Path, tiny_random_engine: Engine
) -> None:
    path = upload_heic(tmp_path)
    os.truncate(path, path.stat().st_size // 2)
    assert show_previews([str(path)]) == gr.skip()
    with pytest.raises(InputError, match=r"IMG_0001\.HEIC is .*damaged"):
        read(tiny_random_engine, str(path))


def test_run_never_reads_the_preview_itself(tmp_path: Path, tiny_random_engine: Engine) -> None:
    path = upload_heic(tmp_path)
    (preview,) = show_previews([str(path)])
    path.unlink()
    with pytest.raises(InputError, match="no longer exists"):
        read(tiny_random_engine, preview)


def test_a_preview_names_files_of_the_upload_folder_only(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    outside = upload_heic(tmp_path_factory.mktemp("outside"))
    with pytest.raises(InputError):
        original_of(str(outside.parent / FOLDER / f"{outside.name}.webp"))


def test_a_link_keeps_the_original(tmp_path: Path) -> None:
    heic = upload_heic(tmp_path)
    kept = KeptFiles(tmp_path / "kept")
    prompt = dict.fromkeys(PROMPT_NAMES) | {"images": show_previews([(str(heic), None)])}
    (name,) = link_prompt(kept, prompt)["images"]
    found = kept.find(name)
    assert found is not None
    assert Path(found).read_bytes() == heic.read_bytes()


def test_gradio_keeps_the_preview_beside_the_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cache leaves files alone that lie in its own folder."""
    gallery = gr.Gallery(type="filepath", interactive=True)
    (preview,) = show_previews([str(upload_heic(tmp_path))])
    assert gallery.move_resource_to_block_cache(preview) == preview
    image = GalleryImage(image=ImageData(path=preview))
    assert gallery.preprocess(GalleryData(root=[image])) == [(preview, None)]


def test_a_video_is_described_by_what_run_makes_of_it(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.avi", make_video(4).frames, codec="mpeg4")
    assert (
        describe_video(str(clip)) == "<p>This browser cannot preview this file; Run reads it.</p>"
    )
    with speaking("zh"):
        assert describe_video(str(clip)) == "<p>此浏览器无法预览该文件；“运行”可以读取它。</p>"
    other = tmp_path / "<b>.avi"
    other.write_text("no video")
    assert "&lt;b&gt;.avi is not a readable video" in describe_video(str(other))
    assert describe_video(None) == ""
