"""What a simulated scene is made of, drawn from a seed. Pure numpy: nothing is simulated or rendered here."""
from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from vr_ros.core.types import Size
from vr_ros.sim.cameras import CameraPose, look_at, project
from vr_ros.sim.objects import PROPORTIONS, SIZE_M
from vr_ros.sim.textures import TEXTURES
from vr_ros.sim.truth import COLOURS, KINDS, SIZES

COLOUR_RGB = {
    'red': (0.86, 0.07, 0.09),
    'green': (0.10, 0.62, 0.18),
    'blue': (0.08, 0.25, 0.88),
    'yellow': (0.97, 0.86, 0.06),
    'orange': (1.00, 0.45, 0.02),
    'purple': (0.50, 0.13, 0.68),
    'white': (0.95, 0.95, 0.95),
    'black': (0.09, 0.09, 0.10),
}
# Muted, so that no table is taken for one of the object colours: hue range, saturation range, value range.
TABLE_TONES = (
    ((0.06, 0.11), (0.20, 0.42), (0.36, 0.62)),  # browns and beiges
    ((0.00, 1.00), (0.00, 0.05), (0.36, 0.64)),  # greys
    ((0.46, 0.54), (0.12, 0.30), (0.36, 0.60)),  # teal greys
)
FOVY_RAD = float(np.radians(25.0))
LYING_SHARE = {'cylinder': 0.12, 'mug': 0.08, 'cone': 0.08}
# A mug on its side comes to rest on its handle.
LYING_TURN_RAD = {'mug': -0.6}
REPEAT_SHARE = 0.25
CUT_SHARE = 0.07
GAP_M = 0.008
# What to try in turn when an object finds no place: factor on the least distance in the image, another size.
RELAXATIONS = ((1.0, ''), (0.8, ''), (0.6, ''), (0.6, 'small'), (0.4, 'small'), (0.3, 'small'))
_VIEW = Size(640, 480)


@dataclass(frozen=True)
class ObjectSpec:
    """One object before physics.

    :param position: x, y on the table in metres.
    :param yaw: radians about the vertical.
    :param scale: factor on the nominal size, so that not all objects of a size are equal.
    :param rgb: the colour as painted, 0..1.
    """

    kind: str
    colour: str
    size_name: str
    position: tuple[float, float]
    yaw: float
    scale: float = 1.0
    lying: bool = False
    rgb: tuple[float, float, float] = (0.5, 0.5, 0.5)

    @property
    def dimensions(self) -> tuple[float, float, float]:
        """Edge lengths of the object's own box in metres."""
        size = SIZE_M[self.size_name] * self.scale
        x, y, z = PROPORTIONS[self.kind]
        return (x * size, y * size, z * size)

    @property
    def rotation(self) -> Rotation:
        """Orientation on the table; a lying object's axis is horizontal."""
        upright = Rotation.from_euler('z', self.yaw)
        if not self.lying:
            return upright
        turn = LYING_TURN_RAD.get(self.kind, 0.0)
        return upright * Rotation.from_euler('x', np.pi / 2) * Rotation.from_euler('z', turn)

    @property
    def height(self) -> float:
        """Extent along the vertical in metres."""
        return self.dimensions[1 if self.lying else 2]


@dataclass(frozen=True)
class TableSpec:
    """A box with its top at z = 0, over a floor.

    :param half_size: half extents in metres.
    :param rgb: colour of the top, 0..1, multiplied with the texture.
    """

    half_size: tuple[float, float]
    yaw: float
    rgb: tuple[float, float, float]
    texture: str
    floor_rgb: tuple[float, float, float]
    floor_texture: str


@dataclass(frozen=True)
class LightSpec:
    """One directional light.

    :param direction: unit vector along which it shines, world frame.
    :param ambient, diffuse, specular: intensity per channel, 0..1.
    """

    direction: tuple[float, float, float]
    ambient: tuple[float, float, float]
    diffuse: tuple[float, float, float]
    specular: tuple[float, float, float]
    casts_shadow: bool = False


@dataclass(frozen=True)
class CameraSpec:
    """A camera on a sphere around the point it looks at.

    :param azimuth: radians; 0 looks from +x towards the table's centre.
    :param elevation: radians by which it looks down.
    :param distance: metres from the target.
    """

    azimuth: float
    elevation: float
    distance: float
    target: tuple[float, float, float] = (0.0, 0.0, 0.03)
    roll: float = 0.0
    fovy_rad: float = FOVY_RAD

    @property
    def pose(self) -> CameraPose:
        around = np.array([np.cos(self.azimuth), np.sin(self.azimuth)]) * np.cos(self.elevation)
        offset = np.array([*around, np.sin(self.elevation)]) * self.distance
        return look_at(np.array(self.target) + offset, np.array(self.target), self.fovy_rad, self.roll)


