"""The server's limits, wherever an image is decoded or an answer written: page and endpoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gradio_client import handle_file
from PIL import Image

from components.api.endpoints import Endpoints
from components.parts.compound_controls import Rows
from components.parts.controls import Control
from components.prompt.reader import read_prompt
from components.tabs import STAGE_TABS
from playground.cache import fork_cache
from playground.engine import Engine
from playground.errors import InputError, PlaygroundError
from playground.experiments.answers import answer_log_probs
from playground.experiments.what_if_runs import greedy_answer
from playground.kv_cache.partial_prefill import answer_greedily
from playground.limits import MOST_IMAGE_PIXELS, Limits
from playground.pipeline import Run
from playground.preprocess.media import read_image, read_video
from playground.sampling.branches import Branch, start_branch, start_first_tokens
from playground.sampling.paths import Prefix, prompt_prefix
from playground.sampling.score import read_answer, score_tokens
from playground.sampling.sweep import plan_sweep, stream_sweep
from playground.sampling.trace import SamplingSettings
from tests.components.runs import make_run
from tests.components.visits import ready_host
from tests.media_samples import make_square_image, make_video, write_video

FEW = Limits(max_image_pixels=300_000, max_new_tokens=3)


@pytest.fixture(scope="module")
def engine(tiny_random_engine: Engine) -> Engine:
    """The tiny engine of a server with narrow limits."""
    return replace(tiny_random_engine, limits=FEW)


@pytest.fixture(scope="module")
def run(engine: Engine) -> Run:
    return make_run(engine, "Describe this image.", make_square_image())


def save_image(folder: Path, width: int, height: int) -> str:
    path = folder / f"{width}.png"
    Image.new("RGB", (width, height), "red").save(path)
    return str(path)


@pytest.mark.parametrize(
    "values",
    [
        {"max_new_tokens": 0},
        {"max_new_tokens": 5000},
        {"max_image_pixels": 1000},
        {"max_image_pixels": MOST_IMAGE_PIXELS + 1},
    ],
)
def test_limits_have_a_range(values: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        Limits(**values)


def test_the_largest_limit_is_below_what_pillow_warns_of() -> None:
    assert Image.MAX_IMAGE_PIXELS is not None
    assert MOST_IMAGE_PIXELS < Image.MAX_IMAGE_PIXELS


def test_visitors_get_less_unless_it_is_chosen() -> None:
    alone, public = Limits(), Limits.for_public()
    assert public.max_image_pixels < alone.max_image_pixels
    assert public.max_new_tokens < alone.max_new_tokens
    assert Limits.for_public(max_new_tokens=9).max_new_tokens == 9


# ------------------------------------------------------------------------------------ images


def test_the_page_refuses_a_larger_image(engine: Engine, tmp_path: Path) -> None:
    def read(path: str) -> Any:
        return read_prompt(
            engine, images=[path], video=None, text="What?", system="", max_pixels=None
        )

    assert read(save_image(tmp_path, 600, 500)).images[0].size == (600, 500)
    with pytest.raises(InputError, match=r"601 × 500 pixels\. The limit is 0\.3 million pixels\."):
        read(save_image(tmp_path, 601, 500))


def test_a_video_frame_is_an_image_too(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", make_video(4, 640, 480).frames, fps=2)
    assert read_video(path, max_pixels=640 * 480).frames.shape[1:3] == (480, 640)
    with pytest.raises(InputError, match="640 × 480"):
        read_video(path, max_pixels=640 * 480 - 1)


def test_an_endpoint_refuses_a_larger_image(engine: Engine, tmp_path: Path) -> None:
    endpoints = Endpoints(ready_host(engine))
    sent = handle_file(save_image(tmp_path, 601, 500))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
        with pytest.raises(PlaygroundError, match=r"The limit is 0\.3 million pixels"):
            endpoints.preprocess(sent, "What?")


def test_a_higher_limit_lets_larger_images_in(tmp_path: Path) -> None:
    path = save_image(tmp_path, 6_000, 5_000)
    with pytest.raises(InputError, match="25 million"):
        read_image(path)
    assert read_image(path, max_pixels=30_000_000).size == (6_000, 5_000)


# -------------------------------------------------------------------------------------- tokens


def controls_of_all_parts() -> dict[str, Control]:
    """Every control of the page by its name, those of rows among them."""
    found: dict[str, Control] = {}
    for part in (part for stage in STAGE_TABS for part in stage.all_parts):
        for control in part.controls:
            found[part.full_name(control.id)] = control
            for field in control.fields if isinstance(control, Rows) else ():
                found[f"{part.full_name(control.id)}.{field.id}"] = field
    return found


LENGTHS = {
    name: control
    for name, control in controls_of_all_parts().items()
    if control.label == "Max new tokens"
}


@pytest.mark.parametrize("name", LENGTHS)
def test_every_length_ends_at_the_limit(run: Run, name: str) -> None:
    control = LENGTHS[name]
    assert control.parse(None, run) == 3
    assert control.parse(3, run) == 3
    with pytest.raises(InputError, match="4"):
        control.parse(4, run)


@pytest.mark.parametrize("wanted", [4, 10**9, float("nan"), "3", None])
def test_no_column_writes_more(engine: Engine, wanted: Any) -> None:
    endpoints = Endpoints(ready_host(engine))
    if wanted is None:  # what is allowed
        runs = endpoints.sampling(None, "Hello", settings=[{}, {"seed": 5}])["runs"]
        assert [len(each["tokens"]) <= 3 for each in runs] == [True, True]
        return
    with pytest.raises(PlaygroundError, match="max_new_tokens"):
        endpoints.sampling(None, "Hello", max_new_tokens=wanted)


@pytest.fixture(scope="module")
def prompt(run: Run) -> Prefix:
    """What the lab's writers start from."""
    return prompt_prefix(run.inputs, run.merged, run.decoded)


