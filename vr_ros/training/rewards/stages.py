"""Training in stages: rows by difficulty, and the reward of each stage, as data.

Source: PeBR-R1. A row that the model always gets right, or never, teaches a reward for right
answers nothing: all advantages are 0. Easy rows are for a reward that still varies, medium ones
for right answers, and hard ones are first shown with their answers.
"""
from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from vr_ros.training.rewards.detection import in_pixels
from vr_ros.training.rewards.registry import Registry, default_registry
from vr_ros.training.rewards.samples import (
    ParameterError,
    Sample,
    SampleError,
    is_weight,
    suggestion,
)

KINDS = ('supervised', 'reward')
# A stage's rows lie in a folder of its name.
STAGE_NAME = re.compile('[A-Za-z0-9_-]{1,64}')


class Difficulty(Enum):
    """How often the starting model was right: always, sometimes, never."""

    EASY = 'easy'
    MEDIUM = 'medium'
    HARD = 'hard'


class CurriculumError(ValueError):
    """A definition of stages that cannot be used; the message says what is wrong."""


@dataclass(frozen=True)
class Stage:
    """One part of a training.

    :param kind: 'supervised', the answers are shown; 'reward', responses are rewarded.
    :param rows: difficulties that it takes.
    :param epochs: times that each row is used.
    :param verifier: takes the place of the rows' own; empty leaves it.
    :param instead_of: verifiers whose rows it changes, such as those that speak of boxes; the other
        rows keep their reward. Empty: all rows.
    :param parameters: of that verifier, for all rows; those of a row alone, such as its keywords,
        stay.
    :param accuracy_ratio: takes the place of the rows' own; so does :param format_ratio:.
    """

    name: str
    kind: str
    rows: tuple[Difficulty, ...]
    epochs: int = 1
    verifier: str = ''
    instead_of: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    accuracy_ratio: float | None = None
    format_ratio: float | None = None

    def of(self, sample: Sample) -> Sample:
        """Give a sample as this stage rewards it.

        :raises SampleError: a weight of the stage is wrong, or the sample's truth is in 0..1000 of
            an image whose size it does not say.
        """
        if self.instead_of and sample.verifier not in self.instead_of:
            return sample
        changes: dict[str, Any] = {
            name: value for name in ('accuracy_ratio', 'format_ratio')
            if (value := getattr(self, name)) is not None}
        if self.verifier:
            own = sample.parameters if sample.verifier == self.verifier else {}
            if sample.verifier != self.verifier:
                sample = in_pixels(sample)
            changes |= {'verifier': self.verifier, 'parameters': {**own, **self.parameters}}
        return replace(sample, **changes)


@dataclass(frozen=True)
class Curriculum:
    """The stages of a training, in order.

    :param rollouts: responses per row from which the difficulty is told.
    """

    name: str
    rollouts: int
    stages: tuple[Stage, ...]
    source: str = ''

    def stages_of(self, difficulty: Difficulty) -> tuple[Stage, ...]:
        """Give the stages that take rows of a difficulty."""
        return tuple(stage for stage in self.stages if difficulty in stage.rows)


def difficulties(correct: np.ndarray) -> list[Difficulty]:
    """Tell how difficult rows are from k responses each.

    :param correct: (N, k) bool, k >= 1.
    :return: easy: all right; hard: none; medium: some.
    :raises ValueError: the shape is wrong, or there are no responses.
    """
    correct = np.asarray(correct, bool)
    if correct.ndim != 2 or not correct.shape[1]:
        raise ValueError(f'correct is (rows, responses), at least one, not {correct.shape}')
    return [Difficulty.EASY if row.all() else Difficulty.MEDIUM if row.any() else Difficulty.HARD
            for row in correct]


def teachable(rewards: np.ndarray, least: float, most: float) -> np.ndarray:
    """Tell which rows have a graded reward that is neither lost nor won already.

    Source: V-Triune, its filter of perception rows: of 16 responses at IoU 0.5, a sum from 2 to 10.

    :param rewards: (N, k).
    :param least: of the sum over a row's responses; :param most: likewise; both ends included.
    :return: (N,) bool.
    """
    sums = np.asarray(rewards, float).sum(axis=1)
    return (sums >= least) & (sums <= most)


def rows_by_stage(
    curriculum: Curriculum, samples: Sequence[Sample], correct: np.ndarray
) -> dict[str, list[Sample]]:
    """Sort rows into the stages and give each the reward of its stage.

    :param correct: (N, k) bool, k = :attr:`Curriculum.rollouts`.
    :return: rows by the name of the stage, in their order; a row may be in several, or in none.
    :raises ValueError: the shape is wrong.
    """
    correct = np.asarray(correct, bool)
    if correct.shape != (len(samples), curriculum.rollouts):
        raise ValueError(f'{curriculum.name} wants {curriculum.rollouts} responses for each of '
                         f'{len(samples)} rows, not {correct.shape}')
    rows: dict[str, list[Sample]] = {stage.name: [] for stage in curriculum.stages}
    for sample, difficulty in zip(samples, difficulties(correct), strict=True):
        for stage in curriculum.stages_of(difficulty):
            rows[stage.name].append(stage.of(sample))
    return rows


def curriculum_names() -> tuple[str, ...]:
    """Name the curricula that come with the package."""
    return tuple(sorted(
        entry.name.removesuffix('.json') for entry in _folder().iterdir()
        if entry.name.endswith('.json')))


