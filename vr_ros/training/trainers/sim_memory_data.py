"""Clips for the video memory: moving scenes rendered once, and batches of objects to follow."""
from __future__ import annotations

import itertools
import multiprocessing
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from vr_ros.core.types import Size
from vr_ros.sim.truth import FrameTruth
from vr_ros.training.trainers.sim_segmenter_data import normalise

CAMERA_SIZE = Size(640, 480)
RATES_HZ = (5.0, 15.0)
# Fewer visible pixels than this say neither that an object is there nor that it is hidden.
MIN_SEEN_PX = 12
MIN_SEED_PX = 40
# A scene in four hides something; shards of hiding scenes begin this many seeds per clip apart.
SEEDS_PER_HIDING = 10


@dataclass(frozen=True)
class ClipSpec:
    """What to render.

    :param clips: number of clips; clip i has seed ``first_seed + i``.
    :param edge: of the square pictures in pixels, squeezed as the segmenter squeezes its frames.
    :param rate_hz: None draws it per clip from RATES_HZ.
    :param hiding: take only scenes in which something goes out of sight: clips have later seeds.
    """

    clips: int
    first_seed: int
    frames: int = 10
    edge: int = 256
    camera: Size = CAMERA_SIZE
    rate_hz: float | None = None
    clips_per_shard: int = 20
    hiding: bool = False

    def rate_of(self, seed: int) -> float:
        """:return: frames per second of a clip."""
        return self.rate_hz or float(np.random.default_rng([seed, 43]).uniform(*RATES_HZ))

    @property
    def first_seeds(self) -> range:
        """:return: of each shard; far enough apart where seeds are passed over."""
        shards = -(-self.clips // self.clips_per_shard)
        step = self.clips_per_shard * (SEEDS_PER_HIDING if self.hiding else 1)
        return range(self.first_seed, self.first_seed + shards * step, step)

    def seeds(self, shard: int) -> list[int]:
        """:return: of the clips of a shard."""
        from vr_ros.sim.hiding import hidden_objects

        size = min(self.clips_per_shard, self.clips - shard * self.clips_per_shard)
        every = itertools.count(self.first_seeds[shard])
        return list(itertools.islice(
            (seed for seed in every
             if not self.hiding or hidden_objects(seed, self.frames, self.rate_of(seed))), size))


def label_ids(truth: FrameTruth, edge: int) -> np.ndarray:
    """Paint each visible object's id + 1: (edge, edge) uint8, nearest neighbour, 0 elsewhere."""
    from vr_ros.core.rle import rle_to_mask

    rows = ((np.arange(edge) + 0.5) * truth.size.height / edge).astype(int)
    columns = ((np.arange(edge) + 0.5) * truth.size.width / edge).astype(int)
    labels = np.zeros((edge, edge), np.uint8)
    for item in truth.objects:
        labels[rle_to_mask(item.mask)[np.ix_(rows, columns)]] = item.id + 1
    return labels


def _render_shard(job: tuple[ClipSpec, int, Path]) -> Path:
    from vr_ros.models.preprocess import resize_image
    from vr_ros.sim.motion import MovingScene

    spec, shard, path = job
    seeds, first = spec.seeds(shard), spec.first_seeds[shard]
    shape = (len(seeds), spec.frames, spec.edge, spec.edge)
    images, labels = np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.uint8)
    size = Size(spec.edge, spec.edge)
    for clip, seed in enumerate(seeds):
        scene = MovingScene(seed, spec.frames, spec.rate_of(seed), spec.camera)
        for index, frame in enumerate(scene):
            resized = resize_image(frame.rgb, size).byte().permute(1, 2, 0)
            images[clip, index] = resized.numpy()
            labels[clip, index] = label_ids(frame.truth, spec.edge)
    # The images come last: a shard whose images are there is whole.
    for name, array in (('labels', labels), ('images', images)):
        temporary = path / f'{name}_{first:07d}.tmp.npy'
        np.save(temporary, array)
        os.replace(temporary, path / f'{name}_{first:07d}.npy')
    return path / f'images_{first:07d}.npy'


