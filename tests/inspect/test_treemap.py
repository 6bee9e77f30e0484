"""A treemap's rectangles: as big as what they stand for, inside the frame, and never two on one."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.inspect.treemap import Frame, squarified

weights = st.lists(st.integers(0, 5 << 30), max_size=40)
frames = st.builds(
    Frame,
    st.floats(-100, 100),
    st.floats(-100, 100),
    st.floats(1, 2000),
    st.floats(1, 2000),
)
TOLERANCE = 1e-6


@given(weights, frames)
def test_areas_are_in_proportion_to_weights(weights, frame):
    scale = frame.area / (sum(weights) or 1)
    for weight, found in zip(weights, squarified(weights, frame), strict=True):
        assert found.area == pytest.approx(weight * scale, rel=1e-6, abs=TOLERANCE)


@given(weights, frames)
def test_all_are_inside_the_frame(weights, frame):
    for found in squarified(weights, frame):
        assert found.width >= 0
        assert found.height >= 0
        assert found.x >= frame.x - TOLERANCE
        assert found.y >= frame.y - TOLERANCE
        assert found.x + found.width <= frame.x + frame.width + TOLERANCE
        assert found.y + found.height <= frame.y + frame.height + TOLERANCE


def shared(one, other):
    """Give the area that two rectangles have in common."""
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    return max(0.0, width) * max(0.0, height)


@given(weights, frames)
def test_no_two_overlap(weights, frame):
    for one, other in combinations(squarified(weights, frame), 2):
        assert shared(one, other) <= TOLERANCE * frame.area


def test_the_papers_example_comes_out_as_in_the_paper():
    found = squarified([6, 6, 4, 3, 2, 2, 1], Frame(0, 0, 6, 4))
    assert found[:2] == [Frame(0, 0, 3, 2), Frame(0, 2, 3, 2)]
    ratios = [max(f.width / f.height, f.height / f.width) for f in found]
    assert max(ratios) < 3


@given(st.floats(0, 1), frames)
def test_a_frame_is_cut_into_a_share_and_the_rest(part, frame):
    first, rest = frame.cut(part)
    assert first.area == pytest.approx(part * frame.area)
    assert first.area + rest.area == pytest.approx(frame.area)
