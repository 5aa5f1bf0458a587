"""One script per claim: both sides interleaved in one process; see ``benchmarks.pairs``."""
