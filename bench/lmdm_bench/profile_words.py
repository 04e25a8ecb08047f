"""The closing text of every profile: the time against its bound, what to mend, what the rest is.

Whoever profiles fills in ``ProfileParts``; what a tool cannot tell is a figure without value, with
its reason. No torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lmdm_bench import format as shown

# So many avoidable costs are told.
MOST_COSTS = 3


@dataclass(frozen=True)
class Figure:
    """A number, or None and the reason why it cannot be told."""

    value: float | None
    reason: str | None = None


@dataclass(frozen=True)
class AvoidableCost:
    """What one line of the code costs that it need not, in a block.

    ``where`` is a file and a line, ``lmdm_ref/layers.py:123``; ``what`` says in words what happens
    there. ``share`` is the part of a block's time (unit ms) or of its peak memory (unit bytes).
    """

    where: str
    what: str
    size: float
    unit: Literal["ms", "bytes"]
    share: float


@dataclass(frozen=True)
class Fractions:
    """What a block's time under the profiler goes to: parts of it that sum to 1 where all are told.

    ``codec``: the stage that decodes the block to audio, all of it; the others leave it out.
    ``launch_overhead``: on CUDA the time in which the device is idle; on a CPU the time in which no
    operator runs (Python, and the harness's own code), plus the time inside operators that only
    views, allocates or passes on to another operator.
    ``attention``: operators or kernels called from the attention code, or named so.
    ``weight_reading``: the weights' bytes ÷ the measured bandwidth, but never more than the matrix
    products with weights took: reading once at full speed, as arithmetic, not as measured.
    ``products``: what those matrix products took beyond it.
    ``rest``: everything else: norms, activations, rotations, cache writes, copies, sampling.
    """

    launch_overhead: Figure
    weight_reading: Figure
    products: Figure
    attention: Figure
    codec: Figure
    rest: Figure


@dataclass(frozen=True)
class ProfileParts:
    """What a closing text is made of.

    ``plain_ms``: a block's time without any profiler; ``bound_ms`` and ``codec_bound_ms``: what the
    model and the codec take at least. ``profiler_ratio``: a block's time under the profiler ÷ the
    plain one. ``costs``, the largest first, are told up to ``MOST_COSTS``; ``costs_mean`` is the
    sentence that says what counts as avoidable, or why there are none. ``fractions_mean`` is the
    sentence that says what launch overhead is here, None where it is not told.
    """

    scheme: str
    plain_ms: Figure
    bound_ms: Figure
    codec_bound_ms: Figure
    profiler_ratio: Figure
    costs: tuple[AvoidableCost, ...]
    costs_mean: str
    fractions: Fractions
    fractions_mean: str | None


_FRACTION_WORDS = {
    "launch_overhead": "launch overhead",
    "weight_reading": "weight reading",
    "products": "matrix products beyond it",
    "attention": "attention",
    "codec": "codec",
    "rest": "the rest",
}


def closing_text(parts: ProfileParts) -> str:
    """Paragraphs of plain text, which are Markdown too: see the module's docstring."""
    return "\n\n".join((_bound(parts), _costs(parts), _fractions(parts)))


def no_fractions(reason: str) -> Fractions:
    """For a tool that cannot tell any of them."""
    return Fractions(*(Figure(None, reason) for _ in _FRACTION_WORDS))


def _bound(parts: ProfileParts) -> str:
    scheme = shown.plain(parts.scheme)
    if parts.plain_ms.value is None:
        said = f"How long a block of {scheme} takes is not known ({_why(parts.plain_ms)})."
    else:
        said = (
            f"A block of {scheme} took {shown.milliseconds(parts.plain_ms.value)} "
            f"without the profiler{_against(parts, parts.plain_ms.value)}."
        )
    if parts.profiler_ratio.value is not None:
        said += (
            f" Under the profiler it took {shown.number(parts.profiler_ratio.value)} times as "
            "long, by the profiler and whatever else ran on the machine; the figures below are of "
            "that time."
        )
    return said


def _against(parts: ProfileParts, plain_ms: float) -> str:
    """A part of a sentence: measured against what arithmetic says of model and codec."""
    if parts.bound_ms.value is None:
        return f"; its bound is not known ({_why(parts.bound_ms)})"
    least = shown.milliseconds(parts.bound_ms.value)
    codec_ms = parts.codec_bound_ms.value
    if codec_ms is None:
        whole, told = parts.bound_ms.value, f"{least} for the model"
        told += f" (codec: {_why(parts.codec_bound_ms)})"
    else:
        whole = parts.bound_ms.value + codec_ms
        told = f"{least} for the model and {shown.milliseconds(codec_ms)} for the codec"
    return (
        f"; arithmetic says at least {told}: {shown.ratio(shown.over(plain_ms, whole))} its bound"
    )


def _costs(parts: ProfileParts) -> str:
    told = parts.costs[:MOST_COSTS]
    if not told:
        return f"Avoidable costs: none are told. {parts.costs_mean}"
    count = {1: "The largest avoidable cost"}.get(
        len(told), f"The {_words(len(told))} largest avoidable costs"
    )
    lines = [f"{number}. {_cost(one)}" for number, one in enumerate(told, start=1)]
    return "\n".join((f"{count} of a block:", "", *lines, "", parts.costs_mean))


def _cost(one: AvoidableCost) -> str:
    whole = "a block's time" if one.unit == "ms" else "the peak"
    size = shown.milliseconds(one.size) if one.unit == "ms" else _memory(one.size)
    return f"{one.where}: {size}, {shown.share(one.share)} of {whole} ({one.what})"


def _memory(num_bytes: float) -> str:
    if num_bytes < 2**30:
        return f"{shown.number(num_bytes / 2**20)}{shown.NBSP}MiB"
    return shown.gibibytes(int(num_bytes))


def _fractions(parts: ProfileParts) -> str:
    figures = {words: getattr(parts.fractions, name) for name, words in _FRACTION_WORDS.items()}
    reasons = {figure.reason for figure in figures.values() if figure.value is None}
    if len(reasons) == 1 and all(figure.value is None for figure in figures.values()):
        return f"What a block's time goes to is not told: {reasons.pop() or 'no reason given'}."
    told = ", ".join(f"{words} {_share(figure)}" for words, figure in figures.items())
    said = f"Of a block's time: {told}."
    return f"{said} {parts.fractions_mean}" if parts.fractions_mean else said


def _share(figure: Figure) -> str:
    if figure.value is None:
        return f"{shown.NOT_AVAILABLE} ({_why(figure)})"
    return shown.share(figure.value)


def _why(figure: Figure) -> str:
    return shown.plain(figure.reason or "no reason given")


def _words(number: int) -> str:
    return ("no", "one", "two", "three")[number]


def largest(costs: Sequence[AvoidableCost]) -> tuple[AvoidableCost, ...]:
    """The costs to tell, the largest first."""
    return tuple(sorted(costs, key=lambda one: -one.size)[:MOST_COSTS])
