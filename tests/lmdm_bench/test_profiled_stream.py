"""A stream is profiled only once it is proved and warm; its stages are ranges by name."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from lmdm_bench import profiled_stream, subjects
from lmdm_bench.clock import CALL_ONLY, Stopwatch
from lmdm_bench.errors import UnsupportedError
from lmdm_bench.profiled_stream import (
    NUM_PLAIN_BLOCKS,
    ProfileAsked,
    ProfiledStream,
    RangedStopwatch,
)
from lmdm_bench.record import Ceiling, Check, Choice
from lmdm_bench.stream_run import MAX_WARMUP_BLOCKS
from tiny_run import FIVE, HEARD

CEILING = Ceiling("float32", 1e11, 1e10)


@pytest.fixture(autouse=True)
def _quick_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiled_stream, "ceiling_for", lambda request: CEILING)


def asked(scheme: str) -> ProfileAsked:
    lmm_models = tuple(one for one in FIVE.lmm_models if subjects.scheme_of(one) == scheme)
    return ProfileAsked(
        request=replace(FIVE, schemes=(scheme,), lmm_models=lmm_models),
        scheme=scheme,
        num_blocks=1,
        device=Choice("cpu", "asked for"),
        dtype=Choice("float32", "asked for"),
        input_samples=HEARD,
        command="lmdm-bench profile",
    )


def no_words(words: str) -> None:
    """Nobody listens."""


class Ranges:
    """What a profiler would see: names as ranges open (+) and close (−)."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    @contextmanager
    def open(self, name: str) -> Iterator[None]:
        self.seen.append(f"+{name}")
        yield
        self.seen.append(f"-{name}")


def test_a_ranged_watch_times_as_a_plain_one_and_numbers_the_steps() -> None:
    ranges = Ranges()
    watch = RangedStopwatch(lambda: None, ranges.open)
    with watch.block():
        for name in ("context_encode", "step", "step", "commit"):
            with watch.stage(name):
                pass
    assert ranges.seen == [
        "+block",
        *("+context_encode", "-context_encode", "+step 0", "-step 0", "+step 1", "-step 1"),
        *("+commit", "-commit", "-block"),
    ]
    assert [len(times) for times in watch.stages_ms.values()] == [1, 2, 1]
    assert watch.total_ms >= sum(map(sum, watch.stages_ms.values()))


@pytest.mark.parametrize(
    ("scheme", "stages"),
    [
        ("outpaint", ["step 0", "step 1", "step 2", "commit", "codec_decode"]),
        (
            "encoder-decoder",
            ["context_encode", "step 0", "step 1", "step 2", "commit", "codec_decode"],
        ),
        ("block-causal", ["step 0", "step 1", "step 2", "codec_decode"]),
    ],
)
def test_the_stages_of_a_scheme_are_ranges_in_their_order(scheme: str, stages: list[str]) -> None:
    stream = ProfiledStream(asked(scheme), no_words)
    assert stream.check.is_within_budget
    stream.warm_up()
    ranges = Ranges()
    service_ms = stream.make_block(stream.watch(ranges.open))
    opened = [one[1:] for one in ranges.seen if one[0] == "+"]
    assert [one for one in opened if not one.endswith(CALL_ONLY)] == ["block", *stages]
    assert service_ms > 0


def test_an_lmm_has_a_step_for_each_frame() -> None:
    stream = ProfiledStream(asked("lmm-frame-wise"), no_words)
    stream.warm_up()
    ranges = Ranges()
    stream.make_block(stream.watch(ranges.open))
    opened = [one for one in ranges.seen if one.startswith("+step")]
    assert opened == [f"+step {frame}" for frame in range(stream.workload.block_frames)]


def test_plain_blocks_are_timed_once_the_stream_is_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = ProfiledStream(asked("outpaint"), no_words)
    assert stream.plain_ms is None
    # Slower than the fastest by more than WARM_SHARE, so one more is made; then three are plain.
    times = iter([5.0, 9.0, 5.1, 2.0, 1.0, 3.0])
    monkeypatch.setattr(stream, "make_block", lambda watch: next(times))
    assert stream.warm_up() == stream.plain_ms == 2.0
    assert next(times, None) is None


def test_warming_up_ends_though_blocks_get_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = ProfiledStream(asked("outpaint"), no_words)
    times = [float(1 + index) for index in range(MAX_WARMUP_BLOCKS + NUM_PLAIN_BLOCKS)]
    left = iter(times)
    monkeypatch.setattr(stream, "make_block", lambda watch: next(left))
    assert stream.warm_up() == times[-2]
    assert next(left, None) is None


def test_what_is_not_right_is_not_profiled(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Check("an oracle", 2, 2, 1e-2, 1e-7, 3e-7, is_within_budget=False)
    subject = subjects.DiffusionSubject
    monkeypatch.setattr(
        subject, "make_block", lambda self, watch: pytest.fail("an unproved block was made")
    )
    monkeypatch.setattr(subjects.DiffusionModel, "_check", lambda *_: wrong)
    with pytest.raises(UnsupportedError, match=r"block-causal is not right here: error 0\.01"):
        ProfiledStream(asked("block-causal"), no_words)


def test_a_model_that_does_not_fit_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 99 bytes")

    monkeypatch.setattr(subjects, "Model", refuse)
    with pytest.raises(UnsupportedError, match="too little memory to profile outpaint"):
        ProfiledStream(asked("outpaint"), no_words)


def test_other_failures_go_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(subjects, "Model", fail)
    with pytest.raises(RuntimeError, match="a mistake"):
        ProfiledStream(asked("outpaint"), no_words)


def test_a_watch_without_ranges_is_a_plain_one() -> None:
    stream = ProfiledStream(asked("outpaint"), no_words)
    assert type(stream.watch()) is Stopwatch
