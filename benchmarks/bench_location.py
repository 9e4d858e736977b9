"""Measure positions against the simulator's truth, by kind of object, on scenes of held-out seeds.

Twice: with the depth and the masks as they are, and as a stereo camera and a segmenter would give
them: noise that grows with the square of the distance and is alike in neighbours, millimetre steps,
mixed pixels and holes at edges, masks that are up to two pixels too large or too small.
Sizes are compared edge by edge, sorted, with the object's own box; lying cones and mugs are no
boxes that stand, so theirs differ by more than the error.
"""
from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.ndimage import (
    binary_dilation,
    binary_erosion,
    gaussian_filter,
    maximum_filter,
    minimum_filter,
)
from scipy.spatial.transform import Rotation

from vr_ros.core.location import locate_all
from vr_ros.core.rle import mask_to_rle, rle_to_mask
from vr_ros.core.types import Detection, Mask, Position
from vr_ros.evaluation.claims import Claim, print_claims, write_claims
from vr_ros.pipeline.camera_model import CameraModel
from vr_ros.pipeline.point_map import point_map

FIRST_SEED = 1_000_000
SENSORS = ('exact', 'as a sensor')
# Targets: metres and shares.
SURFACE_MEDIAN_MM, SURFACE_P95_MM, CENTER_MEDIAN_MM, SIZE_MEDIAN = 10.0, 30.0, 20.0, 15.0


@dataclass(frozen=True)
class Outcome:
    """The errors of one object.

    :param kind: with '-lying' where its own z axis is not upright.
    :param size_share: mean relative error of the sorted edges.
    :param deviations: error of the surface point's depth in its own standard deviations.
    """

    kind: str
    surface_m: float
    center_m: float
    size_share: float
    deviations: float


