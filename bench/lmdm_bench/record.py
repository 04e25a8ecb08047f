"""The frozen record of one run: the only schema, to and from JSON.

A record says what was measured (``workload``), on what (``machine``), with what (``tool``), every
block's raw times in the order in which they were made, and how each cell ended. A cell that did not
end ``OK`` has no summary, so a speed cannot stand beside a failure. A value that is missing is
``None`` with its reason beside it, never 0.

The JSON is strict both ways: an unknown, missing or ill-typed field is a ``RecordError`` that names
it, and NaN or infinity is refused. All times are milliseconds of a monotonic clock.
"""

import dataclasses
import functools
import json
import math
import os
import tempfile
import types
import typing
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

SCHEMA_VERSION = 3

# A JSON value as what it should be.
Decoder = Callable[[Any], Any]

Status = Literal["OK", "OOM", "INCORRECT", "UNSUPPORTED", "FAILED", "INTERRUPTED"]


class RecordError(ValueError):
    """A record that cannot be read: the message names the file and the field."""


@dataclass(frozen=True)
class Tool:
    """What measured: versions, and the commit it was built from."""

    version: str
    git_commit: str | None
    git_is_dirty: bool | None
    git_reason: str | None
    python: str
    packages: dict[str, str]


@dataclass(frozen=True)
class Gpu:
    """One CUDA device as the driver describes it."""

    name: str
    compute_capability: str
    memory_bytes: int
    num_multiprocessors: int
    driver: str | None
    power_limit_watts: float | None


@dataclass(frozen=True)
class Machine:
    """The machine, without a user, host or serial.

    ``unavailable`` says why a field is None or vague, by the field's name (``gpus[0].driver``).
    """

    name: str
    os: str
    cpu: str
    cpu_architecture: str
    cpu_isa: tuple[str, ...]
    num_physical_cores: int | None
    num_logical_cores: int
    num_threads: int
    ram_bytes: int
    load_average_1min: float | None
    is_on_mains: bool | None
    is_virtual: bool | None
    gpus: tuple[Gpu, ...]
    unavailable: dict[str, str]


@dataclass(frozen=True)
class Ceiling:
    """What this machine can do at best, measured in the same process before the cells.

    ``flops_per_second``: a large matrix product in the run's dtype, by the fastest library in use.
    ``bytes_per_second``: reading a written buffer far larger than the last-level cache.
    """

    dtype: str
    flops_per_second: float
    bytes_per_second: float


@dataclass(frozen=True)
class Choice:
    """A setting, and why it has this value ("asked for", or the reason it was picked)."""

    value: str
    reason: str


@dataclass(frozen=True)
class Settings:
    """What holds for every cell of the run."""

    command: str
    seed: int
    blocks_asked: int
    device: Choice
    dtype: Choice
    linear: Choice
    attention: str
    weights: str
    input: str
    input_seconds: float
    order: tuple[str, ...]
    context_encode_ms: float | None
    gc: str
    is_interrupted: bool


@dataclass(frozen=True)
class Workload:
    """One cell's axes. Frames are the model's own: latent frames, or token frames of an LMM.

    ``context_frames`` is what a block's passes see of the past: the window's context, or for
    ``lmm-frame-wise`` the frames that each layer looks back. ``steps`` is None for LMMs,
    ``num_levels`` (RVQ tokens of a frame) for diffusion. ``is_graphed``: passes are replayed as
    captured graphs, not launched one operation at a time.
    """

    scheme: str
    model: str
    context_frames: int
    block_frames: int
    visible_blocks: int | None
    num_levels: int | None
    steps: int | None
    sampler: str
    guidance_scale: float
    batch: int
    dtype: str
    attention: str
    is_graphed: bool
    sample_rate_hz: int
    samples_per_frame: int
    block_seconds: float


@dataclass(frozen=True)
class Check:
    """The cell's correctness, proved in this process before anything was timed.

    ``error`` is the largest relative error of the streamed blocks against the named oracle in
    float64; ``reference_error`` the same for a plain one-shot pass in the run's dtype; the check
    holds when ``error <= budget`` (twice the reference error, plus one rounding band).
    """

    oracle: str
    depth: int
    num_blocks: int
    error: float
    reference_error: float
    budget: float
    is_within_budget: bool


