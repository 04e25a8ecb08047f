"""What lies between the QKV projection and attention: ``prologue`` in readable form.

Queries and keys of each head are normalised where the model has it, turned to their positions, and
keys and values put into the arena: the places come as a tensor on the device, so that a captured
graph may write elsewhere each time it is replayed.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from lmdm_ref.cache import put
from lmdm_ref.rotary import Rotary, rotate


class HeadNorm(NamedTuple):
    """The norm of each query and key head over its dims; weights and biases [head_dim]."""

    kind: Literal["layer", "rms", "none"]
    query_weight: Tensor | None
    query_bias: Tensor | None
    key_weight: Tensor | None
    key_bias: Tensor | None
    epsilon: float


Arena = tuple[
    Float[Tensor, "batch heads places head_dim"], Float[Tensor, "batch heads places head_dim"]
]

# ``prologue(qkv, norm, rotary, arena, places)``: writes the rows' keys and values into the arena
# (keys, values), row r to place ``places[r]``, and gives the rows' queries.
Prologue = Callable[[Tensor, HeadNorm, Rotary, tuple[Tensor, Tensor], Tensor], Tensor]


def prologue(
    qkv: Float[Tensor, "batch rows qkv_width"],
    norm: HeadNorm,
    rotary: Rotary,
    arena: Arena,
    places: Int[Tensor, " rows"],
) -> Float[Tensor, "batch heads rows head_dim"]:
    """Queries of all rows, normalised and rotated; keys likewise, and values, into their places."""
    heads = arena[0].shape[1]
    query, key, value = qkv.unflatten(-1, (3, heads, -1)).unbind(2)
    put(arena, rotate(_normed(key, norm, norm.key_weight, norm.key_bias), rotary), value, places)
    query = _normed(query, norm, norm.query_weight, norm.query_bias)
    return rotate(query, rotary).transpose(1, 2)


def _normed(heads: Tensor, norm: HeadNorm, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if norm.kind == "none":
        return heads
    if norm.kind == "rms":
        normed = functional.rms_norm(heads, heads.shape[-1:], weight, norm.epsilon)
        return normed if bias is None else normed + bias
    return functional.layer_norm(heads, heads.shape[-1:], weight, bias, norm.epsilon)
