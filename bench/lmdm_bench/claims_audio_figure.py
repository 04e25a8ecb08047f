"""The figure of compute for one second of audio, of each scheme at the paper's settings."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmdm_bench import format as shown
from lmdm_bench.canvas import INK, MUTED, ON_PAPER, drawing_style, margins, mixed, safe
from lmdm_bench.claim_tests import View, is_measured
from lmdm_bench.claims import LMM_SCHEMES
from lmdm_bench.claims_curves import encode_ms, mean_seconds, service_ms
from lmdm_bench.claims_panels import SCHEMES, claims_canvas, ends_of, number_axis, say
from lmdm_bench.claims_record import ClaimsRecord, Point
from lmdm_bench.fits import Fitted

# A line at 1 that is further off than this would flatten what was measured.
_FARTHEST_LINE = 3.0


def audio_seconds(record: ClaimsRecord) -> Figure:
    """Seconds of compute for one second of audio, of each scheme at the paper's settings."""
    view = View(record)
    rows = tuple(paper_rows(view))
    with drawing_style():
        figure = claims_canvas(
            record,
            "Compute for one second of audio, at the paper's settings",
            "Left of the line at 1 a scheme makes audio faster than it plays, its codec (left out "
            "here) apart. Lines: 95 % intervals.",
            height_inches=1.75 + 0.66 * len(rows),
        )
        axes = figure.subplots(
            gridspec_kw=margins(figure, left=2.25, right=0.25, top=1.0, bottom=0.88)
        )
        _audio_bars(axes, rows)
        return figure


@dataclass(frozen=True)
class AudioRow:
    """A scheme at one of the paper's settings: compute seconds for a second of audio, or why not.

    ``encode`` is the context encode's part of ``told``, None where nothing is encoded.
    """

    scheme: str
    details: tuple[str, ...]
    told: Fitted | None
    encode: float | None
    why_not: str | None


def paper_rows(view: View) -> Iterator[AudioRow]:
    """A row for each of the paper's settings, and one for each scheme that has none."""
    for scheme in SCHEMES:
        points = [
            one
            for one in view.record.points
            if one.workload.scheme == scheme and "paper" in one.sweeps
        ]
        points.sort(key=lambda one: (one.workload.model, one.cost.evaluations))
        if not points:
            yield AudioRow(scheme, (), None, None, "not measured at the paper's settings")
        for point in points:
            yield _paper_row(point)


def _paper_row(point: Point) -> AudioRow:
    work, cost = point.workload, point.cost
    if shown.is_lmm(work):
        made = f"{shown.count(cost.evaluations)} tokens, block {shown.seconds(work.block_seconds)}"
    else:
        made = f"{work.steps} steps, block {shown.seconds(work.block_seconds)}"
    details = (safe(shown.model(work, cost), 34), made)
    told = mean_seconds(point, service_ms) if is_measured(point) else None
    if told is None:
        why = f"{point.status}: {point.reason}" if point.reason else "no round reached it"
        return AudioRow(work.scheme, details, None, None, why)
    encode = mean_seconds(point, encode_ms)
    part = None if encode is None else encode.value / work.block_seconds
    told = replace(told, value=told.value / work.block_seconds)
    return AudioRow(work.scheme, details, told, part, None)


def _audio_bars(axes: Axes, rows: Sequence[AudioRow]) -> None:
    ends = [max(ends_of(one.told) or (one.told.value,)) for one in rows if one.told is not None]
    longest = max(ends, default=1.0)
    is_near = longest * _FARTHEST_LINE >= 1.0
    right = 1.5 * (max(longest, 0.8) if is_near else longest)
    axes.set_xlim(0, right)
    axes.set_ylim(len(rows) - 0.45, -0.6)
    for row, one in enumerate(rows):
        _audio_name(axes, row, one)
        if one.told is None:
            words = textwrap.fill(safe(one.why_not or "", 150), 80)
            say(axes, words, (0, row), (6, 0), color=MUTED, bbox=ON_PAPER)
            continue
        _audio_bar(axes, row, one)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    number_axis(axes, "x", 7)
    axes.set_xlabel("seconds of compute per second of audio", fontsize=9)
    if is_near:
        axes.axvline(1, color=INK, linewidth=1.3, linestyle=(0, (5, 2.5)), zorder=1)
    words = "1: as fast as it plays" if is_near else "1, as fast as it plays, is far to the right"
    at = 1.0 if is_near else right
    side = "center" if is_near else "right"
    say(axes, words, (at, -0.66), va="bottom", ha=side, fontweight="bold")


def _audio_name(axes: Axes, row: int, one: AudioRow) -> None:
    beside, above = axes.get_yaxis_transform(), 5.75 * len(one.details)
    say(axes, one.scheme, (0, row), (-10, above), beside, ha="right", fontweight="bold")
    for at, words in enumerate(one.details, start=1):
        place = (-10, above - 11.5 * at)
        say(axes, words, (0, row), place, beside, ha="right", fontsize=8, color=MUTED)


def _audio_bar(axes: Axes, row: int, one: AudioRow) -> None:
    assert one.told is not None
    colour = shown.scheme_colour(one.scheme)
    encode = one.encode or 0.0
    work = "tokens" if one.scheme in LMM_SCHEMES else "steps"
    if encode:
        axes.barh(row, encode, 0.5, color=mixed(colour, "#000000", 0.42), zorder=2)
    axes.barh(row, one.told.value - encode, 0.5, left=encode, color=colour, zorder=2)
    ends = ends_of(one.told)
    if ends is not None:
        axes.plot(ends, [row, row], color=INK, linewidth=1.8, zorder=4)
    value, interval = shown.rtf_and_interval(one.told.estimate())
    words = f"{value} {interval if ends else '(no interval)'}"
    end = max(one.told.value, *(ends or (0.0,)))
    parts = (
        f"encode {shown.number(encode)} (dark), {work} {shown.number(one.told.value - encode)}"
        if encode
        else f"all {work}"
    )
    style: dict[str, Any] = {"bbox": ON_PAPER, "zorder": 5}
    say(axes, words, (end, row), (7, 6), fontweight="bold", **style)
    say(axes, parts, (end, row), (7, -6.5), fontsize=8, color=MUTED, **style)
