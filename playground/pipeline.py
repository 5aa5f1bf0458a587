"""One run: a prompt, the records of its stages, and values derived from them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import playground
from playground.errors import InputError
from playground.held import Extent, Holder, Inside, count_bytes, look_inside
from playground.language import say
from playground.pointer import Selection, still_there
from playground.prompt import Prompt
from playground.records import (
    DecoderOutput,
    MergedInputs,
    ModelInputs,
    Parity,
    Progress,
    VisionOutput,
)

if TYPE_CHECKING:
    import numpy as np

    from playground.engine import Engine

Stage = Literal["preprocess", "vision", "merge", "decoder"]
STAGES: tuple[Stage, ...] = ("preprocess", "vision", "merge", "decoder")

WAIT_S = 0.2  # how often a waiting thread calls its progress callback
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, eq=False)
class ExportedRun:
    """A run to send to another process: without the model and the lock."""

    prompt: Prompt
    records: dict[str, Any]
    seen: tuple[ModelInputs, VisionOutput] | None  # of the page's previous run


class Run(Holder):
    """The records of one prompt; each stage is computed once, on first access."""

    def __init__(self, engine: Engine, prompt: Prompt, *, earlier: Run | None = None) -> None:
        """Start a run.

        Args:
            engine: the loaded checkpoint.
            prompt: the input of the run.
            earlier: the page's previous run; its vision output is reused if the images are the
                same, such as for a new question about the same image.
        """
        self.engine = engine
        self.prompt = prompt
        self._records: dict[str, Any] = {}
        self._seen: tuple[ModelInputs, VisionOutput] | None = None
        if earlier is not None and earlier.engine is engine and earlier.has("vision"):
            self._seen = earlier.inputs, earlier.vision
        # Two handlers of one page must not compute the same stage twice.
        self._lock = threading.RLock()
        self._memos: dict[Hashable, tuple[Hashable, Any]] = {}  # by name: its ``of``, and the value
        self._makers: dict[Hashable, threading.RLock] = {}  # by name, held while it is made
        self._insides: dict[Hashable, tuple[Any, Inside]] = {}  # values inspected
        self._prompt_run: weakref.ref[Run] | None = None
        # Called whenever the run holds more memory; set by the store that counts its bytes.
        self.on_growth: Callable[[], None] = _ignore_growth

    def has(self, stage: str) -> bool:
        """Whether the stage has been computed; sampling and cache reuse are not stages of a run."""
        return stage in self._records

    def ensure(self, stage: Stage, progress: Progress | None = None) -> None:
        """Compute the stage and any missing earlier stages, and no more.

        Raises:
            PlaygroundError: from the first stage that fails; earlier records are kept.
        """
        with self._lock:
            for name in STAGES[: STAGES.index(stage) + 1]:
                if name not in self._records:
                    if progress is not None:
                        progress(name, STAGES.index(name), len(STAGES))
                    self._records[name] = self._compute(name, progress)
                    self.on_growth()

    def _compute(self, stage: Stage, progress: Progress | None) -> Any:
        engine = self.engine
        if stage == "preprocess":
            return playground.preprocess.stage.run_preprocess(engine, self.prompt)
        if stage == "vision":
            seen, self._seen = self._seen, None
            if seen is not None and _same_images(seen[0], self.inputs):
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
                self.on_growth()
            positions: np.ndarray = self._records["positions"]
        return positions

    def still_there(self, selection: Selection | None) -> Selection | None:
        """The selection, if it means the same here as in the run where it was selected."""
        return still_there(self.inputs, self.positions, selection)

    @property
    def parity(self) -> Parity:
        """The decoder's logits against one plain ``model(**inputs)``, measured once."""
        return self.check_parity()

    def check_parity(self, progress: Progress | None = None) -> Parity:
        """The same, with a callback that may stop the plain forward pass before any layer."""
        with self._lock:
            if "parity" not in self._records:
                self._records["parity"] = playground.decoder.stage.measure_parity(
                    self.engine, self.inputs, self.decoded, progress=progress
                )
            parity: Parity = self._records["parity"]
        return parity

    def export(self) -> ExportedRun:
        """Everything that another process needs to continue this run, on the CPU."""
        with self._lock:
            return ExportedRun(self.prompt, _on_device(self._records, "cpu"), self._seen)

    @classmethod
    def resume(cls, engine: Engine, exported: ExportedRun) -> Run:
        """Continue a run from another process."""
        run = cls(engine, exported.prompt)
        run._seen = exported.seen
        run.adopt(exported.records)
        return run

    def adopt(self, records: dict[str, Any]) -> None:
        """Add records that another process has computed; existing ones are kept."""
        with self._lock:
            for name, record in _on_device(records, self.engine.device).items():
                self._records.setdefault(name, record)
            self.on_growth()

    def derive(self, records: dict[str, Any]) -> Run:
        """A run of the same prompt with these records, such as those of prompt and answer."""
        derived = Run(self.engine, self.prompt)
        derived.adopt(records)
        derived._prompt_run = weakref.ref(self.prompt_run)
        return derived

    @property
    def prompt_run(self) -> Run:
        """The run of the prompt alone; this one if no answer follows.

        Raises:
            InputError: an answer follows, and the prompt's run has been freed.
        """
        if self._prompt_run is None:
            return self
        run = self._prompt_run()
        if run is None:  # never this one in its place: its answer would count as the prompt
            raise InputError(say("This run has expired."), remedy=say("Press Run again."))
        return run

    def share(self, records: dict[str, Any]) -> None:
        """Replace records by equal ones that share their storage with another run's."""
        with self._lock:
            self._records |= records
            self.on_growth()

    def memo(
        self,
        name: Hashable,
        make: Callable[[], Made],
        *,
        of: Hashable = None,
        progress: Progress | None = None,
    ) -> Made:
        """A cached value of the run: made once per name, and counted and freed with the run.

        If another thread is making the value, wait for it. Never call this while holding
        ``Engine.exclusive``, which that thread may need.

        Args:
            name: name of the value.
            make: computes it; may use other memos. If it raises, nothing is kept.
            of: the subject of the value, if only the value of the latest subject is worth keeping.
            progress: called regularly while waiting; an exception ends the wait.
        """
        maker = self._makers.setdefault(name, threading.RLock())
        while not maker.acquire(timeout=WAIT_S):
            if progress is not None:
                progress(say("waiting for another computation"), 0, 1)
        try:
            kept = self._memos.get(name)
            if kept is None or kept[0] != of:
                self._memos.pop(name, None)
                kept = self._memos[name] = of, make()
                if isinstance(kept[1], Run):
                    kept[1].on_growth = partial(_tell_growth, weakref.ref(self))
                self.on_growth()
            made: Made = kept[1]
            return made
        finally:
            maker.release()

    def recall(self, name: Hashable) -> Any:
        """An existing memo, or None."""
        return self._memos.get(name, (None, None))[1]

    def extents(self) -> set[Extent]:
        """The storages of the prompt, the records and the memos."""
        found: set[Extent] = set()
        records = {"prompt": self.prompt, "seen": self._seen, **self._records}
        memos = {("memo", name): kept for name, kept in list(self._memos.items())}
        for name, value in (records | memos).items():
            looked = self._insides.get(name)
            if looked is None or looked[0] is not value:  # slow for 1,000 tokens
                looked = self._insides[name] = value, look_inside(value)
            found |= looked[1].extents.union(*(holder.extents() for holder in looked[1].holders))
        return found

    @property
    def num_bytes(self) -> int:
        """Memory of all arrays, tensors and caches that the run holds; see ``held_bytes``."""
        return count_bytes(self.extents())


def _ignore_growth() -> None:
    """Default: nobody counts the run's bytes."""


def _tell_growth(owner: weakref.ref[Run]) -> None:
    """Tell the run that keeps another run that the other one has grown."""
    run = owner()
    if run is not None:
        run.on_growth()


def _on_device(records: dict[str, Any], device: Any) -> dict[str, Any]:
    """The records with the KV cache on a device; everything else is always on the CPU."""
    moved = dict(records)
    if "decoder" in moved:
        cache = playground.moving.move_cache(moved["decoder"].cache, device)
        moved["decoder"] = replace(moved["decoder"], cache=cache)
    return moved


def _same_images(first: ModelInputs, second: ModelInputs) -> bool:
    """Whether the vision tower would get exactly the same input."""
    names = ("pixel_values", "image_grid_thw", "pixel_values_videos", "video_grid_thw")
    pairs = ((getattr(first, name), getattr(second, name)) for name in names)
    return all(a is b if a is None or b is None else a.equal(b) for a, b in pairs)
