"""Stable Audio checkpoints as models: one file in, decoder, codec and seconds embedding out."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from lmdm_ref.attention import Attend, attend
from lmdm_ref.checkpoint import codec_state, decoder_state, load_state_dict, seconds_state
from lmdm_ref.codec import Codec
from lmdm_ref.conditioning import Conditioning, SecondsEmbedding
from lmdm_ref.decoder import DiffusionDecoder, decoder_from_state
from lmdm_ref.presets import PRESETS, Preset
from lmdm_ref.prologue import Prologue, prologue

State = dict[str, Tensor]


@dataclass(frozen=True)
class StableAudio:
    """A checkpoint's weights, checked against a preset and under our names.

    ``codec_weights`` and ``seconds_weights`` are None where the file has none. A base model has no
    B: it is zero then, and the model streams, but has not learned to continue what it heard.
    """

    name: str
    preset: Preset
    decoder_weights: State
    codec_weights: State | None
    seconds_weights: State | None

    def decoder(
        self,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        attend: Attend = attend,
        depth: int | None = None,
        prologue: Prologue = prologue,
    ) -> DiffusionDecoder:
        """The diffusion transformer; ``depth`` keeps its first layers only (for checks)."""
        config = self.preset.decoder
        config = replace(config, depth=depth or config.depth)
        return decoder_from_state(config, self.decoder_weights, dtype, device, attend, prologue)

    def codec(self, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Codec:
        """The codec. Raises ValueError where the file has none."""
        if self.codec_weights is None:
            raise ValueError("the checkpoint has no codec")
        with torch.device("meta"):
            codec = Codec(self.preset.codec)
        weights = {
            name: one.to(device=device, dtype=dtype) for name, one in self.codec_weights.items()
        }
        codec.load_state_dict(weights, assign=True)
        return codec.requires_grad_(False).eval()

    def conditioning(self, seconds: float, text: Tensor | None = None) -> Conditioning:
        """The prompt for a piece of ``seconds``: text [batch, tokens, width], or none (zeros).

        The embedded seconds are the last text token and, for as many values as the model takes, the
        global vector. Raises ValueError where the file has no seconds conditioner.
        """
        if self.seconds_weights is None:
            raise ValueError("the checkpoint has no seconds conditioner")
        config = self.preset.decoder
        if config.seconds_width != config.text_width:
            raise ValueError(
                f"{self.name} is conditioned on a start as well; only a length is known"
            )
        embedding = SecondsEmbedding(config.text_width)
        embedding.load_state_dict(self.seconds_weights)
        text = torch.zeros(1, config.text_tokens - 1, config.text_width) if text is None else text
        with torch.no_grad():
            vector = embedding(torch.full((text.shape[0],), seconds))
        return Conditioning(torch.cat([text, vector[:, None]], dim=1), vector)


def load_stable_audio(path: str | Path, preset: str | None = None) -> StableAudio:
    """Read a ``.safetensors``, ``.ckpt`` or ``.pt`` file as stable-audio-tools writes them.

    ``preset`` None takes the first preset that the file fits. Raises ValueError, in a sentence with
    the first offending tensors, for a file that cannot be read or does not fit.
    """
    file = Path(path)
    state = load_state_dict(file)
    name = preset or _fitting_preset(state)
    if name not in PRESETS:
        raise ValueError(f"unknown model {name!r}; there are {', '.join(PRESETS)}")
    sizes = PRESETS[name]
    try:
        return StableAudio(
            name,
            sizes,
            decoder_state(state, sizes.decoder),
            codec_state(state, sizes.codec),
            seconds_state(state),
        )
    except ValueError as error:
        raise ValueError(f"{file.name}: {error}") from error


def _fitting_preset(state: State) -> str:
    """The first preset whose decoder the file fits; else the first, whose refusal says why."""
    for name, preset in PRESETS.items():
        try:
            decoder_state(state, preset.decoder)
        except ValueError:
            continue
        return name
    return next(iter(PRESETS))
