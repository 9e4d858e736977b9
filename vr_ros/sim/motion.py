"""Table tops in motion: objects are pushed past each other and out of the image while the camera
circles; what each frame shows follows from the seed and the frame's index alone.

Nothing is stepped: every object swings to and fro on a straight line, standing as it settled, and
lines are drawn until no two objects touch on any frame.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from vr_ros.core.types import Size
from vr_ros.sim.cameras import CameraPose
from vr_ros.sim.placement import GAP_M, ObjectSpec
from vr_ros.sim.renderer import VGA, Frame, TableCamera
from vr_ros.sim.scene import CameraSpec, SceneSpec, sample_scene
from vr_ros.sim.world import ObjectPose, World

COUNT_RANGE = (3, 7)
# Low enough that a tall object hides the one behind it; a lower camera would see past the floor.
ELEVATION_DEG = (24.0, 46.0)
MAX_SPEED_MPS, MAX_TURN_RADPS = 0.16, 0.8
PERIOD_S = (2.4, 6.0)
# Objects stay on a disc of this radius, and the table is at least as large.
REACH_M = 0.52
TABLE_HALF_M = 0.56
ROUND = ('ball', 'cylinder', 'cone', 'bowl')
# A cylinder can stand close before another object, so it hides the most.
TALL = ('cylinder', 'cylinder', 'mug', 'cube')
TALL_SCALE = (1.15, 1.4)
TRIES = 120


@dataclass(frozen=True)
class Swing:
    """To and fro between two places, softly at both ends.

    :param reach: where the far end is from the near one; metres or radians.
    :param phase: where it begins, as a share of the period; 0 is the near end.
    """

    reach: tuple[float, ...]
    period_s: float
    phase: float

    def at(self, time_s: float | np.ndarray) -> np.ndarray:
        """:return: (..., D) offset from the near end."""
        turn = 2 * np.pi * (np.asarray(time_s) / self.period_s + self.phase)
        return (1 - np.cos(turn))[..., None] / 2 * np.array(self.reach)


@dataclass(frozen=True)
class Track:
    """How one object moves.

    :param start: x, y of the near end, metres.
    :param push: offset in x and y; :param turn: about the vertical.
    """

    start: tuple[float, float]
    push: Swing
    turn: Swing

    def at(self, time_s: float | np.ndarray) -> np.ndarray:
        """:return: (..., 2) x, y in metres."""
        return np.array(self.start) + self.push.at(time_s)


@dataclass(frozen=True)
class CameraTrack:
    """How the camera moves: it circles, nods, comes nearer, and looks past the middle.

    :param orbit: offsets of azimuth and elevation in radians, of the distance in metres.
    :param pan: offset of the point it looks at, x and y in metres.
    """

    spec: CameraSpec
    orbit: Swing
    pan: Swing

    def at(self, time_s: float) -> CameraPose:
        azimuth, elevation, distance = self.orbit.at(time_s)
        x, y = self.pan.at(time_s)
        spec = self.spec
        return replace(
            spec, azimuth=spec.azimuth + float(azimuth),
            elevation=spec.elevation + float(elevation), distance=spec.distance + float(distance),
            target=(spec.target[0] + float(x), spec.target[1] + float(y), spec.target[2]),
        ).pose


class MovingScene:
    """A scene in motion, photographed at a steady rate.

    An object's id is the same on all frames: it is the identity that a tracker should keep. An
    object without a visible pixel is not in that frame's truth.

    :param seed: the same seed gives the same motion; held-out ones begin at 1,000,000.
    :param frames: length of the sequence; :param rate_hz: frames per second.
    :param size: of the pictures in pixels.
    :raises ValueError: when frames or rate_hz is not positive.
    """

    def __init__(
        self, seed: int, frames: int = 24, rate_hz: float = 15.0, size: Size = VGA,
    ) -> None:
        if frames < 1 or not rate_hz > 0:
            raise ValueError(f'frames and rate_hz must be positive: {frames}, {rate_hz}')
        self.seed, self.rate_hz, self.size = seed, rate_hz, size
        self._frames = frames
        # Apart from the scene's own numbers, which begin with the seed alone.
        rng = np.random.default_rng([seed, 41])
        spec = _stage(rng, sample_scene(seed, int(rng.integers(*COUNT_RANGE, endpoint=True))))
        self._rest = World(spec)
        self.spec = self._rest.spec
        self.camera = _camera_track(rng, spec.camera)
        # Half-way between frames as well: nothing may pass through anything unseen.
        times = np.arange(2 * frames - 1) / (2 * rate_hz)
        self.tracks = _tracks(rng, self._rest, times)

    def __len__(self) -> int:
        return self._frames

    def __iter__(self) -> Iterator[Frame]:
        return (self.frame(index) for index in range(len(self)))

    def time_s(self, index: int) -> float:
        """:raises IndexError: when there is no such frame."""
        if not 0 <= index < self._frames:
            raise IndexError(f'frame {index} of {self._frames}')
        return index / self.rate_hz

    def world(self, index: int) -> World:
        """Where everything is on a frame, in a world of its own."""
        time_s = self.time_s(index)
        poses = {}
        for i, rest in self._rest.poses.items():
            x, y = (float(v) for v in self.tracks[i].at(time_s))
            turn = Rotation.from_euler('z', float(self.tracks[i].turn.at(time_s)[0]))
            turned = (turn * Rotation.from_quat(rest.orientation)).as_quat()
            poses[i] = ObjectPose((x, y, rest.position[2]), tuple(float(v) for v in turned))
        return World.posed(self.spec, poses)

    def frame(self, index: int) -> Frame:
        """Take one picture; in any order.

        :raises IndexError: when there is no such frame.
        """
        with TableCamera(self.world(index), self.size) as camera:
            return camera.render(self.camera.at(self.time_s(index)))


def radius_m(spec: ObjectSpec) -> float:
    """:return: of the circle on the table that an object stays inside of however it is turned."""
    x, y, z = spec.dimensions
    if spec.kind in ROUND and not spec.lying:
        return x / 2
    return float(np.hypot(x, z if spec.lying else y)) / 2


def _stage(rng: np.random.Generator, spec: SceneSpec) -> SceneSpec:
    """Look from lower down at a table with room; make one object tall, and some small.

    Half of the scenes paint two objects of the same kind alike: only their paths tell them apart.
    """
    objects = list(spec.objects)
    if len(objects) > 1:
        objects[0] = replace(
            objects[0], kind=str(rng.choice(TALL)), size_name='large', lying=False,
            scale=float(rng.uniform(*TALL_SCALE)))
        for i in range(1, len(objects)):
            if rng.random() < 0.6:
                objects[i] = replace(objects[i], size_name='small')
    if len(objects) > 2 and rng.random() < 0.5:
        one, other = rng.choice(np.arange(1, len(objects)), 2, replace=False)
        alike = objects[one]
        objects[other] = replace(objects[other], kind=alike.kind, colour=alike.colour,
                                 rgb=alike.rgb, lying=alike.lying, size_name=alike.size_name)
    camera = replace(spec.camera, elevation=float(np.radians(rng.uniform(*ELEVATION_DEG))))
    table = replace(spec.table, half_size=tuple(max(v, TABLE_HALF_M) for v in spec.table.half_size))
    return replace(spec, objects=_apart(objects), camera=camera, table=table)


def _apart(objects: list[ObjectSpec]) -> tuple[ObjectSpec, ...]:
    """Move objects that have grown off their neighbours before physics sees them."""
    places = np.array([o.position for o in objects], float).reshape(-1, 2)
    radii = np.array([radius_m(o) for o in objects])
    for _ in range(200):
        offset = places[:, None] - places
        distance = np.linalg.norm(offset, axis=2) + np.eye(len(objects))
        overlap = np.triu(radii[:, None] + radii + 2 * GAP_M - distance, 1).clip(0)
        overlap += overlap.T
        if not overlap.any():
            break
        places += (offset / distance[..., None] * overlap[..., None]).sum(1) * 0.55
        far = np.linalg.norm(places, axis=1) / (REACH_M - radii)
        places /= far.clip(1)[:, None]
    return tuple(
        replace(o, position=(float(x), float(y))) for o, (x, y) in zip(objects, places, strict=True)
    )


def _camera_track(rng: np.random.Generator, spec: CameraSpec) -> CameraTrack:
    def signed(low: float, high: float) -> float:
        return float(rng.uniform(low, high) * rng.choice((-1, 1)))

    still = rng.random() < 0.15
    reach = (signed(0.05, 0.35), float(rng.uniform(0.0, 0.12)), signed(0.0, 0.08))
    pan = (signed(0.0, 0.12), signed(0.0, 0.12))
    if still:
        reach, pan = (0.0, 0.0, 0.0), (0.0, 0.0)
    orbit = Swing(reach, float(rng.uniform(5.0, 8.0)), float(rng.random()))
    swing = Swing(pan, float(rng.uniform(4.0, 7.0)), float(rng.random()))
    return CameraTrack(spec, orbit, swing)


def _tracks(rng: np.random.Generator, world: World, times: np.ndarray) -> dict[int, Track]:
    """Give every object a way that crosses no other's.

    :param times: (T) seconds at which ways are checked.
    """
    nowhere = Swing((0.0, 0.0), 1.0, 0.0)
    tracks = {i: Track(pose.position[:2], nowhere, Swing((0.0,), 1.0, 0.0))
              for i, pose in world.poses.items()}
    radii = {i: radius_m(spec) for i, spec in world.objects.items()}
    order = [int(i) for i in rng.permutation(list(tracks))]
    if 0 in tracks and rng.random() < 0.75:
        # The tall one goes first, while there is room to pass close before somebody.
        order = [0, *(i for i in order if i)]
    moving = max(1, round(len(order) * rng.uniform(0.4, 1.0)))
    passed: set[int | None] = set()
    for i in order[:moving]:
        if i in passed and rng.random() < 0.7:
            continue  # or it would not be there when the other one comes by
        for _ in range(TRIES):
            track, other = _drawn_track(rng, i, world, tracks, radii, times)
            if _is_free(i, track, tracks, radii, times):
                tracks[i] = track
                passed.add(other)
                break
    return tracks


def _drawn_track(
    rng: np.random.Generator, index: int, world: World, tracks: dict[int, Track],
    radii: dict[int, float], times: np.ndarray,
) -> tuple[Track, int | None]:
    """Draw a way close by another object, before or behind it as the camera sees it, or any way.

    :return: the way, and whom it passes.
    """
    period = float(rng.uniform(*PERIOD_S))
    length = float(rng.uniform(0.6, 1.0)) * MAX_SPEED_MPS * period / np.pi
    phase = float(rng.choice((rng.uniform(0.0, 0.2), rng.random())))
    towards = world.spec.camera.azimuth
    others, other = [i for i in tracks if i != index], None
    if others and rng.random() < 0.8:
        other = others[rng.integers(len(others))]
        # What is small can only hide behind what is tall.
        behind = rng.random() < (0.1 if index == 0 else 0.9 if other == 0 else 0.4)
        depth = towards + np.pi * behind + rng.normal(0, 0.15)
        near = radii[index] + radii[other] + GAP_M + 0.002 + abs(rng.normal(0, 0.01))
        middle = tracks[other].at(times).mean(0) + near * _heading(depth)
        heading = _heading(towards + np.pi / 2 * rng.choice((-1, 1)) + rng.normal(0, 0.12))
        start = middle - rng.uniform(0.35, 0.65) * length * heading
    else:
        start = np.array(tracks[index].start)
        heading = _heading(rng.uniform(-np.pi, np.pi))
    reach = tuple(float(v) for v in length * heading)
    turn = Swing((float(rng.uniform(-1, 1) * MAX_TURN_RADPS * period / np.pi),), period, phase)
    return Track(tuple(float(v) for v in start), Swing(reach, period, phase), turn), other


def _heading(angle: float) -> np.ndarray:
    return np.array([np.cos(angle), np.sin(angle)])


def _is_free(
    index: int, track: Track, tracks: dict[int, Track], radii: dict[int, float],
    times: np.ndarray,
) -> bool:
    """Tell whether an object stays on the table and off all others at the given times."""
    way = track.at(times)
    if np.linalg.norm(way, axis=1).max() > REACH_M - radii[index]:
        return False
    return all(
        np.linalg.norm(way - other.at(times), axis=1).min() >= radii[index] + radii[i] + GAP_M
        for i, other in tracks.items() if i != index
    )
