"""The gripper lifts by physics: what it is put on, unless it is put on wrongly."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vr_ros.core.types import Position
from vr_ros.sim.gripper import HELD_M, LIFT_M, REACH_M, grasp_point, lowest_m, pick
from vr_ros.sim.renderer import render_scene
from vr_ros.sim.scene import ObjectSpec, sample_scene
from vr_ros.sim.truth import KINDS, SIZES
from vr_ros.sim.world import World

HERE = (0.05, -0.1)


def world_of(*objects: ObjectSpec) -> World:
    return World(replace(sample_scene(0, 0), objects=objects))


def above(world: World, index: int, off: tuple[float, float] = (0.0, 0.0)) -> tuple[float, ...]:
    x, y, z = world.poses[index].position
    return x + off[0], y + off[1], z


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('kind', KINDS)
def test_everything_on_the_table_can_be_lifted_by_its_middle(kind: str, size: str) -> None:
    world = world_of(ObjectSpec(kind, 'red', size, HERE, 0.7))
    result = pick(world, above(world, 0))
    assert (result.lifted, result.touched) == ((0,), True)
    risen = result.poses[0].position[2] - world.poses[0].position[2]
    assert risen == pytest.approx(LIFT_M, abs=0.03)


@pytest.mark.parametrize('kind', ['cylinder', 'mug', 'cone'])
def test_what_lies_on_its_side_is_lifted_by_its_highest_point(kind: str) -> None:
    world = world_of(ObjectSpec(kind, 'red', 'medium', HERE, 0.3, lying=True))
    off = (0.0, 0.0)
    if kind == 'cone':
        # Its middle is a slope; over its base it is level enough.
        axis = world.poses[0].rotation[:2, 2]
        off = tuple(-0.02 * axis)
    assert pick(world, above(world, 0, off)).lifted == (0,)


@pytest.mark.parametrize(('kind', 'off'), [
    ('cone', (0.03, 0.0)),    # its slope is too steep for the cup to lie on
    ('cube', (0.09, 0.0)),    # beside it
    ('ball', (0.12, 0.0)),    # far beside it
])
def test_sent_beside_the_top_nothing_is_lifted(kind: str, off: tuple[float, float]) -> None:
    world = world_of(ObjectSpec(kind, 'red', 'medium', HERE, 0.0))
    result = pick(world, above(world, 0, off))
    assert result.lifted == ()
    assert lowest_m(world.spec.objects[0], result.poses[0]) < HELD_M / 2


def test_a_neighbour_is_lifted_where_the_goal_is_over_it() -> None:
    cubes = [ObjectSpec('cube', colour, 'small', (x, 0.0), 0.0)
             for colour, x in (('red', 0.0), ('blue', 0.09))]
    world = world_of(*cubes)
    assert pick(world, above(world, 0)).lifted == (0,)
    result = pick(world, above(world, 0, (0.09, 0.0)))
    assert result.lifted == (1,)
    assert result.poses[0].position == pytest.approx(world.poses[0].position, abs=0.002)


def test_what_the_suction_cannot_carry_stays_on_the_table() -> None:
    # Twelve litres at 400 g each weigh more than the cup can hold.
    heavy = ObjectSpec('cube', 'red', 'large', HERE, 0.0, scale=2.1)
    world = world_of(heavy)
    assert np.prod(heavy.dimensions) * 400 * 9.81 > 40
    result = pick(world, above(world, 0))
    assert result.touched
    assert result.lifted == ()


def test_over_the_bare_table_it_touches_nothing_and_everything_stays() -> None:
    world = World(sample_scene(5, 6))
    corner = (-0.6, 0.6, 0.0)
    result = pick(world, corner)
    assert (result.lifted, result.touched) == ((), False)
    for index, pose in world.poses.items():
        assert result.poses[index].position == pytest.approx(pose.position, abs=0.005)


def test_an_empty_table_can_be_reached_for() -> None:
    result = pick(world_of(), (0.0, 0.0, 0.0))
    assert (result.lifted, result.poses) == ((), {})


def test_ids_stay_those_of_the_scene_when_an_object_is_gone() -> None:
    cubes = [ObjectSpec('cube', 'red', 'small', (x, 0.0), 0.0) for x in (-0.2, 0.0, 0.2)]
    world = world_of(*cubes)
    left = World.posed(world.spec, {i: world.poses[i] for i in (1, 2)})
    result = pick(left, above(world, 2))
    assert result.lifted == (2,)
    assert set(result.poses) == {1, 2}
    assert result.poses[1].position == pytest.approx(world.poses[1].position, abs=0.002)


def test_the_same_goal_ends_the_same_way() -> None:
    world = World(sample_scene(5, 10))
    goal = above(world, next(iter(world.poses)), (0.02, 0.01))
    assert pick(world, goal) == pick(world, goal)


@pytest.mark.parametrize('target', [
    (REACH_M + 0.01, 0.0, 0.1),     # beyond the rails
    (0.0, -5.0, 0.1),               # far beyond
    (float('nan'), 0.0, 0.1),       # nowhere
    (0.0, 0.0, float('inf')),       # no height
])
def test_what_is_out_of_reach_is_refused(target: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match='out of reach'):
        pick(world_of(), target)


@pytest.mark.parametrize('seed', range(4))
def test_a_grasp_point_is_on_the_top_of_the_box_over_its_middle(seed: int) -> None:
    truth = render_scene(seed, count=4).truth
    world = World(sample_scene(seed, 4))
    for item in truth.objects:
        position = Position(
            item.surface_point, item.center, item.orientation, item.dimensions, 0.0)
        x, y, z = grasp_point(position, truth.camera_pose[:3], truth.camera_pose[3:])
        pose, half = world.poses[item.id], np.array(item.dimensions) / 2
        corners = np.array([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)]) * half
        turned = Rotation.from_quat(pose.orientation).apply(corners) + pose.position
        assert (x, y) == pytest.approx(pose.position[:2], abs=1e-6)
        assert z == pytest.approx(turned[:, 2].max(), abs=1e-6)
