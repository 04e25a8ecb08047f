"""Our decoder's full bidirectional pass against stable-audio-tools', on randomised weights."""

from dataclasses import replace

import pytest
import torch

from lmdm_ref.checkpoint import decoder_state
from lmdm_ref.conditioning import Conditioning
from lmdm_ref.decoder import decoder_from_state
from lmdm_ref.linear import pack_linears
from lmdm_ref.presets import SAO_1_0, SAO_SMALL, DecoderConfig
from parity import peer
from parity.parity_pass import bidirectional_pass, inputs

pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif(not peer.is_installed(), reason="stable-audio-tools is not installed"),
]

RELATIVE_ERROR = 1e-5
DEPTH = 2


@pytest.mark.parametrize("is_packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize(
    "config",
    [
        replace(SAO_SMALL, depth=DEPTH),
        replace(SAO_1_0, depth=DEPTH),
        replace(SAO_SMALL, depth=DEPTH, qk_norm="none"),
        SAO_SMALL,
        SAO_1_0,
    ],
    ids=["small-2-layers", "1.0-2-layers", "small-without-qk-norm", "small-whole", "1.0-whole"],
)
def test_the_full_pass_equals_the_peer_s(config: DecoderConfig, is_packed: bool) -> None:
    theirs = peer.randomise(peer.diffusion_transformer(config), seed=1)
    ours = decoder_from_state(config, decoder_state(theirs.state_dict(), config))
    if is_packed:
        pack_linears(ours)
    noisy, sigma, prompt = inputs(config, frames=48)
    with torch.inference_mode():
        expected = theirs(
            noisy.mT,
            torch.tensor([sigma]),
            cross_attn_cond=prompt.text,
            global_embed=prompt.seconds,
            use_checkpointing=False,
        ).mT
        found = bidirectional_pass(ours, noisy, sigma, prompt)
    assert (found - expected).abs().max() <= RELATIVE_ERROR * expected.abs().max()
    assert expected.std() > RELATIVE_ERROR


def test_parity_would_notice_another_noise_level() -> None:
    config = replace(SAO_SMALL, depth=DEPTH)
    theirs = peer.randomise(peer.diffusion_transformer(config), seed=1)
    ours = decoder_from_state(config, decoder_state(theirs.state_dict(), config))
    noisy, sigma, prompt = inputs(config, frames=48)
    with torch.inference_mode():
        right = bidirectional_pass(ours, noisy, sigma, prompt)
        other = bidirectional_pass(ours, noisy, sigma + 0.01, prompt)
        silent = Conditioning(0 * prompt.text, prompt.seconds)
        without_text = bidirectional_pass(ours, noisy, sigma, silent)
    for wrong in (other, without_text):
        assert (wrong - right).abs().max() > 10 * RELATIVE_ERROR * right.abs().max()
