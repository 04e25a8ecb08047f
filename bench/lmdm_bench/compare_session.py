"""What is compared: two revisions, built and measured in turns now, or records of earlier runs."""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from lmdm_bench.compare_machines import machine_facts
from lmdm_bench.compare_match import compare_records
from lmdm_bench.compare_record import CompareRecord, Gate, Side, save_compare
from lmdm_bench.errors import InputError
from lmdm_bench.machine import describe_machine
from lmdm_bench.paired_run import PairedAsked, PairedRun
from lmdm_bench.revisions import Revision, merge_base, project_root, resolve, working_tree
from lmdm_bench.side_environment import SideEnvironment, built, clean_environ
from lmdm_bench.suite_process import SuiteProcess
from lmdm_bench.worktree import laid_out

LONGEST_MINUTES = 24 * 60.0
MOST_PROCESSES = 100


@dataclass(frozen=True, kw_only=True)
class CompareAsked:
    """What is asked for: two ``sides``, or none and a ``base`` for the working tree.

    ``cells`` are patterns of names, with * and ?; none of them: all cells. What holds for
    measuring alone has no meaning for records.
    """

    sides: Sequence[str]
    base: str
    is_merge_base: bool
    cells: tuple[str, ...]
    minutes: float
    num_processes: int
    seed: int
    device: str
    dtype: str
    gate: Gate
    command: str


def check_asked(asked: CompareAsked) -> None:
    """Raises InputError with one sentence; reads and builds nothing."""
    if asked.base and asked.sides:
        raise InputError("--base compares with the working tree: name two sides, or --base")
    if not asked.base and len(asked.sides) != 2:
        raise InputError("name two records, folders or revisions, or one revision with --base")
    if asked.is_merge_base and not asked.base:
        raise InputError("--merge-base is of --base")
    if not 0 < asked.minutes <= LONGEST_MINUTES:
        raise InputError(f"the time must be some minutes, a day at most, got {asked.minutes:g}")
    if not 1 <= asked.num_processes <= MOST_PROCESSES:
        raise InputError(f"processes must be 1 to {MOST_PROCESSES}, got {asked.num_processes}")
    if asked.seed < 0:
        raise InputError(f"seed must not be negative, got {asked.seed}")


def are_records(sides: Sequence[str]) -> bool:
    """Whether the sides are files or folders, not revisions. Raises InputError for one of each."""
    found = [Path(side).exists() for side in sides]
    if any(found) and not all(found):
        there, other = (sides[found.index(is_there)] for is_there in (True, False))
        raise InputError(f"{there} is a record or a folder, and there is no file {other}")
    return bool(found) and all(found)


def run_compare(asked: CompareAsked, path: Path, say: Callable[[str], None]) -> CompareRecord:
    """The comparison; its record is at ``path`` when this returns.

    Raises InputError, RecordError and UnsupportedError in one sentence.
    """
    check_asked(asked)
    if are_records(asked.sides):
        a, b = map(Path, asked.sides)
        record = compare_records(a, b, asked.gate, asked.command)
        record = _only_wanted(record, asked)
        save_compare(record, path)
        return record
    root = project_root(Path.cwd())
    if asked.base:
        base = merge_base(root, asked.base) if asked.is_merge_base else resolve(root, asked.base)
        revisions = base, working_tree(root)
    else:
        revisions = resolve(root, asked.sides[0]), resolve(root, asked.sides[1])
    return _measured(asked, root, revisions, path, say)


def _measured(
    asked: CompareAsked,
    root: Path,
    revisions: tuple[Revision, Revision],
    path: Path,
    say: Callable[[str], None],
) -> CompareRecord:
    with ExitStack() as stack:
        parent = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lmdm-bench-")))
        environments = []
        for name, revision in zip("ab", revisions, strict=True):
            say(f"building side {name}: {revision}")
            laid = stack.enter_context(laid_out(root, revision, name, parent))
            environments.append(built(laid, say))
        a, b = (
            _side(revision, environment, asked.device)
            for revision, environment in zip(revisions, environments, strict=True)
        )
        environ = clean_environ()

        def starting(environment: SideEnvironment) -> Callable[[], SuiteProcess]:
            return lambda: SuiteProcess(
                environment.python,
                environ,
                environment.folder,
                asked.device,
                asked.dtype,
                asked.seed,
            )

        return PairedRun(
            PairedAsked(
                a=a,
                b=b,
                start_a=starting(environments[0]),
                start_b=starting(environments[1]),
                is_wanted=lambda name: is_wanted(name, asked.cells),
                minutes=asked.minutes,
                num_processes=asked.num_processes,
                seed=asked.seed,
                device=asked.device,
                dtype=asked.dtype,
                gate=asked.gate,
                command=asked.command,
            ),
            path,
            say,
        ).run()


def is_wanted(name: str, patterns: Sequence[str]) -> bool:
    """Whether a cell's name is among those asked for; no pattern asks for all."""
    return not patterns or any(fnmatchcase(name, one) for one in patterns)


def _only_wanted(record: CompareRecord, asked: CompareAsked) -> CompareRecord:
    wanted = tuple(one for one in record.compared_cells if is_wanted(one.name, asked.cells))
    if not wanted:
        names = ", ".join(one.name for one in record.compared_cells)
        raise InputError(f"no cell is named so; there are {names}")
    settings = replace(
        record.settings,
        only_a=tuple(one for one in record.settings.only_a if is_wanted(one, asked.cells)),
        only_b=tuple(one for one in record.settings.only_b if is_wanted(one, asked.cells)),
    )
    return replace(record, compared_cells=wanted, settings=settings)


def _side(revision: Revision, environment: SideEnvironment, device: str) -> Side:
    machine = describe_machine(device)
    return Side(
        name=revision.name,
        git_commit=revision.commit,
        git_is_dirty=revision.is_dirty,
        machine=machine.name,
        machine_facts=machine_facts(machine),
        packages=environment.packages,
        created=None,
        unavailable={"created": "it is measured now"},
    )
