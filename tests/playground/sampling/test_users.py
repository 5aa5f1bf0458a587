"""Users in turns, streaming, and what is refused."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.preprocess.stage import model_kwargs
from playground.sampling import columns as sampling_columns
from playground.sampling import settings as sampling_settings
from playground.sampling.generation_config import end_token_ids
from playground.sampling.stage import run_sampling, stream_sampling
from playground.sampling.step import sample_next_token
from playground.sampling.trace import SamplingRun, SamplingSettings, TokenStep
from tests.playground.sampling_prefills import (
    COLUMNS,
    GREEDY,
    PROMPTS,
    Prefill,
    ids_of,
    poisoned_deltas,
)

# --------------------------------------------------------------------------- users in turns


def test_two_users_interleaved_token_by_token(engine: Engine, prefill: Prefill) -> None:
    """20 random interleavings, with a poisoned ``rope_deltas``: each gets what it gets alone."""
    names = list(PROMPTS)
    settings = [SamplingSettings(seed=4), GREEDY]
    solo = {
        name: ids_of(
            run_sampling(engine, *prefill(engine, name).stages, settings, max_new_tokens=6)
        )
        for name in names
    }
    with poisoned_deltas(engine):
        for seed in range(20):
            rng = random.Random(seed)
            users = rng.sample(names, 2)
            streams = {
                name: stream_sampling(
                    engine, *prefill(engine, name).stages, settings, max_new_tokens=6
                )
                for name in users
            }
            finished: dict[str, SamplingRun] = {}
            while streams:
                name = rng.choice(sorted(streams))
                run = next(streams[name], None)
                if run is None:
                    del streams[name]
                else:
                    finished[name] = run
            assert {name: ids_of(run) for name, run in finished.items()} == {
                name: solo[name] for name in users
            }


def test_users_in_threads(engine: Engine, prefill: Prefill) -> None:
    """With another user's plain forwards, which do write ``rope_deltas``, in between."""
    names = ["text", "two images", "video"]
    cases = {name: prefill(engine, name) for name in [*names, "image"]}
    model: Any = engine.model

    def sample(name: str) -> list[list[int]]:
        return ids_of(run_sampling(engine, *cases[name].stages, COLUMNS[:2], max_new_tokens=8))

    def disturb() -> None:
        for _ in range(5):
            with engine.exclusive():
                model(**model_kwargs(cases["image"].inputs))

    expected = [sample(name) for name in names]
    before = model.model.rope_deltas
    with ThreadPoolExecutor(4) as pool:
        disturbance = pool.submit(disturb)
        assert list(pool.map(sample, names)) == expected
        disturbance.result()
    model.model.rope_deltas = before


def test_lock_is_free_between_tokens(tiny_random_engine: Engine, prefill: Prefill) -> None:
    case = prefill(tiny_random_engine, "text")
    stream = stream_sampling(tiny_random_engine, *case.stages, [GREEDY], max_new_tokens=3)
    next(stream)
    with ThreadPoolExecutor(1) as pool:
        lock = tiny_random_engine.lock

        def take() -> bool:
            taken = lock.acquire(blocking=False)
            if taken:
                lock.release()
            return taken

        assert pool.submit(take).result()


def test_run_leaves_the_prefill_as_it_was(engine: Engine, prefill: Prefill) -> None:
    case = prefill(engine, "image")
    cache: Any = case.output.cache
    layers = [(layer.keys, layer.values) for layer in cache.layers]
    copies = [(keys.clone(), values.clone()) for keys, values in layers]
    logits = case.output.logits.clone()
    for _ in stream_sampling(engine, *case.stages, COLUMNS, max_new_tokens=4):
        pass
    for layer, (keys, values), (old_keys, old_values) in zip(
        cache.layers, layers, copies, strict=True
    ):
        assert layer.keys is keys
        assert layer.values is values
        assert torch.equal(keys, old_keys)
        assert torch.equal(values, old_values)
    assert torch.equal(case.output.logits, logits)


# --------------------------------------------------------------------------- streaming and text


def test_stream_grows_by_one_token(tiny_random_engine: Engine, prefill: Prefill) -> None:
    case = prefill(tiny_random_engine, "text")
    reports: list[tuple[str, int, int]] = []
    stream = stream_sampling(
        tiny_random_engine,
        *case.stages,
        COLUMNS,
        max_new_tokens=4,
        progress=lambda what, done, total: reports.append((what, done, total)),
    )
    runs = list(stream)
    longest = [max(len(trace.steps) for trace in run.traces) for run in runs]
    assert longest == list(range(1, len(runs) + 1))
    assert reports == [("token", done, 4) for done in range(len(runs))]
    for earlier, later in itertools.pairwise(runs):
        for before, after in zip(earlier.traces, later.traces, strict=True):
            assert after.steps[: len(before.steps)] == before.steps
            assert after.text.startswith(before.text)


