"""The preprocess tab as a whole: every output of every part, all controls at defaults."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import pytest

from components.chart_view.figures import write_json
from components.tabs.preprocess.tab import TAB
from components.views.template import template_html
from playground.engine import Engine
from playground.pipeline import Run
from playground.preprocess.stage import run_preprocess
from playground.prompt import Prompt, PromptImage, Turn
from tests.components.drawings import make_drawing
from tests.components.html_reader import read_html
from tests.components.runs import make_run
from tests.media_samples import make_image, make_video

PARTS = [part.key for part in TAB.all_parts]
ABSENT = {  # by the run's kind
    "image": {"preprocess.video"},
    "video": set(),
    "text": {"preprocess.rows", "preprocess.video", "preprocess.budget"},
}
MAX_BYTES = 400_000  # everything that the tab sends for one run
MAX_SVG_POINTS = 5_000


def answer(key: str, run: Run, **values: Any) -> dict[str, Any]:
    """All outputs of a part, as the page receives them."""
    run.ensure("preprocess")
    drawing = make_drawing(TAB)
    question = {
        "run": drawing.runs.add(run),
        "part": key,
        "outputs": list(drawing.parts.by_key[key].outputs),
        "controls": True,
        "values": values,
    }
    return drawing.answer(question)


def num_bytes(run: Run) -> int:
    return sum(len(write_json(answer(key, run))) for key in PARTS)


@pytest.fixture(scope="module")
def kinds(shipped_engine: Engine) -> dict[str, Run]:
    image = make_image()
    return {
        "image": make_run(shipped_engine, "What is <b>this</b>?", image, image),
        "video": make_run(shipped_engine, "Where to?", video=make_video()),
        "text": make_run(shipped_engine, "你好"),
    }


@pytest.mark.parametrize("kind", list(ABSENT))
@pytest.mark.parametrize("key", PARTS)
def test_every_output_is_drawn(kinds: dict[str, Run], key: str, kind: str) -> None:
    drawn = answer(key, kinds[kind])
    assert not [name for name, each in drawn["outputs"].items() if "error" in each]
    assert ("absent" in drawn) == (key in ABSENT[kind])
    assert ("absent" in drawn) != bool(drawn["outputs"])


def test_what_a_person_wrote_is_shown_and_escaped_in_a_small_payload(
    tiny_random_engine: Engine,
) -> None:
    photo = PromptImage(make_image(256, 192).pixels, name="photo <i>")
    text = "Describe this image: <|image_pad|> " + "各种各样的词 and words. " * 180
    run = make_run(tiny_random_engine, text, photo)
    drawn = [each for key in PARTS for each in answer(key, run)["outputs"].values()]
    whole = "".join(each.get("html", "") + each.get("code", "") for each in drawn)
    for words in (
        "treated as text",
        "photo &lt;i&gt;",
        "各种各样的词",
        f"{run.inputs.num_tokens:,} tokens",
        "more rows",
        "pixel_values",
        "apply_chat_template",
        "pg-typed",
    ):
        assert words in whole
    assert "photo <i>" not in whole
    assert num_bytes(run) < MAX_BYTES
    assert not run.has("vision")


@pytest.mark.parametrize("kind", ["photo", "eight", "video"])
def test_large_prompts_stay_a_small_payload(tiny_random_engine: Engine, kind: str) -> None:
    """A 1280 x 960 photo is 4,800 patches, as on the 2B model."""
    runs = {
        "photo": lambda: make_run(
            tiny_random_engine, "Describe.", make_image(1280, 960), max_pixels=1280 * 960
        ),
        "eight": lambda: make_run(
            tiny_random_engine,
            "Compare.",
            *(make_image(640, 480, seed) for seed in range(8)),
        ),
        "video": lambda: make_run(tiny_random_engine, "Look.", video=make_video(8, 320, 240)),
    }
    run = runs[kind]()
    assert num_bytes(run) < MAX_BYTES
    if kind == "photo":
        assert run.inputs.spans[0].num_patches == 4_800
    for key in PARTS:
        for each in answer(key, run)["outputs"].values():
            figure = go.Figure(each.get("figure"))
            points = sum(len(trace.x) for trace in figure.data if trace.type == "scatter")
            assert points <= MAX_SVG_POINTS


def test_text_that_is_too_long_is_refused_in_its_place(kinds: dict[str, Run]) -> None:
    drawn = answer(
        "preprocess.spelling", kinds["text"], **{"preprocess.spelling.own-text": "a" * 201}
    )
    assert "201 characters" in drawn["outputs"]["spelled"]["error"]
    assert "html" in drawn["outputs"]["gallery"]


@pytest.mark.parametrize("text", ["{{value}}", "${value}", "</p></div><script>1</script>"])
def test_text_that_looks_like_code_stays_text(tiny_random_engine: Engine, text: str) -> None:
    inputs = run_preprocess(tiny_random_engine, Prompt((Turn("user", text),)))
    page = read_html(template_html(inputs))
    assert any(text in each.text for each in page.find("div", "pg-message-text"))
