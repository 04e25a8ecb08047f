"""A memory profile in words: its closing text, its page in Markdown, its tables in a terminal.

Nothing here prints, and nothing imports torch.
"""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lmdm_bench import format as shown
from lmdm_bench.memory_timeline import Held, MemoryTimeline, stage_peaks
from lmdm_bench.profile_record import Compared, MemoryProfile, ProfileFacts
from lmdm_bench.profile_words import (
    AvoidableCost,
    Figure,
    ProfileParts,
    closing_text,
    largest,
    no_fractions,
)

RESIDENT = "weights, cache and workspace"
MODEL_ACTIVATIONS = "activations of the model"
CODEC_ACTIVATIONS = "activations of the codec"

_NOT_TIME = "memory is not time; --tool torch tells it"
_MOST_TERMINAL_LINES = 8
_DIM = "dim"

_STAGE_COLUMNS = ("stage", "peak", "at its end")
_COMPARED_COLUMNS = ("memory", "measured", "predicted", "ratio")

COSTS_MEAN = (
    "Each is a copy that is held at the peak: the same numbers are held elsewhere, in another "
    "order or dtype, so an operator that reads them there saves it all."
)
LEGEND = (
    "Weights, cache and workspace are measured as the growth of the resident set (on CUDA, of what "
    "torch holds) since before the model was built, with the codec's weights and the libraries' "
    "own code; activations are the peaks above."
)
NO_COPIES = "No copying operator holds anything at the peak: what is held are results."


def mebibytes(num_bytes: int) -> str:
    """``12.9 MiB``."""
    return f"{shown.number(num_bytes / 2**20)}{shown.NBSP}MiB"


def memory_closing(
    facts: ProfileFacts, timeline: MemoryTimeline, compared: Sequence[Compared]
) -> str:
    """Where the memory goes against what arithmetic says, and which copies stand at the peak."""
    costs = avoidable_copies(timeline)
    codec_cost = facts.cost.codec
    time_text = closing_text(
        ProfileParts(
            scheme=facts.workload.scheme,
            plain_ms=Figure(facts.plain_ms),
            bound_ms=Figure(facts.cost.bound_ms),
            codec_bound_ms=(
                Figure(None, "none is run") if codec_cost is None else Figure(codec_cost.bound_ms)
            ),
            profiler_ratio=Figure(facts.profiled_ms / facts.plain_ms),
            costs=costs,
            costs_mean=COSTS_MEAN if costs else NO_COPIES,
            fractions=no_fractions(_NOT_TIME),
            fractions_mean=None,
        )
    )
    return f"{_against(timeline, compared)}\n\n{time_text}"


def avoidable_copies(timeline: MemoryTimeline) -> tuple[AvoidableCost, ...]:
    """The largest copies that are held at the peak."""
    return largest(
        [
            AvoidableCost(
                where=one.where,
                what=_what_holds(one),
                size=float(one.num_bytes),
                unit="bytes",
                share=one.num_bytes / timeline.peak_bytes,
            )
            for one in timeline.held
            if one.is_copy and timeline.peak_bytes > 0
        ]
    )


def memory_markdown(profile: MemoryProfile, figure_name: str) -> str:
    """The page: what was profiled, the figure, the stages, the peak, and the closing text."""
    lines = [
        f"# Memory of a block of {shown.plain(profile.facts.workload.scheme)}",
        "",
        _what(profile),
        "",
        f"![What a block holds while it is made]({figure_name})",
        "",
        f"| {' | '.join(_STAGE_COLUMNS)} |",
        "|:--|--:|--:|",
        *(f"| {' | '.join(row)} |" for row in _stage_rows(profile.timeline)),
        "",
        f"| {' | '.join(_COMPARED_COLUMNS)} |",
        "|:--|--:|--:|--:|",
        *(f"| {' | '.join(row)} |" for row in _compared_rows(profile)),
        "",
        LEGEND,
        "",
        "| held at the peak by | operator | bytes | of the peak | copy |",
        "|:--|:--|--:|--:|:--|",
        *(
            f"| {one.where} | {shown.plain(one.operator)} | {shown.count(one.num_bytes)} "
            f"| {_share(one, profile.timeline)} | {'yes' if one.is_copy else ''} |"
            for one in profile.timeline.held
        ),
        "",
        profile.closing,
        "",
    ]
    return "\n".join(lines)


