"""Who runs a network: the third seam, beside attention and prologue.

A stream says what is to be computed as a function of an *evaluation*, a frozen dataclass of all
that this one call reads. Nothing that differs between two calls lies in the function itself, so
whoever runs it may capture it once as a CUDA graph and replay it with other contents. To that end

- tensors that are fields of the evaluation are new in each call;
- those deeper inside (a pass's places and rotation, a prompt) may be the same objects as before,
  and then hold the same numbers: nobody writes into them;
- caches stay where they are, and are written in place.

The readable way is to call the function.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

Network = Callable[[Any], Tensor]
Execute = Callable[[Network, Any], Tensor]


def execute(network: Network, evaluation: Any) -> Tensor:
    """Run it here and now."""
    result: Tensor = network(evaluation)
    return result
