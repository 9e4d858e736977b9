"""Scenes drawn from a seed: the same again, apart from each other, in the camera's view."""
from __future__ import annotations

import numpy as np
import pytest

from vr_ros.core.types import Size
from vr_ros.sim.cameras import look_at, project, to_optical
from vr_ros.sim.objects import MESHES, PROPORTIONS, visual_parts
from vr_ros.sim.scene import COLOUR_RGB, ObjectSpec, orbit_pose, sample_scene
from vr_ros.sim.truth import COLOURS, KINDS, SIZES

VGA = Size(640, 480)


def test_a_seed_gives_the_same_scene_and_another_seed_another():
    assert sample_scene(7) == sample_scene(7)
    assert sample_scene(7) != sample_scene(8)


def test_the_count_is_drawn_from_the_range_with_both_ends():
    counts = {len(sample_scene(seed, count_range=(1, 3)).objects) for seed in range(40)}
    assert counts == {1, 2, 3}


@pytest.mark.parametrize(('seed', 'count'), [(-1, 3), (0, -1)])
def test_negative_numbers_are_refused(seed, count):
    with pytest.raises(ValueError, match='negative'):
        sample_scene(seed, count)


def test_ten_objects_nearly_always_fit():
    found = [len(sample_scene(seed, 10).objects) for seed in range(30)]
    assert min(found) >= 8
    assert np.mean(found) > 9.7


def test_every_name_occurs():
    objects = [o for seed in range(60) for o in sample_scene(seed).objects]
    assert {o.kind for o in objects} == set(KINDS) == set(PROPORTIONS)
    assert {o.colour for o in objects} == set(COLOURS) == set(COLOUR_RGB)
    assert {o.size_name for o in objects} == set(SIZES)


def test_objects_lie_in_the_image_and_keep_apart():
    for seed in range(20):
        scene = sample_scene(seed, 10)
        centres = np.array([(*o.position, o.height / 2) for o in scene.objects])
        pixels, depth = project(centres, scene.camera.pose, VGA)
        assert ((pixels > 0) & (pixels < (640, 480))).all()
        assert (depth > 0.5).all()
        width = np.array([min(o.dimensions[:2]) for o in scene.objects])
        distance = np.linalg.norm(centres[:, None, :2] - centres[None, :, :2], axis=2)
        pair = np.triu_indices(len(centres), 1)
        assert (distance[pair] > (width[:, None] + width)[pair] / 2).all()


@pytest.mark.parametrize('kind', KINDS)
def test_sizes_are_apart_by_more_than_their_scatter(kind):
    def volume(size_name: str, scale: float) -> float:
        spec = ObjectSpec(kind, 'red', size_name, (0.0, 0.0), 0.0, scale)
        return float(np.prod(spec.dimensions)) ** (1 / 3)

    assert volume('small', 1.04) * 1.1 < volume('medium', 0.96)
    assert volume('medium', 1.04) * 1.1 < volume('large', 0.96)


@pytest.mark.parametrize('kind', KINDS)
def test_parts_fill_the_own_box_exactly(kind):
    dimensions = ObjectSpec(kind, 'red', 'medium', (0.0, 0.0), 0.0).dimensions
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for part in visual_parts(kind, dimensions):
        if part.shape in MESHES:
            points = MESHES[part.shape]().vertices * part.size @ part.rotation.T + part.position
            reach = np.zeros(3)
        elif part.shape == 'capsule':
            ends = part.rotation[:, 2] * part.size[2]
            points = np.array([ends, -ends]) + part.position
            reach = np.full(3, part.size[0])
        else:
            points, reach = np.array([part.position]), np.array(part.size)
        low, high = np.minimum(low, points.min(0) - reach), np.maximum(high, points.max(0) + reach)
    assert np.allclose(high, np.array(dimensions) / 2, atol=0.02 * max(dimensions))
    assert np.allclose(low, -np.array(dimensions) / 2, atol=0.02 * max(dimensions))


@pytest.mark.parametrize('name', MESHES)
def test_mesh_faces_look_along_their_normals(name):
    mesh = MESHES[name]()
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    wound = np.cross(b - a, c - a)
    assert (np.einsum('ij,ij->i', wound, mesh.normals[mesh.faces].sum(1)) > 0).all()


def test_a_camera_that_looks_north_has_east_on_its_right():
    pose = look_at(np.array([0.0, -1.0, 0.0]), np.zeros(3), 0.5)
    optical = to_optical(np.array([[0.1, 0.0, 0.0], [0.0, 0.0, 0.1], [0.0, 0.1, 0.0]]), pose)
    assert np.allclose(optical, [[0.1, 0.0, 1.0], [0.0, -0.1, 1.0], [0.0, 0.0, 1.1]])


def test_a_camera_cannot_look_straight_down():
    with pytest.raises(ValueError, match='upright'):
        look_at(np.array([0.0, 0.0, 1.0]), np.zeros(3), 0.5)


def test_the_orbit_keeps_height_and_target():
    scene = sample_scene(3)
    own, opposite = orbit_pose(scene, 0.0), orbit_pose(scene, np.pi)
    assert own == scene.camera.pose
    target = np.array(scene.camera.target)
    assert opposite.position[2] == pytest.approx(own.position[2])
    offset = np.array(opposite.position)[:2] - target[:2]
    assert np.allclose(offset, target[:2] - np.array(own.position)[:2])
    pixel, _ = project(target, opposite, VGA)
    assert np.allclose(pixel, (319.5, 239.5))
