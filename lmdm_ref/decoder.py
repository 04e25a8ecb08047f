"""The diffusion transformer: rows in, velocity out.

Routing (paper, section 4.1; design.md §4): the first hidden state of a context row is
``B(mask, clean)`` and of a target row ``A(noisy)``, where A is the base model's input projection
and B one bias-free map from 1 + 64 channels. Outpainting, the old way, adds both on context rows.
Which rows go into one run, and whom they see, is the schemes' business.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from lmdm_ref.arena import Arena, Span
from lmdm_ref.attention import Attend, attend
from lmdm_ref.cache import KVCache
from lmdm_ref.conditioning import Conditioning, FourierFeatures
from lmdm_ref.layers import DecoderLayer, Hidden, Kernels, Outputs, Pass
from lmdm_ref.plan import Plan, crop_plan
from lmdm_ref.presets import DecoderConfig
from lmdm_ref.prologue import Prologue, prologue
from lmdm_ref.rotary import Rotary, inverse_frequencies, rotary_angles

Frames = Float[Tensor, "batch frames channels"]
NoiseLevel = Float[Tensor, " 1"]


@dataclass(frozen=True)
class EncodedConditioning:
    """A prompt, encoded once: each layer's text keys and values, and the embedded seconds."""

    text: tuple[tuple[Tensor, Tensor], ...]
    seconds: Float[Tensor, "batch width"]

    @property
    def batch(self) -> int:
        return self.seconds.shape[0]


class DiffusionDecoder(nn.Module):
    """Stable Audio Open's diffusion transformer plus B, as rows of hidden states.

    ``attend`` and ``prologue`` are the attention and what comes before it; they are never chosen
    here.
    """

    inverse_frequencies: Tensor

    def __init__(
        self, config: DecoderConfig, attend: Attend = attend, prologue: Prologue = prologue
    ) -> None:
        super().__init__()
        width, channels = config.width, config.latent_channels
        self.config = config
        self.kernels = Kernels(attend, prologue)
        self.input_residual = nn.Linear(channels, channels, bias=False)
        self.input_noisy = nn.Linear(channels, width, bias=False)
        self.input_clean = nn.Linear(1 + channels, width, bias=False)
        self.sigma_features = FourierFeatures(config.sigma_features)
        self.sigma_in = nn.Linear(config.sigma_features, width)
        self.sigma_out = nn.Linear(width, width)
        self.text_in = nn.Linear(config.text_width, config.cross_width, bias=False)
        self.text_out = nn.Linear(config.cross_width, config.cross_width, bias=False)
        self.seconds_in = nn.Linear(config.seconds_width, width, bias=False)
        self.seconds_out = nn.Linear(width, width, bias=False)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.depth))
        self.output = nn.Linear(width, channels, bias=False)
        self.output_residual = nn.Linear(channels, channels, bias=False)
        self.register_buffer(
            "inverse_frequencies", inverse_frequencies(config.rotary_dims, config.rotary_base)
        )

    @property
    def dtype(self) -> torch.dtype:
        return self.sigma_features.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.sigma_features.weight.device

    def encode_conditioning(self, conditioning: Conditioning) -> EncodedConditioning:
        """The prompt's part of every later pass, computed once."""
        text = self.text_out(functional.silu(self.text_in(conditioning.text.to(self.dtype))))
        seconds = self.seconds_out(
            functional.silu(self.seconds_in(conditioning.seconds.to(self.dtype)))
        )
        keys = []
        for layer in self.layers:
            assert isinstance(layer, DecoderLayer)
            keys.append(layer.cross_attention.encode_text(text))
        return EncodedConditioning(tuple(keys), seconds)

    def noisy_rows(self, noisy: Frames) -> Hidden:
        """A(noisy): the hidden rows of frames at the current noise level."""
        latent = noisy.to(self.dtype)
        rows: Tensor = self.input_noisy(latent + self.input_residual(latent))
        return rows

    def clean_rows(self, clean: Frames) -> Hidden:
        """B(mask, clean) with the mask's channel at 1: the hidden rows of clean frames."""
        rows: Tensor = self.input_clean(functional.pad(clean.to(self.dtype), (1, 0), value=1.0))
        return rows

    def noise_level(self, sigma: float) -> NoiseLevel:
        """A noise level as a tensor on the device, in float64."""
        return torch.full((1,), sigma, dtype=torch.float64, device=self.device)

    def token_row(self, sigma: NoiseLevel, conditioning: EncodedConditioning) -> Hidden:
        """The noise-level token: sigma and the seconds, one row on the target's side."""
        embedded = self.sigma_out(functional.silu(self.sigma_in(self.sigma_features(sigma))))
        return (conditioning.seconds + embedded)[:, None]

    def rotary(self, *positions: range) -> Rotary:
        """The rotation of rows at these positions."""
        return rotary_angles(self._rows(positions), self.inverse_frequencies, self.dtype)

    def plan_pass(
        self,
        positions: tuple[range, ...],
        plan: Plan,
        outputs: Span,
        cache: KVCache | None,
        places: tuple[Span, ...],
    ) -> Pass:
        """A pass of rows at ``positions``, whose keys go to ``places``, both in order of the rows.

        Nothing of it is copied from the host, so that a stream never waits for the device.
        """
        return Pass(
            rotary=self.rotary(*positions),
            plan=plan,
            last_plan=crop_plan(plan, outputs),
            outputs=outputs,
            cache=cache,
            places=self._rows([range(*span) for span in places]),
        )

    def _rows(self, ranges: Iterable[range]) -> Int[Tensor, " rows"]:
        pieces = [torch.arange(one.start, one.stop, device=self.device) for one in ranges]
        return torch.cat(pieces)

    def allocate_cache(self, arena: Arena, batch: int) -> KVCache:
        config = self.config
        like = self.sigma_features.weight.detach()
        return KVCache.allocate(
            arena.size, config.depth, batch, config.num_heads, config.head_dim, like
        )

    def run(self, hidden: Hidden, run: Pass, conditioning: EncodedConditioning) -> Outputs:
        """The rows through all layers; gives those of ``run.outputs``."""
        final = replace(run, plan=run.last_plan)
        body = replace(run, outputs=Span(0, hidden.shape[1]))
        last = len(self.layers) - 1
        for index, (layer, text) in enumerate(zip(self.layers, conditioning.text, strict=True)):
            hidden = layer(hidden, index, text, final if index == last else body, self.kernels)
        return hidden

    def velocity(self, hidden: Hidden, like: Frames) -> Frames:
        """The output head: noise − clean for each row, in the dtype of ``like``."""
        latent = self.output(hidden)
        velocity: Tensor = (latent + self.output_residual(latent)).to(like.dtype)
        return velocity


