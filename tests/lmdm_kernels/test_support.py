"""On fake devices: what is asked of torch and of Triton is replaced."""

import importlib.util
import subprocess
import sys

import pytest
import torch

from lmdm_kernels import support
from lmdm_kernels.launch import HEAD_DIMS, LAUNCHES, Card, Launch, shared_bytes
from lmdm_kernels.support import Support, supports, why_unavailable


def with_card(monkeypatch: pytest.MonkeyPatch, *capability: int, shared: int = 101_376) -> None:
    card = Card(capability, 24, shared)  # type: ignore[arg-type]
    monkeypatch.setattr(support, "card_of", lambda device: card)
    monkeypatch.setattr(support, "is_interpreted", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


def test_support_is_true_or_has_a_reason() -> None:
    assert Support() and Support().is_supported
    assert not Support("no") and not Support("no").is_supported


@pytest.mark.parametrize("capability", [(8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0), (12, 1)])
def test_gpus_from_ampere_on_are_supported(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]
) -> None:
    with_card(monkeypatch, *capability)
    assert why_unavailable("cuda") is None
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        assert all(supports("cuda:0", dtype, head_dim) for head_dim in HEAD_DIMS)


def test_turing_is_refused_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    with_card(monkeypatch, 7, 5, shared=65_536)
    reason = supports("cuda", torch.float16, 64).reason
    assert reason is not None
    assert "no tensor-core products for older ones, Turing included), got 7.5" in reason


def test_heads_and_dtypes_without_a_kernel_are_refused() -> None:
    assert supports("cpu", torch.float16, 96).reason == "head_dim is one of 32, 64, 128, got 96"
    reason = supports("cpu", torch.float64, 64).reason
    assert reason == "the dtype is one of float16, bfloat16, float32, got float64"


def test_a_cpu_without_the_interpreter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with_card(monkeypatch, 8, 6)
    reason = supports("cpu", torch.float32, 64).reason
    assert reason is not None and "TRITON_INTERPRET=1 is not set" in reason


def test_an_interpreter_beside_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with_card(monkeypatch, 8, 6)
    monkeypatch.setattr(support, "is_interpreted", lambda: True)
    assert why_unavailable("cuda") == (
        "TRITON_INTERPRET=1 is set, which would run the kernels on the CPU"
    )
    assert why_unavailable("cpu") is None


def test_other_devices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with_card(monkeypatch, 8, 6)
    assert why_unavailable("mps") == "the kernels are for NVIDIA GPUs, got device 'mps'"
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert why_unavailable("cuda:1") == "the kernels are for NVIDIA GPUs, got device 'cuda:1'"
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert why_unavailable("cuda") == "torch sees no CUDA device"


def test_without_triton_the_reason_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for device in ("cpu", "cuda"):
        reason = why_unavailable(device)
        assert reason is not None and "pip install lmdm-bench[kernels]" in reason


def test_a_launch_that_takes_too_much_shared_memory_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_card(monkeypatch, 8, 9)
    greedy = Launch(64, 128, 1, 4, 4)
    assert supports("cuda", torch.float16, 32, greedy)
    reason = supports("cuda", torch.float16, 128, greedy).reason
    assert reason is not None
    assert "bytes of shared memory at head_dim 128 in float16, and a program has 101376" in reason
    with_card(monkeypatch, 9, 0, shared=232_448)
    assert not supports("cuda", torch.float16, 128, greedy)
    assert supports("cuda", torch.float16, 128, Launch(128, 64, 1, 8, 2))


def test_every_shipped_launch_fits_every_card_that_takes_it() -> None:
    limits = {(8, 0): 166_912, (9, 0): 232_448, (10, 0): 232_448}
    for key, launch in LAUNCHES.items():
        capability = (int(key.arch[3:-1]), int(key.arch[-1]))
        dtype = "float16" if key.dtype == "half" else key.dtype
        # Data-centre Blackwell takes the rows of the smallest architecture.
        for one in {capability, (10, 0)} if key.arch == "sm_86" else {capability}:
            taken = shared_bytes(launch, one, dtype, key.head_dim)
            assert taken <= limits.get(one, 101_376)


def test_a_gpu_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Properties:
        major, minor, multi_processor_count = 8, 9, 76
        shared_memory_per_block_optin = 101_376

    def properties(index: int) -> Properties:
        asked.append(index)
        return Properties()

    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    support._asked.cache_clear()
    try:
        for _ in range(2):
            card = support.card_of(torch.device("cuda", 3))
            assert card == Card((8, 9), 76, 101_376) and card.arch == "sm_89"
    finally:
        support._asked.cache_clear()
    assert asked == [3]


def test_the_interpreter_has_one_processor() -> None:
    assert support.card_of(torch.device("cpu")).num_multiprocessors == 1


NO_TRITON = """
import sys
sys.modules["triton"] = None
import torch, lmdm_kernels
support = lmdm_kernels.supports("cpu", torch.float32, 64)
try:
    lmdm_kernels.attend(*[torch.zeros(1, 1, 4, 64)] * 3, [((0, 4), [(0, 4)])])
except ValueError as error:
    assert support.reason in str(error)
    print(support.reason)
"""


def test_the_package_is_imported_without_triton() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", NO_TRITON], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Triton is not installed" in done.stdout
