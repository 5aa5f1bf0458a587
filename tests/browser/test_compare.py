"""What if rounded in a real browser: from a preset to both answers, and a preset after another."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import PageFactory
from tests.browser.steps import RUN_TIMEOUT_MS, open_part, open_tab, wait_until_drawn


def test_from_a_preset_to_both_answers(address: str, page: PageFactory) -> None:
    opened, log = page(address, width=1280)
    wait_until_drawn(opened)
    open_part(open_tab(opened, "Compare"), "What if rounded")
    part = opened.locator("[data-part='compare.rounding']")
    expect(part.locator(".pg-generated")).to_have_count(0)
    part.get_by_role("button", name="FP8 everywhere").click()
    answers = part.locator(".pg-generated")
    expect(answers).to_have_count(2, timeout=RUN_TIMEOUT_MS)
    expect(answers.nth(1)).to_contain_text("circle")
    expect(part.locator(".pg-badge")).to_have_text("The answer stays the same.")
    fact = part.locator(".pg-fact").first
    expect(fact).to_have_text("Rounded in this run: FP8 everywhere.")
    expect(part.locator(".chart-box[data-state='drawn']")).to_have_count(3)
    titles = part.locator(".chart-title")
    expect(titles.nth(1)).to_contain_text("first difference at vision.image.patch_embeds")
    part.get_by_role("button", name="int4, decoder MLP only").click()
    expect(titles.nth(1)).to_contain_text("decoder.hidden_states.1", timeout=RUN_TIMEOUT_MS)
    expect(titles.first).to_contain_text("Decoder MLP moves most")
    expect(part.get_by_label("Vision tower")).to_have_value("0")  # as it is
    part.get_by_label("Vision tower").select_option(label="int8")
    expect(fact).to_contain_text("have changed since")
    assert log.problems == []


def test_the_shipped_fine_tune_beside_the_shipped_checkpoint(
    address: str, page: PageFactory
) -> None:
    opened, log = page(address, width=1280)
    wait_until_drawn(opened)
    tab = open_tab(opened, "Compare")
    weights = opened.locator("[data-part='compare.weights']")
    expect(weights.locator(".pg-fact")).to_contain_text("18 of 112 modules differ")
    expect(weights.get_by_role("row", name="vision blocks")).to_contain_text("untouched")
    open_part(tab, "One run through both")
    both = opened.locator("[data-part='compare.drift']")
    fact = both.locator(".pg-fact").first
    expect(fact).to_contain_text("decoder.hidden_states.4", timeout=RUN_TIMEOUT_MS)
    answers = both.locator(".pg-generated")
    expect(answers.first).to_contain_text("red circle", timeout=RUN_TIMEOUT_MS)
    expect(answers.nth(1)).to_contain_text("blue circle")
    expect(both.locator(".pg-badge")).to_have_text("The answers differ from token 3 on.")
    open_part(tab, "One stage of the second in the first")
    swap = opened.locator("[data-part='compare.swap']")
    expect(swap.locator(".pg-fact").first).to_contain_text(
        "decoder layer 5", timeout=RUN_TIMEOUT_MS
    )
    swap.get_by_role("button", name="Run with these stages").click()
    expect(swap.locator(".pg-generated")).to_have_count(3, timeout=RUN_TIMEOUT_MS)
    assert log.problems == []


def test_a_column_of_each_checkpoint(address: str, page: PageFactory) -> None:
    opened, log = page(address, width=1280)
    wait_until_drawn(opened)
    open_tab(opened, "Sampling")
    side = opened.locator("[data-part='sampling.side']")
    side.get_by_label("Checkpoint", exact=True).nth(1).select_option(label="second")
    side.get_by_role("button", name="Generate columns").click()
    column = side.get_by_role("region", name="Column B, second checkpoint")
    expect(column).to_contain_text("large blue", timeout=RUN_TIMEOUT_MS)
    expect(side.get_by_role("region", name="Column A", exact=True)).to_contain_text("large red")
    assert log.problems == []