def random_decoder(
    config: DecoderConfig,
    seed: int,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    attend: Attend = attend,
    prologue: Prologue = prologue,
) -> DiffusionDecoder:
    """A decoder with seeded random weights, none of them zero: speed does not depend on values.

    Matrices keep the variance of their input, norms are near 1, so activations stay ordinary.
    """

    def fill(name: str, parameter: Tensor) -> Tensor:
        bound = 0.1 if parameter.ndim < 2 else (3 / parameter.shape[1]) ** 0.5
        centre = 1.0 if name.endswith("norm.weight") else 0.0
        drawn = torch.empty(parameter.shape, device="cpu")
        drawn.uniform_(centre - bound, centre + bound, generator=generator)
        return drawn.to(device=device, dtype=dtype)

    generator = torch.Generator().manual_seed(seed)
    return _filled(config, Kernels(attend, prologue), fill)


def decoder_from_state(
    config: DecoderConfig,
    state: dict[str, Tensor],
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    attend: Attend = attend,
    prologue: Prologue = prologue,
) -> DiffusionDecoder:
    """A decoder with the given weights (``checkpoint.decoder_state`` makes and checks them)."""

    def take(name: str, _parameter: Tensor) -> Tensor:
        return state[name].to(device=device, dtype=dtype)

    decoder = _filled(config, Kernels(attend, prologue), take)
    if "inverse_frequencies" in state:
        decoder.inverse_frequencies = state["inverse_frequencies"].double().to(device)
    return decoder


def _filled(
    config: DecoderConfig, kernels: Kernels, weight: Callable[[str, Tensor], Tensor]
) -> DiffusionDecoder:
    """Built without memory first, so that no weight is initialised twice."""
    with torch.device("meta"):
        decoder = DiffusionDecoder(config, *kernels)
    state = {name: weight(name, parameter) for name, parameter in decoder.named_parameters()}
    decoder.load_state_dict(state, strict=False, assign=True)
    some = decoder.sigma_features.weight
    decoder.inverse_frequencies = inverse_frequencies(config.rotary_dims, config.rotary_base).to(
        some.device
    )
    return decoder.requires_grad_(False).eval()