def memory_table(profile: MemoryProfile) -> RenderableType:
    """The same for a terminal of 80 columns."""
    stages = _table(*_STAGE_COLUMNS)
    for row in _stage_rows(profile.timeline):
        stages.add_row(*row)
    compared = _table(*_COMPARED_COLUMNS)
    for row in _compared_rows(profile):
        compared.add_row(*row)
    held = _table("held at the peak by", "memory", "of the peak")
    for one in profile.timeline.held[:_MOST_TERMINAL_LINES]:
        place = Text(one.where)
        place.append(f" {one.operator.removeprefix('aten::')}", style=_DIM)
        held.add_row(place, mebibytes(one.num_bytes), _share(one, profile.timeline))
    return Group(
        Text(_what(profile), style=_DIM),
        *(Text(), stages),
        *(Text(), compared, Text(LEGEND, style=_DIM)),
        *(Text(), held),
        *(Text(), Text(profile.closing)),
    )


def _what(profile: MemoryProfile) -> str:
    facts, timeline = profile.facts, profile.timeline
    peaks = sorted(set(profile.peaks_bytes))
    of = mebibytes(peaks[-1])
    alike = (
        f"peak {of}"
        if len(peaks) == 1
        else f"peaks {mebibytes(peaks[0])} to {of}, the highest is shown"
    )
    return (
        f"{shown.blocks(len(profile.peaks_bytes))} of {shown.plain(facts.workload.scheme)} "
        f"({shown.plain(facts.workload.model)}, {shown.plain(facts.dtype.value)}) on "
        f"{shown.plain(facts.machine.name)}: {alike}. "
        f"{shown.count(timeline.num_allocations)} allocations, "
        f"{mebibytes(timeline.allocated_sum_bytes)} in all; "
        f"{shown.count(timeline.end_bytes)} bytes are held when it ends. All are beyond the "
        f"{mebibytes(profile.resident_bytes)} of weights and cache (by arithmetic) that were held "
        "when the block began."
    )


def _against(timeline: MemoryTimeline, compared: Sequence[Compared]) -> str:
    """Sentences: the peak, where it is, and what each part is beside what arithmetic says."""
    stages = list(stage_peaks(timeline).values())
    said = f"A block holds {mebibytes(timeline.peak_bytes)} at its peak"
    if stages:
        highest = max(stages, key=lambda one: one.peak_bytes)
        if highest.peak_bytes == timeline.peak_bytes:
            said += f", in {highest.name}"
    return " ".join([f"{said}.", *(_sentence(one) for one in compared)])


def _sentence(one: Compared) -> str:
    if one.measured_bytes is None or one.predicted_bytes is None:
        return f"{_capital(one.name)}: not compared ({shown.plain(one.reason or 'not known')})."
    return (
        f"{_capital(one.name)}: {mebibytes(one.measured_bytes)} measured, "
        f"{mebibytes(one.predicted_bytes)} by arithmetic ({_ratio(one)})."
    )


def _what_holds(one: Held) -> str:
    times = "" if one.num_allocations == 1 else f", {shown.count(one.num_allocations)} times"
    return f"a copy inside {one.operator.removeprefix('aten::')}{times}"


def _stage_rows(timeline: MemoryTimeline) -> list[list[str]]:
    rows = [
        [one.name, mebibytes(one.peak_bytes), mebibytes(one.end_bytes)]
        for one in stage_peaks(timeline).values()
    ]
    return [*rows, ["block", mebibytes(timeline.peak_bytes), mebibytes(timeline.end_bytes)]]


def _compared_rows(profile: MemoryProfile) -> list[list[str]]:
    return [
        [one.name, _bytes(one.measured_bytes), _bytes(one.predicted_bytes), _ratio(one)]
        for one in profile.compared
    ]


def _bytes(num_bytes: int | None) -> str:
    return shown.NOT_AVAILABLE if num_bytes is None else mebibytes(num_bytes)


def _ratio(one: Compared) -> str:
    if one.measured_bytes is None or not one.predicted_bytes:
        return shown.NOT_AVAILABLE
    return shown.ratio(one.measured_bytes / one.predicted_bytes)


def _share(one: Held, timeline: MemoryTimeline) -> str:
    return shown.share(shown.over(one.num_bytes, timeline.peak_bytes))


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=_DIM)
    table.add_column(first, overflow="fold")
    for one in others:
        table.add_column(one, justify="right", no_wrap=True)
    return table
