"""The reward entry point of EasyR1 (0.3.3, July 2026), for ``worker.reward.reward_function``.

``worker.reward.reward_function=PATH_OF_THIS_FILE:compute_score``. EasyR1 loads the file in a
process of its own and calls the function once per batch with a list. Of a row it hands over the
column ``answer`` alone, as ``ground_truth``: ``./run train convert --to easyr1`` puts everything
that is needed into it.

What cannot be scored raises :class:`~.scoring.RewardError`, which names the rows. EasyR1 catches
nothing (ray_trainer.py): the training ends there with that message.
"""
from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

try:
    from vr_ros.training.adapters.shared import (
        SPLIT,
        known_parts,
        read_row,
        score_all,
        unpack,
        unreadable,
    )
    from vr_ros.training.rewards.samples import SampleError
    from vr_ros.training.rewards.scoring import Outcome, rewards_or_raise
    from vr_ros.training.rewards.source_metrics import source_metrics
    from vr_ros.training.rewards.verifier import Rollout
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f'{error}: vr_ros has to be importable wherever rewards are computed: install it on every '
        'node with pip install --no-deps PATH_OF_VR_ROS, or set PYTHONPATH=PATH_OF_VR_ROS before '
        'ray start') from error

REWARD_NAME = 'vr_ros'
REWARD_TYPE = 'batch'
OPTIONS = ('parts', 'max_response_length', 'source_metrics')


def compute_score(reward_inputs: Sequence[Mapping[str, Any]], **kwargs: Any
                  ) -> list[dict[str, float]]:
    """Score the responses of a batch, in order.

    Options, from ``worker.reward.reward_function_kwargs``:

    - ``parts``: names of the parts of verifiers that are reported, default none. EasyR1 averages
      over the whole batch: a part that not all of its rows have becomes NaN.
    - ``max_response_length``: in tokens; responses of that length were cut off.
    - ``source_metrics``: a file to which each batch adds a line of JSON: its ``split``, as training
      and validation share the file, and the metrics of each data source
      (:mod:`~.source_metrics`), which EasyR1 cannot keep apart. A relative path begins where Ray
      was started.

    :param reward_inputs: ``response``, ``response_length`` in tokens, ``ground_truth``.
    :return: for each ``overall``, 0 to 1, ``accuracy``, ``format``, ``correct``, and the parts.
    :raises RewardError: rows cannot be scored; the first three are named.
    :raises TypeError, ValueError: an option is not known.
    """
    unknown = sorted(kwargs.keys() - set(OPTIONS))
    if unknown:
        raise TypeError(
            f'reward_function_kwargs: no "{unknown[0]}"; there are: {", ".join(OPTIONS)}')
    parts = known_parts(kwargs.get('parts') or ())
    longest = kwargs.get('max_response_length') or math.inf
    read = [_read(given, longest) for given in reward_inputs]
    rollouts = [one for one in read if isinstance(one, Rollout)]
    scored = iter(score_all(rollouts))
    outcomes = [next(scored) if isinstance(one, Rollout) else one for one in read]
    rewards = rewards_or_raise(outcomes)
    if kwargs.get('source_metrics'):
        splits = {unpack(given['ground_truth']).get(SPLIT, '') for given in reward_inputs}
        _add_line(Path(kwargs['source_metrics']), ' '.join(sorted(splits)),
                  source_metrics(rollouts, rewards))
    columns = [reward.as_columns(parts) for reward in rewards]
    return [{'overall': row.pop('final'), **row} for row in columns]


def _read(given: Mapping[str, Any], longest: float) -> Rollout | Outcome:
    try:
        sample, progress = read_row(unpack(given['ground_truth']))
    except SampleError as error:
        return unreadable(error)
    tokens = int(given['response_length'])
    return Rollout(given['response'], sample, progress, tokens, tokens >= longest)


def _add_line(path: Path, split: str, metrics: Mapping[str, float]) -> None:
    # JSON has no NaN: what there is nothing to average over is left out.
    known = {name: value for name, value in metrics.items() if not math.isnan(value)}
    with path.open('a', encoding='utf-8') as file:
        file.write(json.dumps({SPLIT: split, **known}) + '\n')
