from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmdm_ref.geometry import Geometry, TokenGeometry

PAPER = Geometry(sample_rate_hz=44_100, samples_per_frame=2048, context_frames=192, block_frames=48)
LOW_DELAY = replace(PAPER, context_frames=230, block_frames=10)
MAGENTA = TokenGeometry(
    sample_rate_hz=48_000,
    samples_per_frame=1920,
    context_frames=250,
    block_frames=50,
    num_levels=16,
)


def test_paper_window_is_240_frames_of_which_four_blocks_are_context() -> None:
    assert PAPER.window_frames == 240
    assert PAPER.context_blocks == 4
    assert round(PAPER.frame_rate_hz, 3) == 21.533
    assert round(PAPER.block_seconds, 3) == 2.229
    assert round(PAPER.context_samples / PAPER.sample_rate_hz, 3) == 8.916


def test_low_delay_window_is_as_long_with_23_blocks_of_context() -> None:
    assert LOW_DELAY.window_frames == PAPER.window_frames
    assert LOW_DELAY.context_blocks == 23
    assert round(LOW_DELAY.block_seconds, 3) == 0.464


@given(*[st.integers(1, 500) for _ in range(4)])
def test_frames_samples_and_seconds_tell_the_same_length(
    rate: int, samples_per_frame: int, blocks: int, block_frames: int
) -> None:
    geometry = Geometry(
        sample_rate_hz=rate,
        samples_per_frame=samples_per_frame,
        context_frames=blocks * block_frames,
        block_frames=block_frames,
    )
    assert geometry.context_blocks == blocks
    assert geometry.window_frames == (blocks + 1) * block_frames
    window_samples = geometry.context_samples + geometry.block_samples
    assert window_samples == geometry.window_frames * samples_per_frame
    assert geometry.block_seconds == block_frames * samples_per_frame / rate
    assert geometry.frame_rate_hz == rate / samples_per_frame


def test_context_that_is_no_whole_number_of_blocks_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"192 context .* not a whole number of 50-frame blocks"):
        replace(PAPER, block_frames=50)


@pytest.mark.parametrize(
    "name", ["sample_rate_hz", "samples_per_frame", "context_frames", "block_frames"]
)
@pytest.mark.parametrize("number", [0, -1])
def test_length_below_one_is_refused_by_name(name: str, number: int) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got {number}"):
        replace(PAPER, **{name: number})


def test_geometry_cannot_change_under_a_stream() -> None:
    with pytest.raises(FrozenInstanceError):
        PAPER.block_frames = 24  # type: ignore[misc]


def test_magenta_rt_makes_800_tokens_for_two_seconds_at_25_frames_a_second() -> None:
    assert MAGENTA.block_tokens == 800
    assert MAGENTA.frame_rate_hz == 25.0
    assert MAGENTA.block_seconds == 2.0


@given(*[st.integers(1, 500) for _ in range(5)])
def test_token_lengths_are_free_of_one_another(
    rate: int, samples_per_frame: int, context_frames: int, block_frames: int, levels: int
) -> None:
    """The context need not be a whole number of blocks."""
    geometry = TokenGeometry(
        sample_rate_hz=rate,
        samples_per_frame=samples_per_frame,
        context_frames=context_frames,
        block_frames=block_frames,
        num_levels=levels,
    )
    assert geometry.block_tokens == block_frames * levels
    assert geometry.block_seconds == block_frames * samples_per_frame / rate
    assert geometry.frame_rate_hz == rate / samples_per_frame


@pytest.mark.parametrize(
    "name",
    ["sample_rate_hz", "samples_per_frame", "context_frames", "block_frames", "num_levels"],
)
@pytest.mark.parametrize("number", [0, -1])
def test_token_length_below_one_is_refused_by_name(name: str, number: int) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got {number}"):
        replace(MAGENTA, **{name: number})


def test_token_geometry_cannot_change_under_a_stream() -> None:
    with pytest.raises(FrozenInstanceError):
        MAGENTA.num_levels = 4  # type: ignore[misc]
