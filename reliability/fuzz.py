"""Random JSON for every endpoint and part, and mutated images; valid requests keep working.

python -m reliability.fuzz [--bodies 5000] [--questions 5000] [--images 1000]
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np

from reliability.door import MISTAKE, WAIT_S
from reliability.hostile import SPECIAL_TOKENS, STRANGE_NUMBERS
from reliability.hostile_files import encode, make_image
from reliability.page_client import PageClient, Pressed
from reliability.served import ENDPOINTS, Answer, Caller, Server, running_app

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "HEIF", "AVIF")
GOOD_EVERY = 100
EXPERIMENT_EVERY = 40  # requests; they run the model
NAMES = {
    "preprocess": ("image", "text", "system", "max_pixels", "enable_thinking"),
    "vision_tower": ("image", "text", "system", "max_pixels", "block"),
    "merge": ("image", "text", "system", "max_pixels"),
    "decoder": ("image", "text", "system", "max_pixels", "layer", "top_k", "answer"),
    "sampling": ("image", "text", "system", "max_pixels", "settings", "max_new_tokens"),
    "cache_reuse": ("first_text", "second_text", "image", "second_image"),
    "grounding": ("image", "text", "system", "max_pixels", "max_new_tokens"),
}
SETTINGS = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed", "heat")
PIECES = (*SPECIAL_TOKENS, "a", "红", "\ud800", "\0", "👍🏽", " ", "\n", "{{", "<b>", "x" * 300)

Rng = np.random.Generator


def random_value(rng: Rng, depth: int = 0) -> Any:
    """Any JSON, small."""
    kind = rng.integers(7 if depth < 3 else 5)
    if kind == 0:
        return None
    if kind == 1:
        return STRANGE_NUMBERS[rng.integers(len(STRANGE_NUMBERS))]
    if kind == 2:
        return int(rng.integers(-3, 40))
    if kind == 3:
        return float(rng.normal(0, 3))
    if kind == 4:
        return random_text(rng)
    count = int(rng.integers(4))
    if kind == 5:
        return [random_value(rng, depth + 1) for _ in range(count)]
    return {random_text(rng)[:9]: random_value(rng, depth + 1) for _ in range(count)}


def random_text(rng: Rng) -> str:
    """A text of unusual pieces."""
    return "".join(PIECES[i] for i in rng.integers(len(PIECES), size=rng.integers(6)))


def random_body(rng: Rng, endpoint: str) -> Any:
    """Mostly valid, so that it passes the first check; few tokens are sampled."""
    if rng.random() < 0.1:
        return random_value(rng)
    body: dict[str, Any] = {"text": "Hello", "image": None}
    if endpoint == "cache_reuse":
        body = {"first_text": "Hello", "second_text": "Hello you", "image": None}
    for name in NAMES[endpoint]:
        if rng.random() < 0.35:
            body[name] = random_value(rng)
    if endpoint == "sampling" and rng.random() < 0.7:
        names = rng.choice(SETTINGS, size=2)
        body["settings"] = [{str(name): random_value(rng, 3) for name in names}]
    if "max_new_tokens" in NAMES[endpoint]:
        body.setdefault("max_new_tokens", 2)
        if isinstance(body["max_new_tokens"], int) and body["max_new_tokens"] > 4:
            body["max_new_tokens"] = 4
    if rng.random() < 0.1:
        body[random_text(rng)[:9]] = random_value(rng)
    return body


def random_settings(rng: Rng, page: PageClient, part: str) -> dict[str, Any]:
    """Settings in a request; sometimes a few controls, findings and a place are invalid."""
    stage = page.parts[part].stage
    names = [name for each in page.parts.values() if each.stage == stage for name in each.controls]
    given: dict[str, Any] = {"values": {}, "findings": dict(page.all_findings())}
    for name in names:
        if rng.random() < 0.2:
            given["values"][name] = random_value(rng)
    for name in list(given["findings"]):
        if rng.random() < 0.1:
            given["findings"][name] = random_value(rng)
    if rng.random() < 0.4:
        numbers = rng.integers(-1, 12, size=4).tolist()
        names = ["index"] if rng.random() < 0.5 else ["span", "row", "column"]
        given["selection"] = dict(zip(names, numbers, strict=False))
    if rng.random() < 0.1:
        odd = ("values", "findings", "selection", "run", "part", "outputs", "controls", "page")
        given[str(rng.choice(odd))] = random_value(rng)
    return given


def fuzz_questions(server: Server, questions: int, seed: int = 0) -> list[str]:
    """Send invalid requests to every part, and start its experiments with invalid settings."""
    rng, faults = np.random.default_rng(seed), list[str]()
    page = PageClient(server)
    keys = list(page.parts)
    experiments = [(key, name) for key in keys for name in page.parts[key].experiments]
    for index in range(questions):
        part = keys[index % len(keys)]
        given = random_settings(rng, page, part)
        reply = page.draw(part, **given)
        faults += [f"{part} {str(given)[:300]}: {fault}" for fault in reply.faults]
        if index % EXPERIMENT_EVERY == EXPERIMENT_EVERY - 1:
            part, name = experiments[index // EXPERIMENT_EVERY % len(experiments)]
            given = random_settings(rng, page, part)
            if words := _experiment_fault(page, page.start_experiment(part, name, **given)):
                faults.append(f"{part}.{name} {str(given)[:300]}: {words}")
        if index % GOOD_EVERY == GOOD_EVERY - 1 and page.draw("decoder.layers").errors:
            faults.append(f"a good question failed after {index + 1} odd ones")
    page.vanish()
    return faults


def _experiment_fault(page: PageClient, pressed: Pressed) -> str:
    """What is wrong with an experiment's end, or an empty string."""
    if not pressed.done.wait(WAIT_S):
        return "has not ended"
    said = str(page.values[pressed.outputs[0]]) if pressed.ok else pressed.message
    if MISTAKE in said:
        return said[-200:]
    return "" if pressed.ok or pressed.message else "failed without a word"


