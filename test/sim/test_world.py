"""Physics puts things down and leaves them there."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vr_ros.sim.scene import ObjectSpec, sample_scene
from vr_ros.sim.truth import KINDS
from vr_ros.sim.world import World


def world_of(*objects: ObjectSpec) -> World:
    return World(replace(sample_scene(0, 0), objects=objects))


@pytest.mark.parametrize('kind', KINDS)
def test_an_upright_object_stands_on_the_table_where_it_was_put(kind):
    spec = ObjectSpec(kind, 'red', 'medium', (0.05, -0.1), 0.7)
    pose = world_of(spec).poses[0]
    assert pose.position[:2] == pytest.approx(spec.position, abs=0.003)
    assert pose.position[2] == pytest.approx(spec.dimensions[2] / 2, abs=0.002)
    assert pose.rotation[2, 2] > 0.999


@pytest.mark.parametrize(('kind', 'tilt'), [
    ('cylinder', 0.0),   # axis level
    ('mug', 0.0),        # on its body and its handle
    ('cone', 0.42),      # on its side: the axis rises by the half angle, sin(atan(0.56 / 1.22))
])
def test_a_lying_object_comes_to_rest_on_its_side(kind, tilt):
    pose = world_of(ObjectSpec(kind, 'red', 'medium', (0.0, 0.0), 0.3, lying=True)).poses[0]
    assert abs(pose.rotation[2, 2]) == pytest.approx(tilt, abs=0.03)


def test_what_falls_off_the_table_is_not_there():
    inside = ObjectSpec('cube', 'red', 'small', (0.0, 0.0), 0.0)
    outside = ObjectSpec('cube', 'blue', 'small', (2.0, 0.0), 0.0)
    world = world_of(outside, inside)
    assert set(world.poses) == {1}
    assert world.objects == {1: inside}


def test_an_empty_table_is_a_world():
    assert world_of().poses == {}


def test_the_same_scene_settles_the_same_way():
    assert World(sample_scene(5, 10)).poses == World(sample_scene(5, 10)).poses


def test_sampled_objects_hardly_ever_get_lost_or_sink_in():
    lost = 0
    for seed in range(15):
        scene = sample_scene(seed, 8)
        world = World(scene)
        lost += len(scene.objects) - len(world.poses)
        for index, pose in world.poses.items():
            half = np.array(scene.objects[index].dimensions) / 2
            lowest = pose.position[2] - np.abs(pose.rotation[2]) @ half
            assert pose.position[2] > 0.2 * min(scene.objects[index].dimensions)
            assert lowest < 0.004
    assert lost <= 1
