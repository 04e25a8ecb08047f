"""Predictions in an 80-column terminal: one machine in detail, or many beside the schemes.

Nothing here prints: what comes back is for a rich ``Console``. Colour repeats what the words say.
"""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lmdm_bench import format as shown
from lmdm_bench.predict import TIERS, Prediction
from lmdm_bench.predict_words import (
    SIGNS,
    TIER_LETTERS,
    colour_of,
    figure,
    interval,
    memory_words,
    sign_of,
    words_of,
)

_DIM = "dim"
_MOST_DETAILED = 2
_NAME_COLUMNS = 28
_VERDICT_COLUMNS = 36
_SCHEMES_OF_A_TABLE = 5


def predict_table(predictions: Sequence[Prediction]) -> RenderableType:
    """A card for each machine where there are few, else a row for each."""
    targets = list(dict.fromkeys(one.target.name for one in predictions))
    if len(targets) > _MOST_DETAILED:
        return _many(predictions, targets)
    cards: list[RenderableType] = []
    for target in targets:
        cards += [_card([one for one in predictions if one.target.name == target]), Text()]
    return Group(*cards[:-1])


def _card(predictions: Sequence[Prediction]) -> RenderableType:
    """One machine: each scheme's verdict, its factor, and what that is made of."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=_DIM)
    table.add_column(Text("scheme\nmodel"), no_wrap=True)
    table.add_column(Text("verdict\nhow it is known"), overflow="fold", max_width=_VERDICT_COLUMNS)
    table.add_column(Text("rtf [interval]\nlimited by"), no_wrap=True)
    for one in predictions:
        verdict = Text(f"{sign_of(one)} {words_of(one)}", style=f"bold {colour_of(one)}")
        verdict.append(f"\n{_known(one)}", style=_DIM)
        scheme = Text(
            shown.plain(one.workload.scheme), style=shown.scheme_colour(one.workload.scheme)
        )
        scheme.append(f"\n{shown.plain(one.workload.model)}", style=_DIM)
        rtf = Text("" if one.rtf is None else interval(one.rtf))
        rtf.append(f"\n{one.limit or ''}", style=_DIM)
        table.add_row(scheme, verdict, rtf)
    name = Text(shown.plain(predictions[0].target.name), style="bold")
    notes = [_stages(one) for one in predictions if one.stage_ms]
    notes += [f"{one.workload.scheme}: {memory_words(one)}" for one in predictions]
    return Group(name, table, *(Text(note, style=_DIM) for note in notes))


def _known(one: Prediction) -> str:
    """The tier, with its calibration's error; or why there is none."""
    if one.tier is None:
        return one.basis
    if one.tier != "calibrated" or one.held_out is None:
        return one.tier
    return f"{one.tier}, off by {shown.share(one.held_out.mean_error)}"


def _stages(one: Prediction) -> str:
    """``block-causal: denoise 57 ms, codec decode 66 ms of a block of 2.23 s``."""
    parts = [
        f"{shown.STAGES[name]} {figure(middle.value)}{shown.NBSP}ms"
        for name, middle in one.stage_ms
    ]
    block = shown.seconds(one.workload.block_seconds)
    return f"{one.workload.scheme}: {', '.join(parts)} for a block of {block}"


def _many(predictions: Sequence[Prediction], targets: Sequence[str]) -> RenderableType:
    """A row for each machine: sign, factor and tier of each scheme."""
    columns = list(dict.fromkeys((one.workload.scheme, one.workload.model) for one in predictions))
    found = {(one.target.name, one.workload.scheme, one.workload.model): one for one in predictions}
    tables: list[RenderableType] = []
    for start in range(0, len(columns), _SCHEMES_OF_A_TABLE):
        some = columns[start : start + _SCHEMES_OF_A_TABLE]
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="")
        table.add_column(Text("machine", style=_DIM), overflow="fold", max_width=_NAME_COLUMNS)
        for scheme, _ in some:
            head = Text(_short(scheme), style=shown.scheme_colour(scheme))
            table.add_column(head, no_wrap=True)
        for target in targets:
            cells = [found.get((target, *one)) for one in some]
            table.add_row(Text(shown.plain(target)), *map(_cell, cells))
        tables.append(table)
    signs = ", ".join(f"{sign} {words}" for sign, words, _ in SIGNS.values())
    tiers = ", ".join(f"{TIER_LETTERS[tier]} {tier}" for tier in TIERS)
    legend = f"rtf, seconds of work for a second of audio. {signs}. {tiers}."
    return Group(*tables, Padding(Text(legend, style=_DIM), (1, 0, 0, 0)))


def _cell(one: Prediction | None) -> Text:
    if one is None:
        return Text("")
    rtf = "" if one.rtf is None else f" {figure(one.rtf.value)}"
    tier = "" if one.tier is None else f" {TIER_LETTERS[one.tier]}"
    return Text(f"{sign_of(one)}{rtf}{tier}", style=colour_of(one))


def _short(scheme: str) -> str:
    """A scheme's name on two lines."""
    first, joined, rest = scheme.partition("-")
    return f"{first}{joined}\n{rest}" if joined else f"\n{first}"