def test_progress_can_stop_the_run(tiny_random_engine: Engine, prefill: Prefill) -> None:
    case = prefill(tiny_random_engine, "text")

    def stop(what: str, done: int, total: int) -> None:
        if done == 2:
            raise StageCancelled

    runs: list[SamplingRun] = []
    with pytest.raises(StageCancelled):
        runs.extend(
            stream_sampling(
                tiny_random_engine, *case.stages, [GREEDY], max_new_tokens=9, progress=stop
            )
        )


def test_characters_of_several_tokens(
    tiny_random_engine: Engine, prefill: Prefill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a character is held back from the text, and readable as bytes in the token."""
    said = "a鹦鹉🦜b"
    ids = iter(tiny_random_engine.tokenizer.encode(said))
    real = sample_next_token

    def say(
        logits: torch.Tensor, *args: Any, text_of: Callable[[int], str], **kw: Any
    ) -> TokenStep:
        forced = next(ids)
        certain = torch.nn.functional.one_hot(torch.tensor(forced), len(logits)) * 99.0
        step = real(certain, *args, text_of=text_of, **kw)
        assert step.id == forced
        return step

    num_tokens = len(tiny_random_engine.tokenizer.encode(said))
    assert num_tokens > len(said)
    monkeypatch.setattr(sampling_columns, "sample_next_token", say)
    case = prefill(tiny_random_engine, "text")
    runs = list(
        stream_sampling(tiny_random_engine, *case.stages, [GREEDY], max_new_tokens=num_tokens)
    )
    texts = [run.traces[0].text for run in runs]
    assert all(said.startswith(text) for text in texts)
    assert texts[-1] == said
    token_texts = [step.text for step in runs[-1].traces[0].steps]
    assert all("\N{REPLACEMENT CHARACTER}" not in text for text in token_texts)
    assert any(text.startswith("\\x") for text in token_texts)


def test_end_ids_are_one_or_several(tiny_random_engine: Engine) -> None:
    config: Any = tiny_random_engine.model.generation_config
    expected = config.eos_token_id
    assert len(expected) > 1
    assert end_token_ids(tiny_random_engine) == frozenset(expected)


# --------------------------------------------------------------------------- what is refused


def test_bad_settings_are_refused_by_the_call_itself(
    tiny_random_engine: Engine, prefill: Prefill
) -> None:
    case = prefill(tiny_random_engine, "text")
    with pytest.raises(InputError, match=r"Column 2: top_p is out of range: 1\.5"):
        stream_sampling(
            tiny_random_engine, *case.stages, [GREEDY, {"top_p": 1.5}], max_new_tokens=4
        )
    with pytest.raises(InputError, match="max_new_tokens"):
        stream_sampling(tiny_random_engine, *case.stages, [GREEDY], max_new_tokens=0)
    for count in (0, 9):
        with pytest.raises(InputError, match="It takes 1 to 8"):
            stream_sampling(tiny_random_engine, *case.stages, [GREEDY] * count, max_new_tokens=4)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("temperature", float("nan"), "out of range: nan"),
        ("temperature", float("inf"), "out of range"),
        ("temperature", -0.1, "out of range"),
        ("temperature", 1e-9, r"0 or from 0\.0001 to 100"),
        ("temperature", "warm", "must be a number, not 'warm'"),
        ("temperature", None, "temperature is empty"),
        ("temperature", True, "must be a number, not True"),
        ("temperature", [1.0], "must be a number"),
        ("top_k", 2.5, "must be a whole number"),
        ("top_k", -1, "out of range"),
        pytest.param("top_k", 10**5000, "a very long number", id="very long"),
        ("top_p", 1.0001, "from 0 to 1; 1 is off"),
        ("min_p", -1e-9, "out of range"),
        ("typical_p", 0, "out of range"),
        ("repetition_penalty", 0, "out of range"),
        ("frequency_penalty", 2.1, "from -2 to 2"),
        ("presence_penalty", -2.1, "from -2 to 2"),
        ("no_repeat_ngram_size", -1, "out of range"),
        ("no_repeat_ngram_size", None, "no_repeat_ngram_size is empty"),
        ("thinking_budget", -1, "an empty budget is off"),
        ("thinking_budget", 1.5, "must be a whole number"),
        ("seed", -1, "out of range"),
        ("seed", 2**53, "out of range"),
        ("surprise", 1, "'surprise' is not a sampling setting"),
    ],
)
def test_setting_is_refused_with_its_limit(name: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sampling_settings.check_settings({name: value})


def test_settings_get_their_types() -> None:
    checked = sampling_settings.check_settings(
        {"temperature": 0, "top_k": 40.0, "frequency_penalty": -1, "presence_penalty": 0.5}
    )
    assert checked == SamplingSettings(0.0, 40, frequency_penalty=-1.0, presence_penalty=0.5)
    assert isinstance(checked.temperature, float)
    assert isinstance(checked.top_k, int)
    assert sampling_settings.check_settings(checked) == checked
    assert checked.thinking_budget is None
    assert sampling_settings.check_settings({"thinking_budget": 4.0}).thinking_budget == 4
    assert set(sampling_settings.LIMITS) == set(SamplingSettings.__dataclass_fields__)
