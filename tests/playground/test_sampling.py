"""The draw against its distribution, the decode loop against ``generate``."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from playground import sampling_columns, sampling_settings
from playground.decoder import run_decoder
from playground.engine import Engine
from playground.errors import InputError, ModelError, StageCancelled
from playground.logits_filters import REMOVED, FilterContext
from playground.merge import run_merge
from playground.preprocess import model_kwargs, run_preprocess
from playground.records import (
    DecoderOutput,
    MergedInputs,
    ModelInputs,
    Prompt,
    SamplingRun,
    SamplingSettings,
    TokenStep,
    Turn,
)
from playground.sampling import (
    barred_token_ids,
    draw_token,
    end_token_ids,
    invert_cdf,
    run_sampling,
    sample_next_token,
    stream_sampling,
)
from playground.sampling_paths import decode_states
from playground.vision import run_vision
from tests.media_samples import make_clip, make_picture, make_square_picture

NO_IDS = torch.zeros(0, dtype=torch.int64)
GREEDY = SamplingSettings(temperature=0)

PROMPTS = {
    "text": Prompt((Turn("user", "你好"),), system="Be brief."),
    "image": Prompt((Turn("user", "Describe this image.", (make_square_picture(),)),)),
    "two images": Prompt(
        (Turn("user", "What differs?", (make_picture(128, 96), make_picture(192, 64, 1))),)
    ),
    "video": Prompt((Turn("user", "Where does it move?", clip=make_clip()),)),
    "image and video": Prompt(
        (Turn("user", "描述一下。", (make_picture(96, 128, seed=2),), make_clip(seed=1)),)
    ),
}


@dataclass(frozen=True, eq=False)
class Prefilled:
    """One prompt after the first four stages."""

    inputs: ModelInputs
    merged: MergedInputs
    output: DecoderOutput

    @property
    def stages(self) -> tuple[ModelInputs, MergedInputs, DecoderOutput]:
        return self.inputs, self.merged, self.output


Prefill = Callable[[Engine, str], Prefilled]


@pytest.fixture(scope="module")
def prefill() -> Prefill:
    """Runs the first four stages on one of ``PROMPTS``, once per engine."""
    done: dict[tuple[int, str], Prefilled] = {}

    def run(engine: Engine, name: str) -> Prefilled:
        key = (id(engine), name)
        if key not in done:
            inputs = run_preprocess(engine, PROMPTS[name])
            merged = run_merge(engine, inputs, run_vision(engine, inputs))
            done[key] = Prefilled(inputs, merged, run_decoder(engine, inputs, merged))
        return done[key]

    return run


def ids_of(run: SamplingRun) -> list[list[int]]:
    return [[step.id for step in trace.steps] for trace in run.traces]


@contextmanager
def poisoned_deltas(engine: Engine) -> Iterator[torch.Tensor]:
    """Leave another user's ``rope_deltas`` on the model; nothing may read or replace it."""
    inner: Any = engine.model.model
    before, poison = inner.rope_deltas, torch.tensor([[-977]])
    inner.rope_deltas = poison
    try:
        yield poison
        assert inner.rope_deltas is poison
        assert poison.tolist() == [[-977]]
    finally:
        inner.rope_deltas = before


def chi_square_p(counts: torch.Tensor, probs: torch.Tensor) -> float:
    """Pearson's test: the probability of counts at least as far from ``probs`` as these."""
    expected = probs.double() * counts.sum()
    assert expected.min() >= 5
    statistic = ((counts - expected) ** 2 / expected).sum()
    degrees = torch.tensor(len(probs) - 1, dtype=torch.float64)
    return float(torch.special.gammaincc(degrees / 2, statistic / 2))


# --------------------------------------------------------------------------- the draw


@pytest.mark.parametrize("temperature", [0.7, 1.0, 3.0])
def test_draws_follow_the_distribution(temperature: float) -> None:
    logits = torch.randn(40, generator=torch.Generator().manual_seed(1)) / temperature
    logits[::7] = REMOVED
    generator = torch.Generator().manual_seed(0)
    draws = torch.tensor([draw_token(logits, generator)[0] for _ in range(10_000)])
    counts, kept = draws.bincount(minlength=40), logits > REMOVED
    assert counts[~kept].sum() == 0
    assert chi_square_p(counts[kept], logits[kept].double().softmax(-1)) > 0.001


def test_first_draws_of_consecutive_seeds_follow_the_distribution() -> None:
    """A sweep draws n samples with seeds 0 .. n - 1."""
    logits = torch.randn(12, generator=torch.Generator().manual_seed(2))
    draws = [draw_token(logits, torch.Generator().manual_seed(seed))[0] for seed in range(10_000)]
    counts = torch.tensor(draws).bincount(minlength=12)
    assert chi_square_p(counts, logits.double().softmax(-1)) > 0.001


