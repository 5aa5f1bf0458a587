"""Names of shapes, colours, sizes, positions and numbers in English and Chinese."""

from __future__ import annotations

from training.scenes import POSITIONS, Shape

LANGUAGES = ("en", "zh")

ZH_COLORS = {
    "red": "红色",
    "green": "绿色",
    "blue": "蓝色",
    "yellow": "黄色",
    "purple": "紫色",
    "orange": "橙色",
    "pink": "粉色",
    "cyan": "青色",
    "black": "黑色",
    "white": "白色",
}
ZH_KINDS = {
    "circle": "圆形",
    "square": "正方形",
    "triangle": "三角形",
    "star": "星形",
    "diamond": "菱形",
    "cross": "十字形",
    "heart": "心形",
}
ZH_SIZES = {"small": "小", "large": "大"}
ZH_POSITIONS = dict(
    zip(
        POSITIONS,
        ("左上角", "上方", "右上角", "左边", "中间", "右边", "左下角", "下方", "右下角"),
        strict=True,
    )
)
EN_PLACES = {
    "top left": "at the top left",
    "top": "at the top",
    "top right": "at the top right",
    "left": "on the left",
    "center": "in the center",
    "right": "on the right",
    "bottom left": "at the bottom left",
    "bottom": "at the bottom",
    "bottom right": "at the bottom right",
}
EN_NUMBERS = ("zero", "one", "two", "three", "four", "five")
ZH_NUMBERS = ("零", "一", "两", "三", "四", "五")
EN_PLURALS = {"cross": "crosses"}
EN_DIRECTIONS = {"left": "to the left", "right": "to the right", "up": "up", "down": "down"}
ZH_DIRECTIONS = {"left": "向左", "right": "向右", "up": "向上", "down": "向下"}
ORDINALS = {"en": ("first", "second"), "zh": ("第一", "第二")}


def plural(kind: str) -> str:
    return EN_PLURALS.get(kind, kind + "s")


def with_article(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]


def name_color(color: str, language: str) -> str:
    return color if language == "en" else ZH_COLORS[color]


def name_kind(kind: str, language: str) -> str:
    return kind if language == "en" else ZH_KINDS[kind]


def name_size(size: str, language: str) -> str:
    return size if language == "en" else ZH_SIZES[size]


def name_place(position: str, language: str) -> str:
    """A shape's position as phrased in an answer: 'at the top left', '在左上角'."""
    return EN_PLACES[position] if language == "en" else "在" + ZH_POSITIONS[position]


def name_shape(shape: Shape, language: str, *, size: bool = False) -> str:
    """'large red circle' / '大的红色圆形', without article or measure word."""
    if language == "en":
        return f"{shape.size} {shape.color} {shape.kind}" if size else f"{shape.color} {shape.kind}"
    color_and_kind = ZH_COLORS[shape.color] + ZH_KINDS[shape.kind]
    return f"{ZH_SIZES[shape.size]}的{color_and_kind}" if size else color_and_kind


# Key words of an answer, whose tokens have a larger weight in the loss.
KEY_WORDS = {
    "en": (
        *ZH_COLORS,
        *ZH_KINDS,
        *(plural(kind) for kind in ZH_KINDS),
        *("small", "large", "top", "bottom", "left", "right", "center", "up", "down"),
        *EN_NUMBERS,
        *("yes", "no", "first", "second", "both", "same", "nothing", "none"),
    ),
    "zh": (
        *ZH_COLORS.values(),
        *ZH_KINDS.values(),
        *("大", "小"),
        *ZH_POSITIONS.values(),
        *("零", "两个", "三个", "四个"),
        *ZH_DIRECTIONS.values(),
        *("是的", "不是", "没有", "第一", "第二", "什么都没有", "一样", "不一样"),
    ),
}