@dataclass(frozen=True)
class SceneSpec:
    """Everything a world is built from; an object's id is its index in `objects`."""

    seed: int
    objects: tuple[ObjectSpec, ...]
    table: TableSpec
    lights: tuple[LightSpec, ...]
    camera: CameraSpec


def orbit_pose(spec: SceneSpec, angle_rad: float) -> CameraPose:
    """Move the scene's camera on a circle around its target; angle 0 is the scene's own view."""
    return replace(spec.camera, azimuth=spec.camera.azimuth + angle_rad).pose


def sample_scene(
    seed: int, count: int | None = None, count_range: tuple[int, int] = (1, 10)
) -> SceneSpec:
    """Draw a scene.

    :param seed: the same seed gives the same scene.
    :param count: number of objects; None draws it from count_range (both ends included).
    :raises ValueError: when seed or count is negative.
    """
    if seed < 0 or (count is not None and count < 0):
        raise ValueError(f'seed and count must not be negative: {seed}, {count}')
    rng = np.random.default_rng(seed)
    drawn = int(rng.integers(count_range[0], count_range[1] + 1))
    camera = CameraSpec(
        azimuth=float(rng.uniform(-np.pi, np.pi)),
        elevation=float(np.radians(rng.uniform(35.0, 65.0))),
        distance=float(rng.uniform(0.86, 1.0)),
        roll=float(np.radians(rng.uniform(-3.0, 3.0))),
    )
    table, lights = _sample_table(rng), _sample_lights(rng, camera.azimuth)
    objects = _sample_objects(rng, drawn if count is None else count, camera.azimuth)
    return SceneSpec(seed, _placed(rng, objects, camera.pose), table, lights, camera)


def _sample_table(rng: np.random.Generator) -> TableSpec:
    tone, floor_tone = rng.integers(len(TABLE_TONES), size=2)
    texture, floor_texture = rng.choice(TEXTURES, size=2)
    half_size = tuple(float(v) for v in rng.uniform(0.45, 0.9, 2))
    return TableSpec(
        half_size, float(rng.uniform(-np.pi, np.pi)), _tone(rng, tone), str(texture),
        _tone(rng, floor_tone), str(floor_texture),
    )


def _tone(rng: np.random.Generator, tone: int) -> tuple[float, float, float]:
    hue, saturation, value = (float(rng.uniform(*limits)) for limits in TABLE_TONES[tone])
    return colorsys.hsv_to_rgb(hue, saturation, value)


def _sample_lights(rng: np.random.Generator, azimuth: float) -> tuple[LightSpec, ...]:
    """One lamp that casts shadows and one weak fill light from about the camera's side."""
    warmth = rng.uniform(-0.05, 0.05)
    tint = np.array([1 + warmth, 1.0, 1 - warmth])
    ambient, diffuse = rng.uniform(0.34, 0.44), rng.uniform(0.40, 0.52)
    lamp = LightSpec(
        _shining_down(rng.uniform(-np.pi, np.pi), rng.uniform(45.0, 75.0)),
        (0.0, 0.0, 0.0), tuple(diffuse * tint), (0.8, 0.8, 0.8), casts_shadow=True,
    )
    fill = LightSpec(
        _shining_down(azimuth + rng.uniform(-0.8, 0.8), 40.0),
        tuple(ambient * tint), (float(rng.uniform(0.12, 0.20)),) * 3, (0.15, 0.15, 0.15),
    )
    return lamp, fill


def _shining_down(azimuth: float, elevation_deg: float) -> tuple[float, float, float]:
    """Direction of light that comes from there."""
    elevation = np.radians(elevation_deg)
    return (
        -float(np.cos(azimuth) * np.cos(elevation)),
        -float(np.sin(azimuth) * np.cos(elevation)),
        -float(np.sin(elevation)),
    )


def _sample_objects(
    rng: np.random.Generator, count: int, camera_azimuth: float
) -> list[ObjectSpec]:
    """Draw kinds, colours and sizes; some repeat an earlier one, so that sets and counts above one occur."""
    objects: list[ObjectSpec] = []
    for _ in range(count):
        kind, colour = str(rng.choice(KINDS)), str(rng.choice(COLOURS))
        repeat_kind, repeat_colour, lies = rng.random(3)
        if objects and repeat_kind < REPEAT_SHARE:
            kind = objects[rng.integers(len(objects))].kind
        if objects and repeat_colour < REPEAT_SHARE:
            colour = objects[rng.integers(len(objects))].colour
        lying = bool(lies < LYING_SHARE.get(kind, 0.0))
        yaw = float(rng.uniform(-np.pi, np.pi))
        if lying and kind == 'mug':
            # Its opening points to where -y went; from behind nobody could tell it from a cylinder.
            yaw = camera_azimuth + np.pi / 2 + yaw / 3
        objects.append(ObjectSpec(
            kind, colour, str(rng.choice(SIZES)), (0.0, 0.0), yaw,
            float(rng.uniform(0.96, 1.04)), lying, _painted(rng, colour),
        ))
    return objects


