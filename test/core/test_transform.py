"""Transforms against matrices that are multiplied here."""
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vr_ros.core.transform import Transform
from vr_ros.core.types import Position

NUMBERS = st.floats(-10, 10)
TRIPLES = st.tuples(NUMBERS, NUMBERS, NUMBERS)
TURNS = st.tuples(*4 * [st.floats(-1, 1)]).filter(lambda turn: np.linalg.norm(turn) > 0.1)
# A quarter turn about z, then two metres along x.
QUARTER = Transform((2.0, 0.0, 0.0), (0.0, 0.0, 0.5**0.5, 0.5**0.5))


def test_a_quarter_turn() -> None:
    assert QUARTER.point((1.0, 0.0, 5.0)) == pytest.approx((2.0, 1.0, 5.0))
    moved = QUARTER.position(Position(
        (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0), (0.1, 0.2, 0.3), 0.01))
    assert moved.surface_point == pytest.approx((2.0, 1.0, 0.0))
    assert moved.center == pytest.approx((1.0, 0.0, 0.0))
    assert moved.orientation == pytest.approx(QUARTER.rotation)
    assert (moved.size, moved.stddev_m) == ((0.1, 0.2, 0.3), 0.01)


@given(TRIPLES, TURNS, TRIPLES, TURNS)
def test_points_and_orientations_follow_the_matrix(
        place: tuple[float, float, float], turn: tuple[float, float, float, float],
        point: tuple[float, float, float], own: tuple[float, float, float, float]) -> None:
    x, y, z, w = np.array(turn) / np.linalg.norm(turn)
    axes = np.array([  # a unit quaternion's matrix, written out
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]])
    transform = Transform(place, turn)
    np.testing.assert_allclose(transform.point(point), axes @ point + place, atol=1e-9)
    np.testing.assert_allclose(transform.matrix @ (*point, 1.0),
                               (*transform.point(point), 1.0), atol=1e-9)
    moved = Rotation.from_quat(transform.orientation(own)).as_matrix()
    np.testing.assert_allclose(moved, axes @ Rotation.from_quat(own).as_matrix(), atol=1e-9)


@pytest.mark.parametrize(('place', 'turn'), [
    ((float('nan'), 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)),
    ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, float('inf'))),
    ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)),                 # as an unset message has it
])
def test_what_is_no_transform(place: tuple[float, ...], turn: tuple[float, ...]) -> None:
    with pytest.raises(ValueError):
        Transform(place, turn)
