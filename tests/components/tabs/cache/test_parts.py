"""The cache tab's other parts: the cache itself, the policy lab, the conversation."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from components.chart_view.view import encode_figure
from components.charts.cache_inside import plot_bytes, plot_channels, plot_growth
from components.charts.cache_policy import plot_policies, plot_tree
from components.tabs.cache.conversation import (
    MAX_TURNS,
    Exchange,
    SharedStore,
    Talk,
    draw_conversation,
    stream_message,
)
from components.tabs.cache.inside import (
    bytes_per_token_2b,
    draw_channels,
    draw_inside,
    facts_html,
    layers_table,
    stream_growth,
)
from components.tabs.cache.logs import PRESETS, read_log, read_log_names
from components.tabs.cache.policy import (
    outline_request,
    read_settings,
    rehearse_lab,
    stream_replay,
)
from components.tabs.cache.policy_tree import segment_text
from components.tabs.cache.scenes import NO_PICTURE, RUN_PICTURES, SCENES, parse_log
from playground.engine import Engine
from playground.errors import InputError
from playground.experiments.growth import GrowthPoint
from playground.kv_cache.block_hash import HashRules
from playground.kv_cache.channels import channel_norms
from playground.kv_cache.log import compare_policies, log_bytes, rehearse
from playground.kv_cache.prefix_store import PrefixStore
from playground.kv_cache.tree import build_tree
from playground.pipeline import Run
from playground.records import Picture
from tests.components.html_reader import read_html
from tests.components.runs import ignore_progress, make_run
from tests.media_samples import make_picture


@pytest.fixture(scope="module")
def run(tiny_random_engine: Engine, picture: Picture) -> Run:
    run = make_run(tiny_random_engine, "Describe this image.", picture)
    run.ensure("decoder")
    return run


@pytest.fixture(scope="module")
def trained_run(shipped_engine: Engine, picture: Picture) -> Run:
    return make_run(shipped_engine, "Describe this image.", picture)


# --------------------------------------------------------------------------- the cache itself


def test_facts_of_the_cache(run: Run) -> None:
    words = read_html(facts_html(run)).find("p")[0].text
    tokens = run.inputs.num_tokens
    assert f"{tokens} tokens" in words
    assert "1,024 bytes a token" in words  # 4 layers × 2 × 2 heads × 16 × 4 bytes
    assert "114,688" in words
    assert bytes_per_token_2b() == 114_688
    rows = read_html(layers_table(run)).rows()
    assert len(rows) == 1 + 4
    assert rows[1][1] == f"1 × 2 × {tokens} × 16"


def test_one_head_s_map(run: Run) -> None:
    figure = draw_channels(run, 1, 1, "values")
    (trace,) = figure.data
    cache: Any = run.decoded.past_key_values
    np.testing.assert_allclose(trace.z, cache.layers[1].values[0, 1].abs().T.numpy(), rtol=1e-5)
    assert figure.layout.meta["pointer"] == {"what": "token", "axis": "x"}
    assert "Layer 1, head 1: the values" in figure.layout.title.text
    assert figure.layout.yaxis.title.text == "Channel of the head"
    pooled = channel_norms(cache, 1, "values", 1, max_cells=16 * 10)
    shown = plot_channels(pooled, "values", 1, 1, run.inputs.num_tokens)
    assert "pointer" not in shown.layout.meta  # a column is no single token
    assert "to a column" in shown.layout.xaxis.title.text


@pytest.mark.parametrize(
    "chosen",
    [(4, 0, "keys"), (0, 2, "keys"), (0, 0, "queries"), ("x", 0, "keys"), (None, 0, "keys")],
)
def test_a_bad_choice_is_refused(run: Run, chosen: tuple[Any, ...]) -> None:
    with pytest.raises(InputError):
        draw_channels(run, *chosen)


def test_another_model_s_choices_are_reset(run: Run) -> None:
    _, layer, head, figure, _ = draw_inside(run, 27, 7, "keys")
    assert (layer["value"], head["value"]) == (0, 0)
    assert len(layer["choices"]) == 4
    assert isinstance(figure, go.Figure)


def test_growth_is_drawn_as_it_is_measured(run: Run) -> None:
    *early, last = stream_growth(run, ignore_progress, 150)
    assert len(early) >= 2
    words, times, sizes = last
    assert "same logits" in words
    full, cached = times.data
    lengths = times.data[0].x.tolist()
    assert lengths[0] == run.inputs.num_tokens
    assert lengths[-1] == 150
    assert len(full.y) == len(cached.y) == len(lengths)
    np.testing.assert_allclose(sizes.data[0].y, np.array(lengths) * 1024 / 1e6, rtol=1e-6)
    np.testing.assert_allclose(sizes.data[1].y, np.array(lengths) * 114_688 / 1e6, rtol=1e-6)
    with pytest.raises(InputError):
        next(stream_growth(run, ignore_progress, float("nan")))


def test_growth_charts_show_medians() -> None:
    points = [
        GrowthPoint(10, (1.0, 3.0, 2.0), (4.0, 4.0, 9.0), 10_240, 0.0),
        GrowthPoint(100, (2.0, 2.0, 2.0), (40.0, 40.0, 41.0), 102_400, 0.0),
    ]
    times = plot_growth(points)
    assert times.data[0].y.tolist() == [4.0, 40.0]
    assert times.data[1].y.tolist() == [2.0, 2.0]
    assert "After 100 tokens one more takes 20 times" in times.layout.title.text
    assert times.data[0].line.dash != times.data[1].line.dash
    assert plot_bytes(points, 1024, 114_688).data[0].y.tolist() == pytest.approx([0.01024, 0.1024])


# --------------------------------------------------------------------------- the log


def test_a_log_is_read_line_by_line() -> None:
    assert parse_log(" A | star | What | who?\n\nB||Hi ") == [
        ("A", "star", "What | who?"),
        ("B", NO_PICTURE, "Hi"),
    ]


@pytest.mark.parametrize("text", ["", "star: what?", "A | star", "A | star | ", "| star | Hi", 3])
def test_a_bad_log_names_its_line(text: Any) -> None:
    with pytest.raises(InputError):
        parse_log(text)


def test_presets_are_good_logs(run: Run) -> None:
    for preset in PRESETS:
        rows = parse_log(preset.log)
        assert {picture for _, picture, _ in rows} <= {NO_PICTURE, *SCENES}
        assert len(read_log_names(run, "", preset.log)) == len(rows)
    scenes = {picture for _, picture, _ in parse_log(PRESETS[0].log)} - {NO_PICTURE}
    assert (len(parse_log(PRESETS[0].log)), len(scenes)) == (30, 3)


def test_a_log_is_read_once(run: Run) -> None:
    first = read_log_names(run, "key", "A | star | Hi")
    assert read_log_names(run, "key", "A | star | Hi") is first
    assert first[0].inputs.pixel_values is None
    assert read_log(run, "A | star | Hi")[0].identity == first[0].identity


def lab(written: str, **changes: Any) -> list[Any]:
    values = {
        "log": written,
        "block_size": 8,
        "share": 100,
        "policy": "lru",
        "pictures": True,
        "salt": True,
    } | changes
    return list(values.values())


@pytest.mark.parametrize(
    "changes",
    [
        {"block_size": 0},
        {"block_size": float("nan")},
        {"share": 101},
        {"share": None},
        {"policy": "random"},
        {"log": "A | moon | Hi"},
    ],
)
def test_bad_settings_are_refused(run: Run, changes: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        rehearse_lab(run, *lab("A | star | Hi", **changes))


def test_a_rehearsal_is_drawn(run: Run) -> None:
    verdict, lesson, tree, chosen, policies, table = rehearse_lab(
        run, *lab(PRESETS[0].log, share=50)
    )
    log = read_log_names(run, "", PRESETS[0].log)
    rows = read_html(table).rows()
    assert len(rows) == 31
    reused = [int(row[4]) for row in rows[1:]]
    assert f"{sum(count > 0 for count in reused)} of 30 requests hit" in verdict
    assert lesson == ""
    assert chosen["maximum"] == 30
    settings = read_settings(*lab(PRESETS[0].log, share=50))
    full = log_bytes(run.engine, log, settings.rules)
    lru = policies.data[0]
    place = lru.x.tolist().index(np.float32(full // 2 / 1e6))
    total = sum(request.inputs.num_tokens for request in log)
    assert lru.y[place] == pytest.approx(100 * sum(reused) / total)
    assert {trace.name.split(":")[0] for trace in policies.data} == {"LRU", "FIFO", "LFU"}
    sizes = [len(encode_figure(tree) or ""), len(encode_figure(policies) or ""), len(table)]
    assert sum(sizes) < 200_000


def test_a_request_is_outlined(run: Run) -> None:
    plain = outline_request(run, *lab(PRESETS[0].log), 0)
    outlined = outline_request(run, *lab(PRESETS[0].log), 3)
    assert len(outlined.data) == len(plain.data) + 1
    assert outlined.data[-1].name == "of the chosen request"
    with pytest.raises(InputError):
        outline_request(run, *lab(PRESETS[0].log), 31)


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
    names = {log[0].identity.pictures[0].digest: "star"}
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
    assert f"LFU spares {compared['lfu'][1].saved_share:.0%}" in figure.layout.title.text


# --------------------------------------------------------------------------- the replay


def test_the_wrong_image_s_answer_is_shown(trained_run: Run) -> None:
    preset = PRESETS[1]
    *_, drawn = stream_replay(
        trained_run, ignore_progress, *lab(preset.log, share=preset.share, pictures=preset.pictures)
    )
    _, lesson, _, _, _, table = drawn
    page = read_html(lesson)
    assert page.find("span", "pg-badge-miss")[0].text == "Wrong picture"
    assert [image.attrs["alt"] for image in page.find("img")] == [
        "Asked about: heart",
        "Answered from: star",
    ]
    rows = read_html(table).rows()
    assert "green star" in rows[1][7]
    assert rows[2][7].startswith("✗")
    assert "red heart" in rows[2][7]
    *_, right = stream_replay(trained_run, ignore_progress, *lab(preset.log))
    assert read_html(right[1]).find("span", "pg-badge-hit")[0].text == "All right"
    assert "(tolerance 0.0001 in float32)" in right[1]
    assert "|Δ logit|: tolerance 0.0001 in float32" in table


def test_a_stranger_s_prefix_is_told(trained_run: Run) -> None:
    *_, careless = stream_replay(trained_run, ignore_progress, *lab(PRESETS[2].log, salt=False))
    assert "Request 2 of session B took over" in careless[1]
    *_, salted = stream_replay(trained_run, ignore_progress, *lab(PRESETS[2].log))
    assert "stranger" not in salted[1]
    assert read_html(salted[5]).rows()[2][3].startswith("0 of")


def test_a_log_cannot_bring_markup(run: Run) -> None:
    *_, drawn = stream_replay(
        run, ignore_progress, *lab("<b>A | star | <img src=x>\nA | star | Hi")
    )
    assert all("<img src=x" not in str(value) for value in drawn)
    assert "<b>A" not in drawn[5]


# --------------------------------------------------------------------------- the conversation


def send(run: Run, store: PrefixStore, talk: Talk | None, text: str, picture: str) -> Any:
    *_, drawn = stream_message(run, ignore_progress, store, talk, text, picture)
    return drawn


def test_a_follow_up_reuses_question_and_answer(trained_run: Run) -> None:
    store = SharedStore().get(trained_run.engine)
    first = send(trained_run, store, None, "Describe this image.", RUN_PICTURES)
    stored = store.blocks.stats.num_blocks
    second = send(trained_run, store, first[0], "Why?", NO_PICTURE)
    third = send(trained_run, store, second[0], "Describe this image.", "star")
    facts = [exchange.facts for exchange in third[0].exchanges]
    assert "pg-badge-miss" in facts[0]
    assert (
        f"{stored} of" in facts[1]
    )  # every token of the first exchange, its answer's last but one
    assert all("pg-badge-hit" in each for each in facts[1:])
    assert third[1].count("<img") == 2
    assert third[0].salt == first[0].salt
    differences = [float(each.split("logit| ")[1].split(" (")[0]) for each in facts[1:]]
    assert max(differences) <= 1e-4
    assert "(tolerance 0.0001 in float32)" in facts[1]


def test_conversations_do_not_see_one_another(trained_run: Run) -> None:
    store = SharedStore().get(trained_run.engine)
    send(trained_run, store, None, "My secret is 7.", NO_PICTURE)
    other = send(trained_run, store, None, "My secret is 7.", NO_PICTURE)
    assert "pg-badge-miss" in other[0].exchanges[0].facts


def test_a_conversation_is_limited_and_escaped(run: Run) -> None:
    store = SharedStore().get(run.engine)
    long = Talk("salt", (Exchange("Hi", NO_PICTURE, "Yes.", ""),) * MAX_TURNS)
    with pytest.raises(InputError, match="12 questions"):
        send(run, store, long, "And?", NO_PICTURE)
    with pytest.raises(InputError, match="empty"):
        send(run, store, None, " ", NO_PICTURE)
    drawn = send(run, store, None, "<img src=x onerror=alert(1)>", NO_PICTURE)
    assert "<img src=x" not in drawn[1] + drawn[2]


def test_a_new_run_starts_a_new_conversation(run: Run) -> None:
    state, _, _, text, picture = draw_conversation(run)
    assert state is None
    assert (text, picture) == ("Describe this image.", RUN_PICTURES)
    text_only = make_run(run.engine, "你好")
    assert draw_conversation(text_only)[3:] == ("你好", NO_PICTURE)


def test_one_store_for_all(run: Run, trained_run: Run) -> None:
    shared = SharedStore()
    store = shared.get(run.engine)
    assert shared.get(run.engine) is store
    assert shared.get(trained_run.engine).engine is trained_run.engine


def test_a_photo_s_cache_stays_small_on_the_page(tiny_random_engine: Engine) -> None:
    run = make_run(tiny_random_engine, "Hi", make_picture(1280, 960), max_pixels=1280 * 960)
    figure = draw_channels(run, 0, 0, "keys")
    assert isinstance(figure, go.Figure)
    assert len(encode_figure(figure) or "") < 300_000
