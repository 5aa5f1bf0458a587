"""Contrast, fonts and the colours that the whole app shares."""

from __future__ import annotations

import re
from itertools import combinations

import pytest

from components.charts.style import FONT_FAMILY, base_layout, escape_label
from components.look.colors import (
    CATEGORICAL,
    DIVERGING,
    KIND_COLORS,
    OVERLAY,
    ROLE_COLORS,
    SEQUENTIAL,
)
from components.look.theme import CSS, PRIMARY_BUTTON, SLATE, VIOLET, build_theme

LIGHT_PAGE = "#ffffff"
DARK_PAGE = SLATE.c900


def luminance(color: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    """Contrast ratio as WCAG 2 defines it, 1 to 21."""
    dark, light = sorted([luminance(first), luminance(second)])
    return (light + 0.05) / (dark + 0.05)


def test_contrast_by_hand() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_primary_button_is_readable(mode: str) -> None:
    fill, text = PRIMARY_BUTTON[mode]
    assert contrast(fill, text) >= 4.5
    assert contrast(VIOLET.c600, text) >= 4.5
    assert contrast(VIOLET.c700, text) >= 4.5  # while the pointer is over it
    theme = build_theme()
    suffix = "" if mode == "light" else "_dark"
    assert getattr(theme, f"button_primary_background_fill{suffix}") == fill
    assert getattr(theme, f"button_primary_text_color{suffix}") == text


@pytest.mark.parametrize(
    ("text", "ground"),
    [
        (SLATE.c900, SLATE.c50),
        (SLATE.c600, "#ffffff"),
        (SLATE.c600, SLATE.c50),
        (SLATE.c100, SLATE.c950),
        (SLATE.c400, SLATE.c900),
        (SLATE.c400, SLATE.c950),
        (VIOLET.c700, SLATE.c50),
        (VIOLET.c300, SLATE.c950),
    ],
)
def test_text_is_readable(text: str, ground: str) -> None:
    assert contrast(text, ground) >= 4.5


def test_nothing_is_fetched_for_the_look() -> None:
    theme = build_theme()
    assert theme._stylesheets == []
    everything = CSS + theme._get_theme_css()
    assert not re.search(r"""url\((?!\s*["']?data:)|@import""", everything)


def test_fonts_cover_chinese_and_generic_names_have_no_quotes() -> None:
    for stack in (build_theme().font, build_theme().font_mono, FONT_FAMILY):
        assert all(name in stack for name in ("Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei"))
    assert build_theme().font.startswith("system-ui, ")
    assert build_theme().font_mono.startswith("ui-monospace, ")


def test_categorical_colours_show_on_both_pages() -> None:
    for color in CATEGORICAL:
        assert contrast(color, LIGHT_PAGE) >= 2.9
        assert contrast(color, DARK_PAGE) >= 2.7


def test_roles_and_kinds_have_a_colour_each() -> None:
    assert set(ROLE_COLORS) == {"system", "user", "assistant"}
    assert set(KIND_COLORS) == {"text", "special", "image", "video"}
    colors = [*ROLE_COLORS.values(), *KIND_COLORS.values()]
    assert all(a != b for a, b in combinations(colors, 2))
    assert set(colors) <= set(CATEGORICAL)
    for name, color in ROLE_COLORS.items():
        assert f"--role-{name}: {color};" in CSS
    for name, color in KIND_COLORS.items():
        assert f"--kind-{name}: {color};" in CSS


def test_the_sequential_scale_only_grows_lighter() -> None:
    values = [luminance(color) for _, color in SEQUENTIAL]
    assert values == sorted(values)


@pytest.mark.parametrize("scale", [SEQUENTIAL, DIVERGING, OVERLAY])
def test_scales_run_from_zero_to_one(scale: list[tuple[float, str]]) -> None:
    positions = [position for position, _ in scale]
    assert positions[0] == 0
    assert positions[-1] == 1
    assert positions == sorted(positions)


def test_base_layout() -> None:
    layout = base_layout("T", height=340, alt="A.", x_title="layer", y_title="norm")
    assert layout["title"]["text"] == "T"
    assert layout["title"]["xanchor"] == "left"
    assert layout["xaxis"]["title"]["text"] == "layer"
    assert layout["yaxis"]["title"]["text"] == "norm"
    assert layout["meta"] == {"alt": "A."}
    assert layout["template"] == "none"
    assert layout["paper_bgcolor"] == layout["plot_bgcolor"] == "rgba(0,0,0,0)"


def test_special_tokens_are_escaped() -> None:
    assert escape_label("<|im_end|> & co") == "&lt;|im_end|&gt; &amp; co"
