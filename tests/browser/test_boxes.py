"""Boxes and points as a person uses them: from the question to the drawn box, by mouse and keys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import PageFactory, PageLog
from tests.browser.steps import RUN_TIMEOUT_MS, open_part, open_tab, run_and_wait, wait_until_drawn

QUESTION = "Where is the red circle? Give its box."
TEXT = """```json
[
\t{"bbox_2d": [49, 254, 473, 674], "label": "red circle"},
\t{"bbox_2d": [545, 270, 929, 660], "label": "blue square"},
\t{"point_2d": [260, 460], "label": "middle"}
]
```"""


@pytest.fixture(scope="module")
def opened(address: str, module_page: PageFactory) -> tuple[Page, PageLog]:
    """A question for a box about the first example's image, and the part that draws it."""
    page, log = module_page(f"{address}?lang=en", width=1280)
    wait_until_drawn(page)
    page.get_by_label("Text", exact=True).first.fill(QUESTION)
    run_and_wait(page)
    open_part(open_tab(page, "5 Sampling"), "Boxes and points")
    expect(part_of(page).locator(".pg-generated")).to_be_visible(timeout=RUN_TIMEOUT_MS)
    return page, log


def part_of(page: Page) -> Locator:
    return page.locator("[data-part='sampling.grounding']")


def type_answer(page: Page, text: str) -> Locator:
    """Give a text as the answer, and wait until its boxes are measured; returns the part."""
    part = part_of(page)
    part.get_by_label("your text", exact=True).check()
    field = part.get_by_label("Your text as the answer")
    field.fill(text)
    field.blur()
    shown = part.locator("p.pg-generated")
    expect(shown).to_have_text(text.replace("\n", "⏎\n").replace("\t", "⇥"))
    expect(part).not_to_have_attribute("data-busy", "read", timeout=RUN_TIMEOUT_MS)
    return part


def test_an_answer_without_boxes_says_how_to_get_one(opened: tuple[Page, PageLog]) -> None:
    page, _ = opened
    part = type_answer(page, "A red circle.")
    expect(part.locator(".pg-fact").first).to_contain_text("Your text has no box and no point")
    expect(part.locator(".pg-box")).to_have_count(0)


def test_boxes_lie_where_the_objects_are(opened: tuple[Page, PageLog]) -> None:
    page, log = opened
    part = type_answer(page, TEXT)
    expect(part.locator("[role=button]:is(.pg-box, .pg-spot)")).to_have_count(6)
    for frame in part.locator(".pg-picture-frame").all():
        outer = frame.locator("img").first.bounding_box()
        inner = frame.get_by_role("button", name="1 red circle").bounding_box()
        assert outer is not None
        assert inner is not None
        assert inner["x"] - outer["x"] == pytest.approx(0.049 * outer["width"], abs=1.5)
        assert inner["y"] - outer["y"] == pytest.approx(0.254 * outer["height"], abs=1.5)
        assert inner["width"] == pytest.approx(0.424 * outer["width"], abs=1.5)
        assert inner["height"] == pytest.approx(0.420 * outer["height"], abs=1.5)
    expect(part.locator(".pg-readings svg[role=img]")).to_have_count(6)
    assert not log.problems


def test_a_click_chooses_a_box_and_selects_its_middle_token(
    opened: tuple[Page, PageLog],
) -> None:
    page, _ = opened
    part = type_answer(page, TEXT)
    square = part.get_by_role("button", name="2 blue square", exact=True).and_(
        part.locator(".pg-box")
    )
    square.first.click()
    expect(square.first).to_have_attribute("aria-pressed", "true")
    expect(part.get_by_text("Coordinates of 2 blue square")).to_be_visible()
    row = part.locator("tr[data-set]").nth(1)
    expect(row).to_contain_text("▸ 2")
    token = row.get_attribute("data-start")
    bar = page.locator(".pg-pointer-words")
    expect(bar).to_contain_text(f"in token {token} ")
    # A row does the same, with the token in place of the patch.
    first = part.locator("tr[data-set]").first
    first.click()
    expect(bar).to_contain_text(f"token {first.get_attribute('data-start')} =")
    expect(part.get_by_text("Coordinates of 1 red circle")).to_be_visible()


def test_the_keyboard_does_what_the_mouse_does(opened: tuple[Page, PageLog]) -> None:
    page, _ = opened
    part = type_answer(page, TEXT)
    point = part.locator(".pg-spot[role=button]").first
    point.focus()
    page.keyboard.press("Enter")
    expect(point).to_have_attribute("aria-pressed", "true")
    expect(part.get_by_text("Coordinates of 3 middle")).to_be_visible()
    token = part.locator("tr[data-set]").nth(2).get_attribute("data-start")
    expect(page.locator(".pg-pointer-words")).to_contain_text(f"in token {token} ")


def test_the_boxes_are_fetched(opened: tuple[Page, PageLog]) -> None:
    page, _ = opened
    part = type_answer(page, TEXT)
    with page.expect_download(timeout=RUN_TIMEOUT_MS) as download:
        part.get_by_role("button", name="Boxes as COCO").click()
    assert download.value.suggested_filename == "qwen3-vl-grounding.coco.json"
    document = json.loads(Path(download.value.path()).read_bytes())
    assert [each["name"] for each in document["categories"]] == [
        "red circle",
        "blue square",
        "middle",
    ]
    assert document["annotations"][0]["bbox"] == pytest.approx([10.976, 56.896, 94.976, 94.08])


def test_two_readings_are_beside_each_other_on_a_phone(opened: tuple[Page, PageLog]) -> None:
    page, _ = opened
    type_answer(page, TEXT)
    page.set_viewport_size({"width": 390, "height": 844})
    figures = part_of(page).locator(".pg-readings > figure")
    first, second = (figures.nth(number).bounding_box() for number in (0, 1))
    assert first is not None
    assert second is not None
    assert second["x"] > first["x"] + first["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.set_viewport_size({"width": 1280, "height": 900})
