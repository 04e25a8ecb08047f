"""A ratio told as a change in percent: 1.05 is +5.0 %."""

from lmdm_bench import format as shown
from lmdm_bench.record import Estimate

# A change that doubles a time is told without decimals.
_MUCH = 1.0
_FEWEST_DECIMALS, _MOST_DECIMALS = 1, 4


def change(effect: Estimate) -> str:
    """``+5.2 % [+4.1, +6.3]`` of a ratio b ÷ a and its interval, or why there is none."""
    value, interval = change_and_interval(effect)
    return f"{value} {interval}".rstrip()


def change_and_interval(effect: Estimate) -> tuple[str, str]:
    """``+5.2 %`` and ``[+4.1, +6.3]``, or why there is none, apart."""
    if effect.value is None:
        return shown.NOT_AVAILABLE, f"({shown.plain(effect.reason or 'no reason given')})"
    places = _decimals(effect)
    value = f"{percent_more(effect.value, places)}{shown.NBSP}%"
    if effect.ci95 is None:
        return value, f"({shown.plain(effect.reason)})" if effect.reason else ""
    low, high = (percent_more(end, places) for end in effect.ci95)
    return value, f"[{low},{shown.NBSP}{high}]"


def percent_more(ratio: float, places: int = _FEWEST_DECIMALS) -> str:
    """``+5.2``, ``−0.3`` or ``0.0``."""
    told = round(100 * (ratio - 1), places)
    if told == 0:
        return f"{0:.{places}f}"
    return f"{'+' if told > 0 else '−'}{shown.number(abs(told), places)}"


def _decimals(effect: Estimate) -> int:
    """Enough to tell the ends of an interval apart, and an exact figure from none."""
    ends = effect.ci95 or (1.0, effect.value or 1.0)
    if max(ends) - 1 >= _MUCH:
        return 0
    places = _FEWEST_DECIMALS
    while (
        places < _MOST_DECIMALS
        and ends[0] != ends[1]
        and round(100 * ends[0], places) == round(100 * ends[1], places)
    ):
        places += 1
    return places
