from dataclasses import replace
import torch
from lmm_helpers import *
def test_c():
    for s in (PLAIN_SAMPLER, GUIDED_SAMPLER):
        t=tiny_lmm_encoder_decoder(s); check_token_stream(t.stream,t.oracle)
def test_f():
    t=tiny_lmm_frame_wise(); check_token_stream(t.stream,t.oracle)
def test_b():
    for d in (torch.float32, torch.bfloat16):
        check_token_stream_within_budget(tiny_lmm_frame_wise(dtype=d))
        check_token_stream_within_budget(tiny_lmm_encoder_decoder(dtype=d))
        check_token_stream_within_budget(tiny_lmm_encoder_decoder(GUIDED_SAMPLER,dtype=d))
