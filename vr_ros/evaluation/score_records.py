"""Answers with every feature that a score could be made of, on scenes of the simulator."""
from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vr_ros.core.confidence import COSTLY
from vr_ros.core.types import Detection, Size, Status, Task
from vr_ros.evaluation.samples import Found, Truth
from vr_ros.models.card_types import ConfidenceCard
from vr_ros.pipeline.perceiver import Perceiver
from vr_ros.pipeline.scoring import Answered, Scorer
from vr_ros.sim.instructions import generate_many
from vr_ros.sim.renderer import TableCamera
from vr_ros.sim.scene import sample_scene

# Scenes for fitting scores: neither those of the training nor those of the examination.
CALIBRATION_SEED = 2_000_000
# As the held-out examination asks.
PER_SCENE, SPLIT, DRAW = 3, 'heldout', 4711
# Answers drawn by chance, where the card asks for none.
SAMPLES = 4


@dataclass(frozen=True, eq=False)
class Judged:
    """One instruction about objects, its truth, and what was found.

    :param size: of the image.
    :param wanted: (N, 4) boxes of the true objects.
    :param found: (M, 4) boxes.
    :param features: (M,) by name, see vr_ros.core.confidence; NaN where they say nothing.
    """

    seed: int
    text: str
    template: str
    status: Status
    size: Size
    wanted: np.ndarray
    found: np.ndarray
    features: Mapping[str, np.ndarray]

    @property
    def truth(self) -> Truth:
        return Truth(f'{self.seed}', self.size, boxes=self.wanted)

    def scored(self, scores: np.ndarray) -> Found:
        """:param scores: (M,)."""
        return Found(self.status, self.found, scores=scores)

    def as_json(self) -> dict[str, Any]:
        """Give it in plain values; NaN is null."""
        return {
            'seed': self.seed, 'text': self.text, 'template': self.template,
            'status': self.status.name, 'size': [self.size.width, self.size.height],
            'wanted': self.wanted.tolist(), 'found': self.found.tolist(),
            'features': {name: [None if math.isnan(v) else v for v in map(float, values)]
                         for name, values in self.features.items()},
        }

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Judged:
        return cls(
            line['seed'], line['text'], line['template'], Status[line['status']],
            Size(*line['size']), np.array(line['wanted'], float).reshape(-1, 4),
            np.array(line['found'], float).reshape(-1, 4),
            {name: np.array([math.nan if v is None else v for v in values], float)
             for name, values in line['features'].items()})


class FeatureKeeper(Scorer):
    """Scores nothing, but keeps all features of the answer that was given last.

    With consistency, everything that other answers name is added, too.

    :param costly: what to compute of existence and consistency.
    """

    def __init__(self, card: ConfidenceCard, costly: Collection[str] = tuple(COSTLY)) -> None:
        wants_others = 'consistency' in costly
        super().__init__(dataclasses.replace(
            card, samples=card.samples or SAMPLES, add_from=0.0 if wants_others else None))
        self._costly = costly
        self.kept: dict[str, np.ndarray] = {}

    @property
    def asks_more(self) -> bool:
        return bool(self._costly)

    def judge(self, answered: Answered) -> tuple[tuple[Detection, ...], int]:
        self.kept = self.features(answered, self._costly) if answered.detections else {}
        return answered.detections, 0


def judge_scene(perceiver: Perceiver, seed: int) -> Iterator[Judged]:
    """Put a scene's questions to a perceiver, those of the examination that ask for objects.

    :param perceiver: whose scorer is a FeatureKeeper.
    """
    keeper = perceiver.scorer
    assert isinstance(keeper, FeatureKeeper)
    with TableCamera(sample_scene(seed)) as camera:
        frame = camera.render()
    rng = np.random.default_rng([seed, DRAW])
    for instruction in generate_many(frame.truth, rng, PER_SCENE, SPLIT):
        if instruction.task is Task.VQA:
            continue
        keeper.kept = {}
        perception = perceiver.perceive(frame.rgb, instruction.text)
        boxes = [found.box for found in perception.detections]
        yield Judged(
            seed, instruction.text, instruction.template, Status(perception.status),
            frame.truth.size,
            np.array([o.box for o in frame.truth.objects if o.id in instruction.target_ids],
                     float).reshape(-1, 4),
            np.array(boxes, float).reshape(-1, 4), keeper.kept if boxes else {})


def judged_scenes(
    model: str, device: str, first_seed: int, scenes: int, cache: Path | None = None
) -> Iterator[list[Judged]]:
    """Collect features scene by scene; with a cache, only of scenes that it lacks.

    :param cache: a file with one JSON object per line: seed and answers of a scene.
    """
    known: dict[int, list[Judged]] = {}
    if cache is not None and cache.exists():
        for line in cache.read_text(encoding='utf-8').splitlines():
            scene = json.loads(line)
            known[scene['seed']] = [Judged.from_json(one) for one in scene['answers']]
    perceiver = None
    for seed in range(first_seed, first_seed + scenes):
        if seed not in known:
            if perceiver is None:
                perceiver = Perceiver.from_card(model, device)
                perceiver.scorer = FeatureKeeper(perceiver.card.confidence)
            known[seed] = list(judge_scene(perceiver, seed))
            if cache is not None:
                with cache.open('a', encoding='utf-8') as lines:
                    answers = [one.as_json() for one in known[seed]]
                    lines.write(json.dumps({'seed': seed, 'answers': answers}) + '\n')
        yield known[seed]
