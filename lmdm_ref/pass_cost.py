"""What a pass costs, a block's passes together, and what a stream holds in memory (no torch).

A multiply and an add are two FLOPs; only matrix products count, as ``torch.utils.flop_counter``
counts them.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PassCost:
    """FLOPs and bytes of one pass, for the whole batch, ``count`` times in a block.

    ``encode_rows`` only fill a cache, ``step_rows`` are read out; ``pairs`` are (query, key) pairs
    of one head in all layers' self- and streaming cross-attention.
    """

    count: int
    encode_rows: int
    step_rows: int
    pairs: int
    flops_projections: int
    flops_attention: int
    flops_head: int
    bytes_weights: int
    bytes_cache_read: int
    bytes_cache_written: int

    @property
    def flops(self) -> int:
        return self.flops_projections + self.flops_attention + self.flops_head

    @property
    def num_bytes(self) -> int:
        return self.bytes_weights + self.bytes_cache_read + self.bytes_cache_written

    def seconds_at_least(self, flops_per_second: float, bytes_per_second: float) -> float:
        """The bound of all ``count`` passes: compute or weight reading, whichever is slower."""
        slower = max(self.flops / flops_per_second, self.num_bytes / bytes_per_second)
        return self.count * slower


@dataclass(frozen=True, kw_only=True)
class BlockCost:
    """One steady block of a scheme: its passes and their sums.

    ``evaluations`` are the sampler's network calls or an LMM's tokens, ``frames`` the rows without
    noise-level tokens.
    """

    evaluations: int
    frames: int
    passes: tuple[PassCost, ...]

    @property
    def sequential_steps(self) -> int:
        """Passes that must follow each other."""
        return sum(one.count for one in self.passes)

    def total(self, name: str) -> int:
        """The sum over passes of a ``PassCost`` figure, by its name."""
        return sum(one.count * int(getattr(one, name)) for one in self.passes)

    def seconds_at_least(self, flops_per_second: float, bytes_per_second: float) -> float:
        return sum(one.seconds_at_least(flops_per_second, bytes_per_second) for one in self.passes)


@dataclass(frozen=True, kw_only=True)
class StreamBytes:
    """What a stream holds at its peak: weights, what lives from block to block, and the largest set
    of intermediate results alive together. What libraries hold beside is not the model's."""

    weights: int
    cache: int
    activations: int
