"""What an operator profile says: its closing text, its rows, and both as a page of Markdown.

No torch. ``profile_words.py`` has the closing text that all profiles share.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from lmdm_bench import format as shown
from lmdm_bench.operator_profile import (
    GRAPH_REPLAY,
    UNKNOWN_PLACE,
    CallSite,
    OperatorProfile,
    OperatorRow,
    StageProfile,
)
from lmdm_bench.operator_record import TorchProfile
from lmdm_bench.profile_words import (
    AvoidableCost,
    Figure,
    Fractions,
    ProfileParts,
    closing_text,
    largest,
)

MS_PER_SECOND = 1e3

# So many operators of a stage are shown, and no stage that is a smaller part of a block.
MOST_OPERATORS = 5
LEAST_STAGE_SHARE = 0.02
# So many operators of a line are named.
_MOST_NAMES = 3

STAGE_HEADS = ("stage", "ms", "of block", "launches", "computing", "dispatch", "gaps", "longest")
OPERATOR_HEADS = ("operator", "calls", "ms", "of stage")

_FIRST_STEP = "step 0"
_STEP = "step "


def parts_of(record: TorchProfile) -> ProfileParts:
    """What the closing text is made of."""
    cost = record.facts.cost
    codec = Figure(None, "the suite has none for this model")
    if cost.codec is not None:
        codec = Figure(cost.codec.bound_ms)
    return ProfileParts(
        scheme=record.facts.workload.scheme,
        plain_ms=Figure(record.facts.plain_ms),
        bound_ms=Figure(cost.bound_ms),
        codec_bound_ms=codec,
        profiler_ratio=Figure(record.profiler_ratio),
        costs=_costs(record.profile),
        costs_mean=_costs_mean(record.profile),
        fractions=_fractions(record),
        fractions_mean=_fractions_mean(record),
    )


def closing_of(record: TorchProfile) -> str:
    """The text that the profile ends with."""
    return closing_text(parts_of(record))


def shown_stages(record: TorchProfile) -> tuple[StageProfile, ...]:
    """The stages as they are told: the first step, the later ones as their mean, and the others
    that are a part of a block worth telling. An LMM's steps are frames."""
    word = "frame" if shown.is_lmm(record.facts.workload) else "step"
    later = [one for one in record.profile.stages if _is_later_step(one)]
    stages: list[StageProfile] = []
    for one in record.profile.stages:
        if _is_later_step(one):
            if one is later[0]:
                stages.append(_mean(later, f"later {word}"))
        elif one.name == _FIRST_STEP:
            stages.append(replace(one, name=f"first {word}"))
        elif one.share >= LEAST_STAGE_SHARE:
            stages.append(replace(one, name=shown.STAGES.get(one.name, one.name)))
    return tuple(stages)


def stage_row(stage: StageProfile) -> tuple[str, ...]:
    """A stage's figures under ``STAGE_HEADS``, times in ms."""
    dispatch = shown.NOT_AVAILABLE if stage.dispatch_ms is None else shown.number(stage.dispatch_ms)
    return (
        shown.plain(stage.name),
        shown.number(stage.wall_ms),
        shown.share(stage.share),
        shown.number(stage.num_launches, 0 if stage.num_launches >= 10 else 1),
        shown.number(stage.computing_ms),
        dispatch,
        shown.number(stage.gap_ms),
        shown.number(stage.longest_gap_ms),
    )


def operator_row(row: OperatorRow) -> tuple[str, ...]:
    """An operator's figures under ``OPERATOR_HEADS``, the time in ms."""
    calls = shown.number(row.num_calls, 0 if row.num_calls >= 10 else 1)
    return shown.plain(row.name), calls, shown.number(row.ms), shown.share(row.share)


def heading(record: TorchProfile) -> str:
    """One line: what was profiled."""
    work = record.facts.workload
    steps = () if work.steps is None else (f"{work.steps} steps",)
    parts = (
        shown.model(work, record.facts.cost),
        *steps,
        f"{shown.plain(work.dtype)} on {shown.plain(record.facts.device.value)}",
        shown.plain(record.facts.machine.name),
    )
    return ", ".join(parts)


def legend(profile: OperatorProfile) -> str:
    """What the columns of the stages mean."""
    if profile.is_of_device:
        return (
            "Means of one block in ms. Launches are the device's kernels and copies; computing is "
            "the time in which one runs, gaps the time in which none does, longest the longest gap."
        )
    return (
        "Means of one block in ms. Launches are operator calls that compute or move numbers; "
        "computing is the time inside them, dispatch the other time inside operators (views, room, "
        "calls of others), gaps the time in which no operator runs, longest the longest gap."
    )


def trace_words(record: TorchProfile) -> str:
    """How much of the blocks the trace file holds."""
    return (
        f"The trace file holds the first {shown.count(record.trace_stages)} of "
        f"{shown.count(record.num_stages)} stages, or it would be too large to open; the figures "
        "are of all."
    )


def profile_page(record: TorchProfile) -> str:
    """``profile.md``: the stages, their top operators, and the closing text."""
    stages = shown_stages(record)
    lines = [
        f"# Operators of {shown.plain(record.facts.workload.scheme)}",
        "",
        f"{heading(record)}. {shown.blocks(record.profile.num_blocks)} under torch.profiler.",
        "",
        f"`{shown.plain(record.facts.command)}`",
        "",
        *_table(STAGE_HEADS, [stage_row(one) for one in stages]),
        "",
        legend(record.profile),
    ]
    if record.trace_stages < record.num_stages:
        lines += ["", trace_words(record)]
    for stage in stages:
        rows = [operator_row(one) for one in stage.operators[:MOST_OPERATORS]]
        lines += ["", f"## {shown.plain(stage.name)}", "", *_table(OPERATOR_HEADS, rows)]
    return "\n".join([*lines, "", "## What it says", "", closing_of(record), ""])


