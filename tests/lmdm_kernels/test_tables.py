import pytest
import torch

from lmdm_kernels.tables import MovingPlan, plan_table
from lmdm_kernels.tiles import flat_plan

CPU = torch.device("cpu")
PLAN = [((0, 20), [(0, 3), (5, 9)]), ((20, 24), [(0, 40)])]
MOVED = [((0, 20), [(1, 30)]), ((20, 24), [(0, 2), (4, 8)])]


def test_a_table_has_the_longest_tiles_first() -> None:
    table = plan_table(flat_plan(PLAN), 16, CPU)
    assert table.dtype is torch.int32 and table.is_contiguous()
    assert table.tolist() == [[20, 24, 0, 40, 0, 0], [0, 16, 0, 3, 5, 9], [16, 20, 0, 3, 5, 9]]


def test_a_table_is_made_once_and_kept() -> None:
    assert plan_table(flat_plan(PLAN), 16, CPU) is plan_table(flat_plan(PLAN), 16, CPU)


def test_a_moved_plan_has_new_tiles_at_the_same_address() -> None:
    plan = MovingPlan(PLAN)
    table = plan.table(16, CPU, 40)
    plan.move(MOVED)
    assert plan.table(16, CPU, 40) is table
    fresh = plan_table(flat_plan(MOVED), 16, CPU)
    assert torch.equal(table, fresh) and table.data_ptr() != fresh.data_ptr()
    assert torch.equal(plan.table(4, CPU, 40), plan_table(flat_plan(MOVED), 4, CPU))
    plan.move(PLAN)
    assert torch.equal(table, plan_table(flat_plan(PLAN), 16, CPU))


def test_two_moving_plans_share_nothing() -> None:
    one, other = MovingPlan(PLAN), MovingPlan(PLAN)
    table = one.table(16, CPU, 40)
    other.table(16, CPU, 40)
    other.move(MOVED)
    assert torch.equal(table, plan_table(flat_plan(PLAN), 16, CPU))


def test_as_a_tuple_it_has_the_rows_it_was_made_with() -> None:
    plan = MovingPlan(PLAN)
    plan.move(MOVED)
    assert tuple(plan) == tuple(PLAN) and plan.made == flat_plan(PLAN)


def test_tables_made_for_inference_may_move_outside_it() -> None:
    plan = MovingPlan(PLAN)
    with torch.inference_mode():
        table = plan.table(16, CPU, 40)
    plan.move(MOVED)
    assert torch.equal(table, plan_table(flat_plan(MOVED), 16, CPU))


def test_other_queries_are_refused() -> None:
    plan = MovingPlan(PLAN)
    with pytest.raises(ValueError, match=r"keeps its queries \[\(0, 20\), \(20, 24\)\], got"):
        plan.move([((0, 24), [(0, 40)])])


def test_a_plan_may_not_move_past_the_keys_it_is_used_with() -> None:
    plan = MovingPlan(PLAN)
    plan.move([((0, 20), [(0, 99)]), ((20, 24), [(0, 40)])])  # not used yet
    plan.move(PLAN)
    plan.table(16, CPU, 50)
    plan.table(16, CPU, 60)
    with pytest.raises(ValueError, match="end at place 50 or before, got 51"):
        plan.move([((0, 20), [(0, 51)]), ((20, 24), [(0, 40)])])
    with pytest.raises(ValueError, match="end at place 39 or before, got 40"):
        plan.table(16, CPU, 39)
