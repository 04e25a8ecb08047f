import json
from dataclasses import replace
from pathlib import Path

import pytest

from lmdm_kernels.launch import (
    ARCHITECTURES,
    HEAD_DIMS,
    LAUNCHES,
    Card,
    Launch,
    LaunchKey,
    Work,
    launch_for,
    load_launches,
    save_launches,
    shared_bytes,
    tuning_candidates,
)
from lmdm_kernels.tiles import flat_plan

LAPTOP = Card(capability=(8, 9), num_multiprocessors=24, shared_bytes=101_376)
BIG = Card(capability=(9, 0), num_multiprocessors=132, shared_bytes=232_448)


def work(
    queries: int, keys: int, *, batch_heads: int = 16, dtype: str = "float16", head_dim: int = 64
) -> Work:
    plan = flat_plan([((0, queries), [(0, keys)])])
    return Work(dtype, head_dim, plan, batch_heads, capacity=keys)


def test_the_table_has_a_launch_for_every_architecture_head_dim_and_dtype() -> None:
    for arch in ARCHITECTURES:
        for head_dim in HEAD_DIMS:
            for dtype in ("half", "float32"):
                assert LaunchKey(arch, dtype, head_dim, 1) in LAUNCHES


def test_the_tile_is_as_long_as_the_longest_row_but_no_longer_than_64() -> None:
    for queries, block_q in ((1, 16), (16, 16), (17, 32), (32, 32), (33, 64), (1024, 64)):
        assert launch_for(LAPTOP, work(queries, 1024), LAUNCHES).block_q == block_q


def test_hopper_has_longer_tiles_for_many_queries() -> None:
    assert launch_for(BIG, work(255, 1024), LAUNCHES).block_q == 64
    launch = launch_for(BIG, work(256, 1024), LAUNCHES)
    assert (launch.block_q, launch.num_warps) == (128, 8)


def test_an_unknown_architecture_takes_the_rows_of_the_smallest() -> None:
    for capability in ((8, 7), (10, 0), (12, 1)):
        card = Card(capability, 24, 101_376)
        assert card.arch == "sm_86"
        smallest = launch_for(Card((8, 6), 24, 101_376), work(64, 512), LAUNCHES)
        assert launch_for(card, work(64, 512), LAUNCHES) == smallest


def test_float32_is_never_multiplied_in_tf32() -> None:
    assert {launch.precision for launch in LAUNCHES.values()} == {"ieee", "tf32x3"}


@pytest.mark.parametrize(
    ("multiprocessors", "queries", "keys", "batch_heads", "splits"),
    [
        (24, 64, 1024, 16, 3),  # 16 programs, 48 wanted
        (24, 64, 1024, 32, 2),
        (24, 64, 1024, 48, 1),
        (76, 64, 1024, 16, 8),  # 10 wanted, 8 is the most
        (76, 64, 640, 16, 5),  # 10 tiles of 64 keys: two for each split
        (76, 64, 256, 16, 2),
        (76, 64, 192, 16, 1),  # below four tiles never
        (132, 1024, 1024, 16, 2),  # 256 programs, 264 wanted
        (132, 1024, 1024, 32, 1),
    ],
)
def test_splits_fill_the_card_and_have_two_key_tiles_each(
    multiprocessors: int, queries: int, keys: int, batch_heads: int, splits: int
) -> None:
    card = Card((8, 9), multiprocessors, 101_376)
    some = work(queries, keys, batch_heads=batch_heads)
    assert launch_for(card, some, LAUNCHES).splits == splits


def test_splits_come_from_the_capacity_not_from_the_keys_of_now() -> None:
    now = work(64, 192)
    assert launch_for(LAPTOP, now, LAUNCHES).splits == 1
    assert launch_for(LAPTOP, now._replace(capacity=1024), LAUNCHES).splits == 3


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("block_q", 8), ("block_q", 64.0), ("block_k", 48), ("splits", 0), ("splits", 9),
        ("splits", True), ("num_warps", 16), ("num_stages", 0), ("precision", "tf32"),
    ],
)  # fmt: skip
def test_a_launch_with_which_no_kernel_can_be_built_is_refused(name: str, number: object) -> None:
    sound = Launch(16, 64, 1, 4, 2)
    with pytest.raises(ValueError, match=f"a launch's {name} is one of .*, got {number!r}$"):
        replace(sound, **{name: number})


