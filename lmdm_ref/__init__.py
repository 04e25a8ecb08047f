"""Readable reference implementations of live music diffusion, in plain PyTorch."""

from lmdm_ref.arena import Span
from lmdm_ref.attention import Attend, attend, attend_dense
from lmdm_ref.block_causal import BlockCausal
from lmdm_ref.cache import KVCache
from lmdm_ref.codec import Codec, random_codec
from lmdm_ref.codec_cost import codec_parameters, decode_flops, encode_flops
from lmdm_ref.conditioning import Conditioning, SecondsEmbedding
from lmdm_ref.cost import block_cost, block_passes, num_parameters, stream_bytes
from lmdm_ref.decoder import DiffusionDecoder, decoder_from_state, random_decoder
from lmdm_ref.encoder_decoder import EncoderDecoder
from lmdm_ref.evaluation import Evaluation
from lmdm_ref.execute import Execute, Network, execute
from lmdm_ref.geometry import Geometry, TokenGeometry
from lmdm_ref.layers import Kernels
from lmdm_ref.linear import PackedLinear, pack_linears, why_not_packed
from lmdm_ref.lmm_cost import lmm_block_cost, lmm_num_parameters, lmm_stream_bytes
from lmdm_ref.lmm_encoder_decoder import (
    EncoderDecoderLMM,
    LMMEncoderDecoder,
    random_encoder_decoder_lmm,
)
from lmdm_ref.lmm_frame_wise import (
    FrameConditions,
    FrameWiseLMM,
    LMMFrameWise,
    guidance_codes,
    random_frame_wise_lmm,
)
from lmdm_ref.lmm_oracle import LMMEncoderDecoderOracle, LMMFrameWiseOracle
from lmdm_ref.lmm_presets import LMM_PRESETS, EncoderDecoderLMMConfig, FrameWiseLMMConfig
from lmdm_ref.oracle import BlockCausalOracle, EncoderDecoderOracle, OutpaintOracle
from lmdm_ref.outpaint import Outpaint
from lmdm_ref.pass_cost import BlockCost, StreamBytes
from lmdm_ref.plan import Plan, Row, plan_row
from lmdm_ref.presets import PRESETS, CodecConfig, DecoderConfig, Preset
from lmdm_ref.prologue import HeadNorm, Prologue, prologue
from lmdm_ref.sampler import Sampler, euler_sampler, pingpong_plus_sampler, pingpong_sampler
from lmdm_ref.schedule import linear_sigmas, logsnr_sigmas, shift_sigmas
from lmdm_ref.stable_audio import StableAudio, load_stable_audio
from lmdm_ref.stream import DiffusionStream, PromptPolicy, Stream, block_noise, stream_blocks
from lmdm_ref.token_sampler import TokenSampler
from lmdm_ref.token_stream import TokenStream, token_noise

__all__ = [
    "LMM_PRESETS",
    "PRESETS",
    "Attend",
    "BlockCausal",
    "BlockCausalOracle",
    "BlockCost",
    "Codec",
    "CodecConfig",
    "Conditioning",
    "DecoderConfig",
    "DiffusionDecoder",
    "DiffusionStream",
    "EncoderDecoder",
    "EncoderDecoderLMM",
    "EncoderDecoderLMMConfig",
    "EncoderDecoderOracle",
    "Evaluation",
    "Execute",
    "FrameConditions",
    "FrameWiseLMM",
    "FrameWiseLMMConfig",
    "Geometry",
    "HeadNorm",
    "KVCache",
    "Kernels",
    "LMMEncoderDecoder",
    "LMMEncoderDecoderOracle",
    "LMMFrameWise",
    "LMMFrameWiseOracle",
    "Network",
    "Outpaint",
    "OutpaintOracle",
    "PackedLinear",
    "Plan",
    "Preset",
    "Prologue",
    "PromptPolicy",
    "Row",
    "Sampler",
    "SecondsEmbedding",
    "Span",
    "StableAudio",
    "Stream",
    "StreamBytes",
    "TokenGeometry",
    "TokenSampler",
    "TokenStream",
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
    "execute",
    "guidance_codes",
    "linear_sigmas",
    "lmm_block_cost",
    "lmm_num_parameters",
    "lmm_stream_bytes",
    "load_stable_audio",
    "logsnr_sigmas",
    "num_parameters",
    "pack_linears",
    "pingpong_plus_sampler",
    "pingpong_sampler",
    "plan_row",
    "prologue",
    "random_codec",
    "random_decoder",
    "random_encoder_decoder_lmm",
    "random_frame_wise_lmm",
    "shift_sigmas",
    "stream_blocks",
    "stream_bytes",
    "token_noise",
    "why_not_packed",
]
