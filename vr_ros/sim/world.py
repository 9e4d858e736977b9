"""A scene settled by physics."""
from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from vr_ros.sim.objects import MESHES, Part, collision_parts
from vr_ros.sim.scene import ObjectSpec, SceneSpec

TIMESTEP_S = 0.005
MAX_STEPS = 300
CHECK_EVERY = 10
DROP_HEIGHT_M = 0.001
# Slower than this (metres/s and radians/s alike) counts as resting.
REST_SPEED = 0.02
MAX_DRIFT_M = 0.10


@dataclass(frozen=True)
class ObjectPose:
    """Where an object came to rest.

    :param position: centre of the object's own box in the world, metres.
    :param orientation: x, y, z, w of that box in the world.
    """

    position: tuple[float, float, float]
    orientation: tuple[float, float, float, float]

    @property
    def rotation(self) -> np.ndarray:
        """Rotation matrix (3, 3) from the object's frame to the world."""
        return Rotation.from_quat(self.orientation).as_matrix()


class World:
    """Objects of a scene after they came to rest.

    What fell off the table, moved far away or does not come to rest is taken out: `poses` lacks
    its id.

    :param spec: the scene to build.
    """

    def __init__(self, spec: SceneSpec) -> None:
        self.spec = spec
        self.poses: dict[int, ObjectPose] = {}
        if spec.objects:
            model = mujoco.MjModel.from_xml_string(scene_xml(spec))
            data = mujoco.MjData(model)
            self.steps = _settle(model, data)
            self.poses = _resting_poses(spec, data)

    @classmethod
    def posed(cls, spec: SceneSpec, poses: dict[int, ObjectPose]) -> World:
        """Put objects where the poses say, without physics; those without a pose are not there."""
        world = cls.__new__(cls)
        world.spec, world.poses, world.steps = spec, poses, 0
        return world

    @property
    def objects(self) -> dict[int, ObjectSpec]:
        """The objects that are there, by id."""
        return {i: self.spec.objects[i] for i in self.poses}


def scene_xml(spec: SceneSpec) -> str:
    """Write the physics as MJCF: a table top and one free body per object, ordered by id."""
    meshes, bodies = [], []
    for i, item in enumerate(spec.objects):
        parts = collision_parts(item.kind, item.dimensions)
        geoms = ''.join(_geom_xml(part, f'{item.kind}{i}') for part in parts)
        meshes += [_mesh_xml(part, f'{item.kind}{i}') for part in parts if part.shape in MESHES]
        z = item.height / 2 + DROP_HEIGHT_M
        bodies.append(
            f'<body pos="{_numbers((*item.position, z))}" quat="{_wxyz(item.rotation)}">'
            f'<joint type="free" damping="0.0002"/>{geoms}</body>'
        )
    half_x, half_y = spec.table.half_size
    table_turn = _wxyz(Rotation.from_euler('z', spec.table.yaw))
    return (
        f'<mujoco><option timestep="{TIMESTEP_S}" integrator="implicitfast" iterations="20"/>'
        '<default><geom density="400" condim="6" friction="0.9 0.01 0.006"/></default>'
        f'<asset>{"".join(meshes)}</asset><worldbody>'
        f'<geom type="box" size="{half_x} {half_y} 0.02" pos="0 0 -0.02" quat="{table_turn}"/>'
        f'{"".join(bodies)}</worldbody></mujoco>'
    )


def _geom_xml(part: Part, mesh_name: str) -> str:
    pose = f'pos="{_numbers(part.position)}" quat="{_wxyz(Rotation.from_matrix(part.rotation))}"'
    if part.shape in MESHES:
        return f'<geom type="mesh" mesh="{mesh_name}" {pose}/>'
    size = part.size if part.shape == 'box' else (part.size[0], part.size[2])
    return f'<geom type="{part.shape}" size="{_numbers(size)}" {pose}/>'


def _mesh_xml(part: Part, name: str) -> str:
    vertices = np.unique(MESHES[part.shape]().vertices.round(9), axis=0) * part.size
    return f'<mesh name="{name}" vertex="{_numbers(vertices.ravel())}"/>'


def _numbers(values: object) -> str:
    return ' '.join(f'{float(v):.9g}' for v in values)  # type: ignore[attr-defined]


def _wxyz(rotation: Rotation) -> str:
    return _numbers(np.roll(rotation.as_quat(), 1))


def _settle(model: mujoco.MjModel, data: mujoco.MjData) -> int:
    """Step until everything rests.

    :return: steps taken; MAX_STEPS when something still moves.
    """
    steps = 0
    while steps < MAX_STEPS:
        mujoco.mj_step(model, data, CHECK_EVERY)
        steps += CHECK_EVERY
        if np.abs(data.qvel).max() < REST_SPEED:
            break
    return steps


def _resting_poses(spec: SceneSpec, data: mujoco.MjData) -> dict[int, ObjectPose]:
    poses = {}
    for i, item in enumerate(spec.objects):
        position, wxyz = data.qpos[7 * i:7 * i + 3], data.qpos[7 * i + 3:7 * i + 7]
        drift = float(np.linalg.norm(position[:2] - item.position))
        resting = np.abs(data.qvel[6 * i:6 * i + 6]).max() < 10 * REST_SPEED
        if position[2] > 0 and drift < MAX_DRIFT_M and resting:
            x, y, z, w = (float(v) for v in np.roll(wxyz, -1))
            poses[i] = ObjectPose(tuple(float(v) for v in position), (x, y, z, w))
    return poses