def scored(engine: Engine, prompt: Prefix) -> Branch:
    """A branch of one word."""
    found = score_tokens(engine, prompt, read_answer(engine, "Red"))
    return Branch("T1", None, 0, found.trace, found.path)


def sweep(engine: Engine, prompt: Prefix, length: int) -> Any:
    planned = plan_sweep(SamplingSettings(), "temperature", 0, 1, 2)
    stream = stream_sweep(
        engine, prompt, "temperature", planned, num_samples=1, max_new_tokens=length
    )
    return next(stream)


WRITERS: dict[str, Callable[[Engine, Prefix, int], Any]] = {
    "branch": lambda engine, prompt, length: start_branch(
        engine,
        prompt,
        scored(engine, prompt),
        1,
        None,
        max_new_tokens=length,
        settings=SamplingSettings(),
    ),
    "first tokens": lambda engine, prompt, length: start_first_tokens(
        engine, prompt, 2, SamplingSettings(), max_new_tokens=length
    ),
    "sweep": sweep,
}


@pytest.mark.parametrize("name", WRITERS)
def test_no_part_of_the_lab_writes_more(engine: Engine, prompt: Prefix, name: str) -> None:
    write = WRITERS[name]
    assert write(engine, prompt, 3)
    with pytest.raises(InputError, match="from 1 to 3"):
        write(engine, prompt, 4)


def test_a_scored_text_has_no_more_tokens(engine: Engine) -> None:
    assert read_answer(engine, "Red")
    with pytest.raises(InputError, match="The limit is 3"):
        read_answer(engine, "one two three four five")


def test_answers_that_nobody_asked_a_length_of_are_shortened(run: Run) -> None:
    trace = greedy_answer(run.engine, run.inputs, run.merged, run.decoded, max_new_tokens=24)
    assert len(trace.steps) <= 3
    cache = fork_cache(run.decoded.cache)
    ids = answer_greedily(run.engine, run.inputs, run.decoded.logits, cache, 24)
    assert 0 < len(ids) <= 3
    assert len(answer_log_probs(run.engine, run.merged, run.decoded, ids)) == len(ids)
