"""The bar says what is loaded, escapes it, and turns red above the tolerance."""

from __future__ import annotations

from dataclasses import replace

from components.compute.engine_host import HostStatus
from components.views.status_bar import loading_html, parity_badge, status_html
from playground.engine import Engine
from playground.origin import AdaptedModule, Adapter, Origin, PartWeights, Quantisation
from playground.records import Parity


def test_loading_shows_how_far() -> None:
    html = loading_html(HostStatus("loading", "Loading weights", 3, 12))
    assert "Loading weights" in html
    assert "3 of 12" in html
    assert 'value="3" max="12"' in html


def test_failure_is_an_alert_and_escaped() -> None:
    html = loading_html(HostStatus("failed", "Found <b>bert</b>."))
    assert 'role="alert"' in html
    assert "&lt;b&gt;bert" in html


def test_facts_of_the_checkpoint(tiny_random_engine: Engine) -> None:
    html = status_html(tiny_random_engine, seconds=1.234, note="Stopped <now>")
    for text in ("float32", "cpu", "sdpa", "1.23 s", "Stopped &lt;now&gt;"):
        assert text in html
    folder = tiny_random_engine.source.rstrip("/")
    assert folder.split("/")[-1] in html
    assert folder not in html  # visitors do not see its location


FP8 = Quantisation("FP8", "e4m3", "bfloat16", (PartWeights("vision tower", 18, 0),))
LORA = Adapter("LoRA", "tiny", 0.5, (AdaptedModule("model.language_model.layers.0.x", 4, 1.0),))


def test_the_bar_says_what_the_weights_are(tiny_random_engine: Engine) -> None:
    engine = replace(tiny_random_engine, origin=Origin(FP8, LORA), notices=("Both <differ>.",))
    html = status_html(replace(tiny_random_engine, other=engine))
    assert "FP8 e4m3, dequantised to bfloat16 · LoRA of rank 4 × 0.5 on tiny" in html  # on hover
    assert "Both &lt;differ&gt;." in html
    html = status_html(engine)
    assert 'data-chip="weights"' in html
    assert 'data-chip="adapter"' in html
    assert "compared with" not in html


def test_badge_turns_red_past_the_tolerance() -> None:
    good = parity_badge(Parity(max_abs_diff=0.0, same_argmax=True, tolerance=1e-5))
    bad = parity_badge(Parity(max_abs_diff=1e-3, same_argmax=True, tolerance=1e-5))
    assert 'data-tone="ok"' in good
    assert "equal to model.forward" in good
    assert 'data-tone="bad"' in bad
    assert "0.001" in bad
