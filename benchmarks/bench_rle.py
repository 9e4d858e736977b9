"""Time the run lengths of 20 masks at 1080p: from crops, from full frames, and by pycocotools.

All encode the same masks in the same run, in turn, and their results are compared run by run. The
segmenter knows each object's box, so its crop is there; pycocotools takes column-major full frames.
"""
from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vr_ros.core.rle import crop_to_rle, mask_to_rle, rle_iou_matrix, rle_to_mask
from vr_ros.core.types import Mask, Size
from vr_ros.evaluation.claims import Claim, print_claims, write_claims

SIZE = Size(1920, 1080)
OBJECTS = 20
TARGET_MS = 5.0
TARGET_SPEEDUP = 10.0


@dataclass(frozen=True)
class Crop:
    """The pixels of one object inside its box, and the same mask in a full frame of uint8."""

    pixels: np.ndarray
    x: int
    y: int
    full: np.ndarray


def make_crops(seed: int) -> list[Crop]:
    """Draw blobs with uneven outlines, 2,500 to 140,000 pixels as objects on a table have."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIZE.height, :SIZE.width].astype(np.float32)
    crops = []
    for radius in np.geomspace(30, 200, OBJECTS):
        x, y = rng.uniform(0, SIZE.width), rng.uniform(0, SIZE.height)
        angle = np.arctan2(rows - y, columns - x)
        outline = sum(
            rng.uniform(0, 0.5 / wave) * np.sin(wave * angle + rng.uniform(0, 2 * np.pi))
            for wave in range(2, 9))
        full = np.hypot(rows - y, columns - x) < radius * (1 + 0.5 * outline)
        set_rows, set_columns = full.any(axis=1).nonzero()[0], full.any(axis=0).nonzero()[0]
        top, left = int(set_rows[0]), int(set_columns[0])
        pixels = full[top:set_rows[-1] + 1, left:set_columns[-1] + 1].copy()
        crops.append(Crop(pixels, left, top, full.astype(np.uint8)))
    return crops


def encode_crops(crops: list[Crop]) -> list[Mask]:
    """Encode from the crops."""
    return [crop_to_rle(crop.pixels, crop.x, crop.y, SIZE) for crop in crops]


def encode_full_frames(crops: list[Crop]) -> list[dict]:
    """Encode as programs that use pycocotools do: one column-major frame per object."""
    from pycocotools import mask as coco
    return [coco.encode(np.asfortranarray(crop.full)) for crop in crops]


def count_differences(masks: list[Mask], references: list[dict]) -> int:
    """Count the masks whose run lengths are not those of the reference."""
    from pycocotools import mask as coco
    return sum(
        coco.frPyObjects(
            {'size': [SIZE.height, SIZE.width], 'counts': list(mask.counts)},
            SIZE.height, SIZE.width)['counts'] != reference['counts']
        for mask, reference in zip(masks, references, strict=True))


def median_ms(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Time functions in turn, so that what else the machine does falls on all alike.

    :return: median milliseconds of each.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(repeats):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - started) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def measure(seed: int, repeats: int) -> tuple[list[Claim], dict[str, int]]:
    """Compare both ways, then time both and what is done with the result.

    :return: claims, and counts for the report.
    """
    crops = make_crops(seed)
    masks = encode_crops(crops)
    runs: dict[str, Callable[[], object]] = {
        'crops': lambda: encode_crops(crops),
        'frames': lambda: [mask_to_rle(crop.full) for crop in crops],
        'decode': lambda: [rle_to_mask(mask) for mask in masks],
        'iou': lambda: rle_iou_matrix(masks, masks),
    }
    try:
        differences: int | None = count_differences(masks, encode_full_frames(crops))
        runs['pycocotools'] = lambda: encode_full_frames(crops)
    except ImportError:
        differences = None
    ms = median_ms(runs, repeats)
    missing = 'pycocotools is not installed'
    reference_ms = ms.get('pycocotools')
    speedup = None if reference_ms is None else reference_ms / ms['crops']
    run_count = sum(len(mask.counts) for mask in masks)
    claims = [
        Claim(f'{OBJECTS} masks at 1080p to run lengths, from crops', ms['crops'], 'ms',
              TARGET_MS, 'lower'),
        Claim('the same, from full frames', ms['frames'], 'ms', None, 'lower'),
        Claim('the same, by pycocotools', reference_ms, 'ms', None, 'lower',
              missing if reference_ms is None else ''),
        Claim('from crops: times faster than pycocotools', speedup, 'x', TARGET_SPEEDUP, 'higher',
              missing if speedup is None else ''),
        Claim('masks that differ from those of pycocotools', differences, 'masks', 0, 'lower',
              missing if differences is None else ''),
        Claim(f'{OBJECTS} masks as uint32 run lengths', 4 * run_count / 1e3, 'kB', None, 'lower'),
        Claim(f'{OBJECTS} masks from run lengths to pixels', ms['decode'], 'ms', None, 'lower'),
        Claim(f'IoU of {OBJECTS**2} pairs of masks', ms['iou'], 'ms', None, 'lower'),
    ]
    return claims, {'objects': OBJECTS, 'repeats': repeats, 'runs': run_count}


def main() -> int:
    """Measure, print, write; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--json', metavar='FILE', help='write the claims there')
    parser.add_argument('--repeats', type=int, default=15, help='the median of these counts')
    parser.add_argument('--seed', type=int, default=0, help='of the outlines')
    options = parser.parse_args()
    if options.repeats < 1:
        parser.error('--repeats is at least 1')
    started = time.perf_counter()
    claims, details = measure(options.seed, options.repeats)
    print_claims(claims, f'Run lengths, {SIZE.width}x{SIZE.height}')
    if options.json:
        write_claims(
            options.json, claims, seed=options.seed, seconds=time.perf_counter() - started,
            details=details)
    return 0 if all(claim.value is not None for claim in claims) else 1


if __name__ == '__main__':
    sys.exit(main())
