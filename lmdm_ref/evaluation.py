"""One call of a diffusion network, as data for whoever runs it (``execute.py``)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from lmdm_ref.decoder import EncodedConditioning, NoiseLevel
from lmdm_ref.layers import Pass


@dataclass(frozen=True)
class Evaluation:
    """``noisy`` frames at the noise level ``sigma`` and ``clean`` ones, to run as ``run`` says.

    Either may be None: without noisy frames no noise is estimated.
    """

    noisy: Float[Tensor, "rows noisy_frames channels"] | None
    sigma: NoiseLevel | None
    clean: Float[Tensor, "rows clean_frames channels"] | None
    run: Pass
    conditioning: EncodedConditioning