def mutate(rng: Rng, content: bytes) -> bytes:
    """Flip, cut, repeat or overwrite a few bytes."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        if len(data) < 4:
            break
        offset = int(rng.integers(len(data)))
        kind = rng.integers(4)
        if kind == 0:
            data[offset] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del data[offset : offset + int(rng.integers(1, 30))]
        elif kind == 2:
            data[offset:offset] = data[offset : offset + int(rng.integers(1, 30))]
        else:
            data[offset : offset + 4] = rng.bytes(4)
    return bytes(data)


def fault_of(answer: Answer) -> str:
    """What is wrong with it, or an empty string."""
    if answer.blank:
        return "blank error"
    if MISTAKE in answer.message:
        return f"a mistake of the program: {answer.message}"
    return "shows a trace or a path" if answer.leaks else ""


def fuzz(server: Server, bodies: int, images: int, seed: int = 0) -> list[str]:
    """Send it all; returns the faults."""
    rng, caller, faults = np.random.default_rng(seed), Caller(server), []
    seeds = [encode(make_image(seed=1), form) for form in FORMATS]

    def check_good(after: str) -> None:
        uploaded = caller.upload("good.png", seeds[0])
        if not caller.call("merge", image=uploaded, text="What is this?").ok:
            faults.append(f"a good request failed after {after}")

    for endpoint in ENDPOINTS:
        for index in range(bodies):
            body = random_body(rng, endpoint)
            if fault := fault_of(caller.post(endpoint, body)):
                faults.append(f"{endpoint} {str(body)[:200]}: {fault}")
            if index % GOOD_EVERY == GOOD_EVERY - 1:
                check_good(f"{index + 1} bodies to {endpoint}")
    for index in range(images):
        uploaded = caller.upload("picture.png", mutate(rng, seeds[index % len(seeds)]))
        answer = uploaded
        if not isinstance(uploaded, Answer):
            answer = caller.call("preprocess", image=uploaded, text="What is this?")
        assert isinstance(answer, Answer)
        if fault := fault_of(answer):
            faults.append(f"image {index}: {fault}: {answer.message[:200]}")
        if index % GOOD_EVERY == GOOD_EVERY - 1:
            check_good(f"{index + 1} images")
    check_good("everything")
    caller.close()
    return faults


def main() -> int:
    """Run and print; returns 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bodies", type=int, default=5000, help="per endpoint")
    parser.add_argument("--questions", type=int, default=5000, help="to all parts together")
    parser.add_argument("--images", type=int, default=1000)
    options = parser.parse_args()
    with running_app("--public") as server:
        faults = fuzz_questions(server, options.questions)
        faults += fuzz(server, options.bodies, options.images)
    print("\n".join(faults[:40]))
    print(f"{options.bodies} bodies to each of {len(ENDPOINTS)} endpoints, ", end="")
    print(f"{options.questions} questions to the parts, {options.images} ", end="")
    print(f"mutated images: {len(faults)} faults")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
