from hypothesis import given
from hypothesis import strategies as st

from lmdm_ref.arena import Arena, Span

arenas = st.builds(
    Arena,
    prefix=st.integers(0, 3),
    target_frames=st.integers(1, 5),
    slot_frames=st.integers(1, 5),
    num_slots=st.integers(1, 6),
)


def places(span: Span) -> list[int]:
    return list(range(span.start, span.stop))


@given(arenas)
def test_prefix_then_target_then_slots_take_every_place_once(arena: Arena) -> None:
    taken = list(range(arena.prefix)) + places(arena.target)
    for index in range(arena.num_slots):
        taken += places(arena.slot(index))
    assert taken == list(range(arena.size))


@given(arenas)
def test_token_stands_right_after_the_target_frames(arena: Arena) -> None:
    assert arena.target.size == arena.target_frames + 1
    assert places(arena.token) == places(arena.target)[-1:]


@given(arenas, st.data())
def test_first_slots_together_are_the_slots_one_by_one(arena: Arena, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, arena.num_slots))
    one_by_one = [place for index in range(count) for place in places(arena.slot(index))]
    assert places(arena.slots(count)) == one_by_one


@given(arenas)
def test_target_adjoins_the_slots_so_that_a_step_sees_one_span(arena: Arena) -> None:
    assert arena.target.stop == arena.slot(0).start


def test_size_of_a_span_counts_its_places() -> None:
    assert Span(3, 7).size == 4
    assert Span(3, 3).size == 0
