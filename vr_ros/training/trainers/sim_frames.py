"""Rendered training frames: made once by several processes, kept as shards, read at random."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vr_ros.core.types import Mask, Size
from vr_ros.sim.truth import FrameTruth, ObjectTruth

CAMERA_SIZE = Size(640, 480)
NO_MASK = Mask(Size(0, 0), ())


@dataclass(frozen=True)
class BankSpec:
    """What to render.

    :param scenes: number of scenes; scene i has seed ``first_seed + i``.
    :param views: camera poses per scene.
    :param sizes: sizes at which each frame is kept, resized as the model would.
    :param keep_masks: keep a label map per frame at the last of the sizes.
    """

    scenes: int
    first_seed: int = 0
    views: int = 4
    size: Size = Size(168, 168)
    camera: Size = CAMERA_SIZE
    keep_masks: bool = False
    scenes_per_shard: int = 50


def _encode_truth(truth: FrameTruth) -> str:
    objects = [dataclasses.replace(o, mask=NO_MASK) for o in truth.objects]
    return json.dumps(dataclasses.asdict(dataclasses.replace(truth, objects=tuple(objects))))


def _decode_truth(text: str) -> FrameTruth:
    raw = json.loads(text)
    objects = tuple(
        ObjectTruth(
            **{
                key: NO_MASK
                if key == 'mask'
                else tuple(value)
                if isinstance(value, list)
                else value
                for key, value in item.items()
            }
        )
        for item in raw['objects']
    )
    return FrameTruth(
        raw['seed'],
        Size(**raw['size']),
        objects,
        tuple(raw['camera_matrix']),
        tuple(raw['camera_pose']),
    )


def _label_map(truth: FrameTruth, size: Size) -> np.ndarray:
    """Paint each target's index + 1, nearest-neighbour at the wanted size, 0 elsewhere."""
    from vr_ros.core.rle import rle_to_mask

    rows = ((np.arange(size.height) + 0.5) * truth.size.height / size.height).astype(int)
    columns = ((np.arange(size.width) + 0.5) * truth.size.width / size.width).astype(int)
    labels = np.zeros((size.height, size.width), np.uint8)
    for index, item in enumerate(truth.objects):
        labels[rle_to_mask(item.mask)[np.ix_(rows, columns)]] = index + 1
    return labels


def _render_shard(job: tuple[BankSpec, int, Path]) -> Path:
    from vr_ros.models.preprocess import resize_image
    from vr_ros.sim.renderer import TableCamera, orbit_pose
    from vr_ros.sim.scene import sample_scene
    from vr_ros.sim.world import World

    spec, shard, path = job
    images, truths, labels = [], [], []
    first = spec.first_seed + shard * spec.scenes_per_shard
    last = min(first + spec.scenes_per_shard, spec.first_seed + spec.scenes)
    for seed in range(first, last):
        rng = np.random.default_rng([seed, 77])
        scene = sample_scene(seed)
        with TableCamera(World(scene), size=spec.camera) as camera:
            for view in range(spec.views):
                pose = None if view == 0 else orbit_pose(scene, float(rng.uniform(0, 2 * np.pi)))
                frame = camera.render(pose)
                pixels = resize_image(frame.rgb, spec.size).byte().permute(1, 2, 0).numpy()
                images.append(pixels)
                truths.append(_encode_truth(frame.truth))
                if spec.keep_masks:
                    labels.append(_label_map(frame.truth, spec.size))
    temporary = path.with_suffix('.tmp.npz')
    np.savez(
        temporary,
        images=np.stack(images),
        truths=np.array(truths),
        labels=np.stack(labels) if labels else np.zeros(0, np.uint8),
    )
    os.replace(temporary, path)  # a shard is whole or not there
    return path


def render_bank(spec: BankSpec, directory: Path, processes: int = 2) -> Iterator[Path]:
    """Render what is not there yet, shard by shard.

    :return: paths as their shards are finished.
    """
    directory.mkdir(parents=True, exist_ok=True)
    count = -(-spec.scenes // spec.scenes_per_shard)
    paths = {
        shard: directory / f'shard_{spec.first_seed:07d}_{shard:05d}.npz' for shard in range(count)
    }
    jobs = [(spec, shard, path) for shard, path in paths.items() if not path.exists()]
    with multiprocessing.get_context('spawn').Pool(processes, maxtasksperchild=4) as pool:
        yield from pool.imap_unordered(_render_shard, jobs)


def mirror_truth(truth: FrameTruth) -> FrameTruth:
    """Swap left and right: the truth of the frame's mirror image (masks and orientations left as
    they are)."""

    def mirrored(item: ObjectTruth) -> ObjectTruth:
        x_min, y_min, x_max, y_max = item.box
        return dataclasses.replace(
            item,
            box=(truth.size.width - x_max, y_min, truth.size.width - x_min, y_max),
            point=(truth.size.width - 1 - item.point[0], item.point[1]),
            surface_point=(-item.surface_point[0], *item.surface_point[1:]),
            center=(-item.center[0], *item.center[1:]),
        )

    return dataclasses.replace(truth, objects=tuple(map(mirrored, truth.objects)))


class FrameBank:
    """Frames of finished shards, in memory.

    :param directory: where :func:`render_bank` wrote them; :meth:`refresh` picks up shards that
        came later.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: set[Path] = set()
        self._images: list[np.ndarray] = []
        self._truths: list[FrameTruth] = []
        self._labels: list[np.ndarray] = []
        self.refresh()

    def refresh(self) -> None:
        """Load shards that have been finished since."""
        for path in sorted(self._directory.glob('shard_*.npz')):
            if path in self._known or path.name.endswith('.tmp.npz'):
                continue
            with np.load(path) as shard:
                self._images.extend(shard['images'])
                self._truths.extend(map(_decode_truth, shard['truths'].tolist()))
                self._labels.extend(shard['labels'])
            self._known.add(path)

    def __len__(self) -> int:
        return len(self._images)

    def image(self, index: int) -> np.ndarray:
        """:return: (H, W, 3) uint8 RGB at the bank's size."""
        return self._images[index]

    def truth(self, index: int) -> FrameTruth:
        """:return: the truth in pixels of the camera image; its masks are left out."""
        return self._truths[index]

    def labels(self, index: int) -> np.ndarray:
        """:return: (H, W) uint8 at the bank's size: index of the object in the truth + 1, or 0."""
        return self._labels[index]