def test_chi_square_notices_a_wrong_distribution() -> None:
    probs = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    assert chi_square_p(torch.tensor([5000, 3000, 2000]), probs) == 1
    assert chi_square_p(torch.tensor([5200, 2900, 1900]), probs) < 0.001


def test_inverse_cdf_by_hand() -> None:
    probs = torch.tensor([0.0, 0.25, 0.0, 0.5, 0.25, 0.0], dtype=torch.float64)
    places = {0.0: 1, 0.2499: 1, 0.25: 3, 0.7499: 3, 0.75: 4, 1 - 2**-53: 4}
    assert {uniform: invert_cdf(probs, uniform) for uniform in places} == places
    one = torch.tensor([1.0], dtype=torch.float64)
    assert invert_cdf(one, 0.0) == invert_cdf(one, 1 - 2**-53) == 0


def test_inverse_cdf_never_leaves_the_kept_tokens() -> None:
    """Probabilities whose sum rounds to less or more than 1, at the largest uniform number."""
    for num_kept in range(1, 400):
        probs = torch.full((num_kept,), 1 / num_kept, dtype=torch.float64)
        assert invert_cdf(probs, 1 - 2**-53) == num_kept - 1
        padded = torch.cat([probs, torch.zeros(2, dtype=torch.float64)])
        assert invert_cdf(padded * 1.0000001, 1 - 2**-53) == num_kept - 1


# --------------------------------------------------------------------------- one token


def sample_once(
    logits: list[float],
    settings: SamplingSettings,
    generated: list[int] | None = None,
    **kwargs: Any,
) -> TokenStep:
    context = FilterContext(settings, NO_IDS, torch.tensor([generated or []]).long(), NO_IDS)
    generator = torch.Generator().manual_seed(settings.seed)
    return sample_next_token(torch.tensor(logits), context, generator, **kwargs)


def test_one_step_by_hand() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().tolist()
    step = sample_once(logits, SamplingSettings(top_k=2, seed=3), text_of=lambda i: "abcd"[i])
    uniform = float(torch.rand((), dtype=torch.float64, generator=torch.Generator().manual_seed(3)))
    assert step.uniform == uniform
    assert step.id == (0 if uniform < 0.625 else 1)
    assert step.text == "ab"[step.id]
    assert step.prob == pytest.approx([0.625, 0.375][step.id], abs=1e-6)
    assert step.entropy == pytest.approx(0.661563, abs=1e-5)
    assert step.num_kept == 2
    assert [candidate.text for candidate in step.top] == ["a", "b", "c", "d"]
    assert [candidate.raw_prob for candidate in step.top] == pytest.approx([0.5, 0.3, 0.15, 0.05])
    assert [candidate.prob for candidate in step.top] == pytest.approx([0.625, 0.375, 0, 0])
    assert [candidate.removed_by for candidate in step.top] == [None, None, "top_k", "top_k"]


def test_greedy_step_is_certain_and_draws_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    context = FilterContext(GREEDY, NO_IDS, NO_IDS[None], NO_IDS)
    step = sample_next_token(torch.tensor([1.0, 3.0, 3.0]), context, generator)
    assert (step.id, step.prob, step.entropy, step.uniform, step.num_kept) == (1, 1, 0, None, 1)
    assert [candidate.removed_by for candidate in step.top if candidate.id != 1] == [
        "temperature",
        "temperature",
    ]
    assert torch.equal(generator.get_state(), state)


def test_penalties_count_for_greedy_too() -> None:
    settings = SamplingSettings(temperature=0, frequency_penalty=0.6)
    assert sample_once([2.0, 1.0], settings, generated=[0]).id == 0
    assert sample_once([2.0, 1.0], settings, generated=[0, 0]).id == 1


def test_chosen_token_is_reported_even_if_unlikely() -> None:
    steps = [
        sample_once([0.0] * 50, SamplingSettings(seed=seed, temperature=5), top=3)
        for seed in range(20)
    ]
    assert all(step.id in {candidate.id for candidate in step.top} for step in steps)
    assert {len(step.top) for step in steps} <= {3, 4}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_logits_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ModelError, match="NaN or infinity"):
        sample_once([0.0, bad, 1.0], SamplingSettings())


def test_overflow_in_the_filters_is_refused() -> None:
    with pytest.raises(ModelError, match="no distribution"):
        sample_once([3e38, 0.0], SamplingSettings(temperature=1e-4))


# --------------------------------------------------------------------------- against generate


