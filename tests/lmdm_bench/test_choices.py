"""What is picked follows the machine, and what cannot run is refused in one sentence."""

import pytest
import torch

from lmdm_bench import choices
from lmdm_bench.choices import check_device, check_dtype, pick_device, pick_dtype
from lmdm_bench.errors import UnsupportedError


@pytest.fixture
def cuda(monkeypatch):
    """Two GPUs, as torch sees them."""
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.parametrize(
    ("cpu_isa", "value", "reason"),
    [
        (("amx_bf16", "avx512_bf16"), "bfloat16", "the processor has amx_bf16"),
        (("avx2", "avx512_bf16"), "bfloat16", "the processor has avx512_bf16"),
        (("avx2", "avx512f"), "float32", "the processor has neither amx_bf16 nor avx512_bf16"),
        (("bf16", "neon"), "float32", "the processor has neither amx_bf16 nor avx512_bf16"),
    ],
)
def test_the_dtype_picked_on_a_cpu_follows_its_instructions(cpu_isa, value, reason):
    picked = pick_dtype("cpu", cpu_isa)
    assert (picked.value, picked.reason) == (value, reason)


@pytest.mark.parametrize(
    ("capability", "value"), [((7, 5), "float16"), ((8, 0), "bfloat16"), ((12, 0), "bfloat16")]
)
def test_the_dtype_picked_on_a_gpu_follows_its_capability(cuda, monkeypatch, capability, value):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    picked = pick_dtype("cuda:1", ())
    assert picked.value == value
    assert "{}.{}".format(*capability) in picked.reason


def test_the_dtype_picked_on_an_apple_gpu_is_float32():
    assert pick_dtype("mps", ()).value == "float32"


def test_the_device_picked_is_cuda_where_there_is_one(cuda):
    assert pick_device().value == "cuda"


def test_the_device_picked_without_cuda_is_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    picked = pick_device()
    assert (picked.value, picked.reason) == ("cpu", "this build of torch has no CUDA")


def test_a_dtype_that_runs_is_accepted():
    assert check_dtype("float32", "cpu", ()).reason == "asked for"
    assert check_dtype("bfloat16", "cpu", ("avx512_bf16",)).reason == "asked for"


def test_a_dtype_that_is_emulated_is_accepted_with_a_note():
    accepted = check_dtype("bfloat16", "cpu", ("avx2",))
    assert accepted.value == "bfloat16"
    note = "asked for; slow here: the processor has no bfloat16 instructions"
    assert accepted.reason == note


def test_bfloat16_on_an_old_gpu_is_noted(cuda, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(choices, "_try_operators", lambda dtype, device: None)
    assert check_dtype("bfloat16", "cuda", ()).reason.endswith("the GPU has no bfloat16 units")


def test_a_dtype_without_operators_is_refused_in_one_sentence(monkeypatch):
    def fail(dtype, device):
        raise RuntimeError("\"conv1d\" not implemented for 'Half'\nException raised from")

    monkeypatch.setattr(choices, "_try_operators", fail)
    with pytest.raises(UnsupportedError) as caught:
        check_dtype("float16", "cpu", ())
    assert str(caught.value) == (
        "float16 does not run on cpu here: \"conv1d\" not implemented for 'Half'"
    )


@pytest.mark.parametrize("dtype", ["float64", "int8", "half", ""])
def test_a_dtype_that_is_none_of_ours_is_refused(dtype):
    with pytest.raises(UnsupportedError, match="is not one of float32, bfloat16, float16"):
        check_dtype(dtype, "cpu", ())


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", "there is no device 'gpu'; known are cpu, cuda, mps"),
        ("", "there is no device ''; known are cpu, cuda, mps"),
        ("meta", "the device 'meta' is not supported; known are cpu, cuda, mps"),
        ("cpu:1", "cpu:1 was asked for, but there is only one cpu"),
        ("cuda", "cuda was asked for, but this build of torch has no CUDA"),
        ("mps", "mps was asked for, but this machine has no Apple GPU"),
    ],
)
def test_a_device_that_is_not_here_is_refused_in_one_sentence(monkeypatch, device, message):
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UnsupportedError) as caught:
        check_device(device)
    assert str(caught.value) == message


def test_a_device_that_is_here_is_accepted(cuda):
    check_device("cpu")
    check_device("cuda")
    check_device("cuda:1")
    with pytest.raises(UnsupportedError, match="cuda:2 was asked for, but CUDA devices here: 2"):
        check_device("cuda:2")
