import torch

from helpers import seeded
from lmdm_ref.arena import Arena, Span
from lmdm_ref.cache import KVCache

ARENA = Arena(prefix=0, target_frames=2, slot_frames=2, num_slots=3)
LAYERS, BATCH, HEADS, HEAD_DIM = 2, 3, 2, 4
EVERYWHERE = Span(0, ARENA.size)


def empty(like: torch.Tensor | None = None) -> KVCache:
    like = torch.empty(0, dtype=torch.float64) if like is None else like
    return KVCache.allocate(ARENA.size, LAYERS, BATCH, HEADS, HEAD_DIM, like)


def rows(seed: int, count: int) -> torch.Tensor:
    return seeded(seed, BATCH, count, HEADS, HEAD_DIM)


def addresses(cache: KVCache) -> list[int]:
    return [one.data_ptr() for layer in range(LAYERS) for one in cache.layer(layer)]


def test_new_cache_is_zero_in_the_dtype_asked_for() -> None:
    cache = empty(torch.empty(0, dtype=torch.bfloat16))
    for one in cache.layer(0):
        assert one.shape == (BATCH, HEADS, ARENA.size, HEAD_DIM)
        assert one.dtype == torch.bfloat16
        assert not one.any()
    assert cache.num_bytes == 2 * LAYERS * BATCH * ARENA.size * HEADS * HEAD_DIM * 2


def test_rows_go_to_their_places_and_nowhere_else() -> None:
    cache = empty()
    cache.fill(EVERYWHERE, torch.nan)
    key, value = rows(0, 5), rows(1, 5)
    cache.write(1, key, value, torch.tensor([5, 6, 8, 0, 1]))
    for seen, given in zip(cache.layer(1), (key, value), strict=True):
        places = seen.transpose(1, 2)
        assert torch.equal(places[:, [5, 6, 8, 0, 1]], given)
        assert places[:, [2, 3, 4, 7]].isnan().all()
    for other in cache.layer(0):
        assert other.isnan().all()


def test_layers_are_views_whose_address_never_changes() -> None:
    cache = empty()
    before, (seen_key, _) = addresses(cache), cache.layer(0)
    cache.write(0, rows(0, 2), rows(1, 2), torch.arange(3, 5))
    assert addresses(cache) == before
    assert torch.equal(seen_key[:, :, 3:5].transpose(1, 2), rows(0, 2))


def test_clone_shares_nothing_with_its_origin() -> None:
    cache = empty()
    cache.write(0, rows(0, 2), rows(1, 2), torch.arange(0, 2))
    cloned = cache.clone()
    assert cloned.is_equal(cache, EVERYWHERE)
    assert not set(addresses(cloned)) & set(addresses(cache))
    cache.fill(Span(0, 1), 1.0)
    assert not cloned.is_equal(cache, EVERYWHERE)
    assert cloned.is_equal(cache, Span(1, ARENA.size))


def test_equality_looks_at_keys_and_values_of_every_layer() -> None:
    for layer in range(LAYERS):
        for key, value in ((rows(0, 1), rows(1, 1)), (rows(1, 1), rows(0, 1))):
            one, other = empty(), empty()
            one.write(layer, rows(1, 1), rows(1, 1), torch.tensor([4]))
            other.write(layer, key, value, torch.tensor([4]))
            assert not one.is_equal(other, EVERYWHERE)
            assert one.is_equal(other, Span(0, 4)) and one.is_equal(other, Span(5, ARENA.size))


def test_fill_reaches_all_layers_and_only_the_places_named() -> None:
    cache = empty()
    cache.fill(ARENA.slot(2), torch.nan)
    for layer in range(LAYERS):
        for one in cache.layer(layer):
            assert one[:, :, 7:9].isnan().all()
            assert not one[:, :, :7].any()


def test_cache_may_have_any_number_of_places() -> None:
    cache = KVCache.allocate(7, LAYERS, BATCH, HEADS, HEAD_DIM, torch.empty(0))
    assert cache.layer(0)[0].shape == (BATCH, HEADS, 7, HEAD_DIM)
    assert cache.num_bytes == 2 * LAYERS * BATCH * 7 * HEADS * HEAD_DIM * 4


def test_copy_takes_over_every_bit_in_place_and_shares_nothing() -> None:
    one, other = empty(), empty()
    for layer in range(LAYERS):
        one.write(layer, rows(layer, 2), rows(9 + layer, 2), torch.arange(3, 5))
    other.fill(EVERYWHERE, torch.nan)
    before, seen = addresses(other), other.layer(1)[0]
    other.copy_from(one)
    assert other.is_equal(one, EVERYWHERE)
    assert addresses(other) == before and not set(before) & set(addresses(one))
    assert torch.equal(seen[:, :, 3:5].transpose(1, 2), rows(1, 2))
    one.fill(Span(0, 1), 1.0)
    assert not other.is_equal(one, EVERYWHERE)