def load_curriculum(name: str, registry: Registry | None = None) -> Curriculum:
    """Read a curriculum that comes with the package, or a JSON file.

    :param name: one of :func:`curriculum_names`, or a path that ends in .json.
    :param registry: verifiers that the stages may name; None: :func:`~.registry.default_registry`.
    :raises CurriculumError: there is none, or it is wrong.
    """
    try:
        if name.endswith('.json'):
            text = Path(name).read_text(encoding='utf-8')
        elif name in curriculum_names():
            text = _folder().joinpath(f'{name}.json').read_text(encoding='utf-8')
        else:
            raise CurriculumError(f'no curriculum "{name}"; {suggestion(name, curriculum_names())}')
        return curriculum_from(json.loads(text), registry)
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, CurriculumError):
            raise
        raise CurriculumError(f'{name}: {error}') from error


def curriculum_from(content: Any, registry: Registry | None = None) -> Curriculum:
    """Make a curriculum of a JSON object.

    :param registry: see :func:`load_curriculum`.
    :raises CurriculumError: something in it is wrong; the message names the stage.
    """
    values = _checked('a curriculum', content, {
        'name': str, 'rollouts': int, 'stages': list, 'source': str}, ('source',))
    registry = registry or default_registry()
    stages = tuple(_stage(entry, registry) for entry in values['stages'])
    names = [stage.name for stage in stages]
    if not names or len(set(names)) < len(names):
        raise CurriculumError('a curriculum has stages, each with a name of its own')
    if values['rollouts'] < 2:
        raise CurriculumError('the difficulty of a row takes at least 2 rollouts')
    return Curriculum(values['name'], values['rollouts'], stages, values.get('source', ''))


def _stage(content: Any, registry: Registry) -> Stage:
    title = 'a stage'
    if isinstance(content, Mapping) and isinstance(content.get('name'), str):
        title = f'stage "{content["name"]}"'
    optional = ('epochs', 'verifier', 'instead_of', 'parameters', 'accuracy_ratio', 'format_ratio')
    values = _checked(title, content, {
        'name': str, 'kind': str, 'rows': list, 'epochs': int, 'verifier': str,
        'instead_of': list, 'parameters': dict, 'accuracy_ratio': (int, float),
        'format_ratio': (int, float)}, optional)
    if not STAGE_NAME.fullmatch(values['name']):
        raise CurriculumError(f'{title}: its rows lie in a folder of its name, which is made of 1'
                              ' to 64 letters, digits, _ and -')
    if values['kind'] not in KINDS:
        raise CurriculumError(f'{title}: kind is one of {", ".join(KINDS)}')
    try:
        values['rows'] = tuple(Difficulty(row) for row in values['rows'])
    except ValueError as error:
        raise CurriculumError(f'{title}: {error}; rows are easy, medium, hard') from error
    if not values['rows']:
        raise CurriculumError(f'{title}: it takes no rows: name some of easy, medium, hard')
    values['instead_of'] = tuple(map(str, values.get('instead_of', ())))
    if values.get('epochs', 1) < 1:
        raise CurriculumError(f'{title}: epochs are at least 1')
    stage = Stage(**values)
    _check_reward(title, stage, registry)
    return stage


def _check_reward(title: str, stage: Stage, registry: Registry) -> None:
    """Find out before any row is read whether a stage's reward can be one.

    :raises CurriculumError: it cannot.
    """
    ratios = {name: getattr(stage, name) for name in ('accuracy_ratio', 'format_ratio')}
    for name, ratio in ratios.items():
        if ratio is not None and not is_weight(ratio):
            raise CurriculumError(f'{title}: {name} is {ratio!r}, not a number from 0 on')
    if set(ratios.values()) == {0}:
        raise CurriculumError(f'{title}: accuracy and format both weigh nothing')
    if stage.parameters and not stage.verifier:
        raise CurriculumError(f'{title} has parameters, but names no verifier that takes them')
    named = [('instead_of', name) for name in stage.instead_of]
    for key, name in [('verifier', stage.verifier)] * bool(stage.verifier) + named:
        try:
            registry.find(name)
        except SampleError as error:
            raise CurriculumError(f'{title}, {key}: {error}') from error
    if stage.verifier:
        _check_parameters(title, stage, registry)


def _check_parameters(title: str, stage: Stage, registry: Registry) -> None:
    """Hold a stage's parameters against its verifier; a row may have more of its own."""
    sample = Sample(stage.verifier, '', parameters=stage.parameters)
    try:
        registry.find(stage.verifier).prepare(sample)
    except ParameterError as error:
        message = str(error).removeprefix(f'{sample.title}: ')
        raise CurriculumError(f'{title}, parameters: {message}') from error
    except Exception:
        # There is no truth to read here: whatever else is wrong says nothing of the parameters.
        return


def _checked(title: str, content: Any, types: Mapping[str, Any], optional: Sequence[str]
             ) -> dict[str, Any]:
    if not isinstance(content, Mapping):
        raise CurriculumError(f'{title} is a JSON object')
    for key, value in content.items():
        if key not in types:
            raise CurriculumError(f'{title} has no "{key}"; {suggestion(key, types)}')
        if not isinstance(value, types[key]) or isinstance(value, bool):
            raise CurriculumError(f'{title}: {key} is {value!r}, of the wrong type')
    missing = [key for key in types if key not in content and key not in optional]
    if missing:
        raise CurriculumError(f'{title} has no {", ".join(missing)}')
    return dict(content)


def _folder() -> Any:
    return resources.files('vr_ros.training.rewards').joinpath('curricula')
