"""The walkthrough: the forward pass told step by step, each step at the part that shows it."""

from __future__ import annotations

import json
from dataclasses import dataclass

import gradio as gr
from markupsafe import Markup

from components.parts.part import Parts
from components.serving.browser_module import page_module
from playground.language import mark, say


@dataclass(frozen=True, slots=True)
class Step:
    """One step: the key of the part that shows it, a heading and what to see there."""

    part: str
    title: str
    text: str


STEPS = (
    Step(
        "preprocess.text",
        mark("A conversation becomes one text"),
        mark(
            "The chat template writes roles and special tokens around your words and leaves one "
            "placeholder for the picture. The processor then repeats the placeholder, once for "
            "each token that the picture will become."
        ),
    ),
    Step(
        "preprocess.spelling",
        mark("A token is not a character"),
        mark(
            "The tokenizer knows pieces of bytes. A frequent word is one token, while a rare "
            "Chinese character takes several, none of which is a character by itself. Type a text "
            "of your own and see it taken apart."
        ),
    ),
    Step(
        "preprocess.rows",
        mark("A picture becomes rows of numbers"),
        mark(
            "The picture is resized to whole patches and cut up. Each patch is one row of "
            "pixel_values, in an order that keeps the 2 × 2 patches of a later token together. "
            "Click a patch: every tab marks where it went."
        ),
    ),
    Step(
        "preprocess.tensors",
        mark("Four tensors go in"),
        mark(
            "input_ids and attention_mask for the text, pixel_values and image_grid_thw for the "
            "picture: this is all that the model is given."
        ),
    ),
    Step(
        "vision.position-grid",
        mark("Each patch learns where it is"),
        mark(
            "After the patch embedding, a learned position is added to every patch. The grid of "
            "positions has one fixed size, so it is interpolated to the picture: four neighbours "
            "and their weights for each patch."
        ),
    ),
    Step(
        "vision.blocks",
        mark("Block by block, patches look at one another"),
        mark(
            "The colours show how similar the patches' vectors are. Go through the blocks and see "
            "shapes come out of pixels."
        ),
    ),
    Step(
        "vision.merger",
        mark("Four patches become one token"),
        mark(
            "The merger joins 2 × 2 patches into one vector of the decoder's width. DeepStack's "
            "taps do the same with earlier blocks; their vectors join the decoder later."
        ),
    ),
    Step(
        "merge.embeddings",
        mark("The picture takes the placeholders' seats"),
        mark(
            "The placeholders' embeddings are replaced by the vision tower's vectors with "
            "masked_scatter. From here on, words and picture are one sequence."
        ),
    ),
    Step(
        "merge.positions",
        mark("Positions in three dimensions"),
        mark(
            "A word has the same position in time, height and width. A picture's tokens share one "
            "time and spread out in height and width, so the text after it goes on from the "
            "largest of the three: rope_deltas keeps the difference."
        ),
    ),
    Step(
        "decoder.layers",
        mark("Layer by layer, a guess takes shape"),
        mark(
            "Each layer adds to every position's vector. The logit lens reads a layer's vector as "
            "if it were the last: watch from which layer on the answer is there."
        ),
    ),
    Step(
        "decoder.attention",
        mark("A token looks only back"),
        mark(
            "The causal mask hides what comes later. Choose a layer and a head: some look at the "
            "word before, some at the picture."
        ),
    ),
    Step(
        "decoder.deepstack",
        mark("The picture comes in again"),
        mark(
            "After each of the first layers, one tap's vectors are added at the picture's "
            "positions, and nowhere else."
        ),
    ),
    Step(
        "sampling.step",
        mark("From logits to one word"),
        mark(
            "Penalties, temperature, top-k, top-p: each filter changes or removes candidates, and "
            "one random number chooses among those that remain. Move a slider: nothing is computed "
            "again but this step."
        ),
    ),
    Step(
        "sampling.side",
        mark("The same picture, other settings"),
        mark(
            "All columns start from one prefill and are written together. See where they first "
            "differ, and click a token to take another branch."
        ),
    ),
    Step(
        "cache.requests",
        mark("What is known is not computed again"),
        mark(
            "With the keys and values of “你好” in the cache, “你好世界。” computes only the rest. "
            "The logits are the same; the time is not."
        ),
    ),
    Step(
        "cache.policy",
        mark("And if the cache were careless?"),
        mark(
            "A store that looks at token ids alone takes two pictures for the same one, since "
            "their placeholders are equal. See the answer about the wrong picture."
        ),
    ),
)


class TourView(gr.HTML):
    """The button that starts the walkthrough, and its card; tour.js moves through the steps."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(
            html_template=_card_html(parts),
            js_on_load=page_module("tour.js"),
            apply_default_css=False,
            elem_id="tour",
        )


def _card_html(parts: Parts) -> str:
    steps = [
        {"tabs": _tabs(parts, step.part), "title": say(step.title), "text": say(step.text)}
        for step in STEPS
    ]
    return Markup(
        '<button type="button" class="tour-start" aria-haspopup="dialog">{start}</button>'
        '<section class="tour-card" role="dialog" aria-labelledby="tour-title" hidden '
        'data-steps="{steps}" data-place="{place}"><p class="tour-place"></p>'
        '<h2 class="tour-title" id="tour-title" tabindex="-1"></h2>'
        '<p class="tour-text" aria-live="polite"></p><div class="tour-buttons">'
        '<button type="button" class="tour-back">{back}</button>'
        '<button type="button" class="tour-next" data-next="{next}" data-end="{done}"></button>'
        '<button type="button" class="tour-close">{close}</button></div></section>'
    ).format(
        start=say("Walkthrough"),
        steps=json.dumps(steps, ensure_ascii=False),
        place=say("Step {number} of {count}"),
        back=say("Back"),
        next=say("Next"),
        done=say("Done"),
        close=say("Close"),
    )


def _tabs(parts: Parts, key: str) -> list[str]:
    """The ids of the tabs that lead to a part: its stage's, and its own where it has one."""
    part = parts.by_key[key]
    stage = next(each for each in parts.stages if each.stage == part.stage)
    return [stage.stage, *([key] if len(stage.parts) > 1 else [])]
