"""The reward entry point of verl (0.9.1, its v1 trainer), for ``reward.custom_reward_function``.

``path`` is ``pkg://vr_ros.training.adapters.verl`` or this file; ``name`` is ``compute_score``.

verl calls it by keyword, once per response, in a thread of a reward worker with the manager
``naive``, in the main thread of a process of its own with ``remote``, which rows of ``mathverify``
need. It hands over a row's ``reward_model.ground_truth`` and ``extra_info`` and nothing else;
``extra_info`` of rows that ``./run train convert --to verl`` wrote holds all that is needed.

What cannot be scored raises :class:`~.scoring.RewardError`, which names the row. What verl does
with it (agent_loop_tq.py, replay_buffer.py): it logs the error with its traceback, marks the
prompt's group as failed and trains without the response; if that is so for all responses of a
batch, the training ends. ``trainer.v1.sampler.sync_refill_failed_groups`` draws another prompt in
its place. In its validation such a response counts 0 in ``acc`` and is left out of
``acc_success_only``. The manager ``rate_limited`` makes 0 of every error: do not use it.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

try:
    from vr_ros.training.adapters.shared import (
        PART_NAMES,
        count_tokens,
        known_parts,
        read_row,
        score_all,
        unreadable,
    )
    from vr_ros.training.rewards.samples import SampleError
    from vr_ros.training.rewards.scoring import rewards_or_raise
    from vr_ros.training.rewards.verifier import Rollout
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f'{error}: vr_ros has to be importable wherever rewards are computed: install it on every '
        'node with pip install --no-deps PATH_OF_VR_ROS, or set PYTHONPATH=PATH_OF_VR_ROS before '
        'ray start') from error

OPTIONS = ('parts', 'tokenizer')
# What verl passes on to every reward function when a reward model runs as well.
_OF_A_REWARD_MODEL = ('reward_router_address', 'reward_model_tokenizer')


def compute_score(
    data_source: str, solution_str: str, ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None, **kwargs: Any,
) -> dict[str, float | None]:
    """Score one response.

    Options, from ``reward.custom_reward_function.reward_kwargs``: ``parts``, names of the parts of
    verifiers that are reported, default all; ``tokenizer``, folder of a checkpoint or its name on
    the hub, for rewards of the length, which verl does not tell.

    :param data_source: for verl's own metrics, which it keeps apart by it.
    :param ground_truth: not read: what scores the row is in ``extra_info``.
    :param extra_info: of the row, with ``reward_spec`` and ``progress``.
    :return: ``score``, 0 to 1; ``acc``, 1 if the answer is right by the verifier's own rule;
        ``accuracy``, ``format``, and the parts, None for those of other verifiers, which verl
        leaves out of its means. The keys are the same for every row.
    :raises RewardError: the row cannot be scored; it is named.
    :raises TypeError, ValueError: an option is not known.
    """
    options = _options(kwargs)
    parts = known_parts(options.get('parts') or PART_NAMES)
    tokenizer = options.get('tokenizer')
    try:
        sample, progress = read_row(extra_info)
    except SampleError as error:
        outcomes = [unreadable(error)]
    else:
        tokens = count_tokens(solution_str, tokenizer) if tokenizer else None
        outcomes = score_all([Rollout(solution_str, sample, progress, tokens)])
    reward = rewards_or_raise(outcomes)[0]
    return {
        'score': reward.final, 'acc': float(reward.is_correct), 'accuracy': reward.accuracy,
        'format': reward.format, **{name: reward.parts.get(name) for name in parts},
    }


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    options = {name: value for name, value in given.items() if name not in _OF_A_REWARD_MODEL}
    unknown = sorted(options.keys() - set(OPTIONS))
    if unknown:
        raise TypeError(f'reward_kwargs: no "{unknown[0]}"; there are: {", ".join(OPTIONS)}')
    return options
