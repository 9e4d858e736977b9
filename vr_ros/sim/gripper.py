"""A gantry with a suction cup over the simulated table: it lifts what is where it is sent.

Nothing is attached by decree: the cup holds what it touches by the force of its vacuum, as long as
that lasts against weight and leverage. Sent a little wrong it misses, pushes an object over, lifts
its neighbour or drops it on the way.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from vr_ros.core.types import Position
from vr_ros.sim.placement import ObjectSpec
from vr_ros.sim.world import TIMESTEP_S, ObjectPose, World, scene_xml

LIFT_M = 0.20
# What hangs higher than this over the table was lifted: no object on the table is as tall as that.
HELD_M = 0.10
REACH_M = 0.80
# Where the cup waits, above the tallest object with room for one that hangs from it.
HOME_M = (0.0, 0.0, 0.35)
# The cup goes no lower: the table is not to be sucked on.
FLOOR_M = 0.006
# How far it presses on after the first touch, against its bellows.
PRESS_M = 0.006
CUP_RADIUS_M, CUP_HALF_M = 0.014, 0.003
# 60 kPa below the air's pressure over a cup of that size, roughly.
SUCTION_N = 40.0
TRAVEL_MPS, DESCENT_MPS, LIFT_MPS = 0.8, 0.15, 0.25
SUCTION_S, HOLD_S = 0.2, 0.5
# Between the cup's axis and what it touches; beyond, it meets the surface with its rim and leaks.
SEAL_RAD = 0.44
# Steps between two looks at whether the cup touches.
_LOOK_EVERY = 2

_CUP_XML = f"""
<body name="gantry" pos="0 0 0" gravcomp="1">
 <inertial pos="0 0 0" mass="3" diaginertia="0.02 0.02 0.02"/>
 <joint name="x" type="slide" axis="1 0 0" damping="60"/>
 <joint name="y" type="slide" axis="0 1 0" damping="60"/>
 <joint name="z" type="slide" axis="0 0 1" damping="60"/>
 <body gravcomp="1">
  <joint type="slide" axis="0 0 1" range="0 0.008" limited="true" stiffness="400" damping="6"/>
  <geom type="capsule" fromto="0 0 0.02 0 0 0.4" size="0.006" mass="0.05"/>
  <body name="cup" gravcomp="1" pos="0 0 {CUP_HALF_M}">
   <joint type="hinge" axis="1 0 0" pos="0 0 0.012" stiffness="1" damping="0.02"
    range="-35 35" limited="true" armature="1e-4"/>
   <joint type="hinge" axis="0 1 0" pos="0 0 0.012" stiffness="1" damping="0.02"
    range="-35 35" limited="true" armature="1e-4"/>
   <geom name="cup" type="cylinder" size="{CUP_RADIUS_M} {CUP_HALF_M}" mass="0.03"
    friction="1.2 0.02 0.01" margin="0.002" gap="0.002"/>
  </body>
 </body>
</body>"""
_ACTUATORS_XML = f"""
<actuator>
 <position joint="x" kp="3000" kv="150"/><position joint="y" kp="3000" kv="150"/>
 <position joint="z" kp="3000" kv="150"/>
 <adhesion body="cup" ctrlrange="0 1" gain="{SUCTION_N}"/>
</actuator>"""


@dataclass(frozen=True)
class PickResult:
    """What a pick left behind.

    :param lifted: ids of what hangs from the gripper; two only if the cup took both at once.
    :param touched: whether the cup met anything before it stopped above the table.
    :param poses: where everything is now, by id; without what fell off the table.
    """

    lifted: tuple[int, ...]
    touched: bool
    poses: dict[int, ObjectPose]


def pick(world: World, target: Sequence[float]) -> PickResult:
    """Move above a point, come down until something is touched, suck, lift it by LIFT_M.

    The same world and target give the same result. The target's height does not
    matter: the cup comes down until it touches, at most to FLOOR_M.

    :param target: x, y, z in the world, metres.
    :raises ValueError: the target is not finite, or out of the gantry's reach.
    """
    x, y, z = (float(v) for v in target)
    if not np.isfinite((x, y, z)).all() or max(abs(x), abs(y)) > REACH_M:
        raise ValueError(f'({x:.3f}, {y:.3f}, {z:.3f}) m is out of reach: x and y are '
                         f'-{REACH_M} to {REACH_M} m')
    gantry = _Gantry(world)
    gantry.move((x, y, HOME_M[2]), TRAVEL_MPS)
    gantry.wait(0.2)
    touched = gantry.descend()
    gantry.suck()
    low = float(gantry.place[2])
    gantry.move((x, y, low + LIFT_M), LIFT_MPS)
    gantry.wait(HOLD_S)
    poses = gantry.poses()
    lifted = tuple(i for i, pose in poses.items()
                   if lowest_m(world.spec.objects[i], pose) > HELD_M)
    return PickResult(lifted, touched, poses)


def lowest_m(item: ObjectSpec, pose: ObjectPose) -> float:
    """:return: height of the lowest corner of an object's own box over the table, metres."""
    return pose.position[2] - float(np.abs(pose.rotation[2]) @ item.dimensions) / 2


