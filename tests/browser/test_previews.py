"""Uploads that the browser cannot show, although Run reads them."""

from __future__ import annotations

from pathlib import Path

import pillow_heif
from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import PageFactory
from tests.browser.steps import run_and_wait, wait_until_drawn
from tests.media_samples import make_image, make_video, write_video


def test_a_heic_has_a_thumbnail_and_an_avi_a_sentence(
    address: str, page: PageFactory, tmp_path: Path
) -> None:
    heic, clip = tmp_path / "IMG_0001.HEIC", tmp_path / "clip.avi"
    pillow_heif.from_pillow(Image.fromarray(make_image(320, 240).pixels)).save(heic)
    write_video(clip, make_video(8).frames, codec="mpeg4")
    opened, log = page(f"{address}?lang=en", width=1280)
    wait_until_drawn(opened)

    images = opened.locator("#input-images")
    images.get_by_label("Clear").first.click()
    images.locator("input[type=file]").first.set_input_files(heic)
    thumbnail = images.locator("img[src*='IMG_0001.HEIC.webp']").first
    expect(thumbnail).to_be_visible()
    expect(thumbnail).to_have_js_property("naturalWidth", 320)
    run_and_wait(opened)

    opened.locator("#input-more button").first.click()
    opened.locator("#input-video input[type=file]").first.set_input_files(clip)
    note = opened.get_by_text("This browser cannot preview this file; Run reads it.")
    expect(note).to_be_visible()
    expect(opened.locator("#input-video video")).to_be_hidden()
    run_and_wait(opened)
    expect(opened.get_by_text("Video not playable")).to_have_count(0)

    opened.locator("#input-video").get_by_label("Clear").first.click()
    playable = write_video(tmp_path / "clip.mp4", make_video(8).frames)
    opened.locator("#input-video input[type=file]").first.set_input_files(playable)
    expect(opened.locator("#input-video video")).to_be_visible()
    expect(note).to_be_hidden()
    # Gradio says this of every upload.
    assert {*log.problems} <= {"Method not implemented."}
