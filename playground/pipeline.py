"""One prompt's way through the stages, and the bounded store that keeps recent ones.

A page's session holds only the key of its run. The records stay here under one byte budget, so
that a crowd of visitors cannot fill the memory.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import playground
from playground.errors import InputError
from playground.language import say
from playground.pointer import Place, still_there
from playground.records import (
    DecoderOutput,
    MergedInputs,
    ModelInputs,
    Parity,
    Progress,
    Prompt,
    VisionOutput,
)

if TYPE_CHECKING:
    import numpy as np

    from playground.engine import Engine

Stage = Literal["preprocess", "vision", "merge", "decoder"]
STAGES: tuple[Stage, ...] = ("preprocess", "vision", "merge", "decoder")

# 2 GiB: about four 2B runs on an image of 1,000 tokens (500 MB each, by their shapes), hundreds
# of the shipped checkpoint's first example (3 MB).
STORE_BYTES = 2 << 30


@dataclass(frozen=True, slots=True, eq=False)
class ExportedRun:
    """A run as it goes from one process to another: without the model and the lock."""

    prompt: Prompt
    records: dict[str, Any]
    seen: tuple[ModelInputs, VisionOutput] | None  # the page's run before


class Run:
    """The records of one prompt; each stage is computed once, when it is first asked for."""

    def __init__(self, engine: Engine, prompt: Prompt, *, earlier: Run | None = None) -> None:
        """Start a run.

        Args:
            engine: the loaded checkpoint.
            prompt: what it starts from.
            earlier: the same page's run before; its vision tower's output serves again where the
                pictures are the same, as for a new question on the same image.
        """
        self.engine = engine
        self.prompt = prompt
        self._records: dict[str, Any] = {}
        self._seen: tuple[ModelInputs, VisionOutput] | None = None
        if earlier is not None and earlier.engine is engine and earlier.has("vision"):
            self._seen = earlier.inputs, earlier.vision
        # Two handlers of one page must not compute the same stage twice.
        self._lock = threading.RLock()

    def has(self, stage: str) -> bool:
        """True where the stage has been computed; sampling and cache reuse are no part of a run."""
        return stage in self._records

    def ensure(self, stage: Stage, progress: Progress | None = None) -> None:
        """Compute the stage and whatever is missing before it, and no more.

        Raises:
            PlaygroundError: from the first stage that fails; earlier records are kept.
        """
        with self._lock:
            for name in STAGES[: STAGES.index(stage) + 1]:
                if name not in self._records:
                    if progress is not None:
                        progress(name, STAGES.index(name), len(STAGES))
                    self._records[name] = self._compute(name, progress)

    def _compute(self, stage: Stage, progress: Progress | None) -> Any:
        engine = self.engine
        if stage == "preprocess":
            return playground.preprocess.stage.run_preprocess(engine, self.prompt)
        if stage == "vision":
            seen, self._seen = self._seen, None
            if seen is not None and _same_pictures(seen[0], self.inputs):
                return seen[1]
            return playground.vision.stage.run_vision(engine, self.inputs, progress=progress)
        if stage == "merge":
            return playground.merge.stage.run_merge(engine, self.inputs, self.vision)
        return playground.decoder.stage.run_decoder(
            engine, self.inputs, self.merged, progress=progress
        )

    @property
    def inputs(self) -> ModelInputs:
        """Stage 1's record."""
        self.ensure("preprocess")
        record: ModelInputs = self._records["preprocess"]
        return record

    @property
    def vision(self) -> VisionOutput:
        """Stage 2's record."""
        self.ensure("vision")
        record: VisionOutput = self._records["vision"]
        return record

    @property
    def merged(self) -> MergedInputs:
        """Stage 3's record."""
        self.ensure("merge")
        record: MergedInputs = self._records["merge"]
        return record

    @property
    def decoded(self) -> DecoderOutput:
        """Stage 4's record."""
        self.ensure("decoder")
        record: DecoderOutput = self._records["decoder"]
        return record

    @property
    def positions(self) -> np.ndarray:
        """``position_ids`` as ``(3, seq)`` int64; known as soon as the prompt is preprocessed."""
        with self._lock:
            if "positions" not in self._records:
                position_ids, _ = playground.merge.stage.get_positions(self.engine, self.inputs)
                self._records["positions"] = position_ids[:, 0].numpy()
            positions: np.ndarray = self._records["positions"]
        return positions

    def still_there(self, place: Place | None) -> Place | None:
        """What the pointer is at, if it means the same here as in the run where it was chosen."""
        return still_there(self.inputs, self.positions, place)

    @property
    def parity(self) -> Parity:
        """The decoder's logits against one plain ``model(**inputs)``, measured once."""
        return self.check_parity()

    def check_parity(self, progress: Progress | None = None) -> Parity:
        """The same, with a callback that may stop the plain forward before any layer."""
        with self._lock:
            if "parity" not in self._records:
                self._records["parity"] = playground.decoder.stage.measure_parity(
                    self.engine, self.inputs, self.decoded, progress=progress
                )
            parity: Parity = self._records["parity"]
        return parity

    def export(self) -> ExportedRun:
        """What another process needs to go on with this run, all of it on the CPU."""
        with self._lock:
            return ExportedRun(self.prompt, _on_device(self._records, "cpu"), self._seen)

    @classmethod
    def resume(cls, engine: Engine, exported: ExportedRun) -> Run:
        """Go on with a run where another process left it."""
        run = cls(engine, exported.prompt)
        run._seen = exported.seen
        run.adopt(exported.records)
        return run

    def adopt(self, records: dict[str, Any]) -> None:
        """Take over records that another process has computed; those that are there stay."""
        with self._lock:
            for name, record in _on_device(records, self.engine.device).items():
                self._records.setdefault(name, record)

    @property
    def num_bytes(self) -> int:
        """Memory held by the records' arrays, tensors and cache; what two share counts once."""
        return sum(dict(_arrays(list(self._records.values()))).values())


