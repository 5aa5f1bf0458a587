"""The pointer in a real browser: the same arithmetic as in Python, and marks in every tab."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from components.pointer.view import write_layout
from components.serving.browser_module import FOLDER
from playground.engine import Engine
from playground.pipeline import Run
from playground.pointer import Selection, locate_patch, locate_token
from tests.browser.conftest import PageFactory, PageLog
from tests.browser.steps import open_part, open_tab, run_and_wait, wait_until_drawn
from tests.playground.prompt_samples import PROMPTS

NAMES = {"pixel_rows": "pixelRows"}
LOCATE = """async ([address, layout, wishes]) => {
  const pointer = await import(new URL(address, location.origin));
  const run = JSON.parse(layout);
  return wishes.map((wish) => {
    const selection = wish.length === 1
      ? pointer.locateToken(run, ...wish) : pointer.locatePatch(run, ...wish);
    return selection && [selection, pointer.describe(run, selection)];
  });
}"""


def plain(selection: Selection) -> dict[str, Any]:
    """A selection as locate.js writes it."""
    fields = {NAMES.get(name, name): value for name, value in asdict(selection).items()}
    return json.loads(json.dumps({k: v for k, v in fields.items() if v is not None}))


@pytest.fixture(scope="module")
def blank(address: str, module_page: PageFactory) -> Page:
    """A page beside the page's own scripts, which shows nothing."""
    return module_page(f"{address.rstrip('/')}{FOLDER}/0/texts.js")[0]


def ask(blank: Page, run: Run, wishes: list[tuple[int, ...]]) -> list[Any]:
    """What locate.js makes of tokens and patches."""
    script = f"{FOLDER}/0/locate.js"
    return blank.evaluate(LOCATE, [script, write_layout(run), [list(wish) for wish in wishes]])


@pytest.mark.parametrize("name", ["text", "two_images", "image_and_video", "turns"])
def test_the_browser_counts_as_python_does(
    name: str, blank: Page, tiny_random_engine: Engine
) -> None:
    run = Run(tiny_random_engine, PROMPTS[name])
    inputs = run.inputs
    wishes: list[tuple[int, ...]] = [(index,) for index in range(inputs.num_tokens)]
    wishes += [
        (number, row, column)
        for number, span in enumerate(inputs.spans)
        for row in range(span.grid_h)
        for column in range(span.grid_w)
    ]
    answers = ask(blank, run, wishes)
    for wish, (selection, _) in zip(wishes, answers, strict=True):
        locate = locate_token if len(wish) == 1 else locate_patch
        assert selection == plain(locate(inputs, run.positions, *wish)), wish
    assert ask(blank, run, [(inputs.num_tokens,), (-1,), (99, 0, 0)]) == [None, None, None]


def test_a_selection_in_words(blank: Page, tiny_random_engine: Engine) -> None:
    run = Run(tiny_random_engine, PROMPTS["image_alone"])
    answers = ask(blank, run, [(1,), (11,), (0, 5, 2)])
    assert [words for _, words in answers] == [
        "Token 1 “user” · position 1 in t, h and w · KV slot 1",
        "Image 1: token 11 = 2 × 2 patches at rows 4–5, columns 2–3 = pixels x 32–63, y 64–95 of "
        "the resized image · rows 28–31 of pixel_values · position t 4, h 6, w 5 · KV slot 11",
        "Image 1: patch at row 5, column 2 = row 30 of pixel_values, in token 11 = 2 × 2 patches "
        "at rows 4–5, columns 2–3 = pixels x 32–63, y 64–95 of the resized image · position t 4, "
        "h 6, w 5 · KV slot 11",
    ]


def click_patch(image: Locator, row: float, column: float, grid: tuple[int, int]) -> None:
    """Click the middle of a patch of an image."""
    box = image.bounding_box()
    assert box is not None
    image.click(
        position={
            "x": (column + 0.5) / grid[1] * box["width"],
            "y": (row + 0.5) / grid[0] * box["height"],
        }
    )


def expect_attributes(block: Locator, **selection: str) -> None:
    """Where a token lies on its image, in patches."""
    for name, value in selection.items():
        expect(block).to_have_attribute(name, value)


def open_positions(panel: Locator) -> None:
    """Unfold the table of all positions."""
    fold = panel.locator("details", has=panel.page.get_by_text("Table of all positions"))
    if fold.get_attribute("open") is None:
        fold.locator("summary").click()


def marked_rows(panel: Locator) -> Locator:
    """Rows of tables that carry the fixed mark."""
    return panel.locator(".pg-table tr.pg-fixed")


@pytest.fixture(scope="module")
def opened(address: str, module_page: PageFactory) -> tuple[Page, PageLog]:
    """The page with the first example, for all tests: loading it is most of the work."""
    page, log = module_page(address, width=1280)
    wait_until_drawn(page)
    return page, log


