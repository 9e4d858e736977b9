"""Scenes of the simulator and instructions about them, made where they are asked for."""
from __future__ import annotations

import re
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from vr_ros.core.types import Task
from vr_ros.datasets.sample import Sample, SampleError, digest
from vr_ros.datasets.truth import Truth
from vr_ros.sim import instructions
from vr_ros.sim.instructions import SimInstruction, generate_many
from vr_ros.sim.renderer import Frame, render_scene

# Of the random numbers that choose instructions, beside the scene's own seed.
_STREAM = 4711
# Scenes at hand: instructions about one follow each other.
_KEPT = 4


class SimScenes:
    """Questions about scenes; the same numbers give the same ones on every machine.

    ``ids`` are SEED-NUMBER. A sample's kind is the template of its instruction; its task is left
    to the words.

    :param scenes: how many.
    :param per_scene: instructions about each.
    :param first_seed: of the first scene; those for evaluation begin at 1,000,000.
    :param split: 'heldout' or 'train': which wordings.
    """

    def __init__(self, scenes: int, per_scene: int, first_seed: int, split: str) -> None:
        self.name = f'sim {split} {scenes}x{per_scene} from {first_seed}'
        self.ids = [f'{first_seed + scene}-{number}'
                    for scene in range(scenes) for number in range(per_scene)]
        self._per_scene, self._first_seed = per_scene, first_seed
        self._scene = lru_cache(_KEPT)(partial(_draw, per_scene=per_scene, split=split))

    @classmethod
    def named(cls, name: str) -> SimScenes | None:
        """Make those of a name; None where it is one of something else."""
        found = re.fullmatch(r'sim (\w+) (\d+)x(\d+) from (\d+)', name, re.ASCII)
        return found and cls(*map(int, found.group(2, 3, 4)), found.group(1))

    def load(self, place: int) -> Sample:
        """Render a scene, unless it is at hand, and ask one of its questions.

        :raises SampleError: if the scene gives no occasion for that many questions.
        """
        scene, number = divmod(place, self._per_scene)
        seed = self._first_seed + scene
        frame, asked = self._scene(seed)
        if number >= len(asked):
            raise SampleError(f'scene {seed} gives occasion for {len(asked)} instructions only')
        instruction = asked[number]
        truth = _truth(frame, instruction)
        return Sample(frame.rgb, instruction.text, truth, Task.AUTO, instruction.template)


def simulator_digest() -> str:
    """Name the simulator so that an altered one, with other pictures perhaps, has another name."""
    folder = Path(instructions.__file__).parent
    return digest(*(file.read_bytes() for file in sorted(folder.glob('*.py'))))


def _draw(seed: int, per_scene: int, split: str) -> tuple[Frame, list[SimInstruction]]:
    frame = render_scene(seed)
    rng = np.random.default_rng([seed, _STREAM])
    return frame, generate_many(frame.truth, rng, per_scene, split)


def _truth(frame: Frame, instruction: SimInstruction) -> Truth:
    image, size = f'scene {frame.truth.seed}', frame.truth.size
    if instruction.task is Task.VQA:
        return Truth(image, size, answers=(instruction.answer,), task=instruction.task)
    wanted = [o for o in frame.truth.objects if o.id in instruction.target_ids]
    boxes = np.array([o.box for o in wanted], float).reshape(-1, 4)
    masks = tuple(o.mask for o in wanted)
    return Truth(image, size, boxes=boxes, masks=masks, task=instruction.task)
