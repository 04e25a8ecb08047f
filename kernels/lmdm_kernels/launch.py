"""How a kernel is launched: tile sizes, warps, stages and splits, from a static table (no torch).

The table has one row for an architecture, dtype, head_dim and number of queries; only the number of
splits is reckoned, from the GPU's size and the keys there may be. Nothing is tuned while running:
the first call would stall, bits would differ between runs, and a capture would fail.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from lmdm_kernels.tiles import FlatPlan, longest_row, num_tiles

HEAD_DIMS = (32, 64, 128)
PRECISIONS = ("ieee", "tf32x3")
MAX_SPLITS = 8
MIN_SPLIT_TILES = 2
# Left to itself, the compiler spills a few bytes to make room for more programs at once.
MAX_REGISTERS = 255
# Programs that a multiprocessor holds at once, at least, with the shipped tiles.
PROGRAMS_PER_MULTIPROCESSOR = 2
ARCHITECTURES = ("sm_80", "sm_86", "sm_89", "sm_90", "sm_120")
# Its rows fit into the shared memory of every card that is supported.
SMALLEST_ARCHITECTURE = "sm_86"
LAUNCH_CHOICES: dict[str, Sequence[int | str]] = {
    "block_q": (16, 32, 64, 128),
    "block_k": (16, 32, 64, 128),
    "splits": range(1, MAX_SPLITS + 1),
    "num_warps": (1, 2, 4, 8),
    "num_stages": range(1, 9),
    "precision": PRECISIONS,
}
SLACK_BYTES = 2048
ELEMENT_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}


@dataclass(frozen=True)
class Launch:
    """One way to run the interval kernel. ``precision`` is that of float32 products.

    Raises ValueError for numbers with which the kernel cannot be built.
    """

    block_q: int
    block_k: int
    splits: int
    num_warps: int
    num_stages: int
    precision: str = "ieee"

    def __post_init__(self) -> None:
        for name, allowed in LAUNCH_CHOICES.items():
            _check_choice(f"a launch's {name}", getattr(self, name), allowed)


class LaunchKey(NamedTuple):
    """What a row of the table is for: plans whose longest row has ``min_queries`` or more, up to
    the next row's. ``dtype`` is "half" (float16 and bfloat16) or "float32"."""

    arch: str
    dtype: str
    head_dim: int
    min_queries: int


# Every launch in a table has one split; ``launch_for`` sets their number.
LaunchTable = Mapping[LaunchKey, Launch]


class Card(NamedTuple):
    """What of a GPU decides a launch. ``shared_bytes`` is what a program may take, opted in."""

    capability: tuple[int, int]
    num_multiprocessors: int
    shared_bytes: int

    @property
    def arch(self) -> str:
        """Its architecture in the table; one that is not there takes the rows of the smallest."""
        name = "sm_{}{}".format(*self.capability)
        return name if name in ARCHITECTURES else SMALLEST_ARCHITECTURE


class Work(NamedTuple):
    """What is to be attended. ``capacity`` is the most keys that a query may ever see."""

    dtype: str
    head_dim: int
    plan: FlatPlan
    batch_heads: int
    capacity: int


def launch_for(card: Card, work: Work, table: LaunchTable) -> Launch:
    """The table's row for this card and work, with the number of splits that fills the card."""
    most_queries, _ = longest_row(work.plan)
    launch = _row(card.arch, work, most_queries, table)
    programs = num_tiles(work.plan, launch.block_q) * work.batch_heads
    return replace(launch, splits=_splits(card, programs, work.capacity, launch.block_k))


def shared_bytes(launch: Launch, capability: tuple[int, int], dtype: str, head_dim: int) -> int:
    """At most how much shared memory a program takes; the tests hold it to the compiled kernels.

    Key and value tiles stand there for every stage in flight, beside the query tile, its weights
    (tf32x3 takes both apart) and what the warps of a row exchange. Hopper's products read their
    tiles from there, so that the one in use counts too; elsewhere it is in registers.
    """
    element = ELEMENT_BYTES[dtype]
    keys = 2 * launch.block_k * head_dim * element
    in_flight = launch.num_stages if capability[0] in (9, 10, 11) else launch.num_stages - 1
    queries = launch.block_q * (head_dim + launch.block_k) * element
    if dtype == "float32" and launch.precision == "tf32x3":
        queries *= 2
    exchanged = launch.block_q * launch.num_warps * 4
    return max(in_flight, 1) * keys + queries + exchanged + SLACK_BYTES