def render_clips(spec: ClipSpec, directory: Path, processes: int = 2) -> Iterator[Path]:
    """Render what is not there yet.

    :return: paths as their shards are finished.
    """
    directory.mkdir(parents=True, exist_ok=True)
    jobs = [(spec, shard, directory) for shard, first in enumerate(spec.first_seeds)
            if not (directory / f'images_{first:07d}.npy').exists()]
    with multiprocessing.get_context('spawn').Pool(processes, maxtasksperchild=8) as pool:
        yield from pool.imap_unordered(_render_shard, jobs)


@dataclass(frozen=True)
class ClipBatch:
    """N objects in K clips of T frames.

    :param pixels: (T, K, 3, S, S) normalised; :param owner: (N) clip of each object.
    :param seeds: (N, S, S) the mask that is given on the first frame, 0 or 1, a little off.
    :param masks: (T, N, S, S) the truth, 0 or 1; empty where an object is not visible.
    :param known: (T, N) bool; False where so little of it shows that either answer is right.
    """

    pixels: torch.Tensor
    owner: torch.Tensor
    seeds: torch.Tensor
    masks: torch.Tensor
    known: torch.Tensor


class ClipBank:
    """Clips of finished shards, read from disk as they are needed.

    :raises ValueError: there are none.
    """

    def __init__(self, directory: Path) -> None:
        self._images: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []
        for path in sorted(directory.glob('images_*[0-9].npy')):
            labels = path.with_name(path.name.replace('images', 'labels'))
            self._images.extend(np.load(path, mmap_mode='r'))
            self._labels.extend(np.load(labels, mmap_mode='r'))
        if not self._images:
            raise ValueError(f'no clips in {directory}: render them first')
        self.areas = [_areas(labels) for labels in self._labels]

    def __len__(self) -> int:
        return len(self._images)

    def images(self, clip: int) -> np.ndarray:
        """:return: (T, S, S, 3) uint8 RGB."""
        return self._images[clip]

    def labels(self, clip: int) -> np.ndarray:
        """:return: (T, S, S) uint8: an object's id + 1, 0 for none."""
        return self._labels[clip]


def _areas(labels: np.ndarray, ids: int = 16) -> np.ndarray:
    """:return: (T, ids) visible pixels by id."""
    return np.stack([np.bincount(frame.ravel(), minlength=ids + 1)[1:ids + 1] for frame in labels])


