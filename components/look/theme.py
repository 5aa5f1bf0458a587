"""The look of the page: a Gradio theme and the style sheet that goes with it.

Greys, one violet accent and system fonts; nothing is fetched from other hosts. Pass both to
`launch(theme=build_theme(), css=CSS)`. Colours of charts are in colors.py.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from gradio.themes.utils import fonts

from components.look.colors import KIND_COLORS, ROLE_COLORS

VIOLET = gr.themes.Color(
    name="violet_ink",
    c50="#f4f3ff",
    c100="#e9e7fd",
    c200="#d5d1fa",
    c300="#b5aef5",
    c400="#9289ec",
    c500="#7267e0",
    c600="#5a4ecb",
    c700="#493ea9",
    c800="#3b3389",
    c900="#2d2866",
    c950="#1b183f",
)
SLATE = gr.themes.Color(
    name="slate_ink",
    c50="#f7f8fa",
    c100="#eef0f3",
    c200="#e0e4e9",
    c300="#c6ccd5",
    c400="#97a1ae",
    c500="#667180",
    c600="#515b69",
    c700="#3a4350",
    c800="#262d37",
    c900="#171c23",
    c950="#0f1318",
)

PRIMARY_BUTTON = {"light": ("#5a4ecb", "#ffffff"), "dark": ("#6a5fd8", "#ffffff")}


class SystemFont(fonts.Font):
    """A font family without quotes: `'system-ui'` in quotes would name another font."""

    def __str__(self) -> str:
        return self.name if self.name.startswith(("system-", "ui-")) else super().__str__()


CJK_FONTS = ("PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "Source Han Sans SC")
SANS_FONTS = ("system-ui", "Segoe UI", "Roboto", "Helvetica Neue", *CJK_FONTS, "sans-serif")
MONO_FONTS = ("ui-monospace", "Menlo", "Consolas", "DejaVu Sans Mono", *CJK_FONTS, "monospace")

# The theme's variables, grouped by component; a name that begins with a star is a shade from above.
PAGE = {
    "body_background_fill": "*neutral_50",
    "body_background_fill_dark": "*neutral_950",
    "body_text_color": "*neutral_900",
    "body_text_color_dark": "*neutral_100",
    "body_text_color_subdued": "*neutral_600",
    "body_text_color_subdued_dark": "*neutral_400",
    "background_fill_primary": "white",
    "background_fill_primary_dark": "*neutral_900",
    "background_fill_secondary": "*neutral_50",
    "background_fill_secondary_dark": "*neutral_950",
    "border_color_primary": "*neutral_200",
    "border_color_primary_dark": "*neutral_800",
    "color_accent": "*primary_600",
    "color_accent_soft": "*primary_50",
    "color_accent_soft_dark": "*primary_950",
    "link_text_color": "*primary_700",
    "link_text_color_dark": "*primary_300",
}
BLOCKS = {
    "block_background_fill": "white",
    "block_background_fill_dark": "*neutral_900",
    "block_border_width": "1px",
    "block_shadow": "none",
    "block_label_background_fill": "transparent",
    "block_label_background_fill_dark": "transparent",
    "block_label_border_width": "0px",
    "block_label_text_color": "*neutral_600",
    "block_label_text_color_dark": "*neutral_400",
    "block_title_text_color": "*neutral_700",
    "block_title_text_color_dark": "*neutral_300",
    "block_title_text_weight": "600",
    "block_info_text_color": "*neutral_600",
    "block_info_text_color_dark": "*neutral_400",
}
INPUTS = {
    "input_background_fill": "white",
    "input_background_fill_dark": "*neutral_950",
    "input_border_width": "1px",
    "input_border_color": "*neutral_300",
    "input_border_color_dark": "*neutral_700",
    "input_border_color_focus": "*primary_500",
    "input_border_color_focus_dark": "*primary_400",
    "input_placeholder_color": "*neutral_500",
    "input_placeholder_color_dark": "*neutral_400",
}
BUTTONS = {
    "button_large_text_weight": "600",
    "button_medium_text_weight": "600",
    "button_primary_background_fill": PRIMARY_BUTTON["light"][0],
    "button_primary_background_fill_dark": PRIMARY_BUTTON["dark"][0],
    "button_primary_background_fill_hover": "*primary_700",
    "button_primary_background_fill_hover_dark": "*primary_600",
    "button_primary_text_color": PRIMARY_BUTTON["light"][1],
    "button_primary_text_color_dark": PRIMARY_BUTTON["dark"][1],
    "button_secondary_background_fill": "white",
    "button_secondary_background_fill_dark": "*neutral_800",
    "button_secondary_background_fill_hover": "*neutral_100",
    "button_secondary_background_fill_hover_dark": "*neutral_700",
    "button_secondary_border_color": "*neutral_300",
    "button_secondary_border_color_dark": "*neutral_700",
    "button_secondary_text_color": "*neutral_800",
    "button_secondary_text_color_dark": "*neutral_100",
    "button_border_width": "1px",
    "button_primary_border_color": "transparent",
    "button_primary_border_color_dark": "transparent",
}
OTHERS = {
    "checkbox_label_background_fill_selected": "*primary_600",
    "checkbox_label_text_color_selected": "white",
    "checkbox_background_color_selected": "*primary_600",
    "checkbox_background_color_selected_dark": "*primary_600",
    "slider_color": "*primary_600",
    "slider_color_dark": "*primary_400",
    "loader_color": "*primary_600",
    "loader_color_dark": "*primary_300",
    "table_even_background_fill": "white",
    "table_even_background_fill_dark": "*neutral_900",
    "table_odd_background_fill": "*neutral_50",
    "table_odd_background_fill_dark": "*neutral_950",
}


def build_theme() -> gr.themes.Base:
    """Return the theme, light and dark."""
    theme = gr.themes.Base(
        primary_hue=VIOLET,
        secondary_hue=VIOLET,
        neutral_hue=SLATE,
        text_size=gr.themes.sizes.text_md,
        spacing_size=gr.themes.sizes.spacing_md,
        radius_size=gr.themes.sizes.radius_lg,
        font=[SystemFont(name) for name in SANS_FONTS],
        font_mono=[SystemFont(name) for name in MONO_FONTS],
    )
    return theme.set(**PAGE, **BLOCKS, **INPUTS, **BUTTONS, **OTHERS)


def _color_variables() -> str:
    """Return the token colours as CSS variables, so that chips and charts agree."""
    roles = [f"--role-{name}: {color};" for name, color in ROLE_COLORS.items()]
    kinds = [f"--kind-{name}: {color};" for name, color in KIND_COLORS.items()]
    return ":root { " + " ".join(roles + kinds) + " }\n"


FOLDER = Path(__file__).resolve().parent
# The order matters: the style sheet of a tab may override the common ones.
SHEETS = (
    "theme",
    "views",
    "part",
    "pointer",
    "page",
    "preprocess",
    "cache",
    "sampling",
    "boxes",
    "tour",
)
CSS = _color_variables() + "".join(
    (FOLDER / f"{name}.css").read_text(encoding="utf-8") for name in SHEETS
)
