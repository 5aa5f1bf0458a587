"""A photo of 1,280 x 960 pixels as the 2B model's processor cuts it: 4,800 patches, 1,200 tokens.

The weights are tiny random ones; what reaches the page is as much as with the real ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from components.compute.engine_host import EngineHost
from components.look.theme import CSS
from components.page.site import build_site
from components.parts import run_events
from components.prompt.examples import Example
from components.serving.server import ServerOptions, launch
from tests.browser.conftest import PageFactory, PageLog
from tests.browser.steps import open_part, open_tab, part_names, wait_until_drawn
from tests.media_samples import make_image
from tests.tiny_random import make_tiny_random_checkpoint

SIZE_OF_2B = {"shortest_edge": 65_536, "longest_edge": 16_777_216}  # pixels, of its processor
MAX_MARKS = 5_000  # SVG shapes of one chart


def make_checkpoint(folder: Path) -> Path:
    make_tiny_random_checkpoint(folder)
    for path in (folder / "preprocessor_config.json", folder / "processor_config.json"):
        settings = json.loads(path.read_text())
        settings.get("image_processor", settings)["size"] = SIZE_OF_2B
        path.write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def photo_page(
    tmp_path_factory: pytest.TempPathFactory, module_page: PageFactory
) -> Iterator[tuple[Page, PageLog]]:
    """The page on such a checkpoint, with the photo for its opening example."""
    photo = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(make_image(1280, 960).pixels).save(photo)
    example = Example("Photo", (str(photo),), None, "Describe this image.", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_events, "load_examples", lambda: (example,))
        folder = make_checkpoint(tmp_path_factory.mktemp("sizes_of_2b"))
        host = EngineHost(str(folder), device="cpu", dtype="float32")
        built = build_site(host)
        address = launch(built.demo, CSS, ServerOptions(port=None), quiet=True)
        host.start(then=built.begin_with_first_example)
        opened, log = module_page(address, width=1280)
        wait_until_drawn(opened)
        yield opened, log
    built.demo.close(verbose=False)


@pytest.mark.parametrize("name", ["1 Preprocess", "2 Vision tower", "3 Merge"])
def test_every_part_draws_the_photo(photo_page: tuple[Page, PageLog], name: str) -> None:
    opened, log = photo_page
    panel = open_tab(opened, name)
    for part in part_names(panel):
        shown = open_part(panel, part)
        expect(shown.locator('.chart-box[data-state="error"]')).to_have_count(0)
        for chart in shown.locator(".chart-box[data-state='drawn']").all():
            expect(chart.locator("svg.main-svg, canvas").first).to_be_visible()
            assert chart.locator(".scatterlayer .point, .heatmaplayer rect").count() <= MAX_MARKS
    assert log.problems == []


def test_the_photo_is_cut_as_the_2b_model_cuts_it(photo_page: tuple[Page, PageLog]) -> None:
    opened, _ = photo_page
    tensors = open_part(open_tab(opened, "1 Preprocess"), "Tensors")
    expect(tensors).to_contain_text("60, 80")  # image_grid_thw
    expect(tensors.get_by_role("img", name="1,200 image")).to_be_visible()