def as_a_sensor(depth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Damage a depth image as a stereo camera would: (H, W) metres, 0 for holes."""
    low, high = minimum_filter(depth, 3), maximum_filter(depth, 3)
    edge = high - low > 0.02
    mixed = edge & (rng.random(depth.shape) < 0.5)
    seen = np.where(mixed, low + (high - low) * rng.random(depth.shape), depth)
    alike = gaussian_filter(rng.normal(size=depth.shape), 1.5)
    seen = seen + 0.0015 * depth**2 * alike / alike.std() + rng.normal(0, 8e-4, depth.shape)
    seen = np.round(seen, 3)
    hole = (edge & (rng.random(depth.shape) < 0.3)) | (rng.random(depth.shape) < 0.03)
    return np.where(hole | (depth <= 0), 0, seen).astype(np.float32)


def as_a_segmenter(mask: Mask, rng: np.random.Generator) -> Mask:
    """Grow or shrink a mask by up to two pixels."""
    pixels, change = rle_to_mask(mask), int(rng.integers(-2, 3))
    if change:
        grow = binary_dilation if change > 0 else binary_erosion
        pixels = grow(pixels, iterations=abs(change))
    return mask_to_rle(pixels)


def compare(position: Position, truth: object, upright: np.ndarray) -> Outcome:
    """Compute the errors of one position.

    :param upright: (3,) up in the optical frame.
    """
    own_up = Rotation.from_quat(truth.orientation).as_matrix()[:, 2]
    kind = truth.kind + ('' if abs(own_up @ upright) > 0.9 else '-lying')
    edges, true_edges = np.sort(position.size), np.sort(truth.dimensions)
    off = np.subtract(position.surface_point, truth.surface_point)
    return Outcome(
        kind, float(np.linalg.norm(off)),
        float(np.linalg.norm(np.subtract(position.center, truth.center))),
        float(np.mean(np.abs(edges / true_edges - 1))),
        float(abs(off[2]) / max(position.stddev_m, 1e-9)))


def measure_scene(seed: int, sensor: str, use_up: bool) -> tuple[list[Outcome], int, list[float]]:
    """Locate the targets of one scene.

    :return: errors, how many were not located, and milliseconds per object of this thread's time.
    """
    from vr_ros.sim.renderer import render_scene

    frame = render_scene(seed)
    truth, rng = frame.truth, np.random.default_rng(seed)
    depth, masks = frame.depth, [item.mask for item in truth.targets]
    if sensor != 'exact':
        depth = as_a_sensor(depth, rng)
        masks = [as_a_segmenter(mask, rng) for mask in masks]
    points = point_map(depth, CameraModel(truth.size, truth.camera_matrix))
    upright = Rotation.from_quat(truth.camera_pose[3:]).as_matrix()[2]
    detections = [Detection(i, item.box, mask=mask)
                  for i, (item, mask) in enumerate(zip(truth.targets, masks, strict=True))]
    started = time.thread_time()
    found = locate_all(detections, points, truth.size, upright if use_up else None)
    ms = (time.thread_time() - started) * 1e3 / max(len(found), 1)
    outcomes = [compare(item.position, true, upright)
                for item, true in zip(found, truth.targets, strict=True)
                if item.position is not None]
    return outcomes, len(found) - len(outcomes), [ms] if found else []


def percentile(outcomes: list[Outcome], name: str, share: float, factor: float) -> float:
    return factor * float(np.percentile([getattr(item, name) for item in outcomes], share))


def claims_of(sensor: str, outcomes: list[Outcome], ms: list[float]) -> list[Claim]:
    """Sum up all objects."""
    def claim(text: str, name: str, share: float, factor: float, unit: str,
              target: float | None) -> Claim:
        value = percentile(outcomes, name, share, factor) if outcomes else None
        return Claim(f'{sensor}: {text}', value, unit, target, 'lower',
                     '' if outcomes else 'no object was located')

    return [
        claim('surface point, median error', 'surface_m', 50, 1e3, 'mm', SURFACE_MEDIAN_MM),
        claim('surface point, 95 %', 'surface_m', 95, 1e3, 'mm', SURFACE_P95_MM),
        claim('centre, median error', 'center_m', 50, 1e3, 'mm', CENTER_MEDIAN_MM),
        claim('centre, 95 %', 'center_m', 95, 1e3, 'mm', None),
        claim('size, median error', 'size_share', 50, 100, '%', SIZE_MEDIAN),
        claim('size, 95 %', 'size_share', 95, 100, '%', None),
        claim('depth error / position_stddev_m, 68 %', 'deviations', 68, 1, '', None),
        Claim(f'{sensor}: processor time per object', float(np.median(ms)) if ms else None, 'ms',
              None, 'lower', '' if ms else 'no object was located'),
    ]


def kinds_of(outcomes: list[Outcome]) -> dict[str, dict[str, float]]:
    """Sum up by kind."""
    by_kind: dict[str, dict[str, float]] = {}
    for kind in sorted({item.kind for item in outcomes}):
        chosen = [item for item in outcomes if item.kind == kind]
        by_kind[kind] = {'objects': len(chosen)} | {
            f'{name} {label}': round(percentile(chosen, field, share, factor), 2)
            for name, field, factor in (('surface mm', 'surface_m', 1e3),
                                        ('centre mm', 'center_m', 1e3),
                                        ('size %', 'size_share', 100))
            for label, share in (('median', 50), ('95 %', 95))}
    return by_kind


def print_kinds(sensor: str, by_kind: dict[str, dict[str, float]]) -> None:
    if not by_kind:
        return
    columns = list(next(iter(by_kind.values())))
    table = Table('kind', *columns, title=f'By kind, {sensor}')
    for kind, values in by_kind.items():
        table.add_row(kind, *(f'{values[name]:g}' for name in columns))
    Console().print(table)


def main() -> int:
    """Measure, print, write; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--json', metavar='FILE', help='write the claims there')
    parser.add_argument('--scenes', type=int, default=150, help='how many')
    parser.add_argument('--seed', type=int, default=FIRST_SEED, help='of the first scene')
    parser.add_argument('--up', action='store_true', help='give the true up, as tf can')
    options = parser.parse_args()
    if options.scenes < 1 or options.seed < 0:
        parser.error('--scenes is at least 1, --seed at least 0')
    os.environ.setdefault('MUJOCO_GL', 'egl')
    started = time.perf_counter()
    claims: list[Claim] = []
    details: dict[str, object] = {'scenes': options.scenes, 'up_given': options.up}
    missed = 0
    for sensor in SENSORS:
        outcomes, ms = [], []
        for seed in range(options.seed, options.seed + options.scenes):
            some, missing, times = measure_scene(seed, sensor, options.up)
            outcomes, ms, missed = outcomes + some, ms + times, missed + missing
        claims += claims_of(sensor, outcomes, ms)
        by_kind = kinds_of(outcomes)
        print_kinds(sensor, by_kind)
        details[f'by kind, {sensor}'] = by_kind
    details['not located'] = missed
    print_claims(claims, f'Positions in {options.scenes} scenes from seed {options.seed}')
    if options.json:
        write_claims(options.json, claims, seed=options.seed,
                     seconds=time.perf_counter() - started, details=details)
    return 1 if missed or any(claim.value is None for claim in claims) else 0


if __name__ == '__main__':
    sys.exit(main())
