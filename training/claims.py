"""Yes-or-no questions about one scene; half of them are true."""

from __future__ import annotations

from training.questions import (
    SIDE_WORDS,
    SIDES,
    Generator,
    Turn,
    is_beside,
    is_only,
    make_turn,
    pick,
    refer,
)
from training.scenes import COLORS, KINDS, SIZES, Scene
from training.words import ZH_COLORS, ZH_KINDS, ZH_SIZES, name_color, with_article


def _absent_pair(scene: Scene, rng: Generator) -> tuple[str, str] | None:
    """A colour and kind that no shape combines, as close to the scene as possible."""
    there = {(s.color, s.kind) for s in scene.shapes}
    shape = scene.shapes[rng.integers(len(scene.shapes))]
    other = scene.shapes[rng.integers(len(scene.shapes))]
    roll = rng.random()
    if roll < 0.4 and len(scene.shapes) > 1:
        pair = (shape.color, other.kind)
    elif roll < 0.7:
        pair = (shape.color, str(pick(rng, KINDS)))
    else:
        pair = (str(pick(rng, COLORS)), shape.kind)
    return None if pair in there else pair


def ask_exists(scene: Scene, rng: Generator, language: str) -> Turn | None:
    """Is there a ...? By colour and kind, by kind, or by colour."""
    yes = rng.random() < 0.5
    roll = rng.random()
    shape = scene.shapes[rng.integers(len(scene.shapes))]
    if any(s.mix is not None for s in scene.shapes):
        return None
    if roll < 0.5:
        pair = (shape.color, shape.kind) if yes else _absent_pair(scene, rng)
        if pair is None:
            return None
        noun_en, noun_zh = f"{pair[0]} {pair[1]}", ZH_COLORS[pair[0]] + ZH_KINDS[pair[1]]
    else:
        by_kind = roll < 0.78
        values = KINDS if by_kind else COLORS
        there = {s.kind if by_kind else s.color for s in scene.shapes}
        absent = [value for value in values if value not in there]
        value = (shape.kind if by_kind else shape.color) if yes else str(pick(rng, absent))
        noun_en = value if by_kind else f"{value} shape"
        noun_zh = ZH_KINDS[value] if by_kind else f"{ZH_COLORS[value]}的图形"
    article = with_article(noun_en)
    questions = {
        "en": [
            f"Is there {article}?",
            f"Is there {article} in the image?",
            f"Do you see {article}?",
        ],
        "zh": [f"有{noun_zh}吗？", f"图中有{noun_zh}吗？", f"有没有{noun_zh}？"],
    }
    if language == "en":
        long = f"Yes, there is {article}." if yes else f"No, there is no {noun_en}."
        answers = ["Yes." if yes else "No.", long]
    else:
        answers = ["有。", f"有{noun_zh}。"] if yes else ["没有。", f"没有{noun_zh}。"]
    return make_turn(rng, "yes_no", language, questions, answers)


def ask_whether(scene: Scene, rng: Generator, language: str) -> Turn | None:
    """Is the star red / large / a star / left of the circle?"""
    yes = rng.random() < 0.5
    claim = str(pick(rng, ("color", "kind", "size", "side", "side")))
    if claim == "side":
        claimed = _claim_side(scene, rng, language, yes)
    else:
        claimed = _claim_attribute(scene, rng, language, claim, yes)
    if claimed is None:
        return None
    question, truth = claimed
    if language == "en":
        word = "Yes" if yes else "No"
        answers = [f"{word}.", f"{word}, it is {truth}."]
    else:
        word = "是的" if yes else "不是"
        answers = [f"{word}。", f"{word}，是{truth}。"]
    return Turn("yes_no", language, question, tuple(answers[: 2 if truth else 1]))


def _claim_attribute(
    scene: Scene, rng: Generator, language: str, claim: str, yes: bool
) -> tuple[str, str] | None:
    """The question, and the shape's true value as text."""
    found = refer(scene, rng, language, claim)
    if found is None or (claim == "color" and found[0].mix is not None):
        return None
    shape, reference = found
    values = {"color": COLORS, "kind": KINDS, "size": SIZES}[claim]
    value = getattr(shape, claim)
    if not yes:
        nearby = [getattr(s, claim) for s in scene.shapes if getattr(s, claim) != value]
        wrong = nearby if nearby and rng.random() < 0.6 else [v for v in values if v != value]
        value = str(pick(rng, wrong))
    word, truth = (_name_value(claim, v, language) for v in (value, getattr(shape, claim)))
    question = f"Is {reference} {word}?" if language == "en" else f"{reference}是{word}吗？"
    return question, truth


def _name_value(claim: str, value: str, language: str) -> str:
    """The value as it follows 'it is' or '是'."""
    if claim == "color":
        return value if language == "en" else f"{name_color(value, 'zh')}的"
    if claim == "kind":
        return with_article(value) if language == "en" else ZH_KINDS[value]
    return value if language == "en" else f"{ZH_SIZES[value]}的"


def _claim_side(scene: Scene, rng: Generator, language: str, yes: bool) -> tuple[str, str] | None:
    side = str(pick(rng, list(SIDES)))
    opposite = {"left": "right", "right": "left", "above": "below", "below": "above"}[side]
    pairs = [
        (a, b)
        for a in scene.shapes
        for b in scene.shapes
        if is_beside(a, b, side if yes else opposite)
        and is_only(scene, kind=a.kind)
        and is_only(scene, kind=b.kind)
    ]
    if not pairs:
        return None
    first, second = pairs[rng.integers(len(pairs))]
    word = SIDE_WORDS[language][side]
    if language == "en":
        return f"Is the {first.kind} {word} the {second.kind}?", ""
    return f"{ZH_KINDS[first.kind]}在{ZH_KINDS[second.kind]}的{word}吗？", ""
