"""The figure that is a table: all claims with their verdicts and deciding numbers."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmdm_bench.canvas import FAINT, MUTED, PAPER, WIDTH_INCHES, drawing_style, safe
from lmdm_bench.claim_tests import Finding, Verdict, region_words
from lmdm_bench.claims import Judgement, judge
from lmdm_bench.claims_panels import SMALL, claims_canvas
from lmdm_bench.claims_record import ClaimsRecord
from lmdm_bench.claims_words import VERDICT_SIGNS, interval_words, key_finding, told_with_interval

_CLAIM_COLUMNS = (0.18, 0.5, 4.2, 5.9)
_CLAIM_LETTERS = 54
_DECIDED_LETTERS = 43


def claims_table(record: ClaimsRecord) -> Figure:
    """All claims with their verdicts and the number that decides each."""
    return draw_claims(record, judge(record))


def draw_claims(record: ClaimsRecord, judgements: Sequence[Judgement]) -> Figure:
    """``claims_table`` for verdicts that are there already."""
    rows = [_ClaimRow.of(one) for one in judgements]
    top, bottom, line_inches = 1.05, 0.45, 0.158
    heights = [0.18 + line_inches * one.num_lines for one in rows]
    with drawing_style():
        figure = claims_canvas(
            record,
            "The claims and what this run says of them",
            "Right: the number that decides, its 95 % interval, and the wider one (corrected for "
            "how many there are) of the verdict.",
            height_inches=top + sum(heights) + bottom,
        )
        height = figure.get_size_inches()[1]
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        axes.set_xlim(0, WIDTH_INCHES)
        axes.set_ylim(height, 0)
        for at, head in zip(_CLAIM_COLUMNS, ("", "claim", "verdict", "decided by"), strict=True):
            axes.text(at, top - 0.08, head, fontsize=SMALL, color=MUTED, va="bottom")
        down = top
        for row, high in zip(rows, heights, strict=True):
            axes.plot([0.16, WIDTH_INCHES - 0.16], [down, down], color=FAINT, linewidth=0.8)
            row.draw(axes, down + 0.1, line_inches)
            down += high
        return figure


@dataclass(frozen=True)
class _ClaimRow:
    """A claim's row as lines of words."""

    number: str
    title: str
    text: tuple[str, ...]
    verdict: Verdict
    numbers: str
    decided: tuple[tuple[str, bool], ...]

    @staticmethod
    def of(one: Judgement) -> "_ClaimRow":
        agreeing = sum(finding.verdict == one.verdict for finding in one.findings)
        return _ClaimRow(
            number=f"{one.claim.number}",
            title=safe(one.claim.title, 48),
            text=tuple(textwrap.wrap(safe(one.claim.text, 400), _CLAIM_LETTERS)),
            verdict=one.verdict,
            numbers=f"{agreeing} of {len(one.findings)} numbers",
            decided=tuple(_decided(key_finding(one))),
        )

    @property
    def num_lines(self) -> int:
        return max(1 + len(self.text), 2, len(self.decided))

    def draw(self, axes: Axes, down: float, step: float) -> None:
        at_number, at_claim, at_verdict, at_decided = _CLAIM_COLUMNS
        sign, colour = VERDICT_SIGNS[self.verdict]

        def put(at: float, row: int, words: str, **kwargs: Any) -> None:
            style: dict[str, Any] = {"fontsize": SMALL, "va": "top"}
            axes.text(at, down + row * step, words, **(style | kwargs))

        put(at_number, 0, self.number, fontweight="bold", fontsize=10)
        put(at_claim, 0, self.title, fontweight="bold", fontsize=9.5)
        for row, words in enumerate(self.text, start=1):
            put(at_claim, row, words, color=MUTED)
        axes.plot(
            [at_verdict + 0.09],
            [down + 0.075],
            marker="o",
            markersize=13,
            color=colour,
            linestyle="none",
        )
        axes.text(
            at_verdict + 0.09,
            down + 0.085,
            sign,
            color=PAPER,
            fontweight="bold",
            ha="center",
            va="center_baseline",
            fontsize=9,
        )
        put(at_verdict + 0.27, 0, self.verdict, fontweight="bold")
        put(at_verdict + 0.27, 1, self.numbers, color=MUTED, fontsize=8)
        for row, (words, is_bold) in enumerate(self.decided):
            put(at_decided, row, words, fontweight="bold" if is_bold else "normal")


def _decided(finding: Finding | None) -> Iterator[tuple[str, bool]]:
    """The deciding number as lines, and which of them are bold."""
    if finding is None:
        yield "nothing was measured for it", False
        return
    for words in textwrap.wrap(safe(finding.what, 160), _DECIDED_LETTERS):
        yield words, False
    if finding.fitted is not None:
        yield told_with_interval(finding), True
        wider = "" if finding.bounds is None else f", corrected {interval_words(finding.bounds)}"
        told = f"should be {region_words(finding.accepted)}{wider}".replace("-", "−")
        for words in textwrap.wrap(told, _DECIDED_LETTERS + 2):
            yield words, False
    if finding.why_not is not None:
        for words in textwrap.wrap(safe(finding.why_not, 160), _DECIDED_LETTERS):
            yield words, False