def _is_later_step(stage: StageProfile) -> bool:
    return stage.name.startswith(_STEP) and stage.name != _FIRST_STEP


def _mean(stages: Sequence[StageProfile], name: str) -> StageProfile:
    """One stage that stands for several, with the longest of their gaps."""
    num = len(stages)
    calls: defaultdict[str, float] = defaultdict(float)
    times: defaultdict[str, float] = defaultdict(float)
    for row in (row for stage in stages for row in stage.operators):
        calls[row.name] += row.num_calls / num
        times[row.name] += row.ms / num
    wall_ms = sum(one.wall_ms for one in stages) / num
    dispatched = [one.dispatch_ms for one in stages if one.dispatch_ms is not None]
    return StageProfile(
        name=name if num == 1 else f"{name}, each of {num}",
        wall_ms=wall_ms,
        share=sum(one.share for one in stages) / num,
        num_launches=sum(one.num_launches for one in stages) / num,
        computing_ms=sum(one.computing_ms for one in stages) / num,
        dispatch_ms=sum(dispatched) / num if dispatched else None,
        gap_ms=sum(one.gap_ms for one in stages) / num,
        longest_gap_ms=max(one.longest_gap_ms for one in stages),
        operators=tuple(
            OperatorRow(name, calls[name], ms, ms / wall_ms)
            for name, ms in sorted(times.items(), key=lambda item: -item[1])
        ),
    )


def _costs(profile: OperatorProfile) -> tuple[AvoidableCost, ...]:
    """What each line of code costs beyond its bound, all its operators together."""
    lines: defaultdict[str, list[CallSite]] = defaultdict(list)
    for site in profile.call_sites:
        if site.where != UNKNOWN_PLACE and site.avoidable_ms is not None:
            lines[site.where].append(site)
    found = []
    for where, sites in lines.items():
        avoidable_ms = sum(one.avoidable_ms or 0.0 for one in sites)
        share = avoidable_ms / profile.totals.block_ms
        found.append(AvoidableCost(where, _what(sites), avoidable_ms, "ms", share))
    return largest(found)


def _what(sites: Sequence[CallSite]) -> str:
    """``sin_, mul and square_, 654 calls``, the largest first."""
    ordered = sorted(sites, key=lambda one: -(one.avoidable_ms or 0.0))
    names = list(dict.fromkeys(_short(one.operator) for one in ordered))
    told = names[:_MOST_NAMES]
    if len(names) > _MOST_NAMES:
        told = [*told, "others"]
    *most, last = told
    named = f"{', '.join(most)} and {last}" if most else last
    count = shown.number(sum(one.num_calls for one in sites), 0)
    calls = f"{count} {'call' if count == '1' else 'calls'}"
    moving = ", which moves data only" if all(one.is_movement for one in sites) else ""
    return f"{named}, {calls}{moving}"


def _short(operator: str) -> str:
    """``mul`` of ``aten::mul``."""
    return operator.rpartition("::")[2].removeprefix("_")


def _costs_mean(profile: OperatorProfile) -> str:
    said = (
        "Avoidable is what a line's operators took beyond the time that their FLOPs or bytes take "
        "at the measured peaks; moving data without computing (copies, joins, fills) counts whole."
    )
    untold_ms = sum(
        one.ms
        for one in profile.call_sites
        if one.where == UNKNOWN_PLACE or one.avoidable_ms is None
    )
    if untold_ms > 0:
        said += (
            f" Left out is {shown.share(untold_ms / profile.totals.block_ms)} of the block, in "
            "calls whose line or work the trace does not tell."
        )
    if any(one.operator == GRAPH_REPLAY for one in profile.call_sites):
        said += " The kernels of a replayed graph have no line: profile without --graph for those."
    return said


def _fractions(record: TorchProfile) -> Fractions:
    """As ``Fractions`` defines them, of the profiled block."""
    totals = record.profile.totals
    reading_ms = min(totals.products_ms, _reading_ms(record))
    codec = Figure(totals.codec_ms / totals.block_ms)
    if record.facts.cost.codec is None:
        codec = Figure(0.0)
    told_ms = totals.codec_ms + totals.overhead_ms + totals.attention_ms + totals.products_ms
    return Fractions(
        launch_overhead=Figure(totals.overhead_ms / totals.block_ms),
        weight_reading=Figure(reading_ms / totals.block_ms),
        products=Figure((totals.products_ms - reading_ms) / totals.block_ms),
        attention=Figure(totals.attention_ms / totals.block_ms),
        codec=codec,
        rest=Figure(max(0.0, totals.block_ms - told_ms) / totals.block_ms),
    )


def _reading_ms(record: TorchProfile) -> float:
    """What reading the weights of a block's passes takes at the measured bandwidth."""
    return record.facts.cost.bytes_weights / record.facts.ceiling.bytes_per_second * MS_PER_SECOND


def _fractions_mean(record: TorchProfile) -> str:
    reading = (
        f"Weight reading is arithmetic: {shown.gigabytes(record.facts.cost.bytes_weights)} at the "
        "measured bandwidth, or less where the products with weights took less."
    )
    if record.profile.is_of_device:
        overhead = "Launch overhead is the time in which the device runs nothing."
    else:
        overhead = (
            "Launch overhead is the time in which no operator computes: Python, views, room for "
            "results and PyTorch's way to its operators; it is what profiling prolongs most."
        )
    return f"{overhead} {reading} The codec's own overhead is part of the codec."


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A Markdown table whose first column is of words, the others of figures."""
    yield f"| {' | '.join(heads)} |"
    yield f"| --- |{' ---: |' * (len(heads) - 1)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
