import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from helpers import assert_identity, assert_within_budget, seeded
from lmdm_ref.arena import Span
from lmdm_ref.attention import attend, attend_dense, dense_mask
from lmdm_ref.plan import Plan, full_plan, num_queries, plan_row

KEYS, HEAD_DIM, BATCH = 12, 4, 2


# A row's number of queries, and where its one or two spans of keys begin and end.
ROWS = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.sampled_from([2, 4]).flatmap(
            lambda edges: st.lists(
                st.integers(0, KEYS), min_size=edges, max_size=edges, unique=True
            ).map(sorted)
        ),
    ),
    min_size=1,
    max_size=4,
)
Drawn = list[tuple[int, list[int]]]


def plan_of(drawn: Drawn) -> Plan:
    rows, start = [], 0
    for queries, edges in drawn:
        spans = [Span(*edges[at : at + 2]) for at in range(0, len(edges), 2)]
        rows.append(plan_row(Span(start, start + queries), spans))
        start += queries
    return tuple(rows)


def heads_for(plan: Plan, groups: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    return (
        seeded(0, BATCH, 2 * groups, num_queries(plan), HEAD_DIM),
        seeded(1, BATCH, 2, KEYS, HEAD_DIM),
        seeded(2, BATCH, 2, KEYS, HEAD_DIM),
    )


TWO_SPANS = (
    plan_row(Span(0, 2), [Span(0, 5)]),
    plan_row(Span(2, 5), [Span(1, 4), Span(6, 9)]),
)


@given(ROWS, st.integers(1, 3))
def test_attending_by_rows_equals_the_dense_oracle(drawn: Drawn, groups: int) -> None:
    plan = plan_of(drawn)
    query, key, value = heads_for(plan, groups)
    assert_identity(attend(query, key, value, plan), attend_dense(query, key, value, plan))


@given(ROWS)
def test_dense_oracle_equals_torch_under_the_same_mask(drawn: Drawn) -> None:
    plan = plan_of(drawn)
    query, key, value = heads_for(plan)
    masked = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=dense_mask(plan, KEYS)
    )
    assert_identity(attend_dense(query, key, value, plan), masked)


def test_dense_oracle_is_softmax_written_out_one_number_at_a_time() -> None:
    query, key, value = heads_for(TWO_SPANS, groups=2)
    expected = torch.zeros_like(query)
    first, other = [0, 1, 2, 3, 4], [1, 2, 3, 6, 7, 8]
    visible = {0: first, 1: first, 2: other, 3: other, 4: other}
    for b in range(BATCH):
        for head in range(4):
            for q, seen in visible.items():
                k = key[b, head // 2]
                scores = [float(query[b, head, q] @ k[at]) / math.sqrt(HEAD_DIM) for at in seen]
                total = sum(math.exp(score) for score in scores)
                for score, at in zip(scores, seen, strict=True):
                    expected[b, head, q] += math.exp(score) / total * value[b, head // 2, at]
    assert_identity(attend_dense(query, key, value, TWO_SPANS), expected)


@given(ROWS)
def test_mask_is_true_exactly_inside_the_spans(drawn: Drawn) -> None:
    plan = plan_of(drawn)
    mask = dense_mask(plan, KEYS)
    for row in plan:
        for query in range(row.queries.start, row.queries.stop):
            inside = [any(a <= key < b for a, b in row.keys) for key in range(KEYS)]
            assert mask[query].tolist() == inside


@given(ROWS, st.integers(1, 2))
def test_nan_outside_every_span_is_never_read(drawn: Drawn, groups: int) -> None:
    plan = plan_of(drawn)
    query, key, value = heads_for(plan, groups)
    unseen = ~dense_mask(plan, KEYS).any(dim=0)[:, None]
    spoilt_key, spoilt_value = (one.masked_fill(unseen, torch.nan) for one in (key, value))
    for function in (attend, attend_dense):
        expected = function(query, key, value, plan)
        assert torch.equal(function(query, spoilt_key, spoilt_value, plan), expected)


def test_nan_that_one_row_sees_does_not_reach_another_row() -> None:
    query, key, value = heads_for(TWO_SPANS)
    expected = attend(query, key, value, TWO_SPANS)
    for one in (key, value):
        one[:, :, 6:9] = torch.nan
    seen = attend(query, key, value, TWO_SPANS)
    assert torch.equal(seen[:, :, :2], expected[:, :, :2])
    assert seen[:, :, 2:].isnan().all()


def test_query_that_sees_one_key_gets_its_value() -> None:
    query, key, value = heads_for(full_plan(1))
    plan = (plan_row(Span(0, 1), [Span(7, 8)]),)
    assert_identity(attend(query, key, value, plan), value[:, :, 7:8])


@given(ROWS)
def test_consecutive_query_heads_share_a_key_head(drawn: Drawn) -> None:
    plan = plan_of(drawn)
    query, key, value = heads_for(plan, groups=3)
    keys, values = (one.repeat_interleave(3, dim=1) for one in (key, value))
    assert_identity(attend(query, key, value, plan), attend(query, keys, values, plan))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("groups", [1, 2])
def test_lower_precisions_err_no_more_than_plain_torch(dtype: torch.dtype, groups: int) -> None:
    query, key, value = (one.to(dtype) for one in heads_for(TWO_SPANS, groups))
    mask = dense_mask(TWO_SPANS, KEYS)
    keys, values = (one.repeat_interleave(groups, dim=1) for one in (key, value))
    scores = (query @ keys.mT / HEAD_DIM**0.5).masked_fill(~mask, -torch.inf)
    truth = attend_dense(query.double(), key.double(), value.double(), TWO_SPANS)
    seen = attend(query, key, value, TWO_SPANS)
    assert seen.dtype == dtype
    assert_within_budget(seen, scores.softmax(-1) @ values, truth)


def test_two_spans_with_huge_scores_share_one_softmax() -> None:
    """exp of such scores overflows unless one common largest score is subtracted."""
    query, key, value = (400 * one for one in heads_for(TWO_SPANS))
    seen = attend(query, key, value, TWO_SPANS)
    assert_identity(seen, attend_dense(query, key, value, TWO_SPANS))
