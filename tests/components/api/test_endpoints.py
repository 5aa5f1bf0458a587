"""The public endpoints over real HTTP, against the engine called directly."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from components.api.answers import plain_numbers
from components.api.endpoints import Endpoints
from components.compute.engine_host import EngineHost
from playground.decoder.stage import residual_norms
from playground.engine import Engine
from playground.errors import PlaygroundError
from playground.logits import next_token_probs
from playground.pipeline import Run
from playground.preprocess.stage import model_kwargs, run_preprocess
from playground.prompt import Prompt, PromptImage, Turn
from playground.sampling.stage import run_sampling
from playground.sampling.trace import SamplingSettings
from playground.vision.maps import patch_norms, patch_pca
from tests.components.api.calls import PIXELS, TEXT, raw_answer
from tests.components.visits import ready_host

# Gradio and its client leave sockets and an event loop to the garbage collector, and Gradio sets
# an option that pandas 3 is about to drop.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]

ENDPOINTS = {
    "/preprocess": {"image", "text", "system", "max_pixels", "enable_thinking"},
    "/vision_tower": {"image", "text", "system", "max_pixels", "block"},
    "/merge": {"image", "text", "system", "max_pixels"},
    "/decoder": {"image", "text", "system", "max_pixels", "layer", "top_k", "answer"},
    "/sampling": {"image", "text", "system", "max_pixels", "settings", "max_new_tokens"},
    "/cache_reuse": {
        "first_text",
        "second_text",
        "image",
        "second_image",
        "system",
        "max_pixels",
    },
    "/grounding": {"image", "text", "system", "max_pixels", "max_new_tokens"},
}


@pytest.fixture(scope="module")
def run(tiny_random_engine: Engine, image: PromptImage) -> Run:
    """The same prompt, run directly."""
    prompt = Prompt((Turn("user", TEXT, (image,)),), system="Be brief.", max_pixels=PIXELS)
    return Run(tiny_random_engine, prompt)


COMMON = {"text": TEXT, "system": "Be brief.", "max_pixels": PIXELS}


def test_exactly_these_endpoints_are_public(client: Client) -> None:
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    arguments = {
        name: {parameter["parameter_name"] for parameter in endpoint["parameters"]}
        for name, endpoint in named.items()
    }
    assert arguments == ENDPOINTS


def test_schemas_say_what_comes_and_goes(client: Client, url: str) -> None:
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    for name, endpoint in named.items():
        assert "." in endpoint["description"], name
        types = {p["parameter_name"]: p["python_type"]["type"] for p in endpoint["parameters"]}
        assert types["image"] == "None | filepath", name
        assert endpoint["returns"][0]["type"]["type"] == "object", name
        assert endpoint["returns"][0]["type"]["required"], name


def test_preprocess(call: Callable[..., Any], file: Any, run: Run, image: PromptImage) -> None:
    answer = call("/preprocess", image=file, **COMMON)
    inputs = run.inputs
    assert set(answer) == {
        "rendered_prompt",
        "tokens",
        "image_grid_thw",
        "num_image_tokens",
        "original_size",
        "resized_size",
        "tensors",
    }
    assert answer["rendered_prompt"] == inputs.rendered_prompt
    assert [token["id"] for token in answer["tokens"]] == inputs.input_ids[0].tolist()
    assert set(answer["tokens"][0]) == {"index", "id", "text", "bytes", "special", "role", "kind"}
    spelled = b"".join(bytes(token["bytes"]) for token in answer["tokens"]).decode()
    assert spelled == inputs.expanded_prompt
    assert answer["image_grid_thw"] == inputs.image_grid_thw.tolist()  # type: ignore[union-attr]
    assert answer["num_image_tokens"] == inputs.media[0].num_tokens
    assert answer["original_size"] == [128, 96]
    assert answer["resized_size"] == list(inputs.media[0].resized_size)
    assert answer["tensors"]["pixel_values"] == {
        "shape": list(inputs.pixel_values.shape),  # type: ignore[union-attr]
        "dtype": "float32",
    }


def test_vision_tower(call: Callable[..., Any], file: Any, run: Run) -> None:
    answer = call("/vision_tower", image=file, block=2, **COMMON)
    tower = run.vision.image
    assert tower is not None
    assert answer == {
        "num_patches": 4 * run.inputs.media[0].num_tokens,
        "num_merged_tokens": run.inputs.media[0].num_tokens,
        "deepstack_layers": [0, 1, 2],
        "pca": patch_pca(tower, run.inputs.spans[0], 2).rgb.tolist(),
        "norms": patch_norms(tower, run.inputs.spans[0], 2).tolist(),
    }
    last = call("/vision_tower", image=file, block=4, **COMMON)
    assert last["norms"] == patch_norms(tower, run.inputs.spans[0], 4).tolist()


def test_merge(call: Callable[..., Any], file: Any, run: Run) -> None:
    answer = call("/merge", image=file, **COMMON)
    span = run.inputs.spans[0]
    assert answer == {
        "position_ids": run.merged.position_ids[:, 0].tolist(),
        "rope_delta": int(run.merged.rope_deltas),
        "visual_positions": list(range(span.start, span.end)),
        "inputs_embeds_norms": run.merged.inputs_embeds[0].norm(dim=-1).tolist(),
    }


def test_decoder(call: Callable[..., Any], file: Any, run: Run) -> None:
    answer = call("/decoder", image=file, layer=2, top_k=3, **COMMON)
    names = {"next_token", "logit_lens", "residual_norms", "kv", "parity", "answer_tokens"}
    assert set(answer) == names
    assert answer["answer_tokens"] == []
    expected = next_token_probs(run.engine, run.decoded.logits, 3)
    assert answer["next_token"] == [
        {"id": token.id, "text": token.text, "prob": token.prob} for token in expected
    ]
    assert answer["residual_norms"] == residual_norms(run.decoded)[2].tolist()
    kv = answer["kv"]
    assert kv["shape"] == [4, 2, 1, 2, run.inputs.num_tokens, 16]
    assert kv["bytes"] == np.prod(kv["shape"]) * 4
    assert answer["parity"] == {"max_abs_diff": 0.0}
    model: Any = run.engine.model
    with torch.no_grad():
        states = run.decoded.hidden_states[2]
        probs = model.lm_head(model.model.language_model.norm(states)).softmax(-1)
    assert len(answer["logit_lens"]) == run.inputs.num_tokens
    for position, cell in enumerate(answer["logit_lens"]):
        assert [entry["id"] for entry in cell] == probs[position].topk(3).indices.tolist()
        assert cell[0]["prob"] == pytest.approx(probs[position].max().item(), abs=1e-5)


def test_an_answer_follows_the_prompt(call: Callable[..., Any], file: Any, run: Run) -> None:
    """Against one plain forward over prompt and answer."""
    text = "A red circle."
    got = call("/decoder", image=file, answer=text, top_k=1, **COMMON)
    ids = run.engine.tokenizer.encode(text, add_special_tokens=False)
    inputs, added = model_kwargs(run.inputs), torch.tensor([ids])
    inputs["input_ids"] = torch.cat([inputs["input_ids"], added], 1)
    for name, value in (("attention_mask", 1), ("mm_token_type_ids", 0)):
        inputs[name] = torch.nn.functional.pad(inputs[name], (0, len(ids)), value=value)
    model: Any = run.engine.model
    with torch.no_grad():
        logits = model(**inputs).logits[0].log_softmax(-1)
    start = run.inputs.num_tokens
    tokens = got["answer_tokens"]
    assert [token["id"] for token in tokens] == ids
    assert "".join(token["text"] for token in tokens) == text
    for number, token in enumerate(tokens):
        expected = float(logits[start + number - 1, token["id"]])
        assert token["logprob"] == pytest.approx(expected, abs=2e-5)
        assert 0 < token["image_attention"] < 1
    assert got["next_token"][0]["id"] == int(logits[-1].argmax())
    assert len(got["residual_norms"]) == len(got["logit_lens"]) == start + len(ids)
    assert got["parity"] == {"max_abs_diff": 0.0}


def test_the_lens_after_the_last_layer_is_the_answer(call: Callable[..., Any]) -> None:
    answer = call("/decoder", top_k=4)
    last, answered = answer["logit_lens"][-1], answer["next_token"]
    assert [entry["id"] for entry in last] == [entry["id"] for entry in answered]
    assert last[0]["prob"] == pytest.approx(answered[0]["prob"], abs=1e-5)


def test_sampling(call: Callable[..., Any], file: Any, run: Run) -> None:
    settings = [
        {"temperature": 0},
        {"temperature": 1.5, "top_k": 5, "typical_p": 0.95, "seed": 3, "presence_penalty": 0.5},
    ]
    answer = call("/sampling", image=file, settings=settings, max_new_tokens=6, **COMMON)
    assert set(answer) == {"runs", "first_divergence"}
    columns = [
        SamplingSettings(temperature=0.0),
        SamplingSettings(temperature=1.5, top_k=5, typical_p=0.95, seed=3, presence_penalty=0.5),
    ]
    sampled = run_sampling(
        run.engine, run.inputs, run.merged, run.decoded, columns, max_new_tokens=6
    )
    assert answer["first_divergence"] == sampled.first_divergence
    for column, trace in zip(answer["runs"], sampled.traces, strict=True):
        assert set(column) == {"settings", "text", "tokens"}
        assert column["text"] == trace.text
        assert [token["id"] for token in column["tokens"]] == [step.id for step in trace.steps]
        for token, step in zip(column["tokens"], trace.steps, strict=True):
            assert set(token) == {"id", "text", "prob", "entropy", "top"}
            assert (token["prob"], token["entropy"]) == (step.prob, step.entropy)
            assert token["top"] == [
                {"id": c.id, "text": c.text, "prob": c.prob, "removed_by": c.removed_by}
                for c in step.top
            ]
    assert answer["runs"][1]["settings"] == {
        "temperature": 1.5,
        "top_k": 5,
        "top_p": 1.0,
        "min_p": 0.0,
        "typical_p": 0.95,
        "repetition_penalty": 1.0,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.5,
        "no_repeat_ngram_size": 0,
        "thinking_budget": None,
        "seed": 3,
    }
    removed = {entry["removed_by"] for t in answer["runs"][1]["tokens"] for entry in t["top"]}
    assert "top_k" in removed


def test_sampling_without_settings_is_one_run(call: Callable[..., Any]) -> None:
    answer = call("/sampling", max_new_tokens=2)
    assert [run["settings"]["temperature"] for run in answer["runs"]] == [1.0]
    assert answer["first_divergence"] is None


def test_cache_reuse(call: Callable[..., Any], file: Any, run: Run, image: PromptImage) -> None:
    answer = call("/cache_reuse", first_text="你好", second_text="你好世界。", image=file)

    def inputs(text: str) -> Any:
        return run_preprocess(run.engine, Prompt((Turn("user", text, (image,)),)))

    first, second = inputs("你好"), inputs("你好世界。")
    shared = 0
    while first.input_ids[0, shared] == second.input_ids[0, shared]:
        shared += 1
    assert answer["hit"] is True
    assert answer["shared_tokens"] == shared > first.media[0].num_tokens
    assert answer["computed_tokens"] == second.num_tokens - shared
    assert answer["kv_bytes"] == 4 * 2 * 2 * 16 * 4 * shared
    assert answer["hit_ms"] > 0
    assert answer["miss_ms"] > 0
    assert 0 <= answer["max_abs_diff"] < 1e-4


def test_cache_reuse_with_another_image(
    call: Callable[..., Any], file: Any, tmp_path: Path, image: PromptImage
) -> None:
    Image.fromarray(255 - image.pixels).save(tmp_path / "other.png")
    other = handle_file(tmp_path / "other.png")
    texts = {"first_text": "What?", "second_text": "What?"}
    same = call("/cache_reuse", image=file, **texts)
    different = call("/cache_reuse", image=file, second_image=other, **texts)
    assert same["computed_tokens"] == 1
    assert different["shared_tokens"] < same["shared_tokens"] // 2


def test_medians_are_of_the_repeats(
    tiny_random_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from playground.kv_cache import stage as kv_cache

    real = kv_cache.run_cache_reuse
    seen = []
    monkeypatch.setattr(
        kv_cache,
        "run_cache_reuse",
        lambda *args, **kwargs: seen.append(real(*args, **kwargs)) or seen[-1],
    )
    endpoints = Endpoints(ready_host(tiny_random_engine))
    answer = endpoints.cache_reuse("你好", "你好世界。")
    assert answer["miss_ms"] == statistics.median(seen[0].miss_ms)
    assert answer["hit_ms"] == statistics.median(seen[0].hit_ms)


def test_grounding(call: Callable[..., Any], file: Any, run: Run) -> None:
    """Random weights write no box; ``test_grounding`` has answers that do."""
    answer = call("/grounding", image=file, max_new_tokens=12, **COMMON)
    greedy = [SamplingSettings(temperature=0.0)]
    (trace,) = run_sampling(
        run.engine, run.inputs, run.merged, run.decoded, greedy, max_new_tokens=12
    ).traces
    ids = [step.id for step in trace.steps]
    assert run.engine.tokenizer.decode(ids).startswith(answer["text"])
    assert answer["text"]
    assert answer["boxes"] == answer["points"] == answer["unread"] == []


def test_text_only_prompts_have_no_patches(call: Callable[..., Any]) -> None:
    assert call("/vision_tower") == {
        "num_patches": 0,
        "num_merged_tokens": 0,
        "deepstack_layers": [0, 1, 2],
        "pca": [],
        "norms": [],
    }
    answer = call("/preprocess")
    assert answer["image_grid_thw"] == []
    assert answer["original_size"] is answer["resized_size"] is None
    assert answer["num_image_tokens"] == 0
    assert call("/merge")["visual_positions"] == []


@pytest.mark.parametrize(
    ("api_name", "arguments", "message"),
    [
        ("/preprocess", {"text": "  "}, "There is nothing to run"),
        ("/preprocess", {"text": ["a"]}, "The text must be text, not a list"),
        ("/preprocess", {"max_pixels": 2048.5}, "It must be a whole number"),
        ("/preprocess", {"max_pixels": 100}, "max pixels is 100. It must be between 1,024"),
        ("/preprocess", {"max_pixels": True}, "max pixels must be a number, not a Boolean"),
        ("/preprocess", {"text": "a" * 20_001}, "A message has 20,001 characters"),
        ("/vision_tower", {"block": 5}, "block is 5. It must be between 0 and 4."),
        ("/vision_tower", {"block": -1}, "block is -1"),
        ("/decoder", {"layer": 9}, "layer is 9. It must be between 0 and 4."),
        ("/decoder", {"layer": "last"}, "layer must be a number, not text"),
        ("/decoder", {"top_k": 0}, "top_k is 0. It must be between 1 and 50."),
        ("/decoder", {"answer": 7}, "answer must be text, not a number"),
        ("/decoder", {"answer": ""}, "The text is empty"),
        ("/decoder", {"answer": "a" * 9_000}, "The text has 9,000 characters"),
        ("/sampling", {"max_new_tokens": 0}, "max_new_tokens is out of range"),
        ("/sampling", {"max_new_tokens": 10**9}, "max_new_tokens is out of range"),
        ("/sampling", {"settings": [{}] * 9}, "There are 9 columns of settings"),
        ("/sampling", {"settings": [{}, {"top_p": 2}]}, "Column 2: top_p is out of range"),
        ("/sampling", {"settings": [{"heat": 1}]}, "'heat' is not a sampling setting"),
        ("/sampling", {"settings": "hot"}, "settings is no list of objects"),
        ("/grounding", {}, "This prompt has no image. Add an image."),
        ("/grounding", {"max_new_tokens": 0}, "max_new_tokens is out of range"),
        ("/grounding", {"max_new_tokens": "many"}, "max_new_tokens"),
    ],
)
def test_bad_values_give_clear_messages(
    call: Callable[..., Any], api_name: str, arguments: Any, message: str
) -> None:
    with pytest.raises(AppError) as raised:
        call(api_name, **arguments)
    assert message in str(raised.value)
    assert "Traceback" not in str(raised.value)


def test_answers_hold_no_nan(
    tiny_random_engine: Engine, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    event, sent = raw_answer(url, "decoder", [None, "Hello", "", None, None, 2, None])
    assert event == "complete"
    json.loads(sent, parse_constant=pytest.fail)
    with pytest.raises(PlaygroundError, match="norms hold NaN"):
        plain_numbers("norms", np.array([1.0, np.nan]))


def test_a_call_waits_for_the_checkpoint(tiny_random_folder: Path) -> None:
    host = EngineHost(str(tiny_random_folder), device="cpu", dtype="float32")
    endpoints = Endpoints(host)
    with ThreadPoolExecutor(1) as caller:
        answer = caller.submit(endpoints.merge, None, "Hello")
        assert not answer.done()
        host.start()
        assert len(answer.result(60)["position_ids"]) == 3
