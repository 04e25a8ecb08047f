"""What tests of claims figures ask of them: their words, marks and curves."""

import dataclasses
import math

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

import claims_records
from lmdm_bench import format as shown
from lmdm_bench.canvas import PAPER, drawing_style
from lmdm_bench.claims_record import ClaimsRecord, Point

every_example = pytest.mark.parametrize("name", claims_records.EXAMPLES)


def words(figure: Figure) -> str:
    return plain("\n".join(one.get_text() for one in figure.findobj(Text)))


def plain(text: str) -> str:
    """Without line breaks, and with common spaces."""
    return " ".join(text.split())


def rendered(figure: Figure) -> Figure:
    """As for a file, so that every warning is raised and every word has a place."""
    with drawing_style():
        figure.draw_without_rendering()
    return figure


def only(record: ClaimsRecord, keeps) -> ClaimsRecord:
    return dataclasses.replace(record, points=tuple(filter(keeps, record.points)))


def marks(axes: Axes, marker: str, *, is_hollow: bool = False) -> list[tuple[float, float]]:
    """Where a panel has single marks of this shape."""
    return [
        (float(one.get_xdata()[0]), float(one.get_ydata()[0]))
        for one in axes.lines
        if one.get_marker() == marker
        and len(one.get_xdata()) == 1
        and (one.get_markerfacecolor() == PAPER) == is_hollow
    ]


def curves(axes: Axes, scheme: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """The lines in a scheme's colour that have more than one place."""
    return [
        (np.asarray(one.get_xdata(), float), np.asarray(one.get_ydata(), float))
        for one in axes.lines
        if one.get_color() == shown.scheme_colour(scheme) and len(one.get_xdata()) > 1
    ]


def geometric_mean_seconds(point: Point) -> float:
    return math.exp(np.mean([math.log(visit.service_ms / 1000) for visit in point.visits]))