def greedy_reference(engine: Engine, inputs: ModelInputs, **kwargs: Any) -> list[int]:
    """What ``generate`` adds; it must leave no ``rope_deltas`` behind for other tests."""
    model: Any = engine.model
    with engine.exclusive():
        shared = model.model.rope_deltas
        try:
            ids = model.generate(
                **model_kwargs(inputs), do_sample=False, max_new_tokens=64, **kwargs
            )
        finally:
            model.model.rope_deltas = shared
    added: list[int] = ids[0, inputs.num_tokens :].tolist()
    return added


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("endless", [True, False], ids=["64 tokens", "to the end"])
def test_greedy_run_equals_generate(
    engine: Engine, prefill: Prefill, name: str, endless: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Token by token, with and without the ids that end an answer.

    ``generate`` may sample a vision token and we may not; where it does, the reference is
    ``generate(suppress_tokens=...)``, which is the same bar.
    """
    case = prefill(engine, name)
    ending: dict[str, Any] = {}
    if endless:
        monkeypatch.setattr(sampling_columns, "end_token_ids", lambda engine: frozenset())
        ending = {"eos_token_id": -1}
    with poisoned_deltas(engine):
        run = run_sampling(engine, *case.stages, [GREEDY], max_new_tokens=64)
    expected = greedy_reference(engine, case.inputs, **ending)
    barred = barred_token_ids(engine)
    if not set(barred).isdisjoint(expected):
        expected = greedy_reference(engine, case.inputs, suppress_tokens=list(barred), **ending)
    assert ids_of(run) == [expected]
    assert len(expected) == 64 or not endless
    stopped = expected[-1] in end_token_ids(engine) and not endless
    assert run.traces[0].finish_reason == ("stop" if stopped else "length")
    decoded = engine.tokenizer.decode(expected, skip_special_tokens=True)
    assert run.traces[0].text == decoded


def test_greedy_run_with_repetition_penalty_equals_generate(
    engine: Engine, prefill: Prefill
) -> None:
    """The penalty covers the prompt too, and greedy ``generate`` applies it."""
    case = prefill(engine, "image")
    settings = SamplingSettings(temperature=0, repetition_penalty=1.3)
    run = run_sampling(engine, *case.stages, [settings], max_new_tokens=64)
    expected = greedy_reference(
        engine,
        case.inputs,
        repetition_penalty=1.3,
        suppress_tokens=list(barred_token_ids(engine)),
    )
    assert ids_of(run) == [expected]


def test_greedy_run_of_a_mixture_of_experts(
    tiny_random_moe_engine: Engine, prefill: Prefill
) -> None:
    engine = tiny_random_moe_engine
    case = prefill(engine, "image")
    run = run_sampling(engine, *case.stages, [GREEDY], max_new_tokens=64)
    barred = list(barred_token_ids(engine))
    assert ids_of(run) == [greedy_reference(engine, case.inputs, suppress_tokens=barred)]


# --------------------------------------------------------------------------- columns

COLUMNS = (
    SamplingSettings(seed=1),
    SamplingSettings(temperature=0),
    SamplingSettings(temperature=1.5, top_k=50, seed=2, frequency_penalty=0.5),
    SamplingSettings(temperature=0.8, top_p=0.9, seed=1, repetition_penalty=1.1),
)


@pytest.mark.parametrize("name", ["text", "image and video"])
def test_column_in_a_batch_gives_what_it_gives_alone(
    engine: Engine, prefill: Prefill, name: str
) -> None:
    case = prefill(engine, name)
    with poisoned_deltas(engine):
        together = run_sampling(engine, *case.stages, COLUMNS, max_new_tokens=24)
        alone = [
            run_sampling(engine, *case.stages, [settings], max_new_tokens=24)
            for settings in COLUMNS
        ]
    assert ids_of(together) == [ids_of(run)[0] for run in alone]
    assert [trace.text for trace in together.traces] == [run.traces[0].text for run in alone]


def test_column_that_ends_early_leaves_the_others_alone(
    engine: Engine, prefill: Prefill, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = prefill(engine, "two images")
    monkeypatch.setattr(sampling_columns, "end_token_ids", lambda engine: frozenset())
    rows = ids_of(run_sampling(engine, *case.stages, COLUMNS, max_new_tokens=16))
    # Ends of two columns, one after the other; whichever other column says them ends as well.
    ends = {rows[2][3], rows[0][8]}
    monkeypatch.setattr(sampling_columns, "end_token_ids", lambda engine: frozenset(ends))
    run = run_sampling(engine, *case.stages, COLUMNS, max_new_tokens=16)
    expected = []
    for row in rows:
        length = next((index + 1 for index, token in enumerate(row) if token in ends), 16)
        expected.append(row[:length])
    assert ids_of(run) == expected
    assert len(expected[2]) <= 4
    reasons = ["stop" if row[-1] in ends else "length" for row in expected]
    assert [trace.finish_reason for trace in run.traces] == reasons


def test_ended_columns_cost_nothing(
    tiny_random_engine: Engine, prefill: Prefill, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = prefill(tiny_random_engine, "text")
    rows: list[int] = []

    def count(engine: Engine, cache: Any, token_ids: torch.Tensor, positions: Any) -> torch.Tensor:
        rows.append(len(token_ids))
        return decode_states(engine, cache, token_ids, positions)

    monkeypatch.setattr(sampling_columns, "decode_states", count)
    run = run_sampling(tiny_random_engine, *case.stages, [GREEDY], max_new_tokens=5)
    assert len(rows) == len(run.traces[0].steps) - 1  # the last token is not fed back
    ends = frozenset({ids_of(run)[0][2]})
    monkeypatch.setattr(sampling_columns, "end_token_ids", lambda engine: ends)
    rows.clear()
    run_sampling(tiny_random_engine, *case.stages, [GREEDY, GREEDY], max_new_tokens=5)
    assert all(count == 2 for count in rows)
    assert len(rows) <= 2


def test_seeds_reproduce_and_differ(engine: Engine, prefill: Prefill) -> None:
    case = prefill(engine, "image")
    columns = [SamplingSettings(temperature=2.0, seed=seed) for seed in (5, 6, 5)]
    torch.manual_seed(123)
    global_state = torch.random.get_rng_state()
    first = run_sampling(engine, *case.stages, columns, max_new_tokens=12)
    again = run_sampling(engine, *case.stages, columns, max_new_tokens=12)
    assert torch.equal(torch.random.get_rng_state(), global_state)
    assert ids_of(first) == ids_of(again)
    rows = ids_of(first)
    assert rows[0] == rows[2] != rows[1]
    divergence = first.first_divergence
    assert divergence is not None
    assert rows[0][:divergence] == rows[1][:divergence]
    uniforms = [[step.uniform for step in trace.steps] for trace in first.traces]
    assert uniforms[0] == uniforms[2]


def test_vision_tokens_are_never_sampled(tiny_random_engine: Engine, prefill: Prefill) -> None:
    case = prefill(tiny_random_engine, "image")
    barred = barred_token_ids(tiny_random_engine)
    names = tiny_random_engine.tokenizer.convert_ids_to_tokens(list(barred))
    assert set(names) == {
        "<|image_pad|>",
        "<|video_pad|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|vision_pad|>",
    }
    wanted = case.output.logits.clone()
    wanted[list(barred)] += 1000
    output = replace(case.output, logits=wanted)
    columns = [GREEDY, SamplingSettings(temperature=100.0)]
    run = run_sampling(
        tiny_random_engine, case.inputs, case.merged, output, columns, max_new_tokens=1
    )
    for trace in run.traces:
        assert trace.steps[0].id not in barred
        likeliest = trace.steps[0].top[:5]
        assert {candidate.id for candidate in likeliest} == set(barred)
        assert {candidate.removed_by for candidate in likeliest} == {"vision_tokens"}


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
    cache: Any = case.output.past_key_values
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
        with pytest.raises(InputError, match="From 1 to 8"):
            stream_sampling(tiny_random_engine, *case.stages, [GREEDY] * count, max_new_tokens=4)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("temperature", float("nan"), "out of range: nan"),
        ("temperature", float("inf"), "out of range"),
        ("temperature", -0.1, "out of range"),
        ("temperature", 1e-9, r"0 or from 0\.0001 to 100"),
        ("temperature", "warm", "not a number: 'warm'"),
        ("temperature", None, "temperature is empty"),
        ("temperature", True, "not a number: True"),
        ("temperature", [1.0], "not a number"),
        ("top_k", 2.5, "not a whole number"),
        ("top_k", -1, "out of range"),
        pytest.param("top_k", 10**5000, "a very long number", id="very long"),
        ("top_p", 1.0001, "from 0 to 1; 1 is off"),
        ("min_p", -1e-9, "out of range"),
        ("typical_p", 0, "out of range"),
        ("repetition_penalty", 0, "out of range"),
        ("frequency_penalty", 2.1, "from -2 to 2"),
        ("presence_penalty", -2.1, "from -2 to 2"),
        ("seed", -1, "out of range"),
        ("seed", 2**53, "out of range"),
        ("surprise", 1, "no setting 'surprise'"),
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
    assert set(sampling_settings.LIMITS) == set(SamplingSettings.__dataclass_fields__)
