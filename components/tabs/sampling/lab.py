"""What a visitor's columns and branches leave on the server, under one byte budget.

The page holds only a key. A lab is never changed: a new branch makes a new one, since all who open
the page share the first example's.
"""

from __future__ import annotations

import secrets
import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import playground
from playground.errors import InputError
from playground.language import say

if TYPE_CHECKING:
    from playground.pipeline import Run
    from playground.records import SamplingRun
    from playground.sampling.branches import Branch
    from playground.sampling.paths import Prefix

# 256 MiB: about 2,300 tokens of a 2B model (115 kB each), a thousand visitors of the shipped one.
LAB_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Lab:
    """The columns written last, and the tree grown from them."""

    run: weakref.ref[Run]  # whose prompt they follow
    sampled: SamplingRun | None  # None where nothing but a scored text is there
    names: tuple[str, ...]  # of the columns
    seconds: tuple[float, ...]  # how long each was written on
    max_new_tokens: int
    branches: tuple[Branch, ...]  # the columns first

    @property
    def num_bytes(self) -> int:
        """Memory of what the branches left behind."""
        return sum(branch.path.num_bytes for branch in self.branches)

    def branch(self, name: object) -> Branch:
        """The branch of this name.

        Raises:
            InputError: there is none.
        """
        found = next((each for each in self.branches if each.name == name), None)
        if found is None:
            raise InputError(
                say("There is no branch {name}.", name=name),
                remedy=say("Choose one from the list."),
            )
        return found


class LabStore:
    """Recent labs by secret key; the least recently used one goes first."""

    def __init__(self, max_bytes: int = LAB_BYTES) -> None:
        self._max_bytes = max_bytes
        self._labs: OrderedDict[str, Lab] = OrderedDict()
        self._first: str | None = None  # the opening page's, which all visitors start with
        self._lock = threading.Lock()

    def add(self, lab: Lab) -> str:
        """Keep a lab, and drop the longest unused ones until the rest fit."""
        key = secrets.token_urlsafe(16)
        with self._lock:
            self._first = self._first or key
            self._labs[key] = lab
            for old in [each for each, kept in self._labs.items() if kept.run() is None]:
                del self._labs[old]  # its run is no longer held, so that nobody can ask for it
            total = sum(each.num_bytes for each in self._labs.values())
            for old in list(self._labs)[:-1]:
                if total <= self._max_bytes:
                    break
                if old != self._first:
                    total -= self._labs.pop(old).num_bytes
        return key

    def find(self, key: str | None, run: Run) -> Lab | None:
        """The lab under this key, if it is still held and belongs to this run."""
        with self._lock:
            lab = self._labs.get(key or "")
            if lab is None or lab.run() is not run:
                return None
            self._labs.move_to_end(key or "")
            return lab

    def get(self, key: str | None, run: Run) -> Lab:
        """The same.

        Raises:
            InputError: there is none.
        """
        lab = self.find(key, run)
        if lab is None:
            raise InputError(
                say("There are no columns of this prompt."),
                limit=say(
                    "Recent ones share {size:,} MB on the server.", size=self._max_bytes >> 20
                ),
                remedy=say("Press “Run this stage” above."),
            )
        return lab

    def discard(self, key: str | None) -> None:
        """Forget a lab; the opening page's stays."""
        with self._lock:
            if key is not None and key != self._first:
                self._labs.pop(key, None)


def prompt_of(run: Run) -> Prefix:
    """Where everything in a lab starts; the run's prefill is there already."""
    return playground.sampling.paths.prompt_prefix(run.inputs, run.merged, run.decoded)


def new_lab(run: Run, **parts: Any) -> Lab:
    """A lab of a run; what is not given is empty."""
    empty: dict[str, Any] = {
        "sampled": None,
        "names": (),
        "seconds": (),
        "max_new_tokens": 1,
        "branches": (),
    }
    return Lab(run=weakref.ref(run), **empty | parts)
