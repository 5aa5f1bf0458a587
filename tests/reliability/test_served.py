"""Short forms of what ``reliability/`` does at length, against one served app."""

from __future__ import annotations

import gc
import json
import warnings
from collections.abc import Iterator
from dataclasses import replace

import httpx
import numpy as np
import pytest

import app
from components.compute.engine_host import EngineHost
from components.look.theme import CSS
from components.page.site import build_site
from components.serving.server import launch
from reliability.door import read_parts
from reliability.fuzz import fuzz, fuzz_questions, mutate
from reliability.guessing import closed_without_login, out_of_reach
from reliability.hostile import Outcome, hostile_cases, run_cases
from reliability.isolation import check, differences
from reliability.load import crowd, press
from reliability.other_visitors import leave_belongings, try_everything
from reliability.served import Answer, Caller, Server
from tests.reliability.conftest import QUEUE_SIZE


def test_hostile_inputs_get_a_clear_answer(server: Server) -> None:
    cases = list(hostile_cases())
    assert len(cases) >= 900
    outcomes = run_cases(server, cases[3::13])
    # How soon a refusal comes is measured by the script: a test machine may be busy.
    slow = "refused after"
    faults = [(o.case.name, f) for o in outcomes for f in o.faults if not f.startswith(slow)]
    assert faults == []


def test_odd_questions_to_the_parts_do_no_harm(server: Server) -> None:
    assert fuzz_questions(server, questions=120) == []


def test_random_bodies_and_images_do_no_harm(server: Server) -> None:
    assert fuzz(server, bodies=12, images=20) == []


def test_users_side_by_side_get_what_each_gets_alone(server: Server) -> None:
    assert check(server, interleavings=5) == []


def test_what_others_have_is_out_of_reach(server: Server) -> None:
    page, theirs = leave_belongings(server)
    assert theirs.kept, "nothing to look for"
    owner = httpx.get(f"{server.address}/gradio_api/file={theirs.uploaded}", timeout=60)
    assert owner.status_code == 200  # who was told the name gets it
    assert try_everything(server, theirs) == []
    page.vanish()


def test_runs_and_findings_of_others_are_out_of_reach(server: Server) -> None:
    slow = "guesses take"  # a test machine may be busy: the script compares their times
    assert [each for each in out_of_reach(server) if not each.startswith(slow)] == []


@pytest.fixture
def closed_address() -> Iterator[str]:
    """An app with one account, in this process: nobody comes as far as its checkpoint."""
    host = EngineHost("tiny")
    options = app.read_server_options(app.parse_arguments(["--auth", "guest:secret"]))
    demo = build_site(host).demo
    yield launch(demo, CSS, replace(options, port=None), host=host, quiet=True)
    demo.close(verbose=False)
    with warnings.catch_warnings():  # collected here, they cannot fail another test
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


# Of Gradio's own: a socket with which it looks for a free port, and what pandas 3 is about to drop.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")
def test_without_a_login_nothing_answers(closed_address: str) -> None:
    assert closed_without_login(closed_address, "guest", "secret") == []


def test_what_the_page_is_sent_about_a_part_names_nothing_of_the_server(server: Server) -> None:
    config = httpx.get(f"{server.address}/config", timeout=60).json()
    components = {each["id"]: json.dumps(each) for each in config["components"]}
    parts = read_parts(config)
    assert len(parts) > 30
    assert [key for key, part in parts.items() if " at 0x" in components[part.component]] == []


def test_a_crowd_of_questions_leaves_room_for_events(server: Server) -> None:
    asked = crowd(server, pages=12, questions=120)
    assert asked.problems == []
    assert asked.kinds["drawn"] > 0
    assert asked.kinds.keys() <= {"drawn", "overtaken", "busy"}
    assert len(asked.events) > 0


def test_who_finds_the_queue_full_is_told_so(server: Server) -> None:
    report = press(server, users=30, requests=60)
    assert set(report.kinds) <= {"answered", "queue full"}
    assert report.kinds["answered"] >= QUEUE_SIZE
    assert report.kinds["queue full"] > 0


def test_errors_name_no_path_of_the_server(server: Server) -> None:
    caller = Caller(server)
    answer = caller.call("preprocess", image="/etc/passwd", text="Hello")
    caller.close()
    assert not answer.ok
    assert "Upload the image" in answer.message
    assert "/etc/passwd" not in answer.message


# ------------------------------------------------------------------- the checks can fail


def test_a_blank_error_a_trace_and_a_wrong_verdict_are_faults() -> None:
    case = next(hostile_cases())
    assert case.accepted
    assert Outcome(case, Answer(True, {}, "", 0.1)).faults == []
    found = Outcome(case, Answer(False, None, "", 9.0)).faults
    assert [fault.split(":")[0] for fault in found] == [
        "refused",
        "blank error",
        "refused after 9.0 s",
    ]
    trace = Answer(True, {"text": 'File "app.py"'}, "", 0.1)
    assert Outcome(case, trace).faults == ["shows a trace or a path"]


def test_differences_between_two_answers() -> None:
    alone = {"ids": [1, 2], "prob": 0.5, "hit_ms": 1.0}
    assert list(differences(alone, alone | {"prob": 0.5 + 1e-9, "hit_ms": 9.0})) == []
    assert list(differences(alone, alone | {"ids": [1, 3]})) == [".ids[1]: 2 alone, 3 together"]
    assert len(list(differences(alone, {}))) == 1


def test_mutations_change_something() -> None:
    rng = np.random.default_rng(0)
    content = bytes(range(200))
    assert sum(mutate(rng, content) != content for _ in range(50)) >= 45
