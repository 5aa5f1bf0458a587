"""The page's colours and colour scales, for charts, images, strips and the theme.

Pure constants, so that charts can be drawn without Gradio.
"""

from __future__ import annotations

# Eight colours of middle lightness, so that each contrasts with the white and the dark page (2.9:1
# or more), and any two are distinct with protanopia, deuteranopia and tritanopia.
BLUE = "#215ad3"
ORANGE = "#d57900"
GREEN = "#02a350"
PURPLE = "#884eaf"
PINK = "#b773a1"
SKY = "#3e8ee6"
BROWN = "#825d16"
GREY = "#8a8c7e"
CATEGORICAL = (BLUE, ORANGE, GREEN, PURPLE, PINK, SKY, BROWN, GREY)

# One colour per role and per kind of token, the same in every tab.
ROLE_COLORS = {"system": PURPLE, "user": BLUE, "assistant": GREEN}
KIND_COLORS = {"text": GREY, "special": PINK, "image": ORANGE, "video": SKY}

ColorScale = list[tuple[float, str]]

# From low to high. Even steps in lightness, readable with any colour vision.
SEQUENTIAL: ColorScale = [
    (0.0, "#1b1f4b"),
    (0.2, "#2b4a8b"),
    (0.4, "#24778e"),
    (0.6, "#2fa184"),
    (0.8, "#8fc75a"),
    (1.0, "#fbe87b"),
]
# From negative to positive; set `zmid=0`.
DIVERGING: ColorScale = [
    (0.0, "#1f5fae"),
    (0.25, "#84b1dd"),
    (0.5, "#f1f1ef"),
    (0.75, "#eda96f"),
    (1.0, "#b4530a"),
]
# An overlay for images: transparent where the value is low.
OVERLAY: ColorScale = [
    (0.0, "rgba(217,115,13,0)"),
    (0.5, "rgba(217,115,13,0.45)"),
    (1.0, "rgba(255,196,0,0.85)"),
]
