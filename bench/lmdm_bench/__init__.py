"""The harness: runs, records, statistics and reports of live music diffusion."""

__version__ = "0.1.0"
