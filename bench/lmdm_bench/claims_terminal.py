"""The claims of a run in an 80-column terminal: a table with their verdicts, and one sentence.

Nothing here prints: what comes back is for a rich ``Console``. Colour repeats what the words say.
"""

from collections import Counter
from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from lmdm_bench import format as shown
from lmdm_bench.claim_tests import is_measured, region_words
from lmdm_bench.claims import Judgement, judge
from lmdm_bench.claims_record import ClaimsRecord
from lmdm_bench.claims_words import (
    VERDICT_SIGNS,
    interval_words,
    key_finding,
    rounds_words,
    told_with_interval,
)

_DIM = "dim"


def claims_table(record: ClaimsRecord) -> RenderableType:
    """One row for each claim: its verdict, and the number that decides it."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 1, 0), header_style=_DIM)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("claim", max_width=15, overflow="fold")
    table.add_column("verdict", no_wrap=True)
    table.add_column("decided by, with its 95 % interval", overflow="fold")
    for one in judge(record):
        sign, colour = VERDICT_SIGNS[one.verdict]
        table.add_row(
            f"{one.claim.number}",
            Text(shown.plain(one.claim.title), style="bold"),
            Text(f"{sign} {one.verdict}", style=f"bold {colour}"),
            _decided(one),
        )
    return table


def claims_answer(record: ClaimsRecord) -> str:
    """How many claims the run supports and contradicts, and what the verdicts rest on."""
    return answer(record, judge(record))


def answer(record: ClaimsRecord, judgements: Sequence[Judgement]) -> str:
    """``claims_answer`` for verdicts that are there already."""
    counts = Counter(one.verdict for one in judgements)
    told = [
        f"{counts[verdict]} {'is' if counts[verdict] == 1 else 'are'} {verdict}"
        for verdict in VERDICT_SIGNS
        if counts[verdict]
    ]
    said = f"{', '.join(told[:-1])} and {told[-1]}" if len(told) > 1 else "".join(told)
    measured = sum(is_measured(one) for one in record.points)
    stopped = ", interrupted before its end" if record.settings.is_interrupted else ""
    return (
        f"Of {len(judgements)} claims {said} on {shown.plain(record.machine.name)} "
        f"({shown.plain(record.settings.dtype.value)} on "
        f"{shown.plain(record.settings.device.value)}, {measured} of {len(record.points)} "
        f"workloads, {rounds_words(record)}{stopped})."
    )


def _decided(one: Judgement) -> Text:
    finding = key_finding(one)
    if finding is None:
        return Text("nothing was measured for it", style=_DIM)
    words = Text()
    if finding.fitted is not None:
        words.append(told_with_interval(finding), style="bold")
        words.append(f", should be {region_words(finding.accepted)}\n")
    words.append(shown.plain(finding.what), style=_DIM)
    if finding.why_not is not None:
        wider = "" if finding.bounds is None else f"corrected {interval_words(finding.bounds)}: "
        words.append(f"\n{wider}{shown.plain(finding.why_not)}")
    return words
