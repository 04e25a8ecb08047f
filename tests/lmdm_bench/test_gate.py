"""A gate is read whole or refused in one sentence; of its overrides the last that matches wins."""

import re
import textwrap

import pytest

import compare_records
from lmdm_bench import gate
from lmdm_bench.compare_record import Gate, Override
from lmdm_bench.errors import InputError
from lmdm_bench.gate import DEFAULT_GATE, load_gate, thresholds_of


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        path = tmp_path / "gate.toml"
        path.write_text(text, encoding="utf-8")
        return load_gate(path)

    return read_text


def cell(name, kind="block"):
    return compare_records.paired_cell(name, num_processes=0, kind=kind)


def test_without_a_file_blocks_have_3_percent_and_kernels_2_and_memory_none():
    assert load_gate(None) == DEFAULT_GATE
    found = {kind: thresholds_of(DEFAULT_GATE, cell("x", kind)) for kind in ("block", "kernel")}
    assert found == {"block": (0.03, 0.0), "kernel": (0.02, 0.0)}


def test_the_docstring_is_a_gate(read):
    example = textwrap.dedent(gate.__doc__.split("::")[1].split("Everything")[0])
    overrides = (Override("outpaint*", 0.05, 0.01),)
    assert read(example) == Gate(0.03, 0.02, 0.03, 0.0, overrides)


def test_what_is_left_out_has_its_default(read):
    assert read("schema = 1") == DEFAULT_GATE
    found = read("schema = 1\n[thresholds]\nkernel = 0.1\nmemory = 0")
    assert found == Gate(0.03, 0.1, 0.03, 0.0, ())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("outpaint · tiny", (0.2, 0.01)),
        ("outpaint · sao-small", (0.05, 0.01)),
        ("Outpaint · tiny", (0.03, 0.0)),  # letters' case counts
        ("block-causal · tiny", (0.03, 0.5)),
        ("tiny", (0.03, 0.0)),
    ],
)
def test_the_last_override_that_has_a_threshold_wins(name, expected):
    overrides = (
        Override("outpaint*", 0.05, 0.01),
        Override("block-causal · tin?", None, 0.5),
        Override("outpaint · tiny", 0.2, None),
    )
    assert thresholds_of(Gate(0.03, 0.02, 0.03, 0.0, overrides), cell(name)) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("schema = 1\nblocks = 2", "blocks is not known"),
        ("schema = 1\n[thresholds]\nblok = 0.1", r"thresholds\.blok is not known; known are block"),
        ("schema = 1\n[[cell]]\nname = 'x'\nspeed = 0.1", r"cell\.speed is not known"),
        ("", "schema should be 1, got None"),
        ("schema = 2", "schema should be 1, got 2"),
        ("schema = true", "schema should be 1, got True"),
        ("schema = 1\nthresholds = 3", "thresholds should be a table"),
        ("schema = 1\ncell = [1]", "cell should be an array of tables"),
        ("schema = 1\n[cell]\nname = 'x'", "cell should be an array of tables"),
        ("schema = 1\n[thresholds]\nblock = 0", r"thresholds\.block should be more than 0"),
        ("schema = 1\n[thresholds]\nblock = 1.0", r"thresholds\.block should be more than 0 and"),
        ("schema = 1\n[thresholds]\nkernel = nan", r"thresholds\.kernel should be more than 0"),
        ("schema = 1\n[thresholds]\ncodec = '3 %'", "got '3 %'"),
        ("schema = 1\n[thresholds]\ncodec = true", "got True"),
        ("schema = 1\n[thresholds]\nmemory = -0.1", r"thresholds\.memory should be 0 or more"),
        ("schema = 1\n[[cell]]\ntime = 0.1", r"cell\.name should be the name of cells, got None"),
        ("schema = 1\n[[cell]]\nname = 'x'", "cell 'x' should have a threshold"),
        ("schema = 1\n[[cell]]\nname = 'x'\ntime = 3", r"cell\.time should be more than 0"),
        ("schema = 1" + "\n[[cell]]\nname = 'x'\ntime = 0.1" * 2, "cell 'x' is there twice"),
        ("schema = ", "is not TOML"),
    ],
)
def test_what_is_wrong_is_named(read, text, sentence):
    with pytest.raises(InputError, match=rf"gate\.toml.*{sentence}") as error:
        read(text)
    assert not re.search(r"\n", str(error.value))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    for name in ("absent.toml", "binary.toml"):
        with pytest.raises(InputError, match=f"{name} cannot be read"):
            load_gate(tmp_path / name)
