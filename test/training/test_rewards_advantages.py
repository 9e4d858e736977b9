"""Advantages, the watch over those that vanish, and the truth as a rollout: all by hand."""
from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vr_ros.training.rewards.advantages import (
    TaskScales,
    ema_advantages,
    group_advantages,
    with_truth,
)
from vr_ros.training.rewards.samples import Sample
from vr_ros.training.rewards.scoring import Scorer
from vr_ros.training.rewards.truth_rollout import truth_response
from vr_ros.training.rewards.vanishing import (
    Vanishing,
    VanishingMonitor,
    has_signal,
    vanishing,
)
from vr_ros.training.rewards.verifier import Rollout

NAN = float('nan')


@pytest.mark.parametrize(('rewards', 'scale', 'advantages'), [
    ([[0, 1]], 'group', [[-0.5 / 0.5 ** 0.5, 0.5 / 0.5 ** 0.5]]),     # deviation of samples
    ([[0, 1], [0, 10]], 'none', [[-0.5, 0.5], [-5, 5]]),
    ([[1, 1, 1]], 'group', [[0, 0, 0]]),                              # nothing to learn
    ([[3]], 'group', [[0]]),
    ([[0, NAN, 2]], 'none', [[-1, 0, 1]]),                            # without a reward
    ([[NAN, NAN]], 'group', [[0, 0]]),
    # 0, 1, 2, 3: mean square deviation 5 / 3; group means 0.5 and 2.5.
    ([[0, 1], [2, 3]], 'batch', [[-0.5 / (5 / 3) ** 0.5, 0.5 / (5 / 3) ** 0.5]] * 2),
])
def test_group_advantages(rewards, scale, advantages) -> None:
    found = group_advantages(np.array(rewards, float), scale)
    np.testing.assert_allclose(found, advantages, rtol=1e-5)


@pytest.mark.parametrize(('rewards', 'scale'), [([1, 2], 'group'), ([[1]], 'groups')])
def test_wrong_groups_are_refused(rewards, scale) -> None:
    with pytest.raises(ValueError):
        group_advantages(np.array(rewards, float), scale)


def test_ema_advantages_by_hand() -> None:
    """Deviation of 0, 1 is 0.5; of 0, 0.2 it is 0.1; decay 0.9."""
    scales = TaskScales(decay=0.9)
    rewards = np.array([[0, 1], [0, 0.2]])
    found, scales = ema_advantages(rewards, ['count', 'box'], scales)
    np.testing.assert_allclose(found, [[-1, 1], [-1, 1]])             # the first batch sets it
    assert dict(scales.deviations) == pytest.approx({'count': 0.5, 'box': 0.1})
    found, scales = ema_advantages(np.array([[0, 0.4]]), ['box'], scales)
    assert scales.deviations['box'] == pytest.approx(0.9 * 0.1 + 0.1 * 0.2)   # with it, then used
    np.testing.assert_allclose(found, [[-0.2 / 0.11, 0.2 / 0.11]])
    assert scales.deviations['count'] == pytest.approx(0.5)           # not in the batch


def test_a_task_that_spreads_little_is_not_blown_up() -> None:
    scales = TaskScales(deviations={'box': 0.5})
    found, _ = ema_advantages(np.array([[0.50, 0.51]]), ['box'], scales)
    assert abs(found).max() < 0.011                                   # by group: 0.7
    assert abs(group_advantages(np.array([[0.50, 0.51]]))).max() > 0.7


def test_a_wild_group_falls_back_to_its_own_spread() -> None:
    scales = TaskScales(deviations={'box': 0.001})
    found, _ = ema_advantages(np.array([[0, 1], [0.5, 0.5]]), ['box', 'box'], scales)
    np.testing.assert_allclose(found[0], [-0.5 ** 0.5, 0.5 ** 0.5], rtol=1e-5)
    np.testing.assert_allclose(found[1], 0)


def test_scales_have_a_floor_and_groups_have_a_task() -> None:
    assert TaskScales().of('unknown') == 1e-3
    assert TaskScales(deviations={'box': 0.0}).of('box') == 1e-3
    with pytest.raises(ValueError, match='1 tasks for 2 groups'):
        ema_advantages(np.zeros((2, 2)), ['box'], TaskScales())
    assert TaskScales().updated(np.array([[NAN, NAN]]), ['box']).deviations == {}
    # A first batch without any spread says nothing of the usual one.
    assert TaskScales().updated(np.array([[0.0, 0.0]]), ['box']).deviations == {}


