"""Rows sorted by the answers to them: by difficulty, by V-Triune's filters, or into stages."""
from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vr_ros.training.adapters.columns import Ready
from vr_ros.training.data.schema import Row
from vr_ros.training.data.shards import ShardError, ShardWriter
from vr_ros.training.rewards.samples import Sample, SampleError
from vr_ros.training.rewards.scoring import Failure, Reward, Scorer
from vr_ros.training.rewards.stages import (
    Curriculum,
    Difficulty,
    difficulties,
    rows_by_stage,
    teachable,
)
from vr_ros.training.rewards.verifier import Rollout
from vr_ros.training.trainers.difficulty.answers import Answers

# V-Triune: of 16 responses at IoU 0.5, a sum of the rewards from 2 to 10.
TEACHABLE = (2 / 16, 10 / 16)
SAMPLING_IOU = 0.5
PERCEPTION = ('visionreasoner', 'detection', 'masks')
BY_DIFFICULTY = tuple(difficulty.value for difficulty in Difficulty)
KEPT, DROPPED = BY_V_TRIUNE = 'kept', 'dropped'


@dataclass(frozen=True)
class Rate:
    """How the answers to one row were scored.

    :param sample: of the row as it is stored.
    :param correct: of each response, by the verifier's own rule.
    :param accuracies: of each response, 0 to 1.
    :param rewards: of each response, 0 to 1, accuracy and format weighed.
    """

    sample: Sample
    correct: tuple[bool, ...]
    accuracies: tuple[float, ...]
    rewards: tuple[float, ...]

    @property
    def right(self) -> float:
        """Share of the responses that are right."""
        return sum(self.correct) / len(self.correct)

    def as_json(self) -> dict[str, object]:
        """Give a line of the list of rates."""
        [difficulty] = difficulties(np.array([self.correct]))
        return {'id': self.sample.id, 'data_source': self.sample.data_source,
                'right': self.right, 'difficulty': difficulty.value,
                'accuracies': self.accuracies, 'rewards': self.rewards}


def rate(ready: Ready, answers: Answers, scorer: Scorer) -> Rate:
    """Score the answers to one row.

    A threshold of IoU that rises with the training is taken as 0.5, V-Triune's for sampling.

    :raises SampleError: there are no answers, or one could not be scored; it says why.
    """
    if answers.problem:
        raise SampleError(answers.problem)
    sample = ready.sample
    if sample.verifier == 'detection':
        sample = replace(sample, parameters={**sample.parameters, 'iou_threshold': SAMPLING_IOU})
    tokens: Sequence[int | None] = answers.tokens or [None] * len(answers.responses)
    outcomes = scorer.score_all([
        Rollout(response, sample, tokens=number)
        for response, number in zip(answers.responses, tokens, strict=True)])
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            raise SampleError(outcome.reason)
    rewards = [outcome for outcome in outcomes if isinstance(outcome, Reward)]
    return Rate(ready.row.sample, tuple(one.is_correct for one in rewards),
                tuple(one.accuracy for one in rewards), tuple(one.final for one in rewards))


# Name of a set -> id of a row -> what the row is held against in that set.
Sets = Mapping[str, Mapping[str, Sample]]


def by_difficulty(rates: Sequence[Rate]) -> Sets:
    """Sort rows into easy (all right), medium (some) and hard (none). Source: PeBR-R1."""
    sets: dict[str, dict[str, Sample]] = {name: {} for name in BY_DIFFICULTY}
    for one, difficulty in zip(rates, difficulties(_correct(rates)), strict=True):
        sets[difficulty.value][one.sample.id] = one.sample
    return sets


def by_stage(curriculum: Curriculum) -> Callable[[Sequence[Rate]], Sets]:
    """Sort rows into the stages of a curriculum, with the reward of each."""
    def sort(rates: Sequence[Rate]) -> Sets:
        stages = rows_by_stage(curriculum, [one.sample for one in rates], _correct(rates))
        return {name: {sample.id: sample for sample in samples}
                for name, samples in stages.items()}

    return sort


def by_v_triune(rates: Sequence[Rate]) -> Sets:
    """Keep what V-Triune keeps, as ``kept``; the rest is ``dropped``.

    Perception rows are kept where the sum of k accuracies is k / 8 to 10 k / 16, others where not
    all responses are right.
    """
    sets: dict[str, dict[str, Sample]] = {KEPT: {}, DROPPED: {}}
    for one in rates:
        least, most = (share * len(one.correct) for share in TEACHABLE)
        if one.sample.verifier in PERCEPTION:
            [keeps] = teachable(np.array([one.accuracies]), least, most)
        else:
            keeps = not all(one.correct)
        sets[KEPT if keeps else DROPPED][one.sample.id] = one.sample
    return sets


def check_room(folder: Path, names: Iterable[str], split: str, data: Path) -> None:
    """Make sure that sets of these names replace nothing but earlier ones.

    :param data: folder of the rows that are sorted.
    :raises ShardError: something else is there.
    """
    for name in names:
        place = folder / name
        if place.resolve() == data.resolve():
            raise ShardError(f'{place} holds the rows that are to be sorted: name another --out')
        if place.exists() and not place.is_dir():
            raise ShardError(f'{place} is no folder: name another --out')
        if any(path.stat().st_size for path in _files_of(place, split)) and (
                _set_at(place, split) != name):
            raise ShardError(f'{place} holds a {split} split from elsewhere: name another --out')


def clear_set(folder: Path, split: str) -> None:
    """Remove the files of one split of an earlier set, and nothing else."""
    for path in _files_of(folder, split):
        path.unlink()


def write_sets(folder: Path, sets: Sets, split: str, rows: Iterable[Row], total: int,
               identity: Mapping[str, object]) -> dict[str, int]:
    """Write each set to a folder of its own, rows in their order and as they were stored.

    :param rows: of the split; those in no set are passed over.
    :param total: how many rows there are.
    :return: rows by set.
    """
    writers = {name: ShardWriter(folder / name, split, {'set': name, **identity}) for name in sets}
    try:
        for place, row in enumerate(rows):
            for name, members in sets.items():
                mine = members.get(row.id)
                writers[name].add(place, [] if mine is None else [
                    replace(row, reward_spec=mine.to_json())])
        return {name: writer.finish(total).rows for name, writer in writers.items()}
    finally:
        for writer in writers.values():
            writer.close()


def _files_of(folder: Path, split: str) -> list[Path]:
    """List what a writer of shards puts into a folder; what tells whose it is comes last."""
    shards = re.compile(rf'{re.escape(split)}-(\d{{5}}(-of-\d{{5}}\.parquet|\.partial)|open\.tmp)')
    found = [path for path in sorted(folder.glob('*')) if shards.fullmatch(path.name)]
    described = (folder / f'{split}.json', folder / f'{split}.journal.jsonl')
    return found + [path for path in described if path.exists()]


def _set_at(folder: Path, split: str) -> str:
    """Name the set that a folder holds, whole or begun; '' where it is none."""
    for name, lines in ((f'{split}.json', None), (f'{split}.journal.jsonl', 1)):
        try:
            text = (folder / name).read_text(encoding='utf-8')
            return str(json.loads('\n'.join(text.split('\n')[:lines]))['identity']['set'])
        except (OSError, ValueError, LookupError, TypeError):
            continue   # there is no such file, or it is of something else
    return ''


def _correct(rates: Sequence[Rate]) -> np.ndarray:
    return np.array([one.correct for one in rates], bool)
