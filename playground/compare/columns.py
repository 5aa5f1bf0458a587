"""Columns of several checkpoints, generated token by token in turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from playground.records import Progress
from playground.sampling.columns import Sampler
from playground.sampling.paths import TokenPath
from playground.sampling.trace import SamplingRun, SamplingTrace


class JoinedSamplers:
    """Reads as one ``Sampler`` whose columns belong to different checkpoints.

    Each checkpoint's columns are what they are without the others, except for their times: the
    checkpoints take turns, so a token's time includes those of the other checkpoints' tokens.
    """

    def __init__(self, samplers: Sequence[Sampler], columns: Sequence[Sequence[int]]) -> None:
        """Join them; no model runs yet.

        Args:
            samplers: one per checkpoint.
            columns: of each, the place of its columns in the joined order.
        """
        self._samplers = samplers
        where = [
            (place, number, row)
            for number, places in enumerate(columns)
            for row, place in enumerate(places)
        ]
        self._order = [(number, row) for _, number, row in sorted(where)]

    @property
    def run(self) -> SamplingRun:
        """The run so far."""
        runs = [sampler.run for sampler in self._samplers]
        traces: list[SamplingTrace] = [runs[number].traces[row] for number, row in self._order]
        return SamplingRun(tuple(traces))

    @property
    def token_seconds(self) -> tuple[tuple[float, ...], ...]:
        """When each token of each column was generated, from the start of the run."""
        times = [sampler.token_seconds for sampler in self._samplers]
        return tuple(times[number][row] for number, row in self._order)

    @property
    def seconds(self) -> tuple[float, ...]:
        """Generation time of each column, from the start of the run."""
        return tuple(times[-1] if times else 0.0 for times in self.token_seconds)

    def paths(self) -> tuple[TokenPath, ...]:
        """The path of each column so far; the samplers need ``keep_paths``."""
        paths = [sampler.paths() for sampler in self._samplers]
        return tuple(paths[number][row] for number, row in self._order)

    def stream(self, progress: Progress | None = None) -> Iterator[SamplingRun]:
        """Generate one token of each column at a time; see ``Sampler.stream``."""
        streams = [sampler.stream(progress) for sampler in self._samplers]
        while streams:
            for stream in list(streams):
                if next(stream, None) is None:
                    streams.remove(stream)
                else:
                    yield self.run