def _painted(rng: np.random.Generator, colour: str) -> tuple[float, float, float]:
    """Vary a colour a little; black and white stay neutral."""
    change = rng.uniform(-0.035, 0.035, 3)
    if colour in ('black', 'white'):
        change = 0.2 * change + 0.8 * change[0]
    red, green, blue = (float(v) for v in np.clip(COLOUR_RGB[colour] + change, 0.02, 1.0))
    return red, green, blue


def _footprint(spec: ObjectSpec) -> np.ndarray:
    """Cover an object, standing at the origin, with upright circles: (C, 3) x, y, radius in metres."""
    x, y, z = spec.dimensions
    depth = z if spec.lying else y
    if spec.kind in ('ball', 'cylinder', 'cone', 'bowl') and not spec.lying:
        return np.array([[0.0, 0.0, x / 2]])
    if x < 1.5 * depth:
        return np.array([[0.0, 0.0, float(np.hypot(x, depth)) / 2]])
    pieces = 3
    radius = float(np.hypot(x / pieces, depth)) / 2
    along = (np.arange(pieces) - (pieces - 1) / 2) * x / pieces
    return np.column_stack([
        along * np.cos(spec.yaw), along * np.sin(spec.yaw), np.full(pieces, radius)
    ])


def _placed(
    rng: np.random.Generator, objects: list[ObjectSpec], pose: CameraPose
) -> tuple[ObjectSpec, ...]:
    """Spread objects over the visible table, large ones first.

    Distances in the image are kept as well, so that objects hide each other only mildly. What finds no place is
    tried smaller; the last resort leaves it out.
    """
    apart = float(rng.uniform(0.42, 0.80))
    order = sorted(range(len(objects)), key=lambda i: -float(np.prod(objects[i].dimensions[:2])))
    circles = np.zeros((0, 4))
    placed: dict[int, ObjectSpec] = {}
    for index in order:
        inset = 0.3 if rng.random() < CUT_SHARE else 0.95
        for relax, size_name in RELAXATIONS:
            spec = replace(objects[index], size_name=size_name or objects[index].size_name)
            footprint = np.column_stack([_footprint(spec), np.zeros(len(_footprint(spec)))])
            footprint[:, 3] = spec.height / 2
            position = _free_place(rng, footprint, circles, pose, inset, apart * relax)
            if position is not None:
                placed[index] = replace(spec, position=tuple(float(v) for v in position))
                circles = np.concatenate([circles, footprint + (*position, 0.0, 0.0)])
                break
    return tuple(placed[i] for i in sorted(placed))


def _free_place(
    rng: np.random.Generator, footprint: np.ndarray, circles: np.ndarray, pose: CameraPose,
    inset: float, apart: float, tries: int = 160,
) -> np.ndarray | None:
    """Find x, y for a footprint: on free table, inside the image, not hiding much.

    :param footprint: (C, 4) x, y, radius, height of the centre; metres.
    :param circles: (P, 4) what is placed already, likewise.
    :param inset: least distance of a circle's centre from the image border, in its radius in the image.
    :param apart: least distance of centres in the image, as a share of the sum of the radii.
    """
    candidates = rng.uniform(-0.36, 0.36, (tries, 2))
    own = candidates[:, None, :] + footprint[None, :, :2]
    centres = np.concatenate([own, np.broadcast_to(footprint[:, 3:], (*own.shape[:2], 1))], 2)
    pixels, depth = project(centres, pose, _VIEW)
    focal = _VIEW.height / 2 / np.tan(pose.fovy_rad / 2)
    radii = focal * footprint[:, 2] / depth
    border = np.minimum(pixels, np.array([_VIEW.width, _VIEW.height]) - pixels).min(2)
    good = (border >= inset * radii).all(1)
    if len(circles):
        others = circles[:, [0, 1, 3]]
        other_pixels, other_depth = project(others, pose, _VIEW)
        other_radii = focal * circles[:, 2] / other_depth
        on_table = np.linalg.norm(own[:, :, None] - circles[:, :2], axis=3)
        good &= (on_table >= footprint[:, None, 2] + circles[:, 2] + GAP_M).all((1, 2))
        in_image = np.linalg.norm(pixels[:, :, None] - other_pixels, axis=3)
        good &= (in_image >= apart * (radii[:, :, None] + other_radii)).all((1, 2))
    hits = np.flatnonzero(good)
    return candidates[hits[0]] if len(hits) else None