@dataclass(frozen=True)
class Block:
    """One block's raw times.

    ``steps_ms`` has one entry for each network evaluation of the sampler, or for each frame of an
    LMM (its temporal step and all its levels). ``service_ms`` is the whole; ``host_ms`` is what the
    named stages leave over. ``context_encode_ms`` is None where nothing is encoded ahead of the
    steps (outpaint, block-causal, lmm-frame-wise), ``commit_ms`` where the commit is part of a
    step's pass or of the next encode, ``codec_decode_ms`` where the suite has no codec for the
    model.
    """

    block_index: int
    service_ms: float
    context_encode_ms: float | None
    steps_ms: tuple[float, ...]
    commit_ms: float | None
    codec_decode_ms: float | None
    host_ms: float
    is_warmup: bool
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval, or None with the reason why it cannot be told."""

    value: float | None
    ci95: tuple[float, float] | None
    n: int
    method: str
    reason: str | None


@dataclass(frozen=True)
class ServiceTimes:
    p50: Estimate
    p95: Estimate
    p99: Estimate


@dataclass(frozen=True)
class Summary:
    """Arithmetic on the measured (not the warm-up) blocks.

    ``rtf`` = Σ service seconds ÷ Σ audio seconds, without a value where no codec was run;
    ``rtf_model`` leaves the codec out of the service seconds.
    ``stage_ms`` holds the median of each stage: context_encode, first_step, later_step (the mean of
    a block's steps after the first), denoise (all steps), commit, codec_decode, host.
    ``stage_share`` is each stage's part of all service time: context_encode, denoise, commit,
    codec_decode, host; it sums to 1.
    """

    service_ms: ServiceTimes
    rtf: Estimate
    rtf_model: Estimate
    stage_ms: dict[str, Estimate]
    stage_share: dict[str, float]


@dataclass(frozen=True)
class Memory:
    """Peak memory over the warm-up blocks.

    ``rss_peak_bytes`` is the growth of the resident set above ``rss_baseline_bytes``, which was
    taken before the model was built; weights that cells share are in each. CUDA has four different
    figures: torch's two are peaks, the driver's two of the moment after the blocks. Each is None
    with its reason where it cannot be had.
    """

    rss_peak_bytes: int | None
    rss_baseline_bytes: int | None
    vram_allocated_bytes: int | None
    vram_reserved_bytes: int | None
    vram_process_bytes: int | None
    vram_device_bytes: int | None
    unavailable: dict[str, str]


@dataclass(frozen=True)
class Footprint:
    """What a stream holds at its peak, by arithmetic, in bytes (codec left out).

    ``weight_bytes``: all parameters in the run's dtype; ``cache_bytes``: keys, values and whatever
    else lives from block to block; ``activation_bytes``: the largest set of intermediate results
    that are alive together; ``workspace_bytes``: what the libraries hold beside those.
    """

    weight_bytes: int
    cache_bytes: int
    activation_bytes: int
    workspace_bytes: int

    @property
    def peak_bytes(self) -> int:
        return self.weight_bytes + self.cache_bytes + self.activation_bytes + self.workspace_bytes


@dataclass(frozen=True)
class CodecCost:
    """What the codec adds to a block; ``flops`` is of decoding ``block_frames``."""

    parameters: int
    flops_per_block: int
    bound_ms: float


@dataclass(frozen=True)
class Cost:
    """What arithmetic says of one steady block, before anything is measured.

    ``evaluations`` are the sampler's network calls, or the tokens of an LMM;
    ``sequential_steps`` all passes that must follow each other, encoding included.
    ``encode_rows`` are the rows of passes that only fill a cache, ``step_rows`` those of the
    others, summed over the passes; ``frames_per_block`` is their sum without noise-level tokens.
    ``attention_pairs`` are (query, key) pairs of one head, summed over layers and passes.
    FLOPs count a multiply and an add as two; bytes are each pass's weights once, plus keys and
    values read and written. ``bound_ms`` is max(FLOPs ÷ peak, bytes ÷ bandwidth) summed over the
    passes, codec left out. ``codec`` is None where the suite has no codec for the model.
    """

    parameters: int
    evaluations: int
    sequential_steps: int
    frames_per_block: int
    encode_rows: int
    step_rows: int
    attention_pairs: int
    flops_per_block: int
    flops_projections: int
    flops_attention: int
    flops_head: int
    bytes_per_block: int
    bytes_weights: int
    bytes_cache_read: int
    bytes_cache_written: int
    footprint: Footprint
    bound_ms: float
    codec: CodecCost | None


@dataclass(frozen=True)
class Audio:
    """The WAV of one cell: the context, then the generated blocks.

    ``path`` is the file's name beside the record; ``peak`` and ``rms`` are those before
    ``gain_db``, which brought the file to its level.
    """

    path: str
    seconds: float
    peak: float
    rms: float
    gain_db: float


@dataclass(frozen=True)
class Cell:
    """One workload and how it ended. ``reason`` is None exactly when the status is OK."""

    workload: Workload
    status: Status
    reason: str | None
    check: Check | None
    cost: Cost
    blocks: tuple[Block, ...]
    summary: Summary | None
    memory: Memory | None
    audio: Audio | None

    def __post_init__(self) -> None:
        if (self.status == "OK") != (self.summary is not None):
            raise RecordError(f"status {self.status} and summary do not go together")
        if (self.status == "OK") != (self.reason is None):
            raise RecordError(f"status {self.status} and reason do not go together")


@dataclass(frozen=True)
class Record:
    """One run: see the module's docstring."""

    schema_version: int
    created: str
    tool: Tool
    machine: Machine
    ceiling: Ceiling
    settings: Settings
    cells: tuple[Cell, ...]


def to_json(record: Any) -> str:
    """A record (any frozen dataclass) as indented JSON. Raises RecordError on NaN or infinity."""
    try:
        return json.dumps(dataclasses.asdict(record), indent=1, allow_nan=False) + "\n"
    except ValueError as error:
        raise RecordError(f"the record holds a number that JSON has not: {error}") from error


def from_json(text: str, name: str = "record") -> Record:
    """The record that ``to_json`` wrote. Raises RecordError naming the file and the field."""
    record: Record = parse(Record, SCHEMA_VERSION, text, name)
    return record


def parse(kind: type, version: int, text: str, name: str) -> Any:
    """JSON text with this ``schema_version`` as the dataclass ``kind``; see ``from_json``."""
    try:
        data = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise RecordError(
            f"{name} is not whole JSON (line {error.lineno}: {error.msg}); was it cut off?"
        ) from error
    except ValueError as error:  # NaN, or a number too long to be one
        raise RecordError(f"{name}: {error}") from error
    if not isinstance(data, dict) or "schema_version" not in data:
        raise RecordError(f"{name}: expected an object with schema_version, got {_kind(data)}")
    if data["schema_version"] != version:
        raise RecordError(
            f"{name} has schema_version {data['schema_version']!r}; this version reads {version}"
        )
    try:
        return decode(kind, data, "record")
    except RecordError as error:
        raise RecordError(f"{name}: {error}") from error


def load(path: Path) -> Record:
    """Read a record file. Raises RecordError in one sentence, whatever is wrong with it."""
    return from_json(read_text(path), str(path))


def read_text(path: Path) -> str:
    """A record file's text. Raises RecordError where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"cannot read the record {path}: {_why(error)}") from error


def save(record: Record, path: Path) -> None:
    """Write the record, whole or not at all."""
    write_whole(path, to_json(record).encode("utf-8"))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file through a temporary one beside it, so that no half file is ever left."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # noqa: PTH101 - mkstemp made it private
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def decode(expected: Any, value: Any, where: str) -> Any:
    """A JSON value as a dataclass or one of its field types; RecordError names what is off."""
    try:
        return _decoder(expected)(value)
    except _OffError as error:
        raise RecordError(f"{where}{error}") from error


class _OffError(Exception):
    """What is off, led by its place below the value that is decoded: ".name[3] should be …"."""


@functools.cache
def _decoder(expected: Any) -> Decoder:
    """How values of a type are decoded, worked out once: a record has few types and many values."""
    origin, inner = typing.get_origin(expected), typing.get_args(expected)
    if dataclasses.is_dataclass(expected) and isinstance(expected, type):
        return _dataclass(expected)
    if origin in (typing.Union, types.UnionType):
        (known,) = (_decoder(one) for one in inner if one is not type(None))
        return lambda value: None if value is None else known(value)
    if origin is Literal:
        return _literal(inner)
    if origin is tuple:
        return _many(_decoder(inner[0])) if inner[-1] is Ellipsis else _tuple(inner)
    if origin is dict:
        return _dict(_decoder(inner[1]))
    return _float if expected is float else _plain(expected)


def _dataclass(expected: type) -> Decoder:
    hints = typing.get_type_hints(expected)
    decoders = {field.name: _decoder(hints[field.name]) for field in dataclasses.fields(expected)}

    def decoded(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _OffError(f" should be an object, got {_kind(value)}")
        if value.keys() != decoders.keys():
            raise _OffError(_wrong_names(decoders.keys(), value.keys()))
        fields = _fields(decoders, value)
        try:
            return expected(**fields)
        except RecordError as error:
            raise _OffError(f": {error}") from error

    return decoded


def _wrong_names(expected: Collection[str], got: Collection[str]) -> str:
    for name in expected:
        if name not in got:
            return f".{name} is missing"
    (name, *_) = (name for name in got if name not in expected)
    return f".{name} is not a field of this schema"


def _fields(decoders: dict[str, Decoder], value: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    name = ""
    try:
        for name, one in decoders.items():
            fields[name] = one(value[name])
    except _OffError as error:
        raise _OffError(f".{name}{error}") from error
    return fields


def _literal(allowed: tuple[Any, ...]) -> Decoder:
    def decoded(value: Any) -> Any:
        if value not in allowed:
            raise _OffError(f" is {value!r}, not one of {allowed}")
        return value

    return decoded


def _many(inner: Decoder) -> Decoder:
    def decoded(value: Any) -> Any:
        if not isinstance(value, list):
            raise _OffError(f" should be a list, got {_kind(value)}")
        found: list[Any] = []
        try:
            for one in value:
                found.append(inner(one))  # how many there are is where it failed
        except _OffError as error:
            raise _OffError(f"[{len(found)}]{error}") from error
        return tuple(found)

    return decoded


def _tuple(kinds: tuple[Any, ...]) -> Decoder:
    decoders = {f"[{index}]": _decoder(kind) for index, kind in enumerate(kinds)}

    def decoded(value: Any) -> Any:
        if not isinstance(value, list):
            raise _OffError(f" should be a list, got {_kind(value)}")
        if len(value) != len(kinds):
            raise _OffError(f" should have {len(kinds)} entries, got {len(value)}")
        placed = zip(decoders.items(), value, strict=True)
        return tuple(_inside(at, one, part) for (at, one), part in placed)

    return decoded


def _dict(inner: Decoder) -> Decoder:
    def decoded(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _OffError(f" should be an object, got {_kind(value)}")
        return {key: _inside(f".{key}", inner, one) for key, one in value.items()}

    return decoded


def _inside(at: str, inner: Decoder, value: Any) -> Any:
    try:
        return inner(value)
    except _OffError as error:
        raise _OffError(f"{at}{error}") from error


def _float(value: Any) -> float:
    if type(value) is int:
        return float(value)
    if type(value) is not float:
        raise _OffError(f" should be float, got {_kind(value)}")
    if not math.isfinite(value):
        raise _OffError(" is not a finite number")
    return value


def _plain(expected: Any) -> Decoder:
    def decoded(value: Any) -> Any:
        if type(value) is not expected:
            raise _OffError(f" should be {expected.__name__}, got {_kind(value)}")
        return value

    return decoded


def _refuse_constant(name: str) -> float:
    raise RecordError(f"holds {name}, which is not JSON")


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list", type(None): "null"}.get(
        type(value), f"{type(value).__name__} {value!r:.40}"
    )


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
