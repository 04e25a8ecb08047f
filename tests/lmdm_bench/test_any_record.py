import pytest

import check_records
import claims_records
import compare_records
import kernels_records
import records
from lmdm_bench.any_record import load_any
from lmdm_bench.check_record import save_check
from lmdm_bench.claims_record import save_claims
from lmdm_bench.compare_record import save_compare
from lmdm_bench.kernels_record import save_kernels
from lmdm_bench.record import RecordError, save


def test_each_kind_is_loaded_as_itself(tmp_path):
    path = tmp_path / "some.json"
    for record, write in (
        (records.all_ok(), save),
        (claims_records.agreeing(), save_claims),
        (kernels_records.on_cpu(), save_kernels),
        (check_records.short(), save_check),
        (compare_records.slower(), save_compare),
    ):
        write(record, path)
        assert load_any(path) == record


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"schema_version": 1}'])
def test_what_is_no_record_is_refused_in_a_sentence(tmp_path, content):
    path = tmp_path / "some.json"
    path.write_text(content)
    with pytest.raises(RecordError, match=r"some\.json"):
        load_any(path)