class ClipMaker:
    """Draw windows of clips, forwards or backwards, and objects in them, hard ones more often.

    :param clips: per batch; :param objects: per clip.
    :param hard: share of draws that take the hardest of some; :param tries: how many those are.
    :param score: how hard each object of a window is.
    """

    def __init__(
        self, bank: ClipBank, clips: int = 4, objects: int = 4, hard: float = 0.6, tries: int = 4,
        score: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self.bank, self.clips, self.objects = bank, clips, objects
        self.hard, self.tries, self.score = hard, tries, score or hardness

    def draw(
        self, rng: np.random.Generator, frames: int, *, shrink: int = 1
    ) -> ClipBatch:
        """Make one batch.

        :param frames: length of each window, the seeded frame included.
        :param shrink: divide the edges of images and masks by it.
        """
        pixels, owner, seeds, masks = [], [], [], []
        for clip in range(self.clips):
            chosen, window = self._window(rng, frames)
            images = self.bank.images(chosen)[window].astype(np.float32)
            labels = self.bank.labels(chosen)[window]
            ids = self._ids(rng, self.bank.areas[chosen][window])
            if rng.random() < 0.5:
                images, labels = images[:, :, ::-1], labels[:, :, ::-1]
            if shrink > 1:
                edge = images.shape[1] // shrink
                squares = images.reshape(frames, edge, shrink, edge, shrink, 3)
                images, labels = squares.mean((2, 4)), labels[:, ::shrink, ::shrink]
            gain = (rng.uniform(0.8, 1.2) * rng.uniform(0.95, 1.05, 3)).astype(np.float32)
            pixels.append(normalise(np.clip(images * gain, 0, 255)))
            truth = labels[:, None] == (ids + 1)[:, None, None]
            masks.append(truth)
            seeds += [imperfect(mask, rng, 2 // shrink) for mask in truth[0]]
            owner += [clip] * len(ids)
        joined = torch.from_numpy(np.concatenate(masks, 1)).float()
        areas = joined.flatten(2).sum(2) * shrink**2
        return ClipBatch(
            torch.stack(pixels, 1), torch.tensor(owner),
            torch.from_numpy(np.stack(seeds)).float(), joined, (areas == 0) | (areas >= MIN_SEEN_PX)
        )

    def _window(self, rng: np.random.Generator, frames: int) -> tuple[int, np.ndarray]:
        found: list[tuple[float, int, np.ndarray]] = []
        wanted = self.tries if rng.random() < self.hard else 1
        while len(found) < wanted:
            clip = int(rng.integers(len(self.bank)))
            length = len(self.bank.areas[clip])
            stride = int(rng.integers(1, min(3, (length - 1) // max(frames - 1, 1)) + 1))
            start = int(rng.integers(length - stride * (frames - 1)))
            window = start + stride * np.arange(frames)
            if rng.random() < 0.5:
                window = window[::-1].copy()
            areas = self.bank.areas[clip][window]
            if (areas[0] >= MIN_SEED_PX).any():
                found.append((float(self.score(areas).max()), clip, window))
        return max(found, key=lambda item: item[0])[1:]

    def _ids(self, rng: np.random.Generator, areas: np.ndarray) -> np.ndarray:
        ids = np.flatnonzero(areas[0] >= MIN_SEED_PX)
        weights = 0.25 + self.score(areas)[ids]
        count = min(len(ids), self.objects)
        return rng.choice(ids, count, replace=False, p=weights / weights.sum())


def hardness(areas: np.ndarray) -> np.ndarray:
    """Tell how much of an object goes out of sight after the first frame.

    :param areas: (T, ids) visible pixels.
    :return: (ids) 0 when nothing does, 1 when all does, 2 when it also comes back.
    """
    seen = areas[0] >= MIN_SEED_PX
    lost = 1 - areas.min(0) / np.maximum(areas[0], 1)
    back = (areas.min(0) < MIN_SEEN_PX) & (areas[-1] >= MIN_SEED_PX)
    return np.where(seen, lost + back, 0.0)


def hiding(areas: np.ndarray) -> np.ndarray:
    """Tell how much a window shows of an object's hiding: half of its frames, and the return.

    :param areas: (T, ids) visible pixels.
    :return: (ids) 0 when it is never hidden, 4 at most.
    """
    seen, hidden = areas[0] >= MIN_SEED_PX, areas == 0
    back = hidden.any(0) & (areas[-1] >= MIN_SEED_PX)
    return np.where(seen, 6 * np.minimum(hidden.mean(0), 0.5) + back, 0.0)


def imperfect(mask: np.ndarray, rng: np.random.Generator, most: int) -> np.ndarray:
    """Make a mask as a segmenter might have: as it is, grown, shrunk or shifted by some pixels.

    :param mask: (S, S) bool; :param most: pixels.
    :return: alike; never empty where the mask is not.
    """
    how, by = rng.integers(6), int(rng.integers(1, most + 1))
    kernel = np.ones((2 * by + 1, 2 * by + 1), np.uint8)
    changed = mask.astype(np.uint8)
    if how == 0:
        changed = cv2.dilate(changed, kernel)
    elif how == 1:
        changed = cv2.erode(changed, kernel)
    elif how == 2:
        shift = rng.integers(-by, by + 1, 2)
        move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
        changed = cv2.warpAffine(changed, move, mask.shape[::-1], flags=cv2.INTER_NEAREST)
    return changed > 0 if changed.any() else mask
