"""An operator profile in an 80-column terminal: stages, their top operators, and the closing text.

Nothing here prints: what comes back is for a rich ``Console``.
"""

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lmdm_bench import format as shown
from lmdm_bench.operator_profile import StageProfile
from lmdm_bench.operator_record import TorchProfile
from lmdm_bench.operator_words import (
    MOST_OPERATORS,
    OPERATOR_HEADS,
    STAGE_HEADS,
    closing_of,
    heading,
    legend,
    operator_row,
    shown_stages,
    stage_row,
)

_DIM = "dim"
# A kernel's name can be hundreds of characters long.
_NAME_COLUMNS = 48


def profile_table(record: TorchProfile) -> RenderableType:
    """What was profiled, its stages with launches and gaps, top operators, and what it all says."""
    scheme = shown.plain(record.facts.workload.scheme)
    head = Text(scheme, style=f"bold {shown.scheme_colour(record.facts.workload.scheme)}")
    stages = shown_stages(record)
    return Group(
        head,
        Text(f"{heading(record)}, {shown.blocks(record.profile.num_blocks)}", style=_DIM),
        Text(),
        _stages(stages),
        Padding(Text(legend(record.profile), style=_DIM), (1, 0, 1, 0)),
        _operators(stages),
        Text(),
        closing(closing_of(record)),
    )


def closing(text: str) -> RenderableType:
    """The closing text of any profile, for a terminal."""
    return Padding(Text(text), (0, 0, 1, 0))


def _stages(stages: tuple[StageProfile, ...]) -> Table:
    table = _plain_table()
    table.add_column(STAGE_HEADS[0], overflow="fold")
    for name in STAGE_HEADS[1:]:
        table.add_column(name, justify="right", no_wrap=True)
    for stage in stages:
        table.add_row(*map(Text, stage_row(stage)))
    return table


def _operators(stages: tuple[StageProfile, ...]) -> Table:
    table = _plain_table()
    table.add_column(OPERATOR_HEADS[0], overflow="ellipsis", no_wrap=True, max_width=_NAME_COLUMNS)
    for name in OPERATOR_HEADS[1:]:
        table.add_column(name, justify="right", no_wrap=True)
    for stage in stages:
        table.add_row(Text(shown.plain(stage.name), style="bold"))
        for row in stage.operators[:MOST_OPERATORS]:
            name, *figures = operator_row(row)
            table.add_row(Text(f"  {name}"), *map(Text, figures))
    return table


def _plain_table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=_DIM)
