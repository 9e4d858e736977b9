"""What the reward entry points of verl and EasyR1 share: from a row's texts to rewards.

Neither trainer tells a reward at which step it is: the share of the training at which a row comes
travels in the row, beside what it is held against.
"""
from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from vr_ros.training.rewards.registry import default_registry
from vr_ros.training.rewards.samples import Sample, SampleError, sample_from_json, suggestion
from vr_ros.training.rewards.scoring import Outcome, Scorer, failure_of
from vr_ros.training.rewards.verifier import Rollout

# What scores a row, and when and where it comes, by name: in verl's extra_info, in EasyR1's answer.
SPEC, PROGRESS, SPLIT = 'reward_spec', 'progress', 'split'
PART_NAMES = default_registry().part_names

_scorer = Scorer()
# verl calls from the threads of a pool; the truths that the scorer keeps are for one at a time.
_lock = threading.Lock()


def score_all(rollouts: Sequence[Rollout]) -> list[Outcome]:
    """Score responses, from any thread; see :meth:`~.scoring.Scorer.score_all`."""
    with _lock:
        return _scorer.score_all(rollouts)


def check(sample: Sample) -> None:
    """Find out before the training whether the entry points can score a row.

    :raises SampleError: they cannot.
    """
    _scorer.check(sample)


def pack(spec: str, progress: float | None, split: str = '') -> str:
    """Write all that scores a row as one text, for a trainer that passes one only."""
    return json.dumps({SPEC: spec, PROGRESS: progress, SPLIT: split})


def unpack(text: Any) -> Mapping[str, Any]:
    """Read what :func:`pack` wrote.

    :raises SampleError: it is something else.
    """
    try:
        content = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise SampleError(f'the row was not written by ./run train convert: {error}') from error
    if not isinstance(content, Mapping):
        raise SampleError('the row was not written by ./run train convert: it is no JSON object')
    return content


def read_row(row: Any) -> tuple[Sample, float | None]:
    """Read what scores a row.

    :param row: with the JSON text :data:`SPEC`, and :data:`PROGRESS`, 0 to 1 or None.
    :return: the sample, and the share of the training at which the row comes.
    :raises SampleError: one of them is missing or wrong.
    """
    if not isinstance(row, Mapping) or not isinstance(row.get(SPEC), str):
        raise SampleError(f'a row without {SPEC}: write it with ./run train convert')
    sample = sample_from_json(row[SPEC])
    progress = row.get(PROGRESS)
    if progress is not None and not (
            isinstance(progress, int | float) and math.isfinite(progress) and 0 <= progress <= 1):
        raise SampleError(f'{sample.title}: {PROGRESS} is {progress!r}, not from 0 to 1')
    return sample, progress


def unreadable(error: SampleError) -> Outcome:
    """Make the outcome of a row of which not even the sample can be read."""
    return failure_of(Sample('', ''), str(error))


def count_tokens(text: str, tokenizer: str) -> int:
    """Count the tokens of a response, its end included.

    :param tokenizer: folder of a checkpoint, or its name on the hub.
    :raises ModuleNotFoundError: the package tokenizers is missing; every trainer brings it.
    """
    return len(_tokenizer(tokenizer).encode(text, add_special_tokens=False).ids) + 1


@lru_cache(maxsize=1)
def _tokenizer(name: str) -> Any:
    from tokenizers import Tokenizer

    folder = Path(name)
    if folder.is_dir():
        return Tokenizer.from_file(str(folder / 'tokenizer.json'))
    return Tokenizer.from_pretrained(name)


def known_parts(names: Iterable[str]) -> tuple[str, ...]:
    """Check names of parts of verifiers.

    :raises ValueError: one is not known.
    """
    names = tuple(names)
    for name in names:
        if name not in PART_NAMES:
            raise ValueError(f'no verifier has a part "{name}"; {suggestion(name, PART_NAMES)}')
    return names