def test_a_clicked_patch_is_marked_in_every_tab(opened: tuple[Page, PageLog]) -> None:
    """The first example's image is 224 × 224 pixels: 14 × 14 patches, 49 tokens from index 4."""
    page, log = opened
    panel = open_tab(page, "1 Preprocess")
    image = panel.locator(".pg-picture-frame[data-span='0']").first
    click_patch(image, 5, 6, (14, 14))
    words = page.locator(".pg-pointer-words")
    expect(words).to_contain_text("patch at row 5, column 6")
    index = 4 + 2 * 7 + 3
    expect(words).to_contain_text(f"in token {index} = 2 × 2 patches at rows 4–5, columns 6–7")
    expect(words).to_contain_text("position t 4, h 6, w 7")
    expect(marked_rows(panel).first).to_have_attribute("data-start", "4")
    expect(panel.locator(".pg-chip.pg-fixed").first).to_have_attribute("data-end", "53")

    panel = open_tab(page, "2 Vision tower")
    block = panel.locator(".pg-picture-frame[data-span='0'] .pg-point-token.pg-point-fixed").first
    expect(block).to_be_visible()
    expect_attributes(block, x="6", y="4", width="2")

    panel = open_part(open_tab(page, "3 Merge"), "Positions")
    open_positions(panel)
    row = panel.locator(f".pg-table tr.pg-fixed[data-start='{index}'][data-end='{index + 1}']")
    expect(row).to_be_visible()
    # An upright line has no width, and so counts as hidden: it must be there, in an open chart.
    expect(panel.locator("line.chart-mark-fixed").first).to_be_attached()

    panel = open_part(open_tab(page, "4 Decoder"), "Layers")
    expect(panel.locator("line.chart-mark-fixed").first).to_be_attached()
    assert log.problems == []


def test_a_token_of_a_table_is_marked_on_the_image(opened: tuple[Page, PageLog]) -> None:
    page, _ = opened
    panel = open_part(open_tab(page, "3 Merge"), "Positions")
    open_positions(panel)
    panel.locator(".pg-table tr[data-start='10'][data-end='11']").click()
    panel = open_tab(page, "1 Preprocess")
    block = panel.locator(".pg-picture-frame[data-span='0'] .pg-point-token.pg-point-fixed").first
    expect_attributes(block, x="12", y="0")
    page.get_by_role("button", name="Next token").click()
    expect_attributes(block, x="0", y="2")
    page.keyboard.press("Escape")
    expect(page.locator(".pg-pointer")).to_be_hidden()
    expect(page.locator(".pg-fixed")).to_have_count(0)


def test_hovering_asks_nothing_of_the_server(opened: tuple[Page, PageLog]) -> None:
    page, log = opened
    panel = open_tab(page, "1 Preprocess")
    page.wait_for_timeout(1500)  # what belongs to opening the page has been asked by then
    before = len(log.urls)
    for row in panel.locator(".pg-table tr[data-start]").all()[:6]:
        row.hover()
        expect(row).to_have_class("pg-hovered")
    assert len(log.urls) == before


def test_marking_comes_to_rest(opened: tuple[Page, PageLog]) -> None:
    """What the pointer draws must not make it draw again."""
    page, _ = opened
    panel = open_tab(page, "4 Decoder")
    page.evaluate(
        "() => { window.changes = 0;"
        " document.addEventListener('pointer-change', () => { window.changes += 1; }); }"
    )
    panel = open_tab(page, "1 Preprocess")
    click_patch(panel.locator(".pg-picture-frame[data-span='0']").first, 5, 6, (14, 14))
    open_tab(page, "4 Decoder")
    # A busy machine redraws late after the click; what draws itself again never comes to rest.
    page.wait_for_function(
        "() => { const at = performance.now();"
        " if (window.changes !== window.seen) { window.seen = window.changes; window.since = at; }"
        " return at - window.since > 2000; }"
    )


def test_the_pointer_survives_a_new_question_on_the_image(opened: tuple[Page, PageLog]) -> None:
    page, _ = opened
    panel = open_tab(page, "1 Preprocess")
    click_patch(panel.locator(".pg-picture-frame[data-span='0']").first, 8, 3, (14, 14))
    run_and_wait(page)  # the same input
    expect(page.locator(".pg-pointer-words")).to_contain_text("patch at row 8, column 3")
    page.locator("#input-text textarea").fill("How many shapes are there?")
    run_and_wait(page)
    expect(panel.locator(".pg-point-fixed").first).to_be_visible()
    run_and_wait(page, page.locator(".example-card").filter(has_text="你好").first)
    expect(page.locator(".pg-pointer")).to_be_hidden()
