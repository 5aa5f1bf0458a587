"""One script per claim, with interleaved runs in one process; see ``benchmarks.pairs``."""
