"""A memory profile's words: the peak, what is measured beside arithmetic, copies at the peak."""

import dataclasses
import io

import pytest
from rich.console import Console

import host_and_memory_profiles as profiles
from lmdm_bench.format import plain
from lmdm_bench.memory_profile_words import (
    COSTS_MEAN,
    LEGEND,
    NO_COPIES,
    avoidable_copies,
    mebibytes,
    memory_closing,
    memory_markdown,
    memory_table,
)
from lmdm_bench.profile_record import MemoryProfile

TERMINAL_COLUMNS = 80


def page_of(profile: MemoryProfile) -> str:
    page = memory_markdown(profile, "memory.png")
    return page.replace("\N{NO-BREAK SPACE}", " ")


def test_copies_at_the_peak_are_avoidable_and_results_are_not() -> None:
    (copy,) = avoidable_copies(profiles.memory_profile().timeline)
    assert copy.where == "lmdm_ref/codec.py:239" and copy.unit == "bytes"
    assert copy.size == 5 * 2**20 and copy.share == pytest.approx(5 / 21)


def test_the_closing_text_says_where_the_peak_is_and_how_far_arithmetic_is_from_it() -> None:
    closing = plain(profiles.memory_profile().closing)
    assert "A block holds 21.0 MiB at its peak, in codec decode." in closing
    assert "Activations of the model: 11.0 MiB measured, 7.00 MiB by arithmetic (1.57×)." in closing
    assert "1. lmdm_ref/codec.py:239: 5.00 MiB, 24 % of the peak (a copy inside cat)" in closing
    assert COSTS_MEAN in closing and "--tool torch tells it" in closing


def test_without_copies_it_says_so() -> None:
    profile = profiles.memory_profile()
    timeline = dataclasses.replace(profile.timeline, held=profile.timeline.held[:1])
    assert NO_COPIES in memory_closing(profile.facts, timeline, profile.compared)


def test_what_was_not_measured_has_its_reason() -> None:
    profile = profiles.without_resident()
    assert "Weights, cache and workspace: not compared (nothing grew)." in plain(profile.closing)
    assert "| weights, cache and workspace | n/a | 991 MiB | n/a |" in page_of(profile)


def test_the_page_has_stages_parts_and_holders() -> None:
    page = page_of(profiles.memory_profile())
    assert "![What a block holds while it is made](memory.png)" in page
    assert "| first step | 11.0 MiB | 1.00 MiB |" in page
    assert "| block | 21.0 MiB | 1.00 MiB |" in page
    assert "| activations of the codec | 21.0 MiB | 96.0 MiB | 0.219× |" in page
    assert "| lmdm_ref/codec.py:239 | aten::cat | 5 242 880 | 24 % | yes |" in page
    assert "peaks 20.0 MiB to 21.0 MiB, the highest is shown" in page
    assert "beyond the 967 MiB of weights and cache" in page and LEGEND in page


def test_blocks_with_one_peak_need_no_range() -> None:
    profile = dataclasses.replace(profiles.memory_profile(), peaks_bytes=(21 * 2**20,) * 2)
    assert ": peak 21.0 MiB. 6 allocations, 31.0 MiB in all;" in page_of(profile)


def test_the_terminal_shows_it_in_80_columns() -> None:
    file = io.StringIO()
    Console(width=TERMINAL_COLUMNS, file=file).print(memory_table(profiles.memory_profile()))
    text = file.getvalue()
    assert all(len(line) <= TERMINAL_COLUMNS for line in text.splitlines())
    for words in ("codec decode", "activations of the model", "lmdm_ref/codec.py:239 cat"):
        assert words in text


def test_mebibytes() -> None:
    assert mebibytes(13 * 2**19) == "6.50\N{NO-BREAK SPACE}MiB"
