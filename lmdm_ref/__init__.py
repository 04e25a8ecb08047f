"""Readable reference implementations of live music diffusion, in plain PyTorch."""

from lmdm_ref.attention import Attend, attend, attend_dense
from lmdm_ref.block_causal import BlockCausal
from lmdm_ref.codec import Codec, random_codec
from lmdm_ref.codec_cost import codec_parameters, decode_flops, encode_flops
from lmdm_ref.conditioning import Conditioning, SecondsEmbedding
from lmdm_ref.cost import block_cost, block_passes, num_parameters
from lmdm_ref.decoder import DiffusionDecoder, decoder_from_state, random_decoder
from lmdm_ref.encoder_decoder import EncoderDecoder
from lmdm_ref.geometry import Geometry
from lmdm_ref.linear import PackedLinear, pack_linears, why_not_packed
from lmdm_ref.oracle import BlockCausalOracle, EncoderDecoderOracle, OutpaintOracle
from lmdm_ref.outpaint import Outpaint
from lmdm_ref.presets import PRESETS, CodecConfig, DecoderConfig, Preset
from lmdm_ref.sampler import Sampler, euler_sampler, pingpong_plus_sampler, pingpong_sampler
from lmdm_ref.schedule import linear_sigmas, logsnr_sigmas, shift_sigmas
from lmdm_ref.stable_audio import StableAudio, load_stable_audio
from lmdm_ref.stream import DiffusionStream, PromptPolicy, Stream, block_noise, stream_blocks

__all__ = [
    "PRESETS",
    "Attend",
    "BlockCausal",
    "BlockCausalOracle",
    "Codec",
    "CodecConfig",
    "Conditioning",
    "DecoderConfig",
    "DiffusionDecoder",
    "DiffusionStream",
    "EncoderDecoder",
    "EncoderDecoderOracle",
    "Geometry",
    "Outpaint",
    "OutpaintOracle",
    "PackedLinear",
    "Preset",
    "PromptPolicy",
    "Sampler",
    "SecondsEmbedding",
    "StableAudio",
    "Stream",
    "attend",
    "attend_dense",
    "block_cost",
    "block_noise",
    "block_passes",
    "codec_parameters",
    "decode_flops",
    "decoder_from_state",
    "encode_flops",
    "euler_sampler",
    "linear_sigmas",
    "load_stable_audio",
    "logsnr_sigmas",
    "num_parameters",
    "pack_linears",
    "pingpong_plus_sampler",
    "pingpong_sampler",
    "random_codec",
    "random_decoder",
    "shift_sigmas",
    "stream_blocks",
    "why_not_packed",
]
