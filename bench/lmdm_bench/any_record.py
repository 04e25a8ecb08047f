"""A record of any kind, told by what its file holds."""

from pathlib import Path

from lmdm_bench.check_record import CheckRecord, is_check, load_check
from lmdm_bench.claims_record import ClaimsRecord, is_claims, load_claims
from lmdm_bench.compare_record import CompareRecord, is_compare, load_compare
from lmdm_bench.kernels_record import KernelsRecord, is_kernels, load_kernels
from lmdm_bench.record import Record, load

AnyRecord = Record | ClaimsRecord | KernelsRecord | CheckRecord | CompareRecord


def load_any(path: Path) -> AnyRecord:
    """Read a record. Raises RecordError in one sentence, whatever is wrong with it."""
    if is_claims(path):
        return load_claims(path)
    if is_check(path):
        return load_check(path)
    if is_compare(path):
        return load_compare(path)
    return load_kernels(path) if is_kernels(path) else load(path)
