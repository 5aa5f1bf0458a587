"""Every snippet is run, and what it leaves in its variables is the run's own record."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForImageTextToText

from components.snippets.parts import name_files
from components.snippets.scripts import WRITERS, write_snippet
from playground.answer.stage import run_with_answer
from playground.decoder.stage import logit_lens, residual_norms
from playground.engine import Engine
from playground.kv_cache.stage import run_cache_reuse
from playground.loading.load import load_engine
from playground.logits import next_token_probs
from playground.pipeline import Run
from playground.preprocess.media import read_video
from playground.preprocess.stage import model_kwargs, run_preprocess
from playground.prompt import FrameChoice, Prompt, PromptImage, PromptVideo, Turn
from playground.sampling.stage import run_sampling
from playground.sampling.trace import SamplingSettings
from tests.components.snippet_kinds import KINDS, TRICKY, save_files
from tests.media_samples import make_image
from tests.thinking_checkpoint import HYBRID, make_thinking_checkpoint
from tests.tiny_random import make_tiny_random_checkpoint

OPENED = "{% if enable_thinking %}<think>{% endif %}"


@pytest.mark.parametrize("kind", KINDS)
def test_preprocess(kind: str, runs: dict[str, Run], play: Any) -> None:
    run = runs[kind]
    found = play(write_snippet("preprocess", run), run)
    assert found["text"] == run.inputs.rendered_prompt
    expected = model_kwargs(run.inputs)
    assert set(found["inputs"]) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(found["inputs"][name], tensor), name
    assert len(found["tokens"]) == run.inputs.num_tokens


def test_preprocess_of_a_chosen_range(
    tiny_random_engine: Engine, file_video: tuple[Path, PromptVideo], play: Any
) -> None:
    video = read_video(file_video[0], chosen=FrameChoice(fps=3, start_s=1.0, end_s=2.5))
    run = Run(tiny_random_engine, Prompt((Turn("user", "Where to?", video=video),)))
    code = write_snippet("preprocess", run)
    assert "(fps=3, start_s=1, end_s=2.5)." in code
    found = play(code, run)
    assert found["indices"] == [3, 4, 5, 6, 7]
    for name, tensor in model_kwargs(run.inputs).items():
        assert torch.equal(found["inputs"][name], tensor), name


@pytest.mark.parametrize("kind", KINDS)
def test_vision(kind: str, runs: dict[str, Run], play: Any, capsys: Any) -> None:
    run = runs[kind]
    found = play(write_snippet("vision", run, block=2), run)
    tower = run.vision.image or run.vision.video
    if tower is None:
        assert capsys.readouterr().out.endswith("False\n")
        return
    assert len(found["states"]) == len(tower.hidden_states)
    for mine, state in zip(found["states"], tower.hidden_states, strict=True):
        assert torch.equal(mine, state)
    assert torch.equal(found["patch_norms"], tower.hidden_states[2].norm(dim=-1))
    assert torch.equal(torch.cat(found["features"].pooler_output), tower.pooler_output)


def test_vision_of_the_video_beside_an_image(runs: dict[str, Run], play: Any) -> None:
    run = runs["image_and_video"]
    found = play(write_snippet("vision", run, block=1, kind="video"), run)
    assert run.vision.video is not None
    assert torch.equal(found["patch_norms"], run.vision.video.hidden_states[1].norm(dim=-1))


@pytest.mark.parametrize("kind", KINDS)
def test_merge(kind: str, runs: dict[str, Run], play: Any) -> None:
    run = runs[kind]
    found = play(write_snippet("merge", run), run)
    assert torch.equal(found["token_embeds"], run.merged.token_embeds)
    assert torch.equal(found["inputs_embeds"], run.merged.inputs_embeds)
    assert torch.equal(found["position_ids"], run.merged.position_ids)
    assert int(found["rope_deltas"]) == int(run.merged.rope_deltas)
    assert torch.equal(found["norms_after"], run.merged.inputs_embeds[0].norm(dim=-1))


@pytest.mark.parametrize("kind", KINDS)
def test_decoder(kind: str, runs: dict[str, Run], play: Any) -> None:
    run = runs[kind]
    found = play(write_snippet("decoder", run, top_k=5), run)
    np.testing.assert_array_equal(found["residual_norms"].numpy(), residual_norms(run.decoded))
    assert torch.equal(found["logits"], run.decoded.logits)
    probs = next_token_probs(run.engine, run.decoded.logits, 5)
    assert found["top"].indices.tolist() == [token.id for token in probs]
    assert found["top"].values.tolist() == [token.prob for token in probs]
    lens = logit_lens(run.engine, run.decoded, (run.inputs.num_tokens - 1,), 1)
    assert found["lens"].argmax(-1).tolist() == lens.ids[:, 0, 0].tolist()


@pytest.mark.parametrize("kind", ["text", "image", "video"])
def test_decoder_with_an_answer(kind: str, runs: dict[str, Run], play: Any) -> None:
    """One forward over prompt and answer, in place of the answer after the prompt's cache."""
    ids = runs[kind].engine.tokenizer.encode("A red circle.", add_special_tokens=False)
    answered = run_with_answer(runs[kind], ids)
    found = play(write_snippet("decoder", answered, top_k=5), answered)
    assert found["inputs"]["input_ids"].equal(answered.inputs.input_ids)
    norms = residual_norms(answered.decoded)
    np.testing.assert_allclose(found["residual_norms"].numpy(), norms, rtol=1e-5)
    torch.testing.assert_close(found["logits"], answered.decoded.logits, rtol=0, atol=2e-5)


