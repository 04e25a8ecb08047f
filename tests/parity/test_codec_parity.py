from dataclasses import replace

import pytest
import torch

from helpers import assert_identity, relative_error, seeded
from lmdm_ref.checkpoint import codec_state
from lmdm_ref.codec import Codec
from lmdm_ref.presets import OOBLECK, TINY_OOBLECK, CodecConfig
from parity import peer

pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif(not peer.is_installed(), reason="stable-audio-tools is not installed"),
]

# Float32 sums in another order, over some forty layers.
FLOAT32_PARITY = 1e-5
NARROW_OOBLECK = replace(OOBLECK, base_channels=8, latent_channels=16)
CONFIGS = {"tiny": (TINY_OOBLECK, 7), "narrow": (NARROW_OOBLECK, 5), "published": (OOBLECK, 2)}

configs = pytest.mark.parametrize(
    ("config", "frames"), list(CONFIGS.values()), ids=list(CONFIGS.keys())
)


class Pair:
    """The peer's two directions, randomised, and our codec loaded from their tensors."""

    def __init__(self, config: CodecConfig, dtype: torch.dtype) -> None:
        self.encoder = peer.randomise(peer.oobleck_encoder(config), seed=1).to(dtype)
        self.decoder = peer.randomise(peer.oobleck_decoder(config), seed=2).to(dtype)
        checkpoint = {
            f"pretransform.model.{side}.{name}": tensor
            for side, network in (("encoder", self.encoder), ("decoder", self.decoder))
            for name, tensor in network.state_dict().items()
        }
        state = codec_state(checkpoint, config)
        assert state is not None
        with torch.device("meta"):
            self.codec = Codec(config)
        self.codec.load_state_dict(state, assign=True)


@configs
def test_both_directions_equal_the_peer(config: CodecConfig, frames: int) -> None:
    pair = Pair(config, torch.float32)
    latents = seeded(3, 2, frames, config.latent_channels).float()
    samples = seeded(4, 2, config.audio_channels, frames * config.samples_per_frame).float()
    posterior = pair.encoder(samples)
    means = posterior[:, : config.latent_channels].mT
    assert relative_error(pair.codec.decode(latents), pair.decoder(latents.mT)) <= FLOAT32_PARITY
    assert relative_error(pair.codec.encoder(samples), posterior) <= FLOAT32_PARITY
    assert relative_error(pair.codec.encode(samples), means) <= FLOAT32_PARITY


def test_both_directions_equal_the_peer_to_float64_rounding() -> None:
    config, frames = CONFIGS["narrow"]
    pair = Pair(config, torch.float64)
    latents = seeded(3, 1, frames, config.latent_channels)
    samples = seeded(4, 1, config.audio_channels, frames * config.samples_per_frame)
    assert_identity(pair.codec.decode(latents), pair.decoder(latents.mT))
    assert_identity(pair.codec.encoder(samples), pair.encoder(samples))


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_no_tensor_of_the_peer_is_left_at_zero(side: str) -> None:
    """Else equality above would prove less than it seems to."""
    build = {"encoder": peer.oobleck_encoder, "decoder": peer.oobleck_decoder}[side]
    state = peer.randomise(build(TINY_OOBLECK), seed=1).state_dict()
    assert all(one.count_nonzero() == one.numel() for one in state.values())
