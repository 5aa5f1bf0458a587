"""The note on what is kept says what the code does."""

from __future__ import annotations

import gradio as gr

from components.page.layout import SESSION_S
from components.page.privacy import build_privacy_note
from components.share.kept_files import KEPT_DAYS
from playground.language import speaking


def note(language: str) -> str:
    with gr.Blocks(analytics_enabled=False) as demo, speaking(language):
        build_privacy_note()
    (text,) = [each.value for each in demo.blocks.values() if isinstance(each, gr.HTML)]
    return str(text)


def test_the_times_are_the_code_s() -> None:
    assert f"{KEPT_DAYS} days after" in note("en")
    assert SESSION_S == 3600
    assert "for an hour at most" in note("en")


def test_both_languages_have_it() -> None:
    english, chinese = note("en"), note("zh")
    assert english.count("<li>") == chinese.count("<li>") == 4
    assert "小时" in chinese
