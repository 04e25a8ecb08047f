"""The codec alone: it is held to float64, and what breaks it is seen."""

import pytest
import torch

import lmdm_ref
from lmdm_bench.codec_subject import CodecSubject


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_right_codec_is_within_its_budget(dtype: str) -> None:
    subject = CodecSubject("tiny", 5, dtype, "cpu", 0)
    error, budget = subject.check()
    assert 0 < error <= budget
    samples = subject.decode()
    frame = lmdm_ref.PRESETS["tiny"].codec.samples_per_frame
    assert samples.shape == (1, 2, 5 * frame)
    assert samples.dtype == getattr(torch, dtype)


def test_a_codec_that_is_a_little_off_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    right = lmdm_ref.Codec.decode

    def wrong(self: lmdm_ref.Codec, latents: torch.Tensor) -> torch.Tensor:
        samples = right(self, latents)
        return samples if samples.dtype == torch.float64 else 1.001 * samples

    monkeypatch.setattr(lmdm_ref.Codec, "decode", wrong)
    error, budget = CodecSubject("tiny", 5, "float32", "cpu", 0).check()
    assert error > budget