def test_candidates_fit_the_card_and_the_queries() -> None:
    for card in (LAPTOP, BIG):
        for dtype in ("bfloat16", "float32"):
            for head_dim in HEAD_DIMS:
                some = tuning_candidates(card, dtype, head_dim, queries=64)
                assert len(some) == len(set(some)) > 4
                for one in some:
                    taken = shared_bytes(one, card.capability, dtype, head_dim)
                    assert taken <= card.shared_bytes and one.splits == 1
    for queries, blocks in ((1, {16}), (16, {16}), (17, {16, 32}), (48, {32, 64}), (256, {32, 64})):
        made = tuning_candidates(LAPTOP, "float16", 64, queries)
        assert {one.block_q for one in made} == blocks
    assert {one.block_q for one in tuning_candidates(BIG, "float16", 64, 256)} == {64, 128}


def test_every_shipped_launch_is_a_candidate_for_tuning() -> None:
    for key, launch in LAUNCHES.items():
        major, minor = int(key.arch[3:-1]), int(key.arch[-1])
        card = Card((major, minor), 132, 101_376 if major != 9 else 232_448)
        for dtype in ("float16", "bfloat16") if key.dtype == "half" else ("float32",):
            for queries in (key.min_queries, key.min_queries + 15):
                some = tuning_candidates(card, dtype, key.head_dim, queries)
                assert launch in some, key


def test_a_saved_table_is_loaded_again(tmp_path: Path) -> None:
    path = tmp_path / "launches.json"
    save_launches(LAUNCHES, path)
    assert load_launches(path) == LAUNCHES
    shipped = Path(__file__).parents[2] / "kernels" / "lmdm_kernels" / "launches.json"
    assert path.read_text() == shipped.read_text()


def test_a_row_of_a_file_replaces_the_shipped_one(tmp_path: Path) -> None:
    path = tmp_path / "tuned.json"
    key = LaunchKey("sm_89", "half", 64, 33)
    tuned = Launch(64, 32, 1, 8, 2)
    save_launches({key: tuned}, path)
    table = load_launches(path)
    assert table[key] == tuned and len(table) == len(LAUNCHES)
    assert launch_for(LAPTOP, work(64, 1024), table) == replace(tuned, splits=3)


ROW = {
    "arch": "sm_89", "dtype": "half", "head_dim": 64, "min_queries": 1, "block_q": 16,
    "block_k": 64, "num_warps": 4, "num_stages": 3, "precision": "ieee",
}  # fmt: skip


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is no JSON file of launches"),
        ("{}", "holds a list of launches, got dict"),
        ([1], "row 1: a row has the fields arch, dtype"),
        ([{**ROW, "splits": 2}], "row 1: a row has the fields arch"),
        ([ROW, ROW], "row 2: no other row is for ('sm_89', 'half', 64, 1), got two"),
        ([{**ROW, "arch": "sm_75"}], "row 1: arch is one of sm_80, "),
        ([{**ROW, "dtype": "float16"}], "dtype is one of half, float32, got 'float16'"),
        ([{**ROW, "head_dim": 96}], "head_dim is one of 32, 64, 128, got 96"),
        ([{**ROW, "min_queries": 0}], "min_queries is a whole number from 1 on, got 0"),
        ([{**ROW, "min_queries": True}], "min_queries is a whole number from 1 on, got True"),
        ([{**ROW, "block_k": 24}], "a launch's block_k is one of 16, 32, 64, 128, got 24"),
        ([{**ROW, "num_warps": [4]}], "a launch's num_warps is one of 1, 2, 4, 8, got [4]"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, content: object, said: str) -> None:
    path = tmp_path / "launches.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError) as refused:
        load_launches(path)
    assert said in str(refused.value) and "\n" not in str(refused.value)
    assert "launches.json" in str(refused.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no JSON file of launches"):
        load_launches(tmp_path / "none.json")


def test_a_table_without_the_row_says_so() -> None:
    with pytest.raises(ValueError, match=r"a row for \('sm_89', 'half', 64, 64\), this one has"):
        launch_for(LAPTOP, work(64, 1024), {})
