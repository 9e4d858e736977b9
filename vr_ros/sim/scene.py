"""What a simulated scene is made of, drawn from a seed; nothing is simulated or rendered here."""
from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace

import numpy as np

from vr_ros.sim.cameras import CameraPose, look_at
from vr_ros.sim.placement import ObjectSpec, placed
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
# Ranges of hue, saturation and value; muted, so that no table is taken for an object colour.
TABLE_TONES = (
    ((0.06, 0.11), (0.20, 0.42), (0.36, 0.62)),  # browns and beiges
    ((0.00, 1.00), (0.00, 0.05), (0.36, 0.64)),  # greys
    ((0.46, 0.54), (0.12, 0.30), (0.36, 0.60)),  # teal greys
)
FOVY_RAD = float(np.radians(25.0))
LYING_SHARE = {'cylinder': 0.12, 'mug': 0.08, 'cone': 0.08}
REPEAT_SHARE = 0.25


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
        target = np.array(self.target)
        return look_at(target + offset, target, self.fovy_rad, self.roll)


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
    return SceneSpec(seed, placed(rng, objects, camera.pose), table, lights, camera)


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
    """Draw kinds, colours, sizes; some repeat an earlier one, so that sets and counts occur."""
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
