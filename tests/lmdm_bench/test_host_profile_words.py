"""A host profile's words say what was measured, what is avoidable, and who can tell the rest."""

import dataclasses
import io
import subprocess
import sys

import pytest
from rich.console import Console

import host_and_memory_profiles as profiles
from lmdm_bench.format import plain
from lmdm_bench.host_profile_words import (
    COSTS_MEAN_CPU,
    COSTS_MEAN_DEVICE,
    NO_COSTS,
    avoidable_costs,
    host_closing,
    host_markdown,
    host_table,
)
from lmdm_bench.profile_record import HostProfile

TERMINAL_COLUMNS = 80


def printed(profile: HostProfile) -> str:
    console = Console(width=TERMINAL_COLUMNS, file=io.StringIO())
    console.print(host_table(profile))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_the_largest_costs_are_the_models_lines_and_not_the_harness_own() -> None:
    costs = avoidable_costs(profiles.host_lines())
    assert [one.where for one in costs] == [
        "lmdm_ref/codec.py:282",
        "lmdm_ref/linear.py:43",
        "lmdm_kernels/launch.py:7",
    ]
    assert costs[0].size == 24.0 and costs[0].unit == "ms" and costs[0].share == 0.01
    assert "apply_to" in costs[0].what


def test_the_closing_text_tells_the_codecs_part_and_leaves_the_rest_to_who_knows_it() -> None:
    closing = plain(profiles.host_profile().closing)
    assert "took 2 000 ms without the profiler" in closing
    assert "codec 74 %" in closing and "attention n/a (only --tool torch tells)" in closing
    assert COSTS_MEAN_CPU in closing


def test_on_a_device_the_host_works_beside_it() -> None:
    profile = profiles.host_profile("cuda")
    assert COSTS_MEAN_DEVICE in profile.closing
    page = host_markdown(profile)
    assert "waiting for the device is no work of the host" in page
    assert "| first step | 600 | 200 | 300 | 100 | 17 % |" in page.replace(
        "\N{NO-BREAK SPACE}", " "
    )


def test_on_a_cpu_nothing_is_waited_for() -> None:
    page = host_markdown(profiles.host_profile()).replace("\N{NO-BREAK SPACE}", " ")
    assert "waiting" not in page
    assert "| stage | whole | operators | Python | Python's share |" in page
    assert "| block | 2 400 | 2 204 | 196 | 8 % |" in page
    assert "12 345 samples at least 0.200 ms apart" in page
    assert "every call and return of 3 blocks more" in page
    assert "| lmdm_ref/codec.py:282 | apply_to | 24.0 | 1 % | 120 |" in page


def test_tokens_have_no_codec_here() -> None:
    profile = profiles.host_profile()
    facts = dataclasses.replace(
        profile.facts, cost=dataclasses.replace(profile.facts.cost, codec=None)
    )
    stages = tuple(one for one in profile.host.stages if one.name != "codec decode")
    found = dataclasses.replace(profile.host, stages=stages)
    closing = plain(host_closing(facts, found, profile.lines))
    assert "codec n/a (no codec makes samples of its tokens here)" in closing


def test_without_lines_there_are_no_costs() -> None:
    profile = profiles.host_profile()
    assert NO_COSTS in host_closing(profile.facts, profile.host, profile.lines[:1])


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_terminal_shows_it_in_80_columns(device: str) -> None:
    profile = profiles.host_profile(device)
    text = printed(profile)
    assert all(len(line) <= TERMINAL_COLUMNS for line in text.splitlines())
    for word in (
        "between stages",
        "codec decode",
        "lmdm_ref/codec.py:282",
        "a_function_with_a_nam…",
    ):
        assert word in text
    # The costs are numbered in the terminal as on the page.
    assert "1. lmdm_ref/codec.py:282" in text


def test_words_need_no_torch() -> None:
    code = (
        "import sys, lmdm_bench.host_profile_words, lmdm_bench.memory_timeline_figure\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
