"""The cache tab: a log of requests, rehearsed and replayed under a policy."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from components.chart_view.figures import encode_figure
from components.charts.cache_policy import plot_policies, plot_tree
from components.tabs.cache import policy
from components.tabs.cache.logs import PRESETS, read_log, read_log_names
from components.tabs.cache.policy_tree import segment_text
from components.tabs.cache.scenes import NO_IMAGE, SCENES, parse_log
from playground.engine import Engine
from playground.errors import InputError
from playground.kv_cache.block_hash import HashRules
from playground.kv_cache.log import (
    MAX_LOG,
    compare_policies,
    log_bytes,
    rehearse,
    replay_log,
)
from playground.kv_cache.prefix_store import PrefixStore
from playground.kv_cache.tree import build_tree
from playground.pipeline import Run
from playground.prompt import PromptImage
from tests.components.html_reader import read_html
from tests.components.runs import ignore_progress, make_run


@pytest.fixture(scope="module")
def run(tiny_random_engine: Engine, image: PromptImage) -> Run:
    run = make_run(tiny_random_engine, "Describe this image.", image)
    run.ensure("decoder")
    return run


@pytest.fixture(scope="module")
def trained_run(shipped_engine: Engine, image: PromptImage) -> Run:
    return make_run(shipped_engine, "Describe this image.", image)


# --------------------------------------------------------------------------- the log


def test_a_log_is_read_line_by_line() -> None:
    assert parse_log(" A | star | What | who?\n\nB||Hi ") == [
        ("A", "star", "What | who?"),
        ("B", NO_IMAGE, "Hi"),
    ]


@pytest.mark.parametrize("text", ["", "star: what?", "A | star", "A | star | ", "| star | Hi", 3])
def test_a_bad_log_names_its_line(text: Any) -> None:
    with pytest.raises(InputError):
        parse_log(text)


def test_presets_are_good_logs(run: Run) -> None:
    for preset in PRESETS:
        rows = parse_log(preset.log)
        assert {image for _, image, _ in rows} <= {NO_IMAGE, *SCENES}
        assert len(read_log_names(run, "", preset.log)) == len(rows)
    scenes = {image for _, image, _ in parse_log(PRESETS[0].log)} - {NO_IMAGE}
    assert (len(parse_log(PRESETS[0].log)), len(scenes)) == (30, 3)


def test_a_log_is_read_once(run: Run) -> None:
    first = read_log_names(run, "key", "A | star | Hi")
    assert read_log_names(run, "key", "A | star | Hi") is first
    assert first[0].inputs.pixel_values is None
    assert read_log(run, "A | star | Hi")[0].identity == first[0].identity


def lab(written: str, **changes: Any) -> list[Any]:
    """The lab's settings, in the order of ``policy.SETTINGS``."""
    settings = {
        "log": written,
        "block_size": 8,
        "share": 100,
        "policy": "lru",
        "pictures": True,
        "salt": True,
    } | changes
    return list(settings.values())


@pytest.mark.parametrize(
    ("control", "raw"),
    [
        ("block-size", 0),
        ("block-size", float("nan")),
        ("share", 101),
        ("policy", "random"),
        ("outlined", 61),
        ("log", 3),
    ],
)
def test_bad_settings_are_refused(run: Run, control: str, raw: Any) -> None:
    chosen = policy.PART.control(control)
    assert chosen is not None
    with pytest.raises(InputError):
        chosen.parse(raw, run)
    assert policy.MAX_LOG == MAX_LOG


@pytest.mark.parametrize("written", ["A | moon | Hi", "star: what?", ""])
def test_a_bad_log_is_shown_once(run: Run, written: str) -> None:
    with pytest.raises(InputError):
        policy.verdict(run, *lab(written))
    assert policy.tree(run, *lab(written), 0) is None
    assert policy.policies(run, *lab(written)) is None
    assert policy.requests(run, *lab(written), None) == ""


