"""One full bidirectional pass of our decoder, as the base model runs it."""

import torch
from torch import Tensor

from lmdm_ref.arena import Span
from lmdm_ref.conditioning import Conditioning
from lmdm_ref.decoder import DiffusionDecoder
from lmdm_ref.plan import full_plan
from lmdm_ref.presets import DecoderConfig

SIGMA = 0.6


def inputs(config: DecoderConfig, frames: int) -> tuple[Tensor, float, Conditioning]:
    """Noisy latents [1, frames, channels], a noise level and a prompt, all seeded."""
    generator = torch.Generator().manual_seed(2)
    noisy = torch.randn(1, frames, config.latent_channels, generator=generator)
    text = torch.randn(1, config.text_tokens, config.text_width, generator=generator)
    seconds = torch.randn(1, config.seconds_width, generator=generator)
    return noisy, SIGMA, Conditioning(text, seconds)


def bidirectional_pass(
    decoder: DiffusionDecoder, noisy: Tensor, sigma: float, prompt: Conditioning
) -> Tensor:
    """The velocity of all frames, everyone seeing everyone, the prompt encoded on the way.

    The token comes last with position 0 where the base model puts it first: attention does not
    mind the order of rows.
    """
    frames = noisy.shape[1]
    conditioning = decoder.encode_conditioning(prompt)
    token = decoder.token_row(decoder.noise_level(sigma), conditioning)
    hidden = torch.cat([decoder.noisy_rows(noisy), token], dim=1)
    run = decoder.plan_pass(
        positions=(range(1, frames + 1), range(1)),
        plan=full_plan(frames + 1),
        outputs=Span(0, frames),
        cache=None,
        places=(Span(0, frames + 1),),
    )
    return decoder.velocity(decoder.run(hidden, run, conditioning), noisy)
