"""Every kind of record gives its raw times, under axes that say what they are times of."""

import dataclasses

import numpy as np
import pytest

import check_records
import claims_records
import kernels_records
import records
from lmdm_bench.compare_cells import axis_words, recorded
from lmdm_bench.compare_record import Misses
from lmdm_bench.record import Ceiling, RecordError


def cells_of(record):
    return {cell.name: cell for cell in recorded(record, "some.json").cells}


def test_where_a_record_comes_from():
    record = records.all_ok()
    origin = recorded(record, "some.json").origin
    assert (origin.name, origin.created) == ("some.json", record.created)
    assert (origin.git_commit, origin.git_is_dirty) == (record.tool.git_commit, False)
    assert origin.machine == record.machine.name
    assert origin.machine_facts["cpu"] == "AMD EPYC"
    assert origin.machine_facts["weights"] == "random, seed 0"
    assert origin.packages == {
        "lmdm-bench": "0.1.0",
        "python": "3.11.13",
        "torch": "2.13.0",
        "numpy": "2.3.5",
    }
    tool = dataclasses.replace(
        record.tool, git_commit=None, git_is_dirty=None, git_reason="git is not installed"
    )
    nowhere = recorded(dataclasses.replace(record, tool=tool), "some.json").origin
    assert nowhere.git_commit is None
    assert nowhere.unavailable == {"git_commit": "git is not installed"}


@pytest.mark.parametrize("name", ["outpaint", "encoder-decoder", "block-causal"])
def test_a_run_gives_its_measured_blocks_with_their_stages(name):
    (cell,) = (one for one in records.all_ok().cells if one.workload.scheme == name)
    found = cells_of(records.all_ok())[f"{name} · sao-small"]
    blocks = cell.blocks[2:]
    assert found.kind == "block"
    assert found.block_seconds == records.BLOCK_SECONDS
    assert found.service_ms == tuple(block.service_ms for block in blocks)
    assert found.stages["first_step"] == tuple(block.steps_ms[0] for block in blocks)
    assert found.stages["later_steps"] == pytest.approx([sum(one.steps_ms[1:]) for one in blocks])
    assert found.stages["codec_decode"] == tuple(block.codec_decode_ms for block in blocks)
    assert ("context_encode" in found.stages) == (name == "encoder-decoder")
    # The example's commits take 0 ms, which has no ratio.
    assert "commit" not in found.stages
    assert np.sum([*found.stages.values()], axis=0) == pytest.approx(found.service_ms)


def test_a_commit_is_a_stage():
    cell = records.cell("encoder-decoder")
    blocks = tuple(dataclasses.replace(block, commit_ms=2.0) for block in cell.blocks)
    record = dataclasses.replace(
        records.all_ok(), cells=(dataclasses.replace(cell, blocks=blocks),)
    )
    (found,) = cells_of(record).values()
    assert found.stages["commit"] == (2.0,) * 9


def test_one_step_has_none_after_it():
    record = dataclasses.replace(records.all_ok(), cells=(records.cell("block-causal", steps=1),))
    (found,) = cells_of(record).values()
    assert found.stages.keys() == {"first_step", "codec_decode", "host"}


def test_the_axes_are_workload_precision_and_policy():
    found = cells_of(records.all_ok())["block-causal · sao-small"]
    assert found.axes == {
        "scheme": "block-causal",
        "model": "sao-small",
        "context_frames": "192",
        "block_frames": "48",
        "visible_blocks": "4",
        "num_levels": "none",
        "steps": "8",
        "sampler": "pingpong",
        "guidance_scale": "1.0",
        "batch": "1",
        "dtype": "bfloat16",
        "attention": "reference",
        "is_graphed": "no",
        "sample_rate_hz": "44100",
        "samples_per_frame": "2048",
        "mode": "back to back",
        "linear": "packed",
        "gc": records.all_ok().settings.gc,
        "device": "cpu",
        "threads": "2",
        "codec": "run",
    }
    assert cells_of(records.cuda())["block-causal · sao-small"].axes["device"] == "cuda"
    assert cells_of(records.five_schemes())["lmm-frame-wise · mrt2-small"].axes["codec"] == (
        "not run"
    )


@pytest.mark.parametrize(
    ("axis", "words"),
    [("context_frames", "context frames"), ("is_graphed", "graphed"), ("num_levels", "levels")],
)
def test_an_axis_in_words(axis, words):
    assert axis_words(axis) == words


def test_only_exact_memory_is_kept():
    on_cpu = cells_of(records.all_ok())["block-causal · sao-small"].outcome.memory_bytes
    assert on_cpu == {
        "weights": 681_800_000,
        "cache": 2 * 2 * 1024 * 192 * 16,
        "activations": 24_000_000,
        "workspace": 67_108_864,
    }
    on_cuda = cells_of(records.cuda())["block-causal · sao-small"].outcome.memory_bytes
    assert on_cuda == {**on_cpu, "peak_allocated": 1_181_116_006}


def test_the_ceiling_is_the_drift_control_and_larger_is_slower():
    record = records.all_ok()
    (found, *_) = recorded(record, "some.json").cells
    assert found.controls["product"] == pytest.approx((1e15 / record.ceiling.flops_per_second,))
    assert found.controls["copy"] == pytest.approx((1e12 / record.ceiling.bytes_per_second,))
    unknown = dataclasses.replace(record, ceiling=Ceiling("bfloat16", 0.0, 1e9))
    assert recorded(unknown, "some.json").cells[0].controls == {"copy": (1000.0,)}


