"""Answers with every feature that a score could be made of, on scenes of the simulator or samples
of a data set."""
from __future__ import annotations

import dataclasses
import json
import logging
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vr_ros.core.confidence import COSTLY
from vr_ros.core.types import Detection, Size, Status, Task
from vr_ros.datasets.sample import DataSet, SampleError
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found
from vr_ros.models.card_types import ConfidenceCard
from vr_ros.pipeline.perceiver import Perceiver
from vr_ros.pipeline.scoring import Answered, Scorer
from vr_ros.sim.instructions import generate, generate_many
from vr_ros.sim.renderer import TableCamera
from vr_ros.sim.scene import sample_scene

_log = logging.getLogger(__name__)

# Scenes for fitting scores: neither those of the training nor those of the examination.
CALIBRATION_SEED = 2_000_000
# As the held-out examination asks.
PER_SCENE, SPLIT, DRAW, ABSENT_DRAW = 3, 'heldout', 4711, 4712
# Answers drawn by chance, where the card asks for none.
SAMPLES = 4


@dataclass(frozen=True, eq=False)
class Judged:
    """One instruction about objects, its truth, and what was found.

    :param image: its name: answers about one image are not independent of each other.
    :param template: kind of instruction; empty where there are no kinds.
    :param size: of the image.
    :param wanted: (N, 4) boxes of the true objects.
    :param found: (M, 4) boxes.
    :param features: (M,) by name, see vr_ros.core.confidence; NaN where they say nothing.
    """

    image: str
    text: str
    template: str
    status: Status
    size: Size
    wanted: np.ndarray
    found: np.ndarray
    features: Mapping[str, np.ndarray]

    @property
    def truth(self) -> Truth:
        return Truth(self.image, self.size, boxes=self.wanted)

    def scored(self, scores: np.ndarray) -> Found:
        """:param scores: (M,)."""
        return Found(self.status, self.found, scores=scores)

    def as_json(self) -> dict[str, Any]:
        """Give it in plain values; NaN is null."""
        return {
            'image': self.image, 'text': self.text, 'template': self.template,
            'status': self.status.name, 'size': [self.size.width, self.size.height],
            'wanted': self.wanted.tolist(), 'found': self.found.tolist(),
            'features': {name: [None if math.isnan(v) else v for v in map(float, values)]
                         for name, values in self.features.items()},
        }

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Judged:
        return cls(
            line['image'], line['text'], line['template'], Status[line['status']],
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


def judge(
    perceiver: Perceiver, image: np.ndarray, truth: Truth, text: str, task: Task = Task.AUTO,
    template: str = '',
) -> Judged:
    """Put one question to a perceiver whose scorer is a FeatureKeeper.

    :param truth: its boxes are known; crowds are no objects here.
    """
    keeper = perceiver.scorer
    assert isinstance(keeper, FeatureKeeper) and truth.boxes is not None
    keeper.kept = {}
    perception = perceiver.perceive(image, text, task)
    boxes = np.array([found.box for found in perception.detections], float).reshape(-1, 4)
    return Judged(
        truth.image, text, template, Status(perception.status),
        Size(image.shape[1], image.shape[0]), truth.boxes[~truth.crowd], boxes,
        keeper.kept if len(boxes) else {})


def judge_scene(perceiver: Perceiver, seed: int) -> Iterator[Judged]:
    """Put a scene's questions to a perceiver, those of the examination that ask for objects."""
    with TableCamera(sample_scene(seed)) as camera:
        frame = camera.render()
    rng = np.random.default_rng([seed, DRAW])
    for instruction in generate_many(frame.truth, rng, PER_SCENE, SPLIT):
        if instruction.task is Task.VQA:
            continue
        wanted = [o.box for o in frame.truth.objects if o.id in instruction.target_ids]
        truth = Truth(str(seed), frame.truth.size, boxes=np.array(wanted, float).reshape(-1, 4))
        yield judge(perceiver, frame.rgb, truth, instruction.text, template=instruction.template)


def judge_absent(perceiver: Perceiver, seed: int) -> Iterator[Judged]:
    """Put questions about a scene to a perceiver whose object is not there."""
    with TableCamera(sample_scene(seed)) as camera:
        frame = camera.render()
    rng = np.random.default_rng([seed, ABSENT_DRAW])
    found = 0
    while found < PER_SCENE:
        instruction = generate(frame.truth, rng, SPLIT)
        if instruction.task is Task.VQA or instruction.target_ids:
            continue
        found += 1
        truth = Truth(str(seed), frame.truth.size, boxes=np.empty((0, 4)))
        yield judge(perceiver, frame.rgb, truth, instruction.text, template=instruction.template)


def judge_sample(perceiver: Perceiver, data_set: DataSet, place: int) -> Iterator[Judged]:
    """Put a sample's question to a perceiver, if it asks for objects whose boxes are known.

    A sample that cannot be read is left out, and the log says so.
    """
    try:
        sample = data_set.load(place)
    except SampleError as error:
        _log.warning('%s is left out: %s', data_set.ids[place], error)
        return
    if sample.truth.boxes is not None and sample.task is not Task.VQA:
        yield judge(perceiver, sample.image, sample.truth, sample.instruction, sample.task)


@dataclass(frozen=True)
class Source:
    """Where questions come from.

    :param keys: one per scene or sample, each once.
    :param judge: puts the questions of a key to a perceiver.
    :param costly: what to compute of existence and consistency.
    """

    keys: Sequence[str]
    judge: Callable[[Perceiver, int], Iterator[Judged]]
    costly: Collection[str] = tuple(COSTLY)


def scenes(first_seed: int, number: int) -> Source:
    """Take scenes of the simulator."""
    keys = [str(first_seed + place) for place in range(number)]
    return Source(keys, lambda perceiver, place: judge_scene(perceiver, first_seed + place))


def absent_scenes(first_seed: int, number: int) -> Source:
    """Take scenes of the simulator and ask for what is not there; no other answers are drawn."""
    keys = [f'absent {first_seed + place}' for place in range(number)]
    return Source(keys, lambda perceiver, place: judge_absent(perceiver, first_seed + place),
                  ('existence',))


def samples(data_set: DataSet, number: int) -> Source:
    """Take the first samples of a data set."""
    return Source(list(data_set.ids)[:number],
                  lambda perceiver, place: judge_sample(perceiver, data_set, place))


def judged_all(
    model: str, device: str, source: Source, cache: Path | None = None
) -> Iterator[list[Judged]]:
    """Collect features scene by scene; with a cache, only of those that it lacks.

    :param cache: a file with one JSON object per line: key and answers of a scene or sample.
    """
    known: dict[str, list[Judged]] = {}
    if cache is not None and cache.exists():
        for line in cache.read_text(encoding='utf-8').splitlines():
            entry = json.loads(line)
            known[entry['key']] = [Judged.from_json(one) for one in entry['answers']]
    perceiver = None
    for place, key in enumerate(source.keys):
        if key not in known:
            if perceiver is None:
                perceiver = Perceiver.from_card(model, device)
                perceiver.scorer = FeatureKeeper(perceiver.card.confidence, source.costly)
            known[key] = list(source.judge(perceiver, place))
            if cache is not None:
                with cache.open('a', encoding='utf-8') as lines:
                    answers = [one.as_json() for one in known[key]]
                    lines.write(json.dumps({'key': key, 'answers': answers}) + '\n')
        yield known[key]