def test_a_rehearsal_is_drawn(run: Run) -> None:
    settings = lab(PRESETS[0].log, share=50)
    verdict, table = policy.verdict(run, *settings), policy.requests(run, *settings, None)
    tree, policies = policy.tree(run, *settings, 0), policy.policies(run, *settings)
    log = read_log_names(run, "", PRESETS[0].log)
    rows = read_html(table).rows()
    assert len(rows) == 31
    reused = [int(row[4]) for row in rows[1:]]
    assert f"{sum(count > 0 for count in reused)} of 30 requests hit" in verdict
    assert policy.lesson(run, *settings, None) == ""
    assert tree is not None
    assert policies is not None
    full = log_bytes(run.engine, log, HashRules(8))
    lru = policies.data[0]
    index = lru.x.tolist().index(np.float32(full // 2 / 1e6))
    total = sum(request.inputs.num_tokens for request in log)
    assert lru.y[index] == pytest.approx(100 * sum(reused) / total)
    assert {trace.name.split(":")[0] for trace in policies.data} == {"LRU", "FIFO", "LFU"}
    sizes = [len(encode_figure(tree) or ""), len(encode_figure(policies) or ""), len(table)]
    assert sum(sizes) < 200_000


def test_a_request_is_outlined(run: Run) -> None:
    plain, outlined, past = (policy.tree(run, *lab(PRESETS[0].log), each) for each in (0, 3, 31))
    assert plain is not None
    assert outlined is not None
    assert past is not None
    assert len(outlined.data) == len(plain.data) + 1
    assert outlined.data[-1].name == "selected request"
    assert len(past.data) == len(plain.data)  # the log has thirty


def test_presets_fill_in_their_settings(run: Run) -> None:
    quick, served = policy.PART.controls[:2]
    buttons = [*quick.details(run)["options"], *served.details(run)["options"]]
    assert [label for label, _ in buttons] == [preset.name for preset in PRESETS]
    assert (quick.details(run)["then"], served.details(run)["then"]) == ("", "replay")
    for (_, values), preset in zip(buttons, PRESETS, strict=True):
        assert parse_log(values["log"]) == parse_log(preset.log)
        for name, raw in values.items():
            control = policy.PART.control(name)
            assert control is not None
            control.parse(raw, run)


@pytest.mark.parametrize("number", range(len(PRESETS)))
@pytest.mark.parametrize("share", [100, 40])
def test_a_replay_leaves_the_tree_of_its_rehearsal(run: Run, number: int, share: int) -> None:
    """So the tree and the counts are drawn without the model, whatever was replayed."""
    written = "\n".join(PRESETS[number].log.splitlines()[:8])
    log = read_log(run, written)
    full = log_bytes(run.engine, log, HashRules(8))
    stores = [PrefixStore(run.engine, HashRules(8), max_bytes=full * share // 100) for _ in "ab"]
    rehearse(stores[0], log)
    list(replay_log(stores[1], log, secret="x", max_new_tokens=2))
    named, served = (
        [dataclasses.replace(each, keys=()) for each in build_tree(store.blocks)]
        for store in stores
    )
    assert named == served
    assert stores[0].blocks.stats == stores[1].blocks.stats


def test_the_tree_holds_every_block_once(run: Run) -> None:
    log = read_log_names(run, "", PRESETS[0].log)
    full = log_bytes(run.engine, log, HashRules(8))
    for share in (1.0, 0.4):
        store = PrefixStore(run.engine, HashRules(8), max_bytes=int(full * share))
        rehearse(store, log)
        segments = build_tree(store.blocks)
        held = [key for each in segments if each.status != "evicted" for key in each.keys]
        blocks = [entry.key for entry in store.blocks.entries() if entry.parent is not None]
        assert sorted(held) == sorted(blocks)
        assert any(each.status == "evicted" for each in segments) is (share < 1)
        for segment in segments:
            assert len(segment.ids) == segment.end - segment.start
            if segment.parent is None:
                assert segment.start == 0
            else:
                assert segments[segment.parent].end == segment.start
        leaves = [s.row for n, s in enumerate(segments) if n not in {c.parent for c in segments}]
        assert sorted(leaves) == [float(row) for row in range(len(leaves))]


def test_segments_in_words(run: Run) -> None:
    log = read_log_names(run, "", "A | star | What?\nA | star | Where?")
    store = PrefixStore(run.engine, HashRules(8), max_bytes=1 << 30)
    rehearse(store, log)
    segments = build_tree(store.blocks)
    names = {log[0].identity.images[0].digest: "star"}
    texts = [
        segment_text(run, each, names, () if each.parent is None else segments[each.parent].ids)
        for each in segments
    ]
    assert texts[0].startswith("◆user⏎◆▦ star")
    assert sum("star" in text for text in texts) == 1  # named where it begins
    assert any("What?" in text for text in texts)
    figure = plot_tree(segments, texts)
    bars = [trace for trace in figure.data if trace.type == "bar"]
    assert sum(len(trace.x) for trace in bars) == len(segments)
    assert len({trace.marker.pattern.shape for trace in bars}) == len(bars)


def test_policies_in_the_chart(run: Run) -> None:
    log = read_log_names(run, "", PRESETS[0].log)
    budgets = (0, 200_000, 400_000)
    compared = compare_policies(run.engine, log, HashRules(8), budgets)
    figure = plot_policies(compared, 200_000, "lfu")
    for trace, rows in zip(figure.data, compared.values(), strict=True):
        np.testing.assert_allclose(trace.y, [100 * row.saved_share for row in rows], rtol=1e-6)
    assert f"LFU reuses {compared['lfu'][1].saved_share:.0%}" in figure.layout.title.text


# --------------------------------------------------------------------------- the replay


def replay_all(run: Run, settings: list[Any]) -> policy.Replay:
    *_, found = policy.replay(run, ignore_progress, *settings)
    return found


def test_the_wrong_image_s_answer_is_shown(trained_run: Run) -> None:
    preset = PRESETS[1]
    settings = lab(preset.log, share=preset.share, pictures=preset.images)
    found = replay_all(trained_run, settings)
    page = read_html(policy.lesson(trained_run, *settings, found))
    assert page.find("span", "pg-badge-miss")[0].text == "Wrong image"
    assert [image.attrs["alt"] for image in page.find("img")] == [
        "Asked about: heart",
        "Answered from: star",
    ]
    table = policy.requests(trained_run, *settings, found)
    rows = read_html(table).rows()
    assert "green star" in rows[1][7]
    assert rows[2][7].startswith("✗")
    assert "red heart" in rows[2][7]
    assert "|Δ logit|: tolerance 0.0001 in float32" in table
    assert all(row.request.inputs.pixel_values is None for row in found.rows)
    right = lab(preset.log)
    # Moved back, the lab is by name and size again until it is replayed with these settings.
    assert policy.lesson(trained_run, *right, found) == ""
    assert "by hash and size" in policy.requests(trained_run, *right, found)
    lesson = policy.lesson(trained_run, *right, replay_all(trained_run, right))
    assert read_html(lesson).find("span", "pg-badge-hit")[0].text == "All correct"
    assert "(tolerance 0.0001 in float32)" in lesson


def test_another_visitors_prefix_is_named(trained_run: Run) -> None:
    careless, salted = lab(PRESETS[2].log, salt=False), lab(PRESETS[2].log)
    found = replay_all(trained_run, careless)
    assert "Request 2 of session B reused" in policy.lesson(trained_run, *careless, found)
    found = replay_all(trained_run, salted)
    assert "stranger" not in policy.lesson(trained_run, *salted, found)
    table = policy.requests(trained_run, *salted, found)
    assert read_html(table).rows()[2][3].startswith("0 of")


def test_a_long_replay_is_shown_as_it_goes(run: Run) -> None:
    written = "\n".join(["A | no picture | Hi"] * 7)
    found = list(policy.replay(run, ignore_progress, *lab(written)))
    assert [len(each.rows) for each in found] == [5, 7]


def test_a_log_cannot_bring_markup(run: Run) -> None:
    settings = lab("<b>A | star | <img src=x>\nA | star | Hi")
    found = replay_all(run, settings)
    shown = policy.lesson(run, *settings, found) + policy.requests(run, *settings, found)
    assert "<img src=x" not in shown
    assert "<b>A" not in shown
