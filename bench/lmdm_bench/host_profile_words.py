"""A host profile in words: its closing text, its page in Markdown, its tables in a terminal.

Nothing here prints, and nothing imports torch.
"""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lmdm_bench import format as shown
from lmdm_bench.host_time import HostLine, HostTime
from lmdm_bench.profile_record import HostProfile, ProfileFacts
from lmdm_bench.profile_words import (
    AvoidableCost,
    Figure,
    Fractions,
    ProfileParts,
    closing_text,
    largest,
)

# The lines whose cost a user's block would have too: the harness's own are not among them.
_OF_THE_MODELS = ("lmdm_ref/", "lmdm_kernels/")
_MOST_LINES = 30
_MOST_TERMINAL_LINES = 8
_LONGEST_FUNCTION = 22
_DIM = "dim"

_NOT_BY_SAMPLES = "only --tool torch tells"
COSTS_MEAN_CPU = (
    "Each is Python between operators, during which nothing is computed. All of it is avoidable in "
    "principle: by fewer, larger operators, or by computing once what is the same in each block."
)
COSTS_MEAN_DEVICE = (
    "Each is Python between launches. The device works on meanwhile, so this costs time only where "
    "it runs dry, which --tool torch tells; --graph replays a block without any of it."
)
NO_COSTS = "No line of the models was seen between operators."


def host_closing(facts: ProfileFacts, found: HostTime, lines: Sequence[HostLine]) -> str:
    """Where the time goes against its bound, what is avoidable, and who can tell the rest."""
    costs = avoidable_costs(lines)
    codec = next((one for one in found.stages if one.name == shown.STAGES["codec_decode"]), None)
    cannot = Figure(None, _NOT_BY_SAMPLES)
    codec_share = Figure(None, "no codec makes samples of its tokens here")
    if codec is not None:
        codec_share = Figure(codec.total_ms / found.block_ms)
    codec_cost = facts.cost.codec
    codec_bound = Figure(None, "none is run")
    if codec_cost is not None:
        codec_bound = Figure(codec_cost.bound_ms)
    return closing_text(
        ProfileParts(
            scheme=facts.workload.scheme,
            plain_ms=Figure(facts.plain_ms),
            bound_ms=Figure(facts.cost.bound_ms),
            codec_bound_ms=codec_bound,
            profiler_ratio=Figure(facts.profiled_ms / facts.plain_ms),
            costs=costs,
            costs_mean=_costs_mean(facts, costs),
            fractions=Fractions(
                launch_overhead=cannot,
                weight_reading=cannot,
                products=cannot,
                attention=cannot,
                codec=codec_share,
                rest=cannot,
            ),
            fractions_mean=None,
        )
    )


def avoidable_costs(lines: Sequence[HostLine]) -> tuple[AvoidableCost, ...]:
    """The largest host costs on lines of the models and kernels."""
    return largest(
        [
            AvoidableCost(
                where=line.where,
                what=f"Python between operators in {line.function}",
                size=line.host_ms,
                unit="ms",
                share=line.share,
            )
            for line in lines
            if line.where.startswith(_OF_THE_MODELS)
        ]
    )


def host_markdown(profile: HostProfile) -> str:
    """The page: what was profiled, the stages, the lines, and the closing text."""
    lines = [
        f"# Host time of {shown.plain(profile.facts.workload.scheme)}",
        "",
        f"{_what(profile)} {_how(profile)}",
        "",
        f"| stage | {' | '.join(_columns(profile))} |",
        f"|:--|{'--:|' * len(_columns(profile))}",
        *(f"| {' | '.join(row)} |" for row in _stage_rows(profile)),
        "",
        "| line | function | Python, ms | of a block | visits |",
        "|:--|:--|--:|--:|--:|",
        *(
            f"| {one.where} | {shown.plain(one.function)} | {shown.number(one.host_ms)} "
            f"| {shown.share(one.share)} | {shown.number(one.num_visits)} |"
            for one in profile.lines[:_MOST_LINES]
        ),
        "",
        profile.closing,
        "",
    ]
    return "\n".join(lines)


def host_table(profile: HostProfile) -> RenderableType:
    """The same for a terminal of 80 columns."""
    stages = _table("stage, ms of a block", *_columns(profile))
    for row in _stage_rows(profile):
        stages.add_row(*row)
    lines = _table("line", "Python, ms", "of a block", "visits")
    for one in profile.lines[:_MOST_TERMINAL_LINES]:
        place = Text(one.where)
        place.append(f" {_shortened(one.function)}", style=_DIM)
        lines.add_row(
            place,
            shown.number(one.host_ms),
            shown.share(one.share),
            shown.number(one.num_visits),
        )
    return Group(
        Text(f"{_what(profile)} {_how(profile)}", style=_DIM),
        Text(),
        stages,
        Text(),
        lines,
        Text(),
        Text(profile.closing),
    )


def _what(profile: HostProfile) -> str:
    facts = profile.facts
    return (
        f"{shown.blocks(profile.host.num_blocks)} of {shown.plain(facts.workload.scheme)} "
        f"({shown.plain(facts.workload.model)}, {shown.plain(facts.dtype.value)}) on "
        f"{shown.plain(facts.machine.name)}; {shown.count(profile.num_samples)} samples at least "
        f"{shown.milliseconds(profile.interval_ms)} apart."
    )


def _how(profile: HostProfile) -> str:
    between = "Python is what the host does between torch's operators"
    if not _is_cpu(profile.facts):
        between += (
            ", which on this device only launch; waiting for the device is no work of the host"
        )
    return (
        f"{between}. Its time is shared out among the lines as every call and return of "
        f"{shown.blocks(profile.num_traced_blocks)} more tells; a visit is one of them."
    )


def _columns(profile: HostProfile) -> list[str]:
    waiting = [] if _is_cpu(profile.facts) else ["waiting"]
    return ["whole", "operators", *waiting, "Python", "Python's share"]


def _stage_rows(profile: HostProfile) -> list[list[str]]:
    host = profile.host
    rows = [
        (one.name, one.total_ms, one.operators_ms, one.waiting_ms, one.host_ms)
        for one in host.stages
    ]
    rows.append(("block", host.block_ms, host.operators_ms, host.waiting_ms, host.host_ms))
    return [_row(profile, *row) for row in rows]


def _row(
    profile: HostProfile, name: str, whole: float, operators: float, waiting: float, python: float
) -> list[str]:
    times = [whole, operators, *([] if _is_cpu(profile.facts) else [waiting]), python]
    return [name, *(shown.number(one) for one in times), shown.share(shown.over(python, whole))]


def _costs_mean(facts: ProfileFacts, costs: Sequence[AvoidableCost]) -> str:
    if not costs:
        return NO_COSTS
    return COSTS_MEAN_CPU if _is_cpu(facts) else COSTS_MEAN_DEVICE


def _is_cpu(facts: ProfileFacts) -> bool:
    return facts.device.value == "cpu"


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=_DIM)
    table.add_column(first, overflow="fold")
    for one in others:
        table.add_column(one, justify="right", no_wrap=True)
    return table


def _shortened(function: str) -> str:
    told = shown.plain(function)
    return told if len(told) <= _LONGEST_FUNCTION else f"{told[: _LONGEST_FUNCTION - 1]}…"