def _on_device(records: dict[str, Any], device: Any) -> dict[str, Any]:
    """The records with the cache on a device; all else that they hold is on the CPU anyway."""
    moved = dict(records)
    if "decoder" in moved:
        cache = playground.moving.move_cache(moved["decoder"].past_key_values, device)
        moved["decoder"] = replace(moved["decoder"], past_key_values=cache)
    return moved


def _same_pictures(first: ModelInputs, second: ModelInputs) -> bool:
    """Whether the vision tower would be given exactly the same."""
    names = ("pixel_values", "image_grid_thw", "pixel_values_videos", "video_grid_thw")
    pairs = ((getattr(first, name), getattr(second, name)) for name in names)
    return all(a is b if a is None or b is None else a.equal(b) for a, b in pairs)


def _arrays(value: Any) -> Iterator[tuple[int, int]]:
    """``(identity, bytes)`` of every array or tensor inside records."""
    if hasattr(value, "nbytes"):
        yield id(value), int(value.nbytes)
    elif is_dataclass(value):
        for item in fields(value):
            yield from _arrays(getattr(value, item.name))
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _arrays(item)
    elif playground.kv_cache.cache.is_cache(value):
        for layer in value.layers:
            yield from _arrays((layer.keys, layer.values))


class RunStore:
    """Recent runs by secret key; the least recently used one goes first."""

    def __init__(self, max_bytes: int = STORE_BYTES) -> None:
        self.max_bytes = max_bytes
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._pinned: set[str] = set()
        self._lock = threading.Lock()

    def add(self, run: Run, *, pinned: bool = False) -> str:
        """Keep a run; returns the key that a session holds.

        Args:
            run: the run.
            pinned: True for a run that all sessions share and that is never dropped.
        """
        key = secrets.token_urlsafe(16)
        with self._lock:
            self._runs[key] = run
            if pinned:
                self._pinned.add(key)
        return key

    def get(self, key: str | None) -> Run:
        """Look a run up and mark it as used.

        Raises:
            InputError: there is no such run, or it had to make room for others.
        """
        with self._lock:
            run = self._runs.get(key or "")
            if run is not None and key is not None:
                self._runs.move_to_end(key)
        if run is None:
            raise InputError(
                say("This page's run is no longer held."),
                limit=say("Recent runs share {size:,} MB.", size=self.max_bytes >> 20),
                remedy=say("Press Run again."),
            )
        return run

    def peek(self, key: str | None) -> Run | None:
        """The run under this key, if it is still held."""
        with self._lock:
            return self._runs.get(key or "")

    def trim(self) -> None:
        """Drop the least recently used runs until the rest fit; the newest always stays."""
        with self._lock:
            sizes = {key: run.num_bytes for key, run in self._runs.items()}
            total = sum(sizes.values())
            for key in list(self._runs)[:-1]:
                if total <= self.max_bytes:
                    return
                if key not in self._pinned:
                    del self._runs[key]
                    total -= sizes[key]

    def discard(self, key: str | None) -> None:
        """Forget a run; unknown and pinned keys stay as they are."""
        with self._lock:
            if key is not None and key not in self._pinned:
                self._runs.pop(key, None)

    def __len__(self) -> int:
        return len(self._runs)
