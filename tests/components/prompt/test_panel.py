"""Files that the input panel lets through."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest
from gradio.components.gallery import GalleryData, GalleryImage
from gradio.data_classes import ImageData
from PIL import Image

from components.prompt.examples import load_examples
from components.prompt.panel import build_input_panel
from components.prompt.reader import read_prompt
from playground.engine import Engine
from playground.errors import InputError


@pytest.fixture(scope="module")
def gallery() -> gr.Gallery:
    with gr.Blocks():
        return build_input_panel(load_examples()).images


def received(gallery: gr.Gallery, path: Path) -> list[tuple[str, str | None]]:
    """What a handler gets of one file that a visitor dropped on the gallery."""
    image = GalleryImage(image=ImageData(path=str(path)))
    items: list[tuple[str, str | None]] = gallery.preprocess(GalleryData(root=[image]))  # type: ignore[assignment]
    return items


@pytest.mark.parametrize("name", ["IMG_0001.HEIC", "photo.avif", "photograph", "scan.tif"])
def test_images_of_any_name_reach_the_server(
    name: str, gallery: gr.Gallery, tiny_random_engine: Engine, tmp_path: Path
) -> None:
    path = tmp_path / name
    Image.new("RGB", (64, 48), "red").save(path, "HEIF" if name.endswith("HEIC") else "PNG")
    prompt = read_prompt(
        tiny_random_engine,
        images=received(gallery, path),
        video=None,
        text="a",
        system="",
        max_pixels=None,
    )
    assert prompt.images[0].size == (64, 48)
    assert prompt.images[0].name == name


def test_other_files_are_refused_in_our_own_words(
    gallery: gr.Gallery, tiny_random_engine: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no image")
    with pytest.raises(InputError, match=r"notes\.txt is not a readable image"):
        read_prompt(
            tiny_random_engine,
            images=received(gallery, path),
            video=None,
            text="a",
            system="",
            max_pixels=None,
        )