def test_what_did_not_end_ok_has_its_reason_and_no_times():
    found = cells_of(records.one_oom())["outpaint · sao-small"]
    assert found.outcome.status == "OOM"
    assert "14.1 GiB" in found.outcome.reason
    assert (found.service_ms, found.stages, found.controls) == ((), {}, {})
    assert found.outcome.memory_bytes == {}


@pytest.mark.parametrize(
    ("record", "names"),
    [
        (records.interrupted(), {"outpaint · sao-small"}),
        (kernels_records.nothing(), set()),
        (check_records.failed(), {"outpaint · sao-small"}),
    ],
)
def test_what_was_not_measured_is_no_cell(record, names):
    assert set(cells_of(record)) == names


def test_what_could_not_be_built_does_not_know_all_axes():
    failed = cells_of(check_records.failed())["outpaint · sao-small"]
    whole = cells_of(check_records.too_slow())["outpaint · sao-small"]
    assert whole.axes.keys() - failed.axes.keys() == {"codec", "conditions"}
    run = records.one_oom()
    settings = dataclasses.replace(
        run.settings, linear=dataclasses.replace(run.settings.linear, value="not built")
    )
    found = cells_of(dataclasses.replace(run, settings=settings))
    assert "linear" not in found["outpaint · sao-small"].axes


def test_a_check_gives_its_paced_blocks_its_misses_and_its_canary():
    record = check_records.with_stalls()
    (cell,) = record.check_cells
    (found,) = cells_of(record).values()
    assert found.service_ms == cell.service_ms
    assert len(found.stages["first_step"]) == len(cell.blocks)
    assert found.controls["canary"] == cell.canary.work_ms
    assert found.controls.keys() == {"product", "copy", "canary"}
    misses = found.outcome.misses
    late = [one for one in cell.blocks[2:] if one.lateness_ms > 0]
    # Two of the three long blocks follow each other.
    assert (misses.num_due, misses.num_misses, misses.num_dropouts) == (267, len(late), 2)
    assert misses.playing_hours == pytest.approx(267 * records.BLOCK_SECONDS / 3600)
    for axis, value in {
        "mode": "paced",
        "prebuffer_blocks": "2",
        "late_blocks": "zero-pad",
        "stress": "none",
        "audio": "none",
        "conditions": "prompt",
        "linear": "packed",
        "gc": "frozen",
    }.items():
        assert found.axes[axis] == value


def test_a_stream_to_which_nothing_came_says_so():
    cell = dataclasses.replace(check_records.cell(check_records.steady(9)), controls=())
    (found,) = cells_of(check_records.record(cell)).values()
    assert found.axes["conditions"] == "none"


def test_a_sound_card_is_another_policy():
    (found,) = cells_of(check_records.on_a_sound_card()).values()
    assert found.axes["mode"] == "device"
    assert found.axes["audio"] == "jack-dummy"
    assert isinstance(found.outcome.misses, Misses)


def test_claims_give_their_visits_without_a_codec():
    record = claims_records.agreeing()
    found = recorded(record, "claims.json").cells
    assert len(found) == sum(point.status == "OK" for point in record.points)
    for cell, point in zip(found, record.points, strict=True):
        assert cell.service_ms == tuple(visit.service_ms for visit in point.visits)
        assert cell.axes["codec"] == "left out"
        assert cell.axes["mode"] == "in rounds"
        assert np.sum([*cell.stages.values()], axis=0) == pytest.approx(cell.service_ms)
        assert "peak_allocated" not in cell.outcome.memory_bytes


def test_kernels_give_each_regime_of_each_backend():
    record = kernels_records.on_cpu()
    found = cells_of(record)
    name = "range · encoder-decoder-step 192+48 · sao-small · batch 1 · warm"
    (row,) = (
        row
        for case, row in record.rows()
        if (case.plan, case.context_frames, case.block_frames) == ("encoder-decoder-step", 192, 48)
        and (case.model, case.batch, row.backend) == ("sao-small", 1, "range")
    )
    assert found[name].service_ms == row.timings[0].round_ms
    assert found[name].kind == "kernel"
    assert found[name].block_seconds is None
    assert found[name].outcome.error == row.check.error
    assert found[name].outcome.budget == row.check.budget
    assert found[name].axes["regime"] == "warm"
    assert found[name].axes["dtype"] == "bfloat16"
    assert len(found) == len(record.kernel_cells) * len(kernels_records.BACKENDS) * 3
    assert recorded(record, "x").origin.machine_facts["launches"] == "shipped"


def test_a_kernel_that_failed_did_so_in_every_regime():
    record = kernels_records.short()
    found = recorded(record, "kernels.json").cells
    wrong = [cell for cell in found if cell.outcome.status == "INCORRECT"]
    assert [cell.axes["regime"] for cell in wrong] == ["warm", "cold", "stack"]
    assert all(cell.outcome.status != "LEFT OUT" for cell in found)
    assert {cell.axes["plan"] for cell in found if cell.outcome.status == "OK"} == {
        one.case.plan for one in record.kernel_cells[:3]
    }


def test_a_time_that_has_no_ratio_is_an_error():
    cell = records.all_ok().cells[0]
    blocks = (*cell.blocks[:-1], dataclasses.replace(cell.blocks[-1], service_ms=0.0))
    record = dataclasses.replace(
        records.all_ok(), cells=(dataclasses.replace(cell, blocks=blocks),)
    )
    with pytest.raises(RecordError, match="outpaint · sao-small: a sample took 0 ms"):
        recorded(record, "some.json")