SETTINGS = {
    "greedy": SamplingSettings(temperature=0.0),
    "plain": SamplingSettings(seed=5),
    "cuts": SamplingSettings(temperature=1.5, top_k=40, top_p=0.9, min_p=0.02, seed=1),
    "typical": SamplingSettings(typical_p=0.8, repetition_penalty=1.2, seed=2),
    "penalties": SamplingSettings(
        temperature=0.7, frequency_penalty=0.5, presence_penalty=-0.3, seed=3
    ),
    "greedy_penalties": SamplingSettings(
        temperature=0.0, repetition_penalty=1.3, frequency_penalty=1.0
    ),
    "ngrams": SamplingSettings(temperature=1.3, no_repeat_ngram_size=2, seed=4),
    "greedy_ngrams": SamplingSettings(temperature=0.0, no_repeat_ngram_size=1),
    "budget": SamplingSettings(temperature=1.3, top_k=40, thinking_budget=4, seed=4),
}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *((kind, "cuts") for kind in KINDS),
        *(("image", name) for name in SETTINGS if name != "cuts"),
    ],
)
def test_sampling(kind: str, name: str, runs: dict[str, Run], play: Any) -> None:
    run, settings = runs[kind], SETTINGS[name]
    code = write_snippet("sampling", run, settings=settings, max_new_tokens=12)
    found = play(code, run)
    (trace,) = run_sampling(
        run.engine, run.inputs, run.merged, run.decoded, [settings], max_new_tokens=12
    ).traces
    assert found["answer_ids"] == [step.id for step in trace.steps]
    if settings.temperature:
        expected = [step.prob for step in trace.steps]
        np.testing.assert_allclose(found["draw"].probs, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("temperature", [0.0, 1.3])
def test_thinking(temperature: float, tmp_path: Path, play: Any) -> None:
    """A budget that is reached, and the template's argument."""
    engine = load_engine(make_thinking_checkpoint(tmp_path, HYBRID + OPENED), device="cpu")
    run = Run(engine, Prompt((Turn("user", "Why?"),), enable_thinking=True))
    settings = SamplingSettings(temperature, thinking_budget=4, no_repeat_ngram_size=1)
    found = play(write_snippet("sampling", run, settings=settings, max_new_tokens=8), run)
    (trace,) = run_sampling(
        run.engine, run.inputs, run.merged, run.decoded, [settings], max_new_tokens=8
    ).traces
    assert found["text"] == run.inputs.rendered_prompt
    assert trace.steps[4].text == "</think>"
    assert found["answer_ids"] == [step.id for step in trace.steps]


@pytest.mark.parametrize("kind", KINDS)
def test_cache(kind: str, runs: dict[str, Run], play: Any) -> None:
    run = runs[kind]
    last = run.prompt.turns[-1]
    longer = Turn("user", last.text + " More?", last.images, last.video)
    _check_reuse(run, Prompt((*run.prompt.turns[:-1], longer), run.prompt.system), play)


def test_cache_of_a_second_image(runs: dict[str, Run], play: Any) -> None:
    """The first image is in the cache, the second one differs and is computed."""
    run = runs["two_images"]
    one, other = make_image(), make_image(192, 64, seed=9)
    reuse = _check_reuse(run, Prompt((Turn("user", "And this?", (one, other)),)), play)
    assert 0 < reuse.reused_tokens < reuse.second.spans[1].start + 1


def test_cache_that_ends_between_two_frames(
    tiny_random_engine: Engine, file_video: tuple[Path, PromptVideo], tmp_path: Path, play: Any
) -> None:
    video = file_video[1]
    frames = video.frames.copy()
    frames[2:] = 255 - frames[2:]
    other = PromptVideo(frames, video.frame_indices, video.fps, video.total_num_frames)
    first = run_preprocess(tiny_random_engine, Prompt((Turn("user", "Go", video=video),)))
    second = run_preprocess(tiny_random_engine, Prompt((Turn("user", "Go", video=other),)))
    reuse = run_cache_reuse(tiny_random_engine, first, second, repeats=1)
    assert reuse.reused_tokens == second.spans[1].start
    code = write_snippet("cache", Run(tiny_random_engine, first.prompt), reuse=reuse)
    # The video of the second request is not on disk: its pixels are put in by hand.
    code = code.replace("rest = {", 'second["pixel_values_videos"] = PIXELS\nrest = {')
    code = code.replace("\nmiss =", '\nsecond["pixel_values_videos"] = PIXELS\nmiss =')
    code = f"PIXELS = torch_load('pixels.pt')\n{code}"
    torch.save(second.pixel_values_videos, tmp_path / "pixels.pt")
    code = f"from torch import load as torch_load\n{code}".replace("video_2.mp4", "video_1.mp4")
    found = play(code, Run(tiny_random_engine, first.prompt))
    assert torch.equal(found["hit"], reuse.hit_logits)


def _check_reuse(run: Run, second: Prompt, play: Any) -> Any:
    inputs = run_preprocess(run.engine, second)
    reuse = run_cache_reuse(run.engine, run.inputs, inputs, repeats=1)
    found = play(write_snippet("cache", run, reuse=reuse), run, run.prompt, second)
    assert torch.equal(found["miss"], reuse.miss_logits)
    assert torch.equal(found["hit"], reuse.hit_logits)
    assert found["max_abs_diff"] == reuse.max_abs_diff
    assert found["kv_bytes"] == reuse.kv_bytes
    return reuse


def test_cache_without_a_second_request(runs: dict[str, Run], play: Any) -> None:
    run = runs["image"]
    found = play(write_snippet("cache", run), run)
    assert found["rest"]["input_ids"].shape == (1, 1)
    assert found["max_abs_diff"] < 1e-4


@pytest.mark.parametrize("stage", sorted(WRITERS))
@pytest.mark.parametrize("kind", KINDS)
def test_snippets_are_short_and_plain(stage: str, kind: str, runs: dict[str, Run]) -> None:
    code = write_snippet(stage, runs[kind])
    lines = [line for line in code.splitlines() if line.strip()]
    # Reading a video takes 16 lines, and the cache tab has two requests.
    limit = (50 + 17 * bool(runs[kind].prompt.videos)) + 30 * (stage == "cache")
    assert len(lines) <= limit
    imported = [line for line in lines if line.startswith(("import ", "from "))]
    assert not any("playground" in line or "components" in line for line in imported)


@pytest.mark.slow
def test_snippet_of_the_shipped_checkpoint_runs_by_itself(
    shipped_engine: Engine, tmp_path: Path
) -> None:
    """A process of its own, from a folder laid out like a clone; nothing of ours is importable."""
    run = Run(shipped_engine, Prompt((Turn("user", TRICKY, (make_image(),)),)))
    save_files(tmp_path, tmp_path, run.prompt)
    code = write_snippet("decoder", run) + "torch.save(logits, 'logits.pt')\n"
    (tmp_path / "snippet.py").write_text(code, encoding="utf-8")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-P", "snippet.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # A process with another number of threads may split its sums in another way.
    logits = torch.load(tmp_path / "logits.pt")
    torch.testing.assert_close(logits, run.decoded.logits, rtol=0, atol=1e-5)


def test_snippet_of_an_adapter_merges_it(tmp_path: Path, play: Any) -> None:
    base = make_tiny_random_checkpoint(tmp_path / "base")
    config = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's own, of transformers' deprecations
        model: Any = AutoModelForImageTextToText.from_pretrained(base)
        get_peft_model(model, config).save_pretrained(tmp_path / "adapter")
        engine = load_engine(tmp_path / "adapter", device="cpu", adapter_scale=0.5)
        assert engine.origin.adapter is not None
        # The page shows no path of the server; a reader writes their own.
        origin = replace(engine.origin, adapter=replace(engine.origin.adapter, base=str(base)))
        run = Run(replace(engine, origin=origin), Prompt((Turn("user", "hello"),)))
        found = play(write_snippet("decoder", run), run)
    torch.testing.assert_close(found["logits"], run.decoded.logits, rtol=0, atol=1e-5)


def test_equal_images_are_one_file() -> None:
    one, two = make_image(), make_image(seed=2)
    same = PromptImage(one.pixels.copy(), name="another name")
    files = name_files(
        Prompt((Turn("user", "a", (one, two)),)), Prompt((Turn("user", "b", (same,)),))
    )
    assert list(files) == ["image_1.png", "image_2.png"]


def test_unknown_stage_and_setting(runs: dict[str, Run]) -> None:
    with pytest.raises(ValueError, match="unknown stage 'visoin'"):
        write_snippet("visoin", runs["text"])
    with pytest.raises(TypeError, match="blok"):
        write_snippet("vision", runs["text"], blok=1)