@settings(max_examples=100, deadline=None)
@given(arrays(float, (3, 4), elements=st.floats(0, 1) | st.just(NAN)), st.randoms())
def test_advantages_sum_to_nothing_and_know_no_order(rewards, random) -> None:
    order = list(range(4))
    random.shuffle(order)
    tasks = ['a', 'b', 'a']
    for find in (group_advantages, lambda r: group_advantages(r, 'batch'),
                 lambda r: ema_advantages(r, tasks, TaskScales())[0]):
        found = find(rewards)
        assert np.isfinite(found).all()
        assert (found[np.isnan(rewards)] == 0).all()
        np.testing.assert_allclose(found.sum(axis=1), 0, atol=1e-6)
        np.testing.assert_allclose(find(rewards[:, order]), found[:, order], atol=1e-9)


# The truth as a rollout.

def test_the_truth_is_one_more_rollout() -> None:
    rewards = np.array([[0.1, 0.3], [0.9, 0.5], [NAN, NAN]])
    found = with_truth(rewards, np.array([0.8, 0.8, 0.8]))
    np.testing.assert_allclose(found, [[0.1, 0.3, 0.8], [0.9, 0.5, 0.7], [NAN, NAN, 0.8]])
    # A group that does better than the truth goes on from its own answers.
    assert group_advantages(found, 'none')[1, 2] == pytest.approx(0)
    np.testing.assert_allclose(with_truth(rewards, np.array([0.8] * 3), smooth=False)[1],
                               [0.9, 0.5, 0.8])
    with pytest.raises(ValueError, match='truths for 3 groups'):
        with_truth(rewards, np.array([0.8]))


BOXES = '[{"bbox_2d":[1,2,3,4],"point_2d":[2,3]}]'


@pytest.mark.parametrize(('sample', 'reasoning', 'response'), [
    (Sample('visionreasoner', BOXES), None,
     '<answer>[{"bbox_2d": [1, 2, 3, 4], "point_2d": [2, 3]}]</answer>'),
    (Sample('visionreasoner', '[]'), None, '<answer>[]</answer>'),
    (Sample('exact', 'red'), 'Look.', '<think>Look.</think>\n<answer>red</answer>'),
    (Sample('exact', '["red", "crimson"]'), None, '<answer>red</answer>'),
    (Sample('counting', '3'), None, '<answer>3</answer>'),
])
def test_the_truth_is_written_as_the_model_writes(sample, reasoning, response) -> None:
    assert truth_response(sample, reasoning) == response
    reward = Scorer().score(Rollout(response, sample))
    assert reward.accuracy == 1 and reward.is_correct
    if reasoning is None:
        assert reward.final < 1                                       # nothing for thinking


def test_a_truth_that_is_json_but_no_list_stays_as_it_is() -> None:
    assert truth_response(Sample('exact', '{"a": 1}')) == '<answer>{"a": 1}</answer>'
    assert json.loads(truth_response(Sample('detection', BOXES))[8:-9]) == json.loads(BOXES)


# Advantages that vanish.

def test_vanishing_by_hand() -> None:
    rewards = np.array([[1, 1, 1], [0, 0, 0], [0.5, 0.5, 0.5], [0, 1, 0], [NAN, 1, NAN],
                        [1, NAN, 1]])
    correct = np.array([[1, 1, 1], [0, 0, 0], [1, 0, 1], [0, 1, 0], [0, 1, 0], [1, 0, 1]], bool)
    assert has_signal(rewards).tolist() == [False, False, False, True, False, False]
    found = vanishing(rewards, correct)
    assert found == Vanishing(groups=5, vanished=4, all_right=2, all_wrong=1)
    assert found.share == pytest.approx(0.8)
    assert vanishing(np.empty((0, 2)), np.empty((0, 2))).share == 0


@pytest.mark.parametrize(('right', 'advice'), [
    (1, 'sample harder rows'), (0, 'sample easier rows'), (None, 'a reward that is graded'),
])
def test_the_monitor_says_what_to_do(right, advice) -> None:
    monitor = VanishingMonitor(steps=2, most=0.5)
    rewards = np.ones((4, 2))
    correct = np.zeros((4, 2)) + (np.array([1, 0]) if right is None else right)
    monitor.add(rewards, correct)
    assert monitor.warning == '' and monitor.share == 1               # one step says little
    monitor.add(rewards, correct)
    assert advice in monitor.warning and monitor.warning.startswith('100% of the groups')
    for _ in range(2):
        monitor.add(np.array([[0, 1]] * 4), correct)
    assert monitor.warning == '' and monitor.share == 0
