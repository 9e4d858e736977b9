"""Scenes of the simulator and instructions about them, as many as one likes."""
from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

from vr_ros.core.types import Size, Task
from vr_ros.datasets.sample import DataSetError
from vr_ros.datasets.sim_scenes import simulator_digest
from vr_ros.datasets.truth import Truth
from vr_ros.sim.instructions import SimInstruction, generate
from vr_ros.sim.renderer import Frame, TableCamera, orbit_pose
from vr_ros.sim.scene import sample_scene
from vr_ros.training.data.source import Builder, Draft
from vr_ros.training.data.storage import Storage, scale_mask
from vr_ros.training.sim_targets import model_objects

# Scenes of each split: apart from each other, from those that the embedded models were taught on,
# and below those for evaluation.
SCENES = {'train': (300_000, 900_000), 'val': (900_000, 1_000_000)}
# Of the random numbers that choose views and instructions, beside the scene's own seed.
_STREAM = 815
# What the embedded model sees, resized as it does it.
STORAGE = Storage(Size(168, 168), 'bilinear')
# Tries to find an instruction of which nothing is there, or something is, and that is another one.
_TRIES = 400


class SimSource:
    """Instructions about drawn scenes, all of a scene at one place.

    The truth is what :mod:`vr_ros.training.sim_targets` teaches: in whole pixels of the stored
    image, objects in reading order.

    :param scenes: how many.
    :param seed: draws which.
    :param views: pictures of each scene, the first from the scene's own camera.
    :param per_view: instructions about each picture; fewer where there is no occasion for more.
    :param absent: share of the instructions that ask for what is not there.
    :raises DataSetError: there are not so many scenes, or the split is none.
    """

    name = 'sim'

    def __init__(self, split: str, scenes: int, seed: int, storage: Storage, views: int = 1,
                 per_view: int = 3, absent: float = 0.1) -> None:
        if split not in SCENES:
            raise DataSetError(f'sim: --split is one of {", ".join(SCENES)}: scenes from 1,000,000'
                               ' on are for evaluation')
        first, end = SCENES[split]
        if not 0 < scenes <= end - first:
            raise DataSetError(f'sim: {scenes} scenes; {split} has 1 to {end - first}')
        if min(views, per_view) < 1 or not 0 <= absent <= 1:
            raise DataSetError('sim: a view and an instruction at least, absent from 0 to 1')
        self._seeds = first + np.random.default_rng(seed).permutation(end - first)[:scenes]
        self._storage, self._views = storage, views
        self._per_view, self._absent = per_view, absent
        self.identity = (f'sim {simulator_digest()}: {scenes} scenes of seed {seed}, {views} views,'
                         f' {per_view} each, {absent} absent')

    def __len__(self) -> int:
        return len(self._seeds)

    def load(self, place: int) -> Iterator[Draft]:
        """Render one scene; see :class:`vr_ros.training.data.source.Source`."""
        seed = int(self._seeds[place])
        rng = np.random.default_rng([seed, _STREAM])
        scene = sample_scene(seed)
        with TableCamera(scene) as camera:
            for view in range(self._views):
                pose = None if view == 0 else orbit_pose(scene, float(rng.uniform(0, 2 * np.pi)))
                frame = camera.render(pose)
                image = self._storage.resize(frame.rgb)
                for number, asked in enumerate(self._ask(frame, rng)):
                    yield self._draft(f'{seed}-{view}-{number}', image, frame, asked)

    def _ask(self, frame: Frame, rng: np.random.Generator) -> list[SimInstruction]:
        found: dict[str, SimInstruction] = {}
        for _ in range(self._per_view):
            absent = rng.random() < self._absent
            for _ in range(_TRIES):
                asked = generate(frame.truth, rng, 'train')
                key = asked.text.lower().rstrip('?.')
                if is_absent(asked) == absent and key not in found:
                    found[key] = asked
                    break
        return list(found.values())

    def _draft(self, name: str, image: np.ndarray, frame: Frame, asked: SimInstruction) -> Draft:
        picture = name.rpartition('-')[0]
        size = self._storage.fit(frame.truth.size)
        extra = {'template': asked.template, 'scene': frame.truth.seed}
        if asked.task is Task.VQA:
            truth = Truth(picture, size, answers=(asked.answer,), task=asked.task)
            return Draft(name, image, asked.text, truth, extra=extra)
        wanted = [o for o in model_objects(frame.truth.targets, frame.truth.size, size)
                  if o.truth.id in asked.target_ids]
        truth = Truth(
            picture, size, boxes=np.array([o.box for o in wanted], float).reshape(-1, 4),
            masks=tuple(scale_mask(o.truth.mask, size) for o in wanted), task=asked.task,
            labels=tuple(o.name.strip() for o in wanted))
        points = np.array([o.point for o in wanted], float).reshape(-1, 2)
        return Draft(name, image, asked.text, truth, points=points, extra=extra)


def is_absent(asked: SimInstruction) -> bool:
    """Tell whether an instruction asks for objects that are not there."""
    return asked.task is not Task.VQA and not asked.target_ids


class SimBuilder:
    """The simulator on the command line."""

    help = 'scenes of the simulator, rendered here'
    storage = STORAGE

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """See :class:`Builder`."""
        parser.add_argument('--scenes', type=int, default=1000, metavar='N',
                            help='how many (default: %(default)s)')
        parser.add_argument('--views', type=int, default=1, metavar='N',
                            help='pictures of each (default: %(default)s)')
        parser.add_argument('--per-view', type=int, default=3, metavar='N',
                            help='instructions about each picture (default: %(default)s)')
        parser.add_argument('--absent', type=float, default=0.1, metavar='SHARE',
                            help='of instructions that ask for what is not there'
                                 ' (default: %(default)s)')

    def open(self, options: argparse.Namespace) -> SimSource:
        """See :class:`Builder`."""
        return SimSource(options.split, options.scenes, options.seed, options.storage,
                         options.views, options.per_view, options.absent)


BUILDERS: dict[str, Builder] = {'sim': SimBuilder()}