def tuning_candidates(card: Card, dtype: str, head_dim: int, queries: int) -> tuple[Launch, ...]:
    """Launches worth measuring for plans whose longest row has so many queries, one split each.

    None takes more shared memory than the card has; those that spill, a measurement finds out.
    """
    fitting = [block for block in (16, 32, 64) if block <= max(16, 2 * queries - 1)][-2:]
    if card.capability[0] == 9 and queries >= 256:
        fitting = [64, 128]
    is_half = ELEMENT_BYTES[dtype] == 2
    made = (
        Launch(block_q, block_k, 1, num_warps, num_stages, precision)
        for block_q in fitting
        for block_k in ((32, 64, 128) if is_half else (16, 32))
        for num_warps in (4, 8)
        for num_stages in (2, 3, 4)
        for precision in (PRECISIONS[:1] if is_half else PRECISIONS)
    )
    return tuple(
        launch
        for launch in made
        if shared_bytes(launch, card.capability, dtype, head_dim) <= card.shared_bytes
    )


def load_launches(path: Path) -> LaunchTable:
    """The table of a file that ``save_launches`` wrote; what it does not name is as shipped.

    Raises ValueError in one sentence for a file of any other form.
    """
    return MappingProxyType({**LAUNCHES, **_read(path)})


def save_launches(table: LaunchTable, path: Path) -> None:
    """Write rows as JSON, one a line."""
    rows = []
    for key, launch in table.items():
        fields = {**key._asdict(), **asdict(launch)}
        del fields["splits"]
        rows.append(json.dumps(fields))
    path.write_text("[\n" + ",\n".join(rows) + "\n]\n", encoding="utf-8")


def _row(arch: str, work: Work, queries: int, table: LaunchTable) -> Launch:
    dtype = "float32" if work.dtype == "float32" else "half"
    key = LaunchKey(arch, dtype, work.head_dim, queries)
    rows = [one for one in table if one[:3] == key[:3] and one.min_queries <= queries]
    if not rows:
        raise ValueError(f"a launch table has a row for {tuple(key)}, this one has none")
    return table[max(rows)]


def _splits(card: Card, programs: int, capacity: int, block_k: int) -> int:
    """The fewest splits that give every multiprocessor work, each of two key tiles or more."""
    wanted = math.ceil(PROGRAMS_PER_MULTIPROCESSOR * card.num_multiprocessors / programs)
    affordable = math.ceil(capacity / block_k) // MIN_SPLIT_TILES
    return max(1, min(wanted, affordable, MAX_SPLITS))


def _read(path: Path) -> dict[LaunchKey, Launch]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is no JSON file of launches: {error}") from error
    if not isinstance(rows, list):
        raise ValueError(f"{path} holds a list of launches, got {type(rows).__name__}")
    table: dict[LaunchKey, Launch] = {}
    for number, fields in enumerate(rows, start=1):
        try:
            key, launch = _parsed(fields)
            if key in table:
                raise ValueError(f"no other row is for {tuple(key)}, got two")
        except ValueError as error:
            raise ValueError(f"{path}, row {number}: {error}") from error
        table[key] = launch
    return table


def _parsed(fields: Any) -> tuple[LaunchKey, Launch]:
    """Raises ValueError for a row that is not exactly a key and a launch."""
    names = (*LaunchKey._fields, "block_q", "block_k", "num_warps", "num_stages", "precision")
    if not isinstance(fields, dict) or set(fields) != set(names):
        raise ValueError(f"a row has the fields {', '.join(names)}, got {fields!r}")
    _check_choice("arch", fields["arch"], ARCHITECTURES)
    _check_choice("dtype", fields["dtype"], ("half", "float32"))
    _check_choice("head_dim", fields["head_dim"], HEAD_DIMS)
    queries = fields["min_queries"]
    if type(queries) is not int or queries < 1:
        raise ValueError(f"min_queries is a whole number from 1 on, got {queries!r}")
    key = LaunchKey(*(fields[name] for name in LaunchKey._fields))
    return key, Launch(splits=1, **{name: fields[name] for name in names[4:]})


def _check_choice(name: str, given: Any, allowed: Sequence[int | str]) -> None:
    if type(given) is not type(allowed[0]) or given not in allowed:
        raise ValueError(f"{name} is one of {', '.join(map(str, allowed))}, got {given!r}")


# The shipped table. Chosen from what the compiler says of registers and shared memory
# (kernels/README.md); no GPU has timed it yet.
LAUNCHES: LaunchTable = MappingProxyType(_read(Path(__file__).with_name("launches.json")))
