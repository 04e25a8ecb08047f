"""A kernels run in an 80-column terminal: who is faster where, and whether the goals are met.

Nothing here prints: what comes back is for a rich ``Console``. Colour repeats what the words say.
"""

from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lmdm_bench import format as shown
from lmdm_bench.kernel_verdicts import (
    Goal,
    counted,
    goals,
    judged_regimes,
    middle,
    rates,
    ratio,
    standings,
    subject_of,
    timing_of,
    worst,
)
from lmdm_bench.kernels_record import KernelRow, KernelsRecord, Regime, RowStatus
from lmdm_bench.kernels_words import (
    REGIME_WORDS,
    STATE_SIGNS,
    backend_colour,
    backends,
    ended,
    num_measured,
    plans,
    rounds_words,
    times,
)

_DIM = "dim"
_GRAVEST_FIRST: tuple[RowStatus, ...] = ("INCORRECT", "FAILED", "OOM", "UNSUPPORTED")


def kernels_table(record: KernelsRecord) -> RenderableType:
    """The backends, then the subject's standing in each plan and regime, then the goals."""
    parts = (_backends(record), *_left_out(record), Text(), _standings(record), Text())
    return Group(*parts, _goals(goals(record)))


def kernels_answer(record: KernelsRecord) -> str:
    """How the subject stands, in how many cells, and what that rests on."""
    found = standings(record)
    told = [one for one in found if one.why_not is None]
    count = counted(told)
    settings = record.settings
    stopped = ", interrupted before its end" if settings.is_interrupted else ""
    where = (
        f"on {shown.plain(record.machine.name)} ({shown.plain(settings.dtype.value)} on "
        f"{shown.plain(settings.device.value)}, {num_measured(record)} of "
        f"{len(record.kernel_cells)} cases, {rounds_words(record)}{stopped})"
    )
    subject = subject_of(record)
    if not told:
        return f"{subject} could not be compared with anything {where}."
    least = count["faster"] + count["as fast"]
    return (
        f"{subject} is at least as fast as the best of the others in {least} of {len(told)} cells, "
        f"slower in {count['slower']}, and in {count['cannot tell']} this run cannot tell, {where}."
    )


def _backends(record: KernelsRecord) -> RenderableType:
    """One row for each backend: its time beside the subject's, or why it has none."""
    regime = _shown_regime(record)
    subject = subject_of(record)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=_DIM)
    table.add_column("backend", no_wrap=True)
    table.add_column(f"{shown.TIMES} {subject}", justify="right", no_wrap=True)
    table.add_column("of roofline", justify="right", no_wrap=True)
    table.add_column("error ÷ budget", justify="right", no_wrap=True)
    table.add_column("no times", overflow="fold")
    for name in backends(record):
        table.add_row(
            Text(name, style=backend_colour(name)),
            _beside(record, name, regime),
            _of_roofline(record, name, regime),
            _error(record, name),
            Text(_why(record, name), style=_DIM),
        )
    words = f"times and roofline: {REGIME_WORDS[regime]}, the median of the cases"
    return Group(table, Text(words, style=_DIM))


def _shown_regime(record: KernelsRecord) -> Regime:
    """Cold: what a layer meets whose keys were written a whole pass ago."""
    return "cold" if "cold" in record.settings.regimes else record.settings.regimes[0]


def _beside(record: KernelsRecord, name: str, regime: Regime) -> str:
    found = []
    for cell in record.kernel_cells:
        rows = {row.backend: row for row in cell.rows}
        if name in rows and subject_of(record) in rows:
            its = timing_of(rows[name], regime)
            mine = timing_of(rows[subject_of(record)], regime)
            if its is not None and mine is not None:
                value = ratio(its, mine).value
                found += [] if value is None else [value]
    return shown.ratio(middle(found)) if found else "-"


def _of_roofline(record: KernelsRecord, name: str, regime: Regime) -> str:
    found = [
        rates(case, timing, record.ceiling).of_roofline
        for case, row in record.rows()
        if row.backend == name and (timing := timing_of(row, regime)) is not None
    ]
    return shown.share(middle(found)) if found else "-"


def _rows(record: KernelsRecord, name: str) -> list[KernelRow]:
    return [row for _, row in record.rows() if row.backend == name]


def _error(record: KernelsRecord, name: str) -> str:
    checks = [row.check for row in _rows(record, name) if row.check is not None]
    return shown.number(max(one.error / one.budget for one in checks), 2) if checks else "-"


def _why(record: KernelsRecord, name: str) -> str:
    """The gravest reason for having no times, and of how many cases it is."""
    found = Counter(
        (status, reason) for backend, status, reason, _ in ended(record) if backend == name
    )
    for wanted in _GRAVEST_FIRST:
        of = {reason: count for (status, reason), count in found.items() if status == wanted}
        if of:
            return f"{wanted} ({sum(of.values())}): {shown.plain(max(of, key=of.__getitem__))}"
    return ""


def _left_out(record: KernelsRecord) -> list[Text]:
    """What is said of all backends of a case alike."""
    said = []
    for status, words in (("LEFT OUT", "the time was too short"), ("INTERRUPTED", "stopped")):
        count = sum(all(row.status == status for row in cell.rows) for cell in record.kernel_cells)
        if count:
            of = len(record.kernel_cells)
            said.append(Text(f"{status}: {count} of {of} cases, {words}", style=_DIM))
    return said


def _standings(record: KernelsRecord) -> RenderableType:
    subject = subject_of(record)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=_DIM)
    table.add_column(f"{subject} against the best", no_wrap=True)
    for word, look in (("faster", ""), ("as fast", ""), ("slower", "bold"), ("?", _DIM)):
        table.add_column(word, justify="right", style=look, no_wrap=True)
    table.add_column("largest ratio", no_wrap=True)
    found = standings(record)
    for plan in plans(record):
        if all(one.why_not is not None for one in found if one.case.plan == plan):
            table.add_row(Text(plan, style="bold"), *("",) * 4, Text("not compared", style=_DIM))
            continue
        table.add_row(Text(plan, style="bold"))
        for regime in judged_regimes(record):
            of = [one for one in found if one.case.plan == plan and one.regime == regime]
            count, far = counted(of), worst(of)
            untold = count["cannot tell"] + sum(one.why_not is not None for one in of)
            table.add_row(
                f"  {REGIME_WORDS[regime]}",
                f"{count['faster']}",
                f"{count['as fast']}",
                f"{count['slower']}",
                f"{untold}",
                "-" if far is None else times(far.ratio),
            )
    words = f"each of so many windows, heads and batches; ratio: {subject} ÷ the best other"
    return Group(table, Text(words, style=_DIM))


def _goals(found: Sequence[Goal]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=_DIM)
    table.add_column("goal", overflow="fold", max_width=44)
    table.add_column("", no_wrap=True)
    table.add_column("decided by", overflow="fold")
    for one in found:
        sign, colour = STATE_SIGNS[one.state]
        state = Text(f"{sign} {one.state}", style=f"bold {colour}")
        table.add_row(Text(one.text), state, Text(shown.plain(one.why)))
    return table
