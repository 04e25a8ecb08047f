"""Seeded random weights for the LMMs: speed does not depend on their values."""

from typing import TypeVar

import torch
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


def randomised(model: Model, seed: int, dtype: torch.dtype, device: str) -> Model:
    """A model built on the meta device, with weights drawn one by one in its own order.

    Matrices keep the variance of their input, norms are near 1, embeddings normal in size, so that
    activations stay ordinary at any depth.
    """
    generator = torch.Generator().manual_seed(seed)

    def drawn(name: str, parameter: Tensor) -> Tensor:
        is_norm = name.endswith("norm.weight")
        is_table = "embedding" in name or "bias.weight" in name
        bound = 0.1 if parameter.ndim < 2 else (3 / parameter.shape[-1]) ** 0.5
        bound = 3**0.5 if is_table else bound
        centre = 1.0 if is_norm else 0.0
        values = torch.empty(parameter.shape, device="cpu")
        values.uniform_(centre - bound, centre + bound, generator=generator)
        return values.to(device=device, dtype=dtype)

    state = {name: drawn(name, parameter) for name, parameter in model.named_parameters()}
    model.load_state_dict(state, strict=True, assign=True)
    return model.requires_grad_(False).eval()