def grasp_point(
    position: Position, camera_position: Sequence[float], camera_orientation: Sequence[float]
) -> tuple[float, float, float]:
    """Choose where to put a suction cup: over the middle of the object's box, on its top.

    :param position: of the object, in the optical frame.
    :param camera_position: of the optical frame in the world, metres.
    :param camera_orientation: of that frame in the world: x, y, z, w.
    :return: x, y, z in the world, metres.
    """
    camera = Rotation.from_quat(camera_orientation)
    box = camera * Rotation.from_quat(position.orientation)
    x, y, z = camera.apply(position.center) + np.asarray(camera_position, float)
    top = z + np.abs(box.as_matrix()[2]) @ np.asarray(position.size) / 2
    return float(x), float(y), float(top)


class _Gantry:
    """The physics of one pick: the objects as they stand, and the gripper over them."""

    def __init__(self, world: World) -> None:
        self._ids = tuple(world.poses)
        spec = replace(world.spec, objects=tuple(world.objects.values()))
        xml = scene_xml(spec).replace(
            '</worldbody></mujoco>', f'{_CUP_XML}</worldbody>{_ACTUATORS_XML}</mujoco>')
        self._model = mujoco.MjModel.from_xml_string(xml)
        self._data = mujoco.MjData(self._model)
        for row, pose in enumerate(world.poses.values()):
            self._data.qpos[7 * row:7 * row + 3] = pose.position
            self._data.qpos[7 * row + 3:7 * row + 7] = np.roll(pose.orientation, 1)
        axes = [self._model.joint(name).qposadr[0] for name in 'xyz']
        self._data.qpos[axes] = self._data.ctrl[:3] = HOME_M
        self._cup = self._model.geom('cup').id

    @property
    def place(self) -> np.ndarray:
        """Where the gripper is sent: (3,) metres; it is there within a fraction of a millimetre."""
        return self._data.ctrl[:3].copy()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        mujoco.mj_step(self._model, self._data, round(seconds / TIMESTEP_S))

    def move(self, to: Sequence[float], speed_mps: float) -> None:
        """Go straight to a place."""
        start, end = self.place, np.asarray(to, float)
        steps = max(1, round(float(np.linalg.norm(end - start)) / speed_mps / TIMESTEP_S))
        for step in range(1, steps + 1):
            self._data.ctrl[:3] = start + (end - start) * step / steps
            mujoco.mj_step(self._model, self._data)

    def descend(self) -> bool:
        """Come down until the cup touches something, then press it on; or to just over the table.

        :return: whether it touched.
        """
        step_m = DESCENT_MPS * TIMESTEP_S * _LOOK_EVERY
        while not self._touches():
            if self._data.ctrl[2] <= FLOOR_M:
                return False
            self._data.ctrl[2] = max(self._data.ctrl[2] - step_m, FLOOR_M)
            mujoco.mj_step(self._model, self._data, _LOOK_EVERY)
        # The actuator trails behind what it is told: begin where the gripper really is.
        self._data.ctrl[2] = self._data.qpos[self._model.joint('z').qposadr[0]]
        x, y, z = self.place
        self.move((x, y, max(z - PRESS_M, FLOOR_M)), DESCENT_MPS)
        return True

    def suck(self) -> None:
        """Evacuate the cup, which takes a moment; where it leaks, there is no vacuum."""
        steps = round(SUCTION_S / TIMESTEP_S)
        for step in range(1, steps + 1):
            self._data.ctrl[3] = step / steps
            mujoco.mj_step(self._model, self._data)
        self._data.ctrl[3] = float(self._is_sealed())

    def poses(self) -> dict[int, ObjectPose]:
        """Read where the objects are; those below the table top are gone."""
        poses = {}
        for row, index in enumerate(self._ids):
            position = tuple(float(v) for v in self._data.qpos[7 * row:7 * row + 3])
            x, y, z, w = (
                float(v) for v in np.roll(self._data.qpos[7 * row + 3:7 * row + 7], -1))
            if position[2] > 0:
                poses[index] = ObjectPose(position, (x, y, z, w))
        return poses

    def _touches(self) -> bool:
        """Tell whether the cup is within its margin of an object."""
        contacts = self._data.contact
        return bool((contacts.geom == self._cup).any())

    def _is_sealed(self) -> bool:
        """Tell whether the cup lies on a surface, and not with its rim against it."""
        contacts = self._data.contact
        mine = (contacts.geom == self._cup).any(1)
        along = np.abs(contacts.frame[mine, :3] @ self._data.geom_xmat[self._cup][2::3])
        return bool((along > np.cos(SEAL_RAD)).any())
