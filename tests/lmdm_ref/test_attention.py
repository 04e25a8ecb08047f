import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from helpers import assert_identity, assert_within_budget, seeded
from lmdm_ref.arena import Span
from lmdm_ref.attention import (
    FEW_QUERIES,
    MANY_KEYS,
    attend,
    attend_biased,
    attend_dense,
    dense_mask,
)
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


# Any number of queries on one span of keys: the plans that a bias goes with.
ONE_SPAN = st.tuples(
    st.integers(1, 4), st.lists(st.integers(0, KEYS), min_size=2, max_size=2, unique=True)
)


def biased_case(drawn: tuple[int, list[int]]) -> tuple[Plan, Tensor]:
    queries, edges = drawn
    start, stop = sorted(edges)
    plan = (plan_row(Span(0, queries), [Span(start, stop)]),)
    return plan, 3 * seeded(3, 2, queries, stop - start)


@given(ONE_SPAN)
def test_bias_is_added_to_the_scores_of_the_keys_that_are_seen(
    drawn: tuple[int, list[int]],
) -> None:
    plan, bias = biased_case(drawn)
    query, key, value = heads_for(plan)
    everywhere = torch.full((2, bias.shape[1], KEYS), -torch.inf, dtype=torch.float64)
    ((start, stop),) = plan[0].keys
    everywhere[:, :, start:stop] = bias
    expected = functional.scaled_dot_product_attention(query, key, value, attn_mask=everywhere)
    assert_identity(attend_biased(query, key, value, plan, bias), expected)


@given(ONE_SPAN)
def test_bias_of_one_number_for_all_keys_changes_nothing(drawn: tuple[int, list[int]]) -> None:
    plan, bias = biased_case(drawn)
    query, key, value = heads_for(plan)
    for number in (0.0, 7.0):
        seen = attend_biased(query, key, value, plan, torch.full_like(bias, number))
        assert_identity(seen, attend(query, key, value, plan))


@given(ONE_SPAN)
def test_biased_attention_reads_nothing_outside_its_span(drawn: tuple[int, list[int]]) -> None:
    plan, bias = biased_case(drawn)
    query, key, value = heads_for(plan)
    unseen = ~dense_mask(plan, KEYS).any(dim=0)[:, None]
    spoilt_key, spoilt_value = (one.masked_fill(unseen, torch.nan) for one in (key, value))
    expected = attend_biased(query, key, value, plan, bias)
    assert torch.equal(attend_biased(query, spoilt_key, spoilt_value, plan, bias), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_biased_attention_in_lower_precision_errs_no_more_than_plain_torch(
    dtype: torch.dtype,
) -> None:
    plan, bias = biased_case((4, [2, 11]))
    query, key, value = heads_for(plan)
    low = [one.to(dtype) for one in (query, key, value, bias)]
    seen = attend_biased(low[0], low[1], low[2], plan, low[3])
    assert seen.dtype == dtype
    scores = low[0] @ low[1][:, :, 2:11].mT / HEAD_DIM**0.5 + low[3]
    wide = [one.double() for one in low]
    truth = attend_biased(wide[0], wide[1], wide[2], plan, wide[3])
    assert_within_budget(seen, scores.softmax(-1) @ low[2][:, :, 2:11], truth)


@pytest.mark.parametrize("plan", [TWO_SPANS, TWO_SPANS[1:]], ids=["two rows", "two spans"])
def test_bias_on_more_than_one_key_span_is_refused(plan: Plan) -> None:
    query, key, value = heads_for(full_plan(3))
    with pytest.raises(ValueError, match="a bias goes with one key span, got"):
        attend_biased(query, key, value, plan, torch.zeros(2, 3, 6, dtype=torch.float64))


def few_on_many(queries: int, keys: int, groups: int) -> tuple[Plan, Tensor, Tensor, Tensor]:
    """A few queries that see all keys but the first and the last."""
    plan = (plan_row(Span(0, queries), [Span(1, keys - 1)]),)
    query = seeded(0, BATCH, 2 * groups, queries, HEAD_DIM)
    return plan, query, seeded(1, BATCH, 2, keys, HEAD_DIM), seeded(2, BATCH, 2, keys, HEAD_DIM)


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("keys", [MANY_KEYS + 1, MANY_KEYS + 2, MANY_KEYS + 9])
@pytest.mark.parametrize("queries", [1, FEW_QUERIES, FEW_QUERIES + 1])
def test_few_queries_on_many_keys_equal_the_dense_oracle(
    queries: int, keys: int, groups: int
) -> None:
    plan, query, key, value = few_on_many(queries, keys, groups)
    expected = attend_dense(query, key, value, plan)
    for one in (key, value):
        one[:, :, [0, -1]] = torch.nan
    assert_identity(attend(query, key, value, plan), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_few_queries_on_many_keys_err_no_more_than_plain_torch(dtype: torch.dtype) -> None:
    plan, *wide = few_on_many(1, MANY_KEYS + 2, groups=1)
    query, key, value = (one.to(dtype) for one in wide)
    here = slice(1, MANY_KEYS + 1)
    scores = query @ key[:, :, here].mT / HEAD_DIM**0.5
    truth = attend_dense(query.double(), key.double(), value.double(), plan)
    seen = attend(query, key, value, plan)
    assert seen.dtype == dtype
    assert_within_budget(seen, scores.softmax(-1) @ value[:, :, here], truth)
