"""The shortest way through everything: for a Python or a torch other than the pinned ones.

``make smoke-312`` runs these alone, on Python 3.12 and the older torch of a hosted Space.
"""

from __future__ import annotations

import importlib
import pkgutil

import httpx
import pytest

import components
import playground
from components.api.endpoints import Endpoints
from components.prompt.examples import load_examples
from components.prompt.reader import read_prompt
from playground.engine import Engine
from playground.pipeline import STAGES, Run
from reliability.served import Caller, running_app

pytestmark = pytest.mark.smoke

SECRET = "kumquat parasol"
# Refused by our checks, by Gradio's, and by neither as it should be sent.
WRONG = (
    {"max_new_tokens": -1},
    {"settings": SECRET},
    {"settings": [{SECRET: SECRET}]},
    {"system": [SECRET]},
    {"max_pixels": SECRET},
    {"image": SECRET},
    {"image": {"path": SECRET, "meta": {"_type": "gradio.FileData"}}},
    {"text": {SECRET: [SECRET]}},
)


def test_every_module_can_be_imported() -> None:
    names = [
        module.name
        for package in (playground, components)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]
    assert len(names) > 100
    for name in names:
        importlib.import_module(name)


def test_the_first_example_runs_through_all_stages(shipped_engine: Engine) -> None:
    first = load_examples()[0]
    prompt = read_prompt(
        shipped_engine,
        images=first.images,
        video=first.video,
        text=first.text,
        system=first.system,
        max_pixels=None,
    )
    run = Run(shipped_engine, prompt)
    run.ensure("decoder")
    assert all(run.has(stage) for stage in STAGES)
    assert run.parity.max_abs_diff == 0.0
    sampled = playground.sampling.stage.run_sampling(
        run.engine, run.inputs, run.merged, run.decoded, [{}, {"temperature": 1}], max_new_tokens=4
    )
    assert all(trace.text for trace in sampled.traces)
    reuse = playground.kv_cache.stage.run_cache_reuse(run.engine, run.inputs, run.inputs, repeats=1)
    assert reuse.hit
    assert reuse.max_abs_diff <= 1e-4


def test_the_page_is_served_and_answers_a_program() -> None:
    assert Endpoints.decoder.__doc__  # becomes the description for programs
    with running_app() as server:
        page = httpx.get(server.address, follow_redirects=True, timeout=60)
        assert page.status_code == 200
        assert "Qwen3-VL Playground" in page.text
        caller = Caller(server)
        answer = caller.call("decoder", image=None, text="Hello", top_k=3)
        for arguments in WRONG:
            refused = caller.call("sampling", **{"image": None, "text": SECRET} | arguments)
            assert not refused.ok
        caller.call("cache_reuse", first_text=SECRET, second_text=SECRET + "!", system=SECRET)
        caller.close()
        log = server.log.read_text("utf-8")
        assert SECRET not in log, "a prompt in the log"
        assert "Traceback" not in log
        assert answer.ok, answer.message
        assert len(answer.data["next_token"]) == 3
        assert answer.data["parity"]["max_abs_diff"] == 0.0
