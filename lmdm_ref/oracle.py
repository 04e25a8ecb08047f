"""The slow truth: each scheme's next block from one dense pass over all that was heard.

Written from the paper with explicit matrices and a boolean mask, and independent of ``layers.py``,
``plan.py``, ``cache.py`` and the schemes: it shares the decoder's weights and the sampler only. The
dtype is an argument: float64 is the truth, a lower one is the error that plain PyTorch makes in it.

Which oracle a scheme has is part of the scheme's meaning: outpainting, one pass over the window;
encoder-decoder, one pass over the window under its mask; block-causal, one pass over the whole
history under the banded mask (never a re-encoding of the last window).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lmdm_ref.conditioning import Conditioning
from lmdm_ref.decoder import DiffusionDecoder
from lmdm_ref.geometry import Geometry
from lmdm_ref.sampler import Sampler

Frames = Float[Tensor, "batch frames channels"]
History = Float[Tensor, "batch heard_frames channels"]
Noise = Float[Tensor, "draws batch noise_frames channels"]
NoiseFrames = Float[Tensor, "batch noise_frames channels"]
Matrix = Callable[[str], Tensor]

NORM_EPSILON = 1e-5
QK_NORM_EPSILON = 1e-6


@dataclass(frozen=True)
class Sequence:
    """The rows of one dense pass: first hidden states, positions, and who sees whom."""

    hidden: Float[Tensor, "batch hidden_rows width"]  # without or with the token's
    positions: Int[Tensor, " rows"]
    mask: Bool[Tensor, "rows rows"]


class Oracle:
    """One-shot evaluation of a decoder's weights in ``dtype``.

    ``decoder`` must hold plain weights (not packed ones).
    """

    def __init__(
        self,
        decoder: DiffusionDecoder,
        geometry: Geometry,
        sampler: Sampler,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.config = decoder.config
        self.geometry = geometry
        self.sampler = sampler
        self.dtype = dtype
        self._weights = {name: one.detach().to(dtype) for name, one in decoder.named_parameters()}
        self._frequencies = decoder.inverse_frequencies.double()

    def block(self, noise: Noise, history: History, conditioning: Conditioning) -> Frames:
        """The block that follows ``history`` (all clean frames so far) for this noise."""
        conditioning = conditioning if self.sampler.copies == 1 else _doubled(conditioning)
        repeat = (self.sampler.copies, 1, 1)
        history = history.to(self.dtype).repeat(repeat)
        wide_noise = noise.to(self.dtype)
        target_noise = wide_noise[:, :, -self.geometry.block_frames :]

        def velocity(noisy: Tensor, sigma: float) -> Tensor:
            rows = self.rows(noisy, sigma, history, wide_noise[0].repeat(repeat))
            token = self._token(sigma, conditioning)
            rows = Sequence(torch.cat([rows.hidden, token], 1), rows.positions, rows.mask)
            everyone = self._forward(rows, conditioning)
            return everyone[:, -1 - self.geometry.block_frames : -1]

        return self.sampler.sample(velocity, target_noise)

    def rows(self, noisy: Frames, sigma: float, history: History, noise: NoiseFrames) -> Sequence:
        """The scheme: all rows but the token's, with positions and mask that include it."""
        raise NotImplementedError

    def noisy_rows(self, noisy: Frames) -> Tensor:
        """A: the base model's 1 × 1 residual convolution, then its input projection."""
        w = self._weights
        return (noisy + noisy @ w["input_residual.weight"].mT) @ w["input_noisy.weight"].mT

    def clean_rows(self, clean: Frames) -> Tensor:
        """B on (mask = 1, clean)."""
        ones = torch.ones_like(clean[..., :1])
        return torch.cat([ones, clean], -1) @ self._weights["input_clean.weight"].mT

    def _token(self, sigma: float, conditioning: Conditioning) -> Tensor:
        w = self._weights
        turns = 2 * torch.pi * sigma * w["sigma_features.weight"][:, 0]
        embedded = torch.cat([turns.cos(), turns.sin()])
        embedded = w["sigma_in.weight"] @ embedded + w["sigma_in.bias"]
        embedded = w["sigma_out.weight"] @ _silu(embedded) + w["sigma_out.bias"]
        seconds = conditioning.seconds.to(self.dtype) @ w["seconds_in.weight"].mT
        return (_silu(seconds) @ w["seconds_out.weight"].mT + embedded)[:, None]

    def _forward(self, rows: Sequence, conditioning: Conditioning) -> Tensor:
        w, config = self._weights, self.config
        text = conditioning.text.to(self.dtype) @ w["text_in.weight"].mT
        text = _silu(text) @ w["text_out.weight"].mT
        turns = rows.positions.double()[:, None] * self._frequencies
        cos, sin = turns.cos().to(self.dtype), turns.sin().to(self.dtype)
        everything = torch.ones(1, text.shape[1], dtype=torch.bool)
        hidden = rows.hidden
        for index in range(config.depth):

            def weight(name: str, index: int = index) -> Tensor:
                return w[f"layers.{index}.{name}"]

            normed = _norm(hidden, weight("self_norm.weight"))
            query, key, value = (normed @ weight("self_attention.qkv.weight").mT).chunk(3, -1)
            query = self._heads(query, weight, "self_attention.query_norm", (cos, sin))
            key = self._heads(key, weight, "self_attention.key_norm", (cos, sin))
            seen = _attention(query, key, self._heads(value), rows.mask)
            hidden = hidden + seen @ weight("self_attention.out.weight").mT

            normed = _norm(hidden, weight("cross_norm.weight"))
            query = normed @ weight("cross_attention.query.weight").mT
            query = self._heads(query, weight, "cross_attention.query_norm")
            key, value = (text @ weight("cross_attention.key_value.weight").mT).chunk(2, -1)
            key = self._heads(key, weight, "cross_attention.key_norm")
            seen = _attention(query, key, self._heads(value), everything)
            hidden = hidden + seen @ weight("cross_attention.out.weight").mT

            normed = _norm(hidden, weight("feed_forward_norm.weight"))
            both = normed @ weight("feed_forward.gate_up.weight").mT
            up, gate = (both + weight("feed_forward.gate_up.bias")).chunk(2, -1)
            down = (up * _silu(gate)) @ weight("feed_forward.down.weight").mT
            hidden = hidden + down + weight("feed_forward.down.bias")
        latent = hidden @ w["output.weight"].mT
        return latent + latent @ w["output_residual.weight"].mT

    def _heads(
        self,
        rows: Float[Tensor, "batch rows features"],
        weight: Matrix | None = None,
        norm: str = "",
        rotation: tuple[Tensor, Tensor] | None = None,
    ) -> Float[Tensor, "batch heads rows head_dim"]:
        """Rows as heads: normalised if the model does that, then rotated if asked."""
        heads = rows.unflatten(-1, (-1, self.config.head_dim)).transpose(1, 2)
        if weight is not None and self.config.qk_norm == "layer":
            heads = _norm(heads, weight(f"{norm}.weight"), QK_NORM_EPSILON) + weight(f"{norm}.bias")
        if rotation is not None:
            cos, sin = rotation
            dims = self.config.rotary_dims
            first, second, rest = heads.split([dims // 2, dims // 2, heads.shape[-1] - dims], -1)
            turned = (first * cos - second * sin, second * cos + first * sin, rest)
            heads = torch.cat(turned, -1)
        return heads


class OutpaintOracle(Oracle):
    """The last window, everyone seeing everyone; A(noised clean) + B(clean) on context rows."""

    name = "one pass over the window, full attention"

    def rows(self, noisy: Frames, sigma: float, history: History, noise: NoiseFrames) -> Sequence:
        context = self.geometry.context_frames
        clean = history[:, -context:]
        noised = (1 - sigma) * clean + sigma * noise[:, :context]
        hidden = torch.cat(
            [self.noisy_rows(noised) + self.clean_rows(clean), self.noisy_rows(noisy)], 1
        )
        size = hidden.shape[1] + 1
        return Sequence(hidden, _window_positions(size), torch.ones(size, size, dtype=torch.bool))


class EncoderDecoderOracle(Oracle):
    """The last window: context sees context, target and token see everything."""

    name = "one pass over the window, context blind to the target"

    def rows(self, noisy: Frames, sigma: float, history: History, noise: NoiseFrames) -> Sequence:
        context = self.geometry.context_frames
        hidden = torch.cat([self.clean_rows(history[:, -context:]), self.noisy_rows(noisy)], 1)
        size = hidden.shape[1] + 1
        is_target = torch.arange(size) >= context
        return Sequence(hidden, _window_positions(size), ~is_target[None, :] | is_target[:, None])


class BlockCausalOracle(Oracle):
    """The whole history: a block sees itself and ``visible_blocks`` before; the token is last."""

    name = "one pass over the whole history, banded by blocks"

    def __init__(
        self,
        decoder: DiffusionDecoder,
        geometry: Geometry,
        sampler: Sampler,
        dtype: torch.dtype = torch.float64,
        visible_blocks: int | None = None,
    ) -> None:
        super().__init__(decoder, geometry, sampler, dtype)
        self.visible_blocks = visible_blocks or geometry.context_blocks

    def rows(self, noisy: Frames, sigma: float, history: History, noise: NoiseFrames) -> Sequence:
        hidden = torch.cat([self.clean_rows(history), self.noisy_rows(noisy)], 1)
        heard, block = history.shape[1], self.geometry.block_frames
        positions = torch.arange(1, hidden.shape[1] + 2)
        positions[-1] = max(0, heard - self.geometry.context_frames)
        block_of = torch.arange(hidden.shape[1] + 1) // block
        block_of[-1] = heard // block  # the token goes with the target
        age = block_of[:, None] - block_of[None, :]
        return Sequence(hidden, positions, (age >= 0) & (age <= self.visible_blocks))


def _window_positions(size: int) -> Int[Tensor, " rows"]:
    positions = torch.arange(1, size + 1)
    positions[-1] = 0
    return positions


def _doubled(conditioning: Conditioning) -> Conditioning:
    text, seconds = conditioning.text, conditioning.seconds
    return Conditioning(torch.cat([text, 0 * text]), torch.cat([seconds, seconds]))


def _attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    group = query.shape[1] // key.shape[1]
    key, value = (heads.repeat_interleave(group, dim=1) for heads in (key, value))
    scores = query @ key.mT / query.shape[-1] ** 0.5
    seen = scores.masked_fill(~mask, -torch.inf).softmax(-1) @ value
    return seen.transpose(1, 2).flatten(2)


def _norm(rows: Tensor, gain: Tensor, epsilon: float = NORM_EPSILON) -> Tensor:
    centred = rows - rows.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + epsilon).sqrt() * gain


def _silu(rows: Tensor) -> Tensor:
    return rows * torch.sigmoid(rows)
