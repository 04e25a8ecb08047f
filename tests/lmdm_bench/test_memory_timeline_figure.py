"""The figure of a block's memory, by what is drawn in it and by a golden image.

The golden image is renewed, after a look at the new one, with
``LMDM_RENEW_GOLDEN=1 pytest tests/lmdm_bench/test_memory_timeline_figure.py -k golden``.
"""

import dataclasses
import io
import math
import os
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import host_and_memory_profiles as profiles
from claims_drawn import rendered, words
from host_and_memory_profiles import MIB
from lmdm_bench.canvas import drawing_style, to_png
from lmdm_bench.format import CODEC_COLOUR
from lmdm_bench.memory_timeline import Change, Range, memory_timeline
from lmdm_bench.memory_timeline_figure import memory_figure

GOLDEN = Path(__file__).parents[1] / "golden" / "profile_memory.png"
GOLDEN_DPI = 60
GOLDEN_COLOURS = 128  # for small files
# Of root mean square difference, on a scale of 0 to 1: other fonts, not other data.
GOLDEN_TOLERANCE = 0.012


def drawn() -> Figure:
    return rendered(memory_figure(profiles.memory_profile()))


def test_the_level_is_drawn_as_steps_to_the_blocks_end() -> None:
    timeline = profiles.memory_profile().timeline
    axes = drawn().axes[0]
    (steps,) = (one for one in axes.lines if one.get_drawstyle() == "steps-post")
    assert list(steps.get_xdata()) == [*timeline.times_ms, 100.0]
    assert [one * MIB for one in steps.get_ydata()] == [*timeline.allocated_bytes, MIB]
    assert axes.get_xlim() == (0.0, 100.0)


def test_every_stage_is_a_band_with_its_peak() -> None:
    axes = drawn().axes[0]
    bands = [(one.get_x(), one.get_x() + one.get_width()) for one in axes.patches]
    assert bands == [(10, 30), (30, 50), (55, pytest.approx(98))]
    dots = [
        (one.get_xdata()[0], one.get_ydata()[0]) for one in axes.lines if one.get_marker() == "o"
    ]
    assert dots == [(20, 11), (30, 1), (75, 21)]
    told = words(drawn())
    for one in ("first step 11.0 MiB", "later steps 1.00 MiB", "codec decode 21.0 MiB"):
        assert one in told


def test_predictions_are_dashed_across_what_they_are_of() -> None:
    axes = drawn().axes[0]
    dashed = [one for one in axes.lines if one.get_linestyle() == "--"]
    assert [(*one.get_xdata(), one.get_ydata()[0]) for one in dashed] == [
        (10, 50, 7),
        (55, 98, 96),
    ]
    told = words(drawn())
    assert "activations by arithmetic: 7.00 MiB of the model, 96.0 MiB of the codec" in told


def test_what_the_peak_is_made_of_is_told_with_its_lines() -> None:
    axes = drawn().axes[1]
    names = [one.get_text() for one in axes.get_yticklabels()]
    assert names[:2] == ["lmdm_ref/codec.py:282 conv1d", "lmdm_ref/codec.py:239 cat"]
    assert [one.get_width() for one in axes.patches] == [12, 5, 3, 1]
    # The peak is in the codec; what is a copy is hatched.
    assert {one.get_facecolor() for one in axes.patches} == {_rgba(CODEC_COLOUR)}
    assert [bool(one.get_hatch()) for one in axes.patches] == [False, True, False, False]
    assert "5.00 MiB, a copy" in words(drawn())


def test_what_is_said_around_it() -> None:
    told = words(drawn())
    assert "beyond the 967 MiB of weights and cache" in told and "1.20×" in told
    assert "block 2 of 2 profiled" in told and "AMD EPYC, 2 cores" in told


def test_a_block_without_stages_or_allocations_is_drawn() -> None:
    profile = profiles.memory_profile()
    for changes in ([], [Change(1, 100, 1, ("aten::add",), "x" * 200)]):
        timeline = memory_timeline(changes, Range("block", 0, 10), [], 0)
        whole = dataclasses.replace(profile, timeline=timeline, compared=())
        rendered(memory_figure(whole))


def test_many_lines_leave_the_rest_to_one_bar() -> None:
    changes = [Change(at, 100 - at, at, ("aten::add",), f"f.py:{at}") for at in range(1, 30)]
    timeline = memory_timeline(changes, Range("block", 0, 40), [], 0)
    profile = dataclasses.replace(profiles.memory_profile(), timeline=timeline)
    axes = rendered(memory_figure(profile)).axes[1]
    assert axes.get_yticklabels()[-1].get_text() == "all others"
    assert sum(one.get_width() for one in axes.patches) * MIB == pytest.approx(timeline.peak_bytes)


def test_the_same_profile_gives_the_same_file() -> None:
    assert to_png(memory_figure(profiles.memory_profile())) == to_png(drawn())


def test_golden_image() -> None:
    content = io.BytesIO()
    with drawing_style():
        memory_figure(profiles.memory_profile()).savefig(
            content, format="png", dpi=GOLDEN_DPI, metadata={"Software": None}
        )
    now = Image.open(content).convert("RGB")
    if os.environ.get("LMDM_RENEW_GOLDEN"):
        now.quantize(GOLDEN_COLOURS).save(GOLDEN, optimize=True)
    golden = Image.open(GOLDEN).convert("RGB")
    assert now.size == golden.size
    difference = (np.asarray(now, float) - np.asarray(golden, float)) / 255
    assert math.sqrt(float((difference**2).mean())) < GOLDEN_TOLERANCE


def _rgba(colour: str) -> tuple[float, ...]:
    return (*(int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)), 1.0)
