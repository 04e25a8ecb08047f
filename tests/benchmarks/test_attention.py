"""Every way to compute the attention of every plan, checked, and timed by the suite's own timer.

    tox exec -e py -- pytest tests/benchmarks/test_attention.py --benchmark-enable \\
        --benchmark-group-by=param:plan --benchmark-save=NAME   # then --benchmark-compare=NAME

Without --benchmark-enable each is held to float64, small, the kernel in Triton's interpreter where
there is no GPU; the interpreter is never timed. What cannot run here is skipped with its reason.
"""

from dataclasses import replace

import psutil
import pytest
import torch

from lmdm_bench import kernel_timer
from lmdm_bench.attention_backends import BACKENDS, Setting, random_inputs
from lmdm_bench.attention_cases import PLANS, Case, cases
from lmdm_bench.attention_check import poison, truth_of
from lmdm_bench.errors import UnsupportedError
from lmdm_bench.estimates import quantile
from lmdm_bench.kernel_timer import SampleClock

ROUNDS = 25
SMALL = ("48+16", 2, 64)
PAPER = ("192+48", 8, 128)
# The plans of one pass have one shape, hence one compiled graph; more would take tests too long.
ONE_SHAPE = ("full", "encoder-decoder", "block-causal")

CLOCK = SampleClock()


def case_of(plan: str, window: str, heads: int, head_dim: int) -> Case:
    """A plan with as many heads as are asked for, whatever model has them."""
    (case,) = cases((plan,), (window,), ("sao-small",), (1,), bytes_per_number=4)
    return replace(case, facts=replace(case.facts, heads=heads, head_dim=head_dim))


@pytest.mark.benchmark(timer=CLOCK)
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_attention(backend: str, plan: str, request: pytest.FixtureRequest) -> None:
    is_measured = request.config.getoption("benchmark_enable")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if is_measured:
        torch.set_num_threads(psutil.cpu_count(logical=False) or 1)
    elif backend == "flex" and plan not in ONE_SHAPE:
        pytest.skip("this shape is compiled with --benchmark-enable only")
    case = case_of(plan, *(PAPER if is_measured else SMALL))
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    inputs = random_inputs(case.facts, device, dtype, seed=0)
    truth = truth_of(inputs, case.plan)
    try:
        call = BACKENDS[backend](Setting(case.plan, inputs, is_timed=is_measured))
        poison(inputs.query)
        check = truth.check(call(inputs))
    except UnsupportedError as error:
        pytest.skip(str(error))
    assert check.is_within_budget, check

    timed = kernel_timer.eager([lambda: call(inputs)], device)
    benchmark = request.getfixturevalue("benchmark")
    CLOCK.sampled_ms.clear()
    benchmark.pedantic(CLOCK.take, (timed,), rounds=ROUNDS, warmup_rounds=1)
    median = quantile(CLOCK.sampled_ms[-ROUNDS:], 0.5)
    benchmark.extra_info |= {
        "median_ms": median.value,
        "median_ms_ci95": median.ci95,
        "rounds": median.n,
        "flops": case.facts.flops,
        "error": check.error,
        "budget": check.budget,
    }
