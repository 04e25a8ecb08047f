"""The KV cache: one arena of keys and values for each layer, written in place.

The only file that writes into tensors that others hold: arenas keep their address for the life of a
stream, so that nothing in them is moved or allocated in a denoising step, and so that a captured
graph may be replayed. Keys are stored normalised and rotated. See ``arena.py`` for the places.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lmdm_ref.arena import Span


def put(
    arena: tuple[
        Float[Tensor, "batch heads places head_dim"], Float[Tensor, "batch heads places head_dim"]
    ],
    key: Float[Tensor, "batch rows heads head_dim"],
    value: Float[Tensor, "batch rows heads head_dim"],
    places: Int[Tensor, " rows"],
) -> None:
    """Each row's key and value to its place, which may differ in every replay of a graph."""
    arena[0].index_copy_(2, places, key.transpose(1, 2))
    arena[1].index_copy_(2, places, value.transpose(1, 2))


class KVCache:
    """Keys and values [layers, batch, heads, places, head_dim] of one stream.

    Heads come before places: a span of places is then a batch of matrices for the library's
    products, which would copy it first if a row's heads lay together.
    """

    def __init__(
        self,
        keys: Float[Tensor, "layers batch heads places head_dim"],
        values: Float[Tensor, "layers batch heads places head_dim"],
    ) -> None:
        self._keys = keys
        self._values = values

    @classmethod
    def allocate(
        cls, places: int, layers: int, batch: int, heads: int, head_dim: int, like: Tensor
    ) -> "KVCache":
        """An empty cache with the dtype and device of ``like``."""
        shape = (layers, batch, heads, places, head_dim)
        return cls(like.new_zeros(shape), like.new_zeros(shape))

    def write(
        self,
        layer: int,
        key: Float[Tensor, "batch rows heads head_dim"],
        value: Float[Tensor, "batch rows heads head_dim"],
        places: Int[Tensor, " rows"],
    ) -> None:
        """Put a pass's keys and values into their places."""
        put(self.layer(layer), key, value, places)

    def layer(self, layer: int) -> tuple[Tensor, Tensor]:
        """One layer's keys and values [batch, heads, places, head_dim]: views, not copies."""
        return self._keys[layer], self._values[layer]

    def fill(self, places: Span, number: float) -> None:
        """Overwrite places in all layers: tests poison what must not be read."""
        self._keys[..., places.start : places.stop, :] = number
        self._values[..., places.start : places.stop, :] = number

    def is_finite(self) -> bool:
        """Whether every key and value is a finite number."""
        return bool(self._keys.isfinite().all()) and bool(self._values.isfinite().all())

    def copy_from(self, other: "KVCache") -> None:
        """Take over another cache's keys and values, of the same shape, in place."""
        self._keys.copy_(other._keys)
        self._values.copy_(other._values)

    def clone(self) -> "KVCache":
        return KVCache(self._keys.clone(), self._values.clone())

    @property
    def num_bytes(self) -> int:
        return 2 * self._keys.numel() * self._keys.element_size()

    def is_equal(self, other: "KVCache", places: Span) -> bool:
        """Whether two caches hold the same bits in these places."""
        here = slice(places.start, places.stop)
        return torch.equal(self._keys[..., here, :], other._keys[..., here, :]) and torch.equal(
            self._values[..., here, :], other._values[..., here, :]
        )
