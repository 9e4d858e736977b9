"""Rollouts and rewards as JSON, for the service and its client; nothing is ever unpickled."""
from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from vr_ros.training.rewards.samples import SampleError, sample_from_json, sample_from_mapping
from vr_ros.training.rewards.scoring import Failure, Outcome, Reward
from vr_ros.training.rewards.verifier import Rollout

MOST_ROLLOUTS = 4096
_OPTIONAL = {'progress': (int, float), 'tokens': int, 'truncated': bool}


class WireError(ValueError):
    """A message that is not what it should be; the text says what is wrong."""


def rollouts_to_json(rollouts: Sequence[Rollout]) -> str:
    """Write rollouts as the service reads them."""
    return json.dumps({'rollouts': [
        {'response': rollout.response, 'sample': json.loads(rollout.sample.key),
         'progress': rollout.progress, 'tokens': rollout.tokens, 'truncated': rollout.truncated}
        for rollout in rollouts]})


def rollouts_from_json(text: bytes | str) -> list[Rollout]:
    """Read rollouts.

    A sample is a JSON object, or a text that holds one.

    :raises WireError: it is something else, or there are too many.
    """
    content = _object(text, 'a request')
    entries = content.get('rollouts')
    if not isinstance(entries, list) or content.keys() != {'rollouts'}:
        raise WireError('a request is {"rollouts": [...]}')
    if len(entries) > MOST_ROLLOUTS:
        raise WireError(f'{len(entries)} rollouts; at most {MOST_ROLLOUTS} in one request')
    return [_rollout(entry, f'rollout {place}') for place, entry in enumerate(entries)]


def outcomes_to_json(outcomes: Sequence[Outcome]) -> str:
    """Write outcomes as the client reads them."""
    return json.dumps({'outcomes': [
        {'reason': outcome.reason, 'id': outcome.id, 'data_source': outcome.data_source}
        if isinstance(outcome, Failure) else
        {'final': outcome.final, 'accuracy': outcome.accuracy, 'format': outcome.format,
         'is_correct': bool(outcome.is_correct), 'verifier': outcome.verifier,
         'data_source': outcome.data_source, 'id': outcome.id, 'parts': dict(outcome.parts)}
        for outcome in outcomes]}, allow_nan=False)


def outcomes_from_json(text: bytes | str, expected: int) -> list[Outcome]:
    """Read outcomes.

    :param expected: how many there have to be.
    :raises WireError: it is something else, or there are more or fewer.
    """
    entries = _object(text, 'an answer').get('outcomes')
    if not isinstance(entries, list) or len(entries) != expected:
        raise WireError(f'an answer has {expected} outcomes')
    outcomes: list[Outcome] = []
    for entry in entries:
        try:
            if 'reason' in entry:
                outcomes.append(Failure(entry['id'], entry['data_source'], entry['reason']))
            else:
                outcomes.append(Reward(
                    _share(entry['final']), _share(entry['accuracy']), _share(entry['format']),
                    entry['is_correct'] is True, entry['verifier'], entry['data_source'],
                    entry['id'], {str(k): float(v) for k, v in entry['parts'].items()}))
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise WireError(f'an outcome cannot be read: {error!r}') from error
    return outcomes


def _rollout(entry: Any, title: str) -> Rollout:
    if not isinstance(entry, Mapping) or not isinstance(entry.get('response'), str):
        raise WireError(f'{title} has no response')
    unknown = entry.keys() - {'response', 'sample', *_OPTIONAL}
    if unknown:
        raise WireError(f'{title} has no "{sorted(unknown)[0]}"')
    values = {}
    for name, kind in _OPTIONAL.items():
        value = entry.get(name)
        if value is None:
            continue
        if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
            raise WireError(f'{title}: {name} is {value!r}, of the wrong type')
        values[name] = value
    sample = entry.get('sample')
    try:
        read = sample_from_json(sample) if isinstance(sample, str) else sample_from_mapping(sample)
    except SampleError as error:
        raise WireError(f'{title}: {error}') from error
    return Rollout(entry['response'], read, **values)


def _object(text: bytes | str, title: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError(f'{title} is no JSON') from error
    if not isinstance(content, dict):
        raise WireError(f'{title} is no JSON object')
    return content


def _share(value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(value) or not 0 <= value <= 1:
        raise ValueError(f'{value!r} is not from 0 to 1')
    return float(value)
